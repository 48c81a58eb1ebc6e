"""Experiments as they are written: bounds, notation, messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdexplorer.config import PRESETS, RUN_FILES, ExperimentConfig, StudentConfig, is_name, validated
from kdexplorer.errors import ConfigError

SCRATCH = {"name": "a", "architecture": "resnet8"}
LISTENER = {"name": "b", "architecture": "resnet8", "response_weight": 0.7}


def experiment(**changes):
    return validated(ExperimentConfig, {"students": [SCRATCH], **changes})


@pytest.mark.parametrize(
    ("preset", "weights"),
    [
        ("scratch", (1.0, 0.0, 4.0, 0.0)),
        ("response", (0.3, 0.7, 4.0, 0.0)),
        ("feature", (1.0, 0.0, 4.0, 1000.0)),
        ("combined", (0.3, 0.7, 4.0, 1000.0)),
    ],
)
def test_presets_are_the_labs_objectives(preset, weights):
    student = StudentConfig.parse(f"resnet20:{preset}")
    assert (student.ce_weight, student.response_weight, student.temperature, student.attention_weight) == weights
    assert student.name == f"resnet20-{preset}"
    assert student.method == preset
    assert student.needs_teacher == (preset != "scratch")
    assert set(PRESETS) == {"scratch", "response", "feature", "combined"}


def test_the_notation_sets_what_its_keys_say():
    student = StudentConfig.parse(
        "resnet8:combined:T=2.5:alpha=0.9:beta=50:power=2:smoothing=0.1:initial=run/it:name=mine"
    )
    assert student.model_dump() == {
        "name": "mine",
        "architecture": "resnet8",
        "ce_weight": 0.1,
        "response_weight": 0.9,
        "temperature": 2.5,
        "attention_weight": 50.0,
        "attention_power": 2,
        "label_smoothing": 0.1,
        "initial": "run/it",
    }
    assert StudentConfig.parse("resnet8") == StudentConfig.parse("resnet8:scratch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet9:scratch", "architecture.*resnet8.*not 'resnet9'"),
        ("resnet8:magic", "no preset 'magic'.*scratch, response, feature, combined"),
        ("resnet8:response:tau=4", "no key 'tau'.*alpha"),
        ("resnet8:response:T", "'T' is not KEY=VALUE"),
        ("resnet8:response:T=hot", "takes a number, not 'hot'"),
        ("resnet8:response:T=0", "temperature.*0.1"),
        ("resnet8:response:T=nan", "temperature.*finite"),
        ("resnet8:response:alpha=1.5", "ce_weight.*greater than or equal to 0"),
        ("resnet8:feature:beta=-1", "attention_weight"),
        ("resnet8:feature:power=3", "attention_power.*1 or 2"),
        ("resnet8:scratch:smoothing=0.5", "label_smoothing"),
        ("resnet8:scratch:ce_weight=0", "all three weights are 0"),
        ("resnet8:scratch:name=../evil", "letters, digits"),
        ("resnet8:scratch:name=a..b", "two dots"),
    ],
)
def test_a_wrong_student_is_refused_in_a_users_words(text, words):
    with pytest.raises(ConfigError, match=words):
        StudentConfig.parse(text)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs.*greater than or equal to 1, not '0'"),
        ({"epochs": 1001}, "epochs"),
        ({"batch_size": 3}, "batch_size"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"momentum": 1}, "momentum"),
        ({"weight_decay": 0.2}, "weight_decay"),
        ({"warmup": 0.95}, "warmup"),
        ({"crop_padding": 9}, "crop_padding"),
        ({"flip": "upside"}, "flip.*alternating"),
        ({"start_resolution": 20}, "start_resolution.*multiple of 8, not '20'"),
        ({"start_resolution": 8}, "start_resolution.*greater than or equal to 16"),
        ({"start_resolution": 40}, "start_resolution.*less than or equal to 32"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"dataset": "mnist"}, "dataset"),
        ({"device": "tpu"}, "device"),
        ({"threads": 0}, "threads"),
        ({"save_minutes": 0}, "save_minutes"),
        ({"holdout": -1}, "holdout"),
        ({"train_images": 19}, "train_images"),
        ({"train_images": 100, "batch_size": 128}, "batch is larger"),
        ({"name": "../x"}, "name"),
        ({"name": "a..b"}, "name.*two dots"),
        ({"name": "a\n"}, "name"),
        ({"teacher": "x" * 301}, "teacher"),
        ({"epoch": 3}, "epoch: is not a setting"),
        ({"students": []}, "students"),
        ({"students": [SCRATCH] * 65}, "students"),
        ({"students": [SCRATCH, SCRATCH]}, "two students are called a"),
        ({"students": [SCRATCH, {**SCRATCH, "name": "A"}]}, "two students are called a"),
        ({"students": [SCRATCH, LISTENER]}, "b learns from a teacher, but no teacher"),
        ({"students": "resnet8"}, "students"),
    ],
)
def test_a_wrong_experiment_is_refused_in_a_users_words(changes, words):
    with pytest.raises(ConfigError, match=words) as raised:
        experiment(**changes)
    assert "pydantic" not in str(raised.value)
    assert "\n" not in str(raised.value).replace("a\n", "")


@pytest.mark.parametrize("name", [*RUN_FILES, "Config.JSON"])
def test_a_student_cannot_take_the_place_of_the_runs_own_files(name):
    with pytest.raises(ConfigError, match="keeps a file of that name"):
        experiment(students=[{**SCRATCH, "name": name}])


def test_an_experiment_survives_json(tmp_path):
    config = experiment(students=[SCRATCH, LISTENER], teacher="resnet56", train_images=200, threads=2, epochs=3)
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json())
    assert ExperimentConfig.load(path) == config


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"null", b'{"students": 3}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_a_config_error_that_names_it(tmp_path, garbage):
    path = tmp_path / "config.json"
    path.write_bytes(garbage)
    with pytest.raises(ConfigError, match=r"config\.json"):
        ExperimentConfig.load(path)
    with pytest.raises(ConfigError, match=r"missing\.json"):
        ExperimentConfig.load(tmp_path / "missing.json")


def test_a_configuration_cannot_be_changed_afterwards():
    with pytest.raises(ValueError, match="frozen"):
        experiment().epochs = 5


@pytest.mark.parametrize("name", ["a", "resnet20-T=4.0", "20260101-a_b+c", "x" * 64])
def test_names_of_runs_and_students(name):
    assert is_name(name)
    assert experiment(students=[{**SCRATCH, "name": name}]).students[0].name == name


@given(st.text(max_size=70))
def test_no_name_leaves_its_folder_and_both_checks_agree(text):
    from pathlib import PurePosixPath, PureWindowsPath

    try:
        accepted = bool(StudentConfig(name=text, architecture="resnet8"))
    except ValueError:
        accepted = False
    assert accepted == is_name(text)
    if accepted:
        assert PurePosixPath(text).parts == (text,)
        assert PureWindowsPath(text).parts == (text,)
        assert not text.startswith(".")


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../x", "a/b", "a\\b", "a..b", ".hidden", "-x", "a\n", "a\0", "x" * 65]
)
def test_path_tricks_are_not_names(text):
    assert not is_name(text)
