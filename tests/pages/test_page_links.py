"""Links: each choice of a page is in its link, and a link with it opens the page as it was."""

import numpy as np
import pytest

from kdexplorer.app import layout
from kdexplorer.app.server import access
from tests.pages.reading import PHOTO, button, dataset, follow, open_popover, text, turn_to, upload

LINKS = [
    ("attention", {"colors": "difference", "power": "2", "scale": "per map", "sample": "200"}),
    ("soft_labels", {"student": "small-scratch", "moment": "Start of training"}),
    ("soft_labels", {"tab": "Class similarity", "off_diagonal": "false"}),
    ("soft_labels", {"filter": "Teacher wrong", "class": "cat"}),
    ("compare", {"cost": "parameters"}),
    ("compare", {"show": "Calibration", "scaled": "true"}),
    (
        "compare",
        {"show": "Confusion", "confusion": "second", "confusion_first": "small-scratch", "confusion_second": "teacher"},
    ),
    ("compare", {"show": "Disagreements", "disagreement_first": "teacher", "disagreement": "neither"}),
    ("methods", {"student": "small-scratch"}),
    (None, {"figure": "temperature_curves", "class": "cat", "curve": "kl"}),
]
"""Pages, and values that are not the defaults of the family of these tests, by their names in the link."""
SWITCHED = {"true": True, "false": False}


def shown(at):
    """The values of the page's choices, by their name in the link."""
    kinds = (at.button_group, at.selectbox, at.toggle)
    found = {one.key: one.value for kind in kinds for one in kind if one.key}
    found |= {name: at.session_state.get(name, None) for name in ("tab", "show")}
    return found | {"figure": at.query_params.get("figure")}


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page}-{'-'.join(link)}" for page, link in LINKS])
def test_a_link_opens_the_page_as_it_was_and_says_what_it_does_not_know(family, page, link, open_page):
    at = open_page(page, **link)
    assert not at.warning
    values = shown(at)
    assert {name: values[name] for name in link} == {name: SWITCHED.get(text, text) for name, text in link.items()}
    assert {name: at.query_params[name] for name in link} == link
    assert "class" not in link or f"**{link['class']}**" in text(at)
    places = {name: text for name, text in link.items() if name in ("show", "tab", "figure") and len(link) > 1}
    others = link.keys() - places
    usual = shown(open_page(page, **places))
    assert all(usual.get(name) != values[name] for name in others)
    at = open_page(page, **places | dict.fromkeys(others, "nothing like this"))
    assert {name for name in others if any(f"'{name}'" in one.value for one in at.warning)} == others
    assert shown(at).items() >= usual.items()
    assert all(shown(at)[name] != values[name] for name in others)


def test_a_chosen_teacher_stays_on_other_pages_until_a_link_names_what_a_page_shows_by_itself(
    big, open_page, monkeypatch
):
    at = open_page("soft_labels")
    at.selectbox(key="teacher").set_value("big").run()
    for page in ("compare", "soft_labels", "attention"):
        turn_to(at, page)
        assert at.selectbox(key="teacher").value == "big"
    assert at.query_params["teacher"] == "big"
    at.multiselect(key="students").set_value(["small-response"]).run()
    turn_to(at, "launch")
    follow(at, "attention", teacher="teacher", students="small-scratch,small-response")
    assert at.selectbox(key="teacher").value == "teacher"
    assert at.multiselect(key="students").value == ["small-scratch", "small-response"]
    at.selectbox(key="teacher").set_value("big").run()
    assert at.selectbox(key="teacher").value == "big"
    linked = turn_to(open_page("soft_labels", teacher="big"), "attention")
    with_image = follow(open_page("compare"), "soft_labels", image="5", of="big")
    assert linked.selectbox(key="teacher").value == with_image.selectbox(key="teacher").value == "big"
    button(turn_to(with_image, "overview"), "Train a student in a minute").click().run()
    monkeypatch.setenv(access.VARIABLE, "a presenter token")
    button(open_page("overview"), "Watch students train")  # all that a guest may do


def test_a_link_to_a_test_image_replaces_a_photo_and_the_filters(family, open_page):
    at = open_popover(open_page("soft_labels"), "picture_source")
    at.selectbox(key="class").set_value("cat").run()
    number = at.query_params["image"]
    upload(at, "photo.png", PHOTO)
    turn_to(at, "compare")
    follow(at, "soft_labels", image=number)  # the one that was shown before the photo
    assert f"Test image {number}: **cat**" in text(at)
    open_popover(at, "picture_source").selectbox(key="class").set_value("cat").run()
    turn_to(at, "compare")
    follow(at, "soft_labels", image="1066")
    assert "Test image 1066: **truck**" in text(at)
    upload(at, "photo.png", PHOTO)
    turn_to(at, "compare")
    follow(at, "overview", image="1066")
    assert "Test image 1066: **truck**" in text(at)


def test_a_teacher_of_another_data_set_has_its_classes_and_images(family, make_checkpoint, open_page):
    make_checkpoint(family / "shapes", logits=np.zeros((120, 10)))
    at = open_page("soft_labels", image="1999", teacher="teacher")
    turn_to(at, "launch")
    follow(at, "overview", teacher="shapes")
    assert "Test image 1999" not in text(at)
    assert at.query_params["image"] != "1999"
    assert "triangle frame" in {row["class"] for row in dataset(at, 0, "rows")}


def test_the_link_to_share_names_all_networks_and_one_from_before_is_translated(family, open_page, monkeypatch):
    links = []
    monkeypatch.setattr(layout, "show_page_link", lambda page: links.append(layout.page_url(embed="true")))
    at = open_page("compare", show="Calibration", networks="small-response,small-scratch", scaled="on")
    open_popover(at, "share_page")
    assert at.toggle(key="scaled").value
    both = "networks=small-response&networks=small-scratch"
    assert links[-1].endswith(f"?show=Calibration&{both}&scaled=true&embed=true")
