"""What all pages share: networks of any kind, links, the choice across pages, pictures, buttons that save charts."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from kdexplorer.analysis import image_filters, metrics
from kdexplorer.app.layout import TITLES
from kdexplorer.app.parts import chart_view, downloads
from kdexplorer.app.server import access, turns
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import CARD, open_checkpoint
from tests.pages.reading import PHOTO, button, open_popover, open_tab, specs, text, turn_to, upload
from tests.pages.runs import CIFAR10, CIFAR10_CARD, distilled, make_run
from tests.pages.test_attention_page import compare

PAGES = [None, "soft_labels", "attention"]


def alt_texts(at):
    return [picture.alt for element in at.image for picture in element.proto.imgs]


def test_overview_begins_with_a_chosen_example_and_its_examples_replace_a_photo(open_page):
    at = open_page()
    soft, _ = specs(at)
    assert "resnet20-response" in soft["description"]
    assert alt_texts(at)[0] == "Test image 1066: truck"
    assert re.search(r"a truck that .* nearer to the teacher's .* on 75% of all 10,000 test images", text(at))
    assert at.dataframe[0].value["Network"].tolist()[:2] == ["resnet56", "resnet20-scratch"]
    at = open_page("overview", image="15")  # as chosen elsewhere
    assert alt_texts(at)[0].startswith("Test image 15")
    upload(at, "cat.png", PHOTO)
    assert alt_texts(at)[:2] == ["Your photo before it was reduced", "Your photo"]
    assert "whatever the photo shows" in text(at)
    at.button(key="pick_thumb_361").click().run()
    assert alt_texts(at)[0] == "Test image 361: dog"


def test_overview_compares_a_runs_students_with_their_teacher(own, make_checkpoint, open_page):
    logits = np.random.default_rng(0).normal(0, 3, (10_000, 10))
    teacher = make_checkpoint(own / "teacher", "resnet20", 0, logits, **CIFAR10_CARD)
    run = make_run(students=("scratch", "response"), teacher="teacher")

    def finish(dataset, split):
        data = {"dataset": dataset, "evaluation_split": split, "evaluation_images": 2000}
        for seed, (name, more) in enumerate({"s-scratch": {}, "s-response": distilled(teacher)}.items(), 1):
            facts = {"classes": CIFAR10.classes, "run": run.run_id, "test_accuracy": 0.25, "data": data}
            make_checkpoint(run.path / name, "resnet8", seed, logits[:2000], **facts | more)

    finish("cifar10-small", "test")
    at = open_page()
    table = at.dataframe[0].value
    assert table["Network"].tolist() == ["teacher", "s-scratch", "s-response"]
    expected = 100 * metrics.accuracy(logits[:2000], CIFAR10.test_labels()[:2000])
    assert float(table["Accuracy (%)"].iloc[0]) == pytest.approx(expected, abs=0.01)
    assert "Evaluated on 2,000 test images" in text(at)
    at = open_page("soft_labels", students=f"{run.run_id}/s-scratch")
    assert "**teacher** → s-scratch" in [one.value for one in at.markdown]
    finish("cifar10", "holdout")
    assert not open_page().dataframe  # other images than the teacher's


@pytest.mark.parametrize("name", [*PAGES, "live", "compare"])
def test_without_a_network_a_page_says_so(own, name, open_page):
    at = open_page(name)
    assert "Launch" in at.info[0].value
    assert not specs(at)


@pytest.mark.parametrize(("damaged", "charts"), [("small-response", 1), ("teacher", 0)])
def test_damaged_weights_are_reported_and_the_others_shown_beside_a_usable_teacher(family, damaged, charts, open_page):
    weights = family / damaged / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    at = open_page("attention")
    assert "SHA-256" in at.error[0].value
    assert ["small-scratch" in str(spec) for spec in specs(at)] == [True] * charts
    assert len(open_page("live").get("bidi_component")) == 1 + charts  # with what every page has


def test_a_network_whose_plugin_is_gone_leaves_the_rest_of_a_page(evaluated, open_page):
    card = evaluated / "small-response" / CARD
    card.write_text(card.read_text().replace("resnet8", "gone_net"))
    at = open_page("methods", student="small-response")
    assert ("gone_net" in at.error[0].value, "All methods" in [one.value for one in at.header]) == (True, True)
    at = open_page("compare", networks=["teacher", "small-scratch", "small-response"])
    assert (len(at.dataframe[0].value), not at.error) == (3, True)
    assert "Measure latency (resnet20, resnet8)" in [one.label for one in at.button]


@pytest.mark.parametrize("name", [*PAGES, "methods", "audience", "compare"])
def test_damaged_data_are_reported_with_what_to_do(family, name, data_folder, open_page):
    (data_folder / CIFAR10.archive).write_bytes(b"nonsense")
    at = open_page(name)
    assert name != "compare" or len(at.dataframe[-1].value) == 3  # from the cards
    (error,) = at.error
    assert CIFAR10.archive in error.value.replace("\\", "")
    assert "Remove it" in error.value


def test_students_follow_their_teacher_on_every_page(big, open_page):
    at = open_page("attention", students="small-scratch,small-response")
    at.selectbox(key="teacher").set_value("big").run()
    assert at.multiselect(key="students").value == ["big-scratch", "big-feature"]
    assert "students" not in at.query_params
    at.multiselect(key="students").set_value(["big-feature", "small-response"]).run()
    at.selectbox(key="teacher").set_value("teacher").run()
    assert at.multiselect(key="students").value == ["big-feature", "small-response"]  # one is its own
    at.selectbox(key="teacher").set_value("big").run()
    turn_to(at, "compare")
    assert set(at.multiselect(key="networks").value) == {"big", "big-scratch", "big-feature"}
    assert at.selectbox(key="teacher").value == "big"
    assert at.selectbox(key="baseline").value == "big-scratch"
    at.selectbox(key="teacher").set_value(None).run()
    assert at.selectbox(key="teacher").value is None
    assert set(at.multiselect(key="networks").value) == {"big", "big-scratch", "big-feature"}
    button(at, "teacher and its students").click().run()
    assert at.multiselect(key="networks").value == ["teacher", "small-scratch", "small-response"]
    assert at.selectbox(key="teacher").value == "teacher"


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("soft_labels", {"image": "-1", "T": "0", "alpha": "7", "teacher": "../../etc/passwd"}),
        ("soft_labels", {"image": "2000", "T": "nan", "students": "small-scratch,nobody"}),
        ("soft_labels", {"image": "١", "T": "1e999"}),
    ],
)
def test_invalid_values_in_a_link_are_ignored_with_a_warning_each(family, name, query, open_page):
    at = open_page(name, **query)
    assert specs(at)
    warned = "".join(warning.value for warning in at.warning)
    assert not any(block.warning for block in at.get("popover"))  # behind a button
    assert all(f"'{parameter}'" in warned for parameter in query)
    assert "students" not in query or at.multiselect(key="students").value == ["small-scratch"]
    assert not at.run().warning


@pytest.mark.parametrize(("linked", "shown"), [("teacher" + 4 * ",small-scratch", ["small-scratch"]), (",", [])])
def test_a_student_is_shown_once_and_a_teacher_is_not_its_own(family, linked, shown, open_page):
    at = open_page("soft_labels", students=linked)
    assert at.multiselect(key="students").value == shown
    assert "are shown" not in text(at)
    assert ("Choose a student" in text(at)) == (not shown)
    assert specs(at)


def test_two_classes_only_and_without_stored_logits(own, make_checkpoint, open_page):
    make_checkpoint(own / "two", classes=["cat", "dog"], data={})
    for name in PAGES:
        at = open_page(name)
        assert "two" in str(specs(at)[0])
        assert not at.error


@pytest.mark.parametrize(("name", "index"), [("Next", 1), ("Previous", 1999), ("Random", 7), ("thumb_2", 2)])
def test_a_button_shows_another_test_image(family, open_page, monkeypatch, name, index):
    monkeypatch.setattr("random.choice", lambda shown: shown[7])
    at = open_page("soft_labels", image="0").button(key=f"pick_{name}").click().run()
    assert f"Test image {index}:" in text(at)
    assert at.query_params["image"] == str(index)


def test_every_filter_shows_its_first_image_or_says_that_none_passes(family, monkeypatch, open_page):
    labels = CIFAR10.gallery().labels
    names = "teacher", "small-scratch", "small-response"
    logits = (open_checkpoint(family / name).logits()[: len(labels)] for name in names)
    predictions = image_filters.Predictions(labels, *logits)
    at = open_popover(open_page("soft_labels"), "picture_source")
    assert at.selectbox(key="filter").options == image_filters.available_filters(predictions)
    for name in at.selectbox(key="filter").options[-2:]:
        at.selectbox(key="filter").select(name).run()
        order = image_filters.filter_images(name, predictions)
        assert f"Test image {order[0]}:" in text(at), name
    monkeypatch.setattr(image_filters, "filter_images", lambda *_: order[:0])
    assert "No image passes this filter" in text(at.run())
    assert "0 of 2,000 images" in text(at)


def test_a_photo_is_shown_on_every_page_and_freed_once_read_and_no_image_is_reported(family, monkeypatch, open_page):
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager as Manager

    freed, remove = [], Manager.remove_file
    monkeypatch.setattr(Manager, "remove_file", lambda self, *which: freed.append(which) or remove(self, *which))
    at = upload(open_page("soft_labels"), "photo.png", PHOTO[:40])
    assert "PNG, JPEG or WebP" in at.error[0].value
    assert "Test image" in alt_texts(at)[0]  # all stays
    assert specs(at)
    assert not turn_to(at, "attention").error
    upload(turn_to(at, "soft_labels"), "photo.png", PHOTO)
    assert not at.error
    assert "Your photo" in alt_texts(at)
    assert "only the teacher pushes" in text(at)
    at.button_group(key="fit").set_value("Letterbox").run()
    assert specs(at)
    turn_to(at, "attention")
    assert "Your photo" in alt_texts(at)
    assert len(freed) == 1
    upload(at, "bad.png", b"")
    assert len(freed) == 1  # its message stays as long as it is chosen
    assert at.error
    at.button_group(key="source").set_value("Test images").run()
    assert "Test image" in alt_texts(at)[0]


def test_who_has_as_many_computations_as_one_may_have_waits_whichever_page_starts_them(family, monkeypatch, open_page):
    busy = turns.Visitor()
    monkeypatch.setattr(turns, "computations", [busy] * turns.COMPUTED_BY_A_BROWSER)
    monkeypatch.setattr(access, "visitor", lambda: busy)
    with pytest.raises(KDError, match="computations at a time"):
        downloads.build_handout(SimpleNamespace(networks={}, compared={}, temperature=4.0, pictures=[]), busy)
    for at in (compare(open_page("attention")), open_page("compare").button(key="latency").click().run()):
        assert "computations at a time" in at.error[0].value


def popovers(at):
    return [key for key in at.session_state if key.startswith("save_open_")]


@pytest.mark.parametrize("page", TITLES)
def test_every_chart_has_a_closed_button_that_sends_nothing(family, open_page, page, monkeypatch):
    monkeypatch.setattr(chart_view, "_describe", lambda *_: pytest.fail("a button is open"))
    at = open_page(page)
    assert len(popovers(at)) == len(specs(at))


def test_an_open_button_says_what_the_chart_is_of_and_a_run_that_trains_has_none(big, open_page, monkeypatch):
    passed = []
    monkeypatch.setattr(chart_view, "_offer", lambda data, **_: passed.append(data))
    at = open_page("soft_labels", image="25")
    open_popover(at, next(key for key in popovers(at) if key.startswith("save_open_soft-labels")))
    (data,) = passed
    assert data["source"] == "KD Explorer, Soft labels: CIFAR-10 test image 25, teacher → small-scratch, small-response"
    assert (data["name"], data["of"]) == ("Soft labels", "CIFAR-10 test image 25")
    assert max(data["tables"], key=len)[0]["network"] == "teacher"
    json.dumps(data, allow_nan=False)
    at = open_page("launch", run=make_run("running").run_id)
    assert specs(at)
    assert not popovers(at)
    at = open_page("launch", run=(run := make_run()).run_id)
    open_popover(at, next(key for key in popovers(at) if "accuracy" in key))
    assert passed[-1]["source"] == f"KD Explorer, demo: run {run.run_id}"
    at = open_page(figure="accuracies", networks=["big", "big-feature"], runs="../x")  # of a link from Compare
    open_popover(at, *popovers(at))
    assert "there is no run '../x'" in at.warning[0].value
    assert passed[-1]["source"] == "KD Explorer: big → big-feature"


def test_names_that_are_alike_do_not_meet(own, make_checkpoint, open_page):
    for number, name in enumerate(("a" * 60 + "-x", "a" * 60 + "-y")):
        make_checkpoint(own / name, "resnet8", number, **CIFAR10_CARD)
    at = open_tab(open_page("soft_labels"), "Curves over T")
    assert len(set(popovers(at))) == len(specs(at))
