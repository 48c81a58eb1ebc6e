"""Starting points that can be run, and files of version 1: nothing of them is lost."""

import json

import pytest

from kdexplorer.config import Objective, RunConfig
from kdexplorer.errors import ConfigError
from kdexplorer.notation import parse_student
from kdexplorer.presets import PRESETS, STARTING_POINTS, upgrade_experiment, upgrade_metrics, upgrade_objective


@pytest.mark.parametrize("values", STARTING_POINTS.values(), ids=STARTING_POINTS)
def test_a_starting_point_is_an_experiment(values):
    config = RunConfig.parse(values)
    assert {name: getattr(config, name) for name in values if name != "students"} == {
        name: value for name, value in values.items() if name != "students"
    }
    assert [student.name for student in config.students] == [student["name"] for student in values["students"]]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_an_objective_with_every_setting(name):
    objective = Objective.model_validate(PRESETS[name])
    assert objective.model_dump(mode="json", exclude={"label_smoothing"}) == PRESETS[name]


VERSION_1 = {
    "name": "lab",
    "dataset": "synthetic",
    "train_images": 2000,
    "teacher": "resnet56",
    "students": [
        {"name": "plain", "architecture": "resnet8", "ce_weight": 1.0, "response_weight": 0.0, "temperature": 4.0,
         "attention_weight": 0.0, "attention_power": 1, "label_smoothing": 0.1, "initial": None},
        {"name": "soft", "architecture": "resnet20", "ce_weight": 0.1, "response_weight": 0.9, "temperature": 2.5,
         "attention_weight": 0.0, "attention_power": 1, "label_smoothing": 0.0, "initial": "run/soft"},
        {"name": "both", "architecture": "resnet20", "ce_weight": 0.3, "response_weight": 0.7, "temperature": 4.0,
         "attention_weight": 50.0, "attention_power": 2, "label_smoothing": 0.0, "initial": None},
        {"name": "short", "architecture": "resnet8", "attention_weight": 1000.0},
        {"name": "bare", "architecture": "resnet8"},
    ],
    "epochs": 3,
    "seed": 7,
}  # fmt: skip
"""`config.json` as version 1 wrote it; of the two last, as users wrote them by hand."""


def test_a_configuration_of_version_1_means_the_same(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(VERSION_1))
    config = RunConfig.load(path)
    assert (config.name, config.dataset, config.train_images) == ("lab", "synthetic", 2000)
    assert (config.teacher, config.epochs, config.seed) == ("resnet56", 3, 7)
    assert list(config.students) == [
        parse_student(text)
        for text in (
            "resnet8:scratch:smoothing=0.1:name=plain",
            "resnet20:kd:T=2.5:weight=0.9:ce=0.1:initial=run/soft:name=soft",
            "resnet20:kd:T=4:weight=0.7+at:weight=50:power=2:ce=0.3:name=both",
            "resnet8:at:weight=1000:power=1:name=short",
            "resnet8:scratch:name=bare",
        )
    ]
    assert json.loads(path.read_text()) == VERSION_1
    path.write_text(config.model_dump_json())
    assert RunConfig.load(path) == config


def test_upgrading_changes_nothing_that_it_was_given():
    given = json.loads(json.dumps(VERSION_1))
    upgrade_experiment(given)
    assert given == VERSION_1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"response_weight": -1}, "weight"),
        ({"response_weight": "high"}, "weight"),
        ({"response_weight": 0.7, "temperature": 0}, "temperature"),
        ({"attention_weight": 1, "attention_power": 3}, "power"),
        ({"ce_weight": 0, "response_weight": 0}, "ce_weight"),
        ({"response_weight": 0.7, "terms": [{"method": "at"}]}, "response_weight: is not a setting"),
        ({"response": 0.7}, "response: is not a setting"),
    ],
)
def test_an_invalid_student_of_version_1_is_refused(changes, words):
    students = [{"name": "a", "architecture": "resnet8", **changes}]
    with pytest.raises(ConfigError, match=words):
        RunConfig.parse({"teacher": "resnet56", "students": students})


@pytest.mark.parametrize("values", [None, 3, [], "x", {}, {"students": 3}, {"students": [3, None]}], ids=str)
def test_what_is_no_experiment_is_left_to_the_validation(values):
    assert upgrade_experiment(values) == values
    with pytest.raises(ConfigError):
        RunConfig.parse(values)


def test_todays_objectives_are_left_alone():
    values = {"ce_weight": 0.3, "terms": [{"method": "kd", "weight": 0.7}]}
    assert upgrade_objective(values) == values
    assert upgrade_objective({}) == {}


def test_metrics_of_version_1_have_todays_names():
    old = {"objective": 3.0, "cross_entropy": 2.0, "response": 1.0, "attention": 0.5, "attention_2": 0.25, "n": 0}
    new = {"objective": 3.0, "cross_entropy": 2.0, "kd": 1.0, "at": 0.5, "at_2": 0.25, "n": 0}
    assert upgrade_metrics(old) == new
    assert upgrade_metrics(new) == new
    assert upgrade_metrics({"kd.2": 1.0, "responsive": 2.0}) == {"kd.2": 1.0, "responsive": 2.0}


@pytest.mark.parametrize(
    ("changes", "order"),
    [({}, "content"), ({"version": 2}, "source"), ({"version": 2, "image_order": "content"}, "content")],
)
def test_an_experiment_stored_before_there_was_an_order_keeps_the_sources(changes, order):
    student = {"name": "a", "architecture": "resnet8"}
    assert RunConfig.parse({"students": [student]} | changes).image_order == order
