"""Runs as they are written: bounds, objectives, messages."""

import pickle
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdexplorer import config
from kdexplorer.config import RUN_FILES, SCRATCH, Objective, RunConfig, StudentConfig, objective_label, trained_alpha
from kdexplorer.errors import ConfigError
from kdexplorer.presets import STARTING_POINTS
from kdexplorer.schema import RECORDED, is_name, validate


@pytest.mark.parametrize("name", [*RUN_FILES, "Config.JSON", "s-after-8", f"{'x' * 56}-after-8"])
def test_a_student_cannot_take_the_place_of_the_runs_own_files_or_of_a_snapshot(name):
    students = [{"name": one, "architecture": "resnet8"} for one in ("s", name)]
    with pytest.raises(ConfigError, match=name.lower()):
        validate(RunConfig, {"students": students, "snapshots": 4})


KD, AT = {"method": "kd"}, {"method": "at"}


@pytest.mark.parametrize(
    ("terms", "key", "label", "alpha"),
    [
        ([], "scratch", "scratch", 0.7),
        ([AT, KD], "kd+at", "KD + AT", 0.7 / 2.7),
        ([KD, AT, {**KD, "temperature": 2.0}], "kd+at", "KD + AT", 1.4 / 3.4),
    ],
)
def test_an_objective_is_named_by_its_methods_each_once_in_one_order(terms, key, label, alpha):
    objective = Objective(ce_weight=2.0, terms=terms)
    assert objective.key == key
    assert objective_label(key) == label
    assert bool(objective.needs) == (key != SCRATCH)
    assert [type(method).key for method in objective.methods] == [term["method"] for term in terms]
    assert trained_alpha(objective) == pytest.approx(alpha)


@pytest.mark.parametrize("start", STARTING_POINTS)
def test_a_starting_point_is_a_run(start):
    assert RunConfig.model_validate(STARTING_POINTS[start])


def test_a_plugins_key_may_end_in_a_number(monkeypatch):
    monkeypatch.setattr(config.KD, "key", "focal_2")
    assert [*map(config.split_term_name, ("focal_2", "focal_2.2"))] == [("focal_2", ""), ("focal_2", "2")]


def test_a_record_may_have_a_method_that_is_not_installed():
    term = {"method": "magic", "weight": 2.0, "power": 1.5, "mode": "x"}
    read = validate(Objective, {"terms": [term, {"method": "kd"}]}, context=RECORDED)
    assert (read.key, objective_label(read.key), read.unknown) == ("kd+magic", "KD + magic", ["magic"])
    assert read.model_dump(mode="json")["terms"][0] == term
    assert pickle.loads(pickle.dumps(read)) == read


NAMES = ["a", "resnet20-T=4.0", "20260101-a_b+c", "x" * 64]
TRICKS = ["", ".", "..", "../x", "a/b", "a\\b", "a..b", ".hidden", "-x", "a\n", "a\0", "x" * 65]


@given(st.text(max_size=70) | st.sampled_from([*NAMES, *TRICKS]))
def test_no_name_leaves_its_folder(text):
    assert [name for name in NAMES + TRICKS if is_name(name)] == NAMES
    try:
        accepted = bool(StudentConfig(name=text, architecture="resnet8"))
    except ValidationError:
        accepted = False
    assert accepted == is_name(text)
    if accepted:
        assert PurePosixPath(text).parts == (text,)
        assert PureWindowsPath(text).parts == (text,)
        assert not text.startswith(".")
