"""Single figures, the lecture's steps, and parts that a link hides, without a browser."""

import json
import shutil
import sys

import pytest

from kdexplorer import story as lecture
from kdexplorer.app.layout import PARTS, TITLES
from kdexplorer.app.server import access
from kdexplorer.figures import all_figures
from kdexplorer.story import read_lecture
from tests.pages.reading import PHOTO, button, params, specs, text, upload

COUNT = len(read_lecture().steps)
STEP = """
[[steps]]
title = "{}"
sentence = "One."
figure = "soft_labels"
"""
THREE = STEP.format("First") + STEP.format("Second") + "[steps.settings]\nT = 8\nimage = 7" + STEP.format("Third")


@pytest.fixture
def own_lecture(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(THREE)
    monkeypatch.setattr(sys, "argv", ["/somewhere/streamlit_app.py", "--story", str(path)])
    return path


def notes_of(at):
    """What the window of the notes gets, as text; empty without notes."""
    return "".join(one.proto.json for one in at.get("bidi_component") if '"notes"' in one.proto.json)


@pytest.mark.parametrize("name", all_figures())
def test_a_figure_stands_alone(family, name, open_page):
    at = open_page(figure=name)
    assert all_figures()[name].page in TITLES
    assert not at.error
    assert specs(at) or name in ("vote", "learning_curves", "experiment")  # of which this family has nothing to draw
    assert not at.title
    assert "Present" not in [one.label for one in at.button]
    shutil.rmtree(family)
    assert ("no networks yet" in text(at.run())) == (name not in ("taxonomy", "divergence", "experiment"))


def test_a_figure_is_left_with_its_choices_and_an_unknown_one_or_an_unknown_step_is_reported(big, open_page):
    at = open_page("attention", image="3", teacher="big")
    at.button(key="full_screen").click().run()
    assert at.query_params["figure"] == "attention"
    assert not at.title
    at.button(key="figure_leave").click().run()
    assert "figure" not in at.query_params
    assert (at.query_params["image"], at.query_params["teacher"]) == ("3", "big")
    at = open_page(figure="*nothing*")
    assert "nothing" in at.error[0].value
    assert [link.proto.label.partition(":")[0] for link in at.get("page_link")] == [*all_figures(), "Overview"]
    for step in ("0", "99", "²"):  # of which there is none
        at = open_page(story=step)
        assert at.warning
        assert at.title[0].value == read_lecture().steps[0].title


@pytest.mark.parametrize("step", range(1, COUNT + 1))
def test_a_step_of_the_bundled_lecture_has_its_sentence_and_its_figure(step, open_page):
    at = open_page(story=str(step))
    expected = read_lecture().steps[step - 1]
    assert at.title[0].value.replace("\\", "") == expected.title
    assert expected.notes[:40] not in text(at)
    assert not at.error
    assert bool(specs(at)) == (expected.figure not in ("vote", ""))
    assert at.button(key="story_back").disabled == (step == 1)
    assert at.button(key="story_next").disabled == (step == COUNT)


def test_choices_are_kept_through_the_steps_and_after_them(family, open_page):
    at = open_page("soft_labels", image="3", T="2")
    button(at, "Present").click().run()
    for way, step in [*(("next", step) for step in (2, 3, 4, 5)), ("more", 6), ("next", 7), ("back", 5)]:
        at.button(key=f"story_{way}").click().run()  # the optional sixth has a button of its own
        assert at.query_params["story"] == str(step)
    assert params(specs(at)[0])["logT"] == 0  # the step begins with T = 1
    at.button(key="pick_Next").click().run()
    at.button(key="story_leave").click().run()
    assert "story" not in at.query_params
    assert at.query_params["image"] == "4"
    assert params(specs(at)[0])["logT"] == 1
    button(at, "Present").click().run()  # goes on where it was left
    assert at.query_params["story"] == "5"
    assert params(specs(at)[0])["logT"] == 0


def test_the_answer_is_revealed_and_hidden_again_at_the_next_step(open_page):
    steps = read_lecture().steps
    number = 1 + next(k for k, step in enumerate(steps) if step.answer)
    at = open_page(story=str(number))
    assert steps[number - 1].answer not in text(at)
    at.button(key="story_reveal").click().run()
    assert steps[number - 1].answer in text(at)
    at.button(key="story_next").click().run()  # an experiment, whose verdict is its answer
    verdict = "The teacher's whole prediction for each image teaches more than each of four parts of it: supported."
    assert verdict not in text(at)
    at.button(key="story_reveal").click().run()
    assert f":material/check_circle: {verdict}" in text(at)
    at.button(key="story_back").click().run()
    assert steps[number - 1].answer not in text(at)


def test_a_steps_settings_end_with_it_unless_the_presenter_changes_them(family, own_lecture, open_page):
    at = open_page(story="1", T="2", image="3")
    at.button(key="story_next").click().run()
    assert at.query_params["image"] == "7"
    assert params(specs(at)[0])["logT"] == 3
    at.button(key="story_next").click().run()
    assert at.query_params["image"] == "3"
    assert params(specs(at)[0])["logT"] == 1
    at.button(key="story_back").click().run()
    at.button(key="pick_Next").click().run()
    at.button(key="story_next").click().run()
    assert at.query_params["image"] == "8"
    assert params(specs(at)[0])["logT"] == 1
    reloaded = open_page(story="2", image="7", T="8")
    reloaded.button(key="story_next").click().run()
    assert params(specs(reloaded)[0])["logT"] == 2  # the usual one: what was chosen before is lost
    linked = open_page(story="2", image="5")  # a link to a step has its own choices
    assert linked.query_params["image"] == "5"
    assert params(specs(linked)[0])["logT"] == 3


def test_the_students_return_with_the_teacher_after_a_step_that_sets_another(big, own_lecture, open_page):
    own_lecture.write_text(THREE.replace("T = 8\nimage = 7", 'teacher = "big"'))
    at = open_page("soft_labels", teacher="teacher", students="small-response")
    shown = []
    for key in ("present", "story_next", "story_next"):
        at.button(key=key).click().run()
        shown.append((at.session_state["teacher"], at.session_state["students"]))
    its = "big", ["big-scratch", "big-feature"]
    assert shown == [("teacher", ["small-response"]), its, ("teacher", ["small-response"])]
    linked = open_page(story="2").button(key="story_next").click().run()
    assert linked.session_state["teacher"] == "teacher"  # the usual one


def test_a_step_shows_its_test_image_instead_of_a_photo_which_the_buttons_replace(family, own_lecture, open_page):
    at = upload(open_page("soft_labels", image="3"), "photo.png", PHOTO)
    button(at, "Present").click().run()
    at.button(key="story_next").click().run()
    assert "Test image 7:" in text(at)
    at.button(key="story_next").click().run()
    assert "Your photo" in text(at)
    at.button(key="pick_Next").click().run()
    assert "Test image 4:" in text(at)
    at.button(key="story_leave").click().run()
    assert "Test image 4:" in text(at)


def test_a_file_that_became_invalid_is_reported_and_one_that_changed_is_read(family, own_lecture, open_page):
    at = open_page(story="1")
    own_lecture.write_text(THREE.replace('"First"', '"Begin"').replace("One.", "Another one."))
    assert at.run().title[0].value == "Begin"
    own_lecture.write_text("nothing")
    assert "mine.toml" in at.run().error[0].value
    with pytest.raises(SystemExit, match=r"mine\.toml"):  # nor does a server start with it
        lecture.check_file()


def test_the_notes_are_in_a_view_of_their_own_without_guests(family, open_page, monkeypatch):
    at = open_page(story="notes")
    assert read_lecture().steps[0].notes[:40] in notes_of(at)
    following = [step["next"] for step in json.loads(notes_of(at))["steps"]]
    assert following[4] == read_lecture().steps[6].title  # as the button Next, which passes over an optional step
    assert following[-1] == "the end"
    assert not [*at.button, *specs(at)]
    monkeypatch.setenv(access.VARIABLE, "a presenter token")
    at = open_page(story="notes")
    assert not notes_of(at)
    assert "Presenter token" in [one.label for one in at.text_input]


def test_a_link_hides_parts_and_reports_what_is_unknown(family, open_page):
    at = open_page("soft_labels", hide="networks,picture,nothing")
    styles = [element.proto.body for element in at.get("html")]
    assert any("networks_line" in style and "display: none !important" in style for style in styles)
    assert "nothing" in at.warning[0].value
    assert at.query_params["hide"] == "networks,picture,nothing"
    assert not open_page("soft_labels", hide=",".join(PARTS)).warning
