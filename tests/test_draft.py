"""Forms: starting points are valid, and each mistake is told beside its field."""

from __future__ import annotations

import pytest

from kdexplorer import cli, draft
from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.models import BUILDERS, build

BASE = {
    "dataset": "synthetic",
    "train_images": 300,
    "batch_size": 64,
    "students": [{"name": "s", "architecture": "resnet8"}],
}
LISTENING = {"name": "s", "architecture": "resnet8", "attention_weight": 1000.0}


@pytest.mark.parametrize("start", draft.STARTING_POINTS)
def test_starting_points_are_experiments_and_survive_the_command_line(start):
    config = ExperimentConfig.model_validate(draft.STARTING_POINTS[start])
    words = cli.command_line(config).partition("--students ")[2].split()
    assert [StudentConfig.parse(word) for word in words] == config.students


def test_the_demo_has_a_distilled_student_and_its_twin():
    one, other = ExperimentConfig.model_validate(draft.ONE_MINUTE_DEMO).students
    assert (one.method, one.architecture) == ("scratch", other.architecture)
    assert other.needs_teacher


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"epochs": 0}, "epochs", "greater than or equal to 1"),
        ({"epochs": None}, "epochs", "integer"),
        ({"learning_rate": float("nan")}, "learning_rate", "finite"),
        ({"batch_size": 400}, "batch_size", "larger than the training set"),
        ({"train_images": 20_000, "batch_size": 64}, "train_images", "only 10000"),
        ({"holdout": 9_990}, "holdout", "only 10000"),
        ({"name": "../x"}, "name", "letters"),
        ({"students": []}, "students", "at least 1"),
        ({"students": [LISTENING]}, "teacher", "no teacher is given"),
        ({"students": [{**LISTENING, "temperature": 0}]}, "students", "s: temperature"),
        ({"teacher": "nobody"}, "teacher", "no network 'nobody'"),
        ({"dataset": "cifar10"}, "dataset", "not here yet"),
        ({"students": [{"name": "s", "architecture": "resnet8"}] * 2}, "students", "two students"),
    ],
)
def test_each_mistake_stands_beside_its_field(changes, field, words, monkeypatch, tmp_path):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    config, problems = draft.check(BASE | changes)
    assert config is None
    assert words in " ".join(problems[field])


def test_a_sound_form_makes_the_experiment():
    config, problems = draft.check(BASE)
    assert problems == {}
    assert config.train_images == 300


def test_a_teacher_must_fit_the_data_and_the_students(tmp_path, make_checkpoint):
    teacher = make_checkpoint(tmp_path / "t")
    assert draft.check({**BASE, "teacher": "t", "students": [LISTENING]}, teacher)[0]
    assert "no student listens" in draft.check({**BASE, "teacher": "t"}, teacher)[1]["teacher"][0]
    four = {**LISTENING, "architecture": "resnet18"}
    assert "4 stages" in draft.check({**BASE, "teacher": "t", "students": [four]}, teacher)[1]["students"][0]
    foreign = make_checkpoint(tmp_path / "f", classes=list("abcdefghij"))
    problems = draft.check({**BASE, "teacher": "f", "students": [LISTENING]}, foreign)[1]
    assert "other classes" in problems["teacher"][0]


@pytest.mark.parametrize("architecture", BUILDERS)
def test_stages_are_those_of_the_networks(architecture):
    assert draft.STAGES[architecture] == len(build(architecture).stage_names)


def test_choosing_a_preset_fills_the_weights_and_the_name_follows():
    rows = [draft.student({"architecture": "resnet8"})]
    new, rewritten = draft.edited(rows, {"edited_rows": {0: {"preset": "response"}}})
    assert rewritten
    assert (new[0]["name"], new[0]["response_weight"], new[0]["ce_weight"]) == ("resnet8-response", 0.7, 0.3)


def test_a_weight_that_is_typed_stays_and_the_preset_becomes_custom():
    rows = [draft.student({"preset": "response"})]
    new, rewritten = draft.edited(rows, {"edited_rows": {0: {"temperature": 2.0}}})
    assert (new[0]["temperature"], new[0]["preset"], new[0]["name"]) == (2.0, "custom", "resnet8-response")
    assert rewritten
    assert not draft.edited(new, {"edited_rows": {0: {"temperature": 3.0}}})[1]


def test_rows_are_added_with_free_names_and_deleted():
    rows = [draft.student({}), draft.student({"preset": "feature"})]
    new, rewritten = draft.edited(rows, {"added_rows": [{}], "deleted_rows": [1]})
    assert rewritten
    assert [row["name"] for row in new] == ["resnet8-scratch", "resnet8-scratch-2"]


def test_an_emptied_name_and_a_new_preset_get_names_that_are_free():
    rows = [draft.student({"architecture": "resnet8", "preset": preset}) for preset in ("scratch", "combined")]
    renamed, _ = draft.edited(rows, {"edited_rows": {"0": {"preset": "combined"}}})
    assert [row["name"] for row in renamed] == ["resnet8-combined-2", "resnet8-combined"]
    emptied, rewritten = draft.edited(rows, {"edited_rows": {"1": {"name": None}}, "added_rows": [{}]})
    assert [row["name"] for row in emptied] == ["resnet8-scratch", "resnet8-combined", "resnet8-scratch-2"]
    assert rewritten
