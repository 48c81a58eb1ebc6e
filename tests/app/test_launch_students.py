"""The students of the launch form: presets, names, edits, and their objectives as formulas."""

from kdexplorer import notation
from kdexplorer.app.launch.students import edit_student, make_student
from kdexplorer.presets import PRESETS


def make(preset="scratch", **changes):
    name = f"resnet8-{preset}"
    return make_student({"name": name, "architecture": "resnet8"} | PRESETS.get(preset, {}) | changes)


def test_a_preset_sets_the_objective_and_a_name_that_was_not_typed_follows():
    students = [make(), make("combined")]

    def edit(name, value):
        edit_student(students, students[0], name, value)
        return students[0]["name"], notation.find_preset(students[0])

    assert edit("preset", "combined") == ("resnet8-combined-2", "combined")
    assert students[0]["terms"] == students[1]["terms"]
    assert edit("architecture", "resnet20") == ("resnet20-combined", "combined")
    assert edit("ce_weight", 0.5) == ("resnet20-kd+at", None)
    assert edit("preset", "custom") == ("resnet20-kd+at", None)
    assert edit("name", "RESNET8-combined") == ("RESNET8-combined", None)
    assert edit("ce_weight", None) == ("RESNET8-combined", None)  # until it is reported
    assert students[0]["ce_weight"] is None
    assert edit("name", "") == ("resnet20-kd+at", None)


def test_an_objective_without_cross_entropy_and_with_smoothing():
    student = make("own", terms=[{"method": "kd"}])
    (term,) = student["terms"]
    assert "CE" not in notation.objective_formula(student | {"ce_weight": 0.0})
    assert "0.1" in notation.objective_formula(student | {"label_smoothing": 0.1})
    assert "10^{6}" in notation.objective_formula(student | {"terms": [term | {"weight": 1e6}]})
    assert "?" in notation.objective_formula(student | {"ce_weight": None, "terms": [term | {"weight": None}]})
