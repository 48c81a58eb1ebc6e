"""The rows of the students' table: presets, terms, names and edits."""

import pytest

from kdexplorer import notation
from kdexplorer.app.launch import students
from kdexplorer.app.launch.students import edit_rows, make_row
from kdexplorer.config import Objective, RunConfig, StudentConfig
from kdexplorer.methods import all_methods
from kdexplorer.presets import PRESETS, STARTING_POINTS


def student(row):
    return StudentConfig.model_validate({key: value for key, value in row.items() if key != "preset"})


@pytest.mark.parametrize("start", STARTING_POINTS)
def test_a_starting_point_is_a_run_and_its_rows_keep_their_objectives(start):
    assert RunConfig.model_validate(STARTING_POINTS[start])
    for values in STARTING_POINTS[start]["students"]:
        assert student(make_row(values)) == StudentConfig.model_validate(values)


def test_a_typed_weight_stays_and_the_preset_becomes_custom():
    rows = [make_row({"preset": "response"})]
    edited, differs = edit_rows(rows, {"edited_rows": {0: {"ce_weight": 0.5}}})
    assert (edited[0]["ce_weight"], edited[0]["preset"], edited[0]["name"]) == (0.5, "custom", "resnet8-response")
    assert differs
    assert not edit_rows(edited, {"edited_rows": {0: {"ce_weight": 0.6}}})[1]
    emptied, _ = edit_rows(rows, {"edited_rows": {0: {"ce_weight": None}}})
    assert emptied[0]["ce_weight"] is None  # until it is reported


def test_cells_are_what_the_table_lets_a_visitor_enter():
    forged = {"name": "x" * 5000, "architecture": ["resnet8"], "ce_weight": "1", "terms": 7, "initial": "/etc/passwd"}
    (row,), differs = edit_rows([make_row({})], {"edited_rows": {0: forged}, "deleted_rows": [{}, "0"]})
    assert differs
    assert row == make_row({}) | {"name": "x" * students.MAX_CHARACTERS}
    added, _ = edit_rows([], {"added_rows": [forged, 5, None]})
    assert [row["name"] for row in added] == [row["name"], "resnet8-scratch", "resnet8-scratch-2"]
    assert all(row["terms"] == [] and "initial" not in row for row in added)


def test_an_emptied_name_a_new_preset_or_network_and_a_new_row_get_free_names_and_rows_are_deleted():
    rows = [make_row({"architecture": "resnet8", "preset": preset}) for preset in ("scratch", "combined", "feature")]
    edits = {0: {"preset": "combined"}, 2: {"architecture": "resnet20"}}
    new = {"preset": "response", "architecture": "resnet20"}
    renamed, differs = edit_rows(rows, {"edited_rows": edits, "added_rows": [new]})
    names = ["resnet8-combined-2", "resnet8-combined", "resnet20-feature", "resnet20-response"]
    presets = ["combined", "combined", "feature", "response"]
    assert [(row["name"], row["preset"]) for row in renamed] == list(zip(names, presets, strict=True))
    assert [student(row).objective for row in renamed] == [Objective.model_validate(PRESETS[one]) for one in presets]
    assert differs
    emptied, differs = edit_rows(rows, {"edited_rows": {1: {"name": None}}, "added_rows": [{}], "deleted_rows": [2]})
    assert [row["name"] for row in emptied] == ["resnet8-scratch", "resnet8-combined", "resnet8-scratch-2"]
    assert differs
    assert edit_rows(rows, {"deleted_rows": [1]}) == ([rows[0], rows[2]], True)


@pytest.mark.parametrize("method", all_methods())
def test_a_term_is_described_with_every_number(method):
    term = students.fill_term({"method": method.key, "weight": 0.25})
    assert term == method.Settings(weight=0.25).model_dump()
    row = make_row({"ce_weight": 0.5, "terms": [term]})
    assert notation.describe_terms(row) == f"0.25 {method.label}"
    formula = notation.objective_formula(row)
    assert formula.count("&") == 2
    assert f"0.25\\,{method.formula}" in formula
    for name, value in term.items():
        if name not in ("method", "weight"):
            assert (f"\\text{{{value}}}" if isinstance(value, str) else f"= {value:g}") in formula


def test_an_objective_without_cross_entropy_and_with_smoothing():
    row = make_row({"terms": [{"method": "kd"}]})
    assert "CE" not in notation.objective_formula(row | {"ce_weight": 0.0})
    assert "0.1" in notation.objective_formula(row | {"label_smoothing": 0.1})
    assert "10^{6}" in notation.objective_formula(row | {"terms": [row["terms"][0] | {"weight": 1e6}]})
    assert "?" in notation.objective_formula(row | {"ce_weight": None, "terms": [row["terms"][0] | {"weight": None}]})
