"""Starting points that can be run, and presets that are objectives."""

import pytest

from kdexplorer.config import Objective, RunConfig
from kdexplorer.presets import PRESETS, STARTING_POINTS


@pytest.mark.parametrize("values", STARTING_POINTS.values(), ids=STARTING_POINTS)
def test_a_starting_point_is_a_run(values):
    config = RunConfig.model_validate(values)
    assert {name: getattr(config, name) for name in values if name != "students"} == {
        name: value for name, value in values.items() if name != "students"
    }
    assert [student.name for student in config.students] == [student["name"] for student in values["students"]]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_an_objective_with_every_setting(name):
    objective = Objective.model_validate(PRESETS[name])
    assert objective.model_dump(mode="json", exclude={"label_smoothing"}) == PRESETS[name]
