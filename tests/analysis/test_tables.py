"""Tables as Markdown, CSV and JSON."""

import csv
import io
import json

import pytest

from kdexplorer.analysis import tables
from kdexplorer.analysis.tables import ResultRow


def cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_markdown_by_hand():
    text = tables.markdown_table(["a", "b", "c"], [["x", "1", "2"], ["y|z", "", "3"]], text_columns=2)
    assert text == "| a | b | c |\n|---|---|---:|\n| x | 1 | 2 |\n| y\\|z |  | 3 |"


def test_the_summary_has_the_paired_tests_of_each_student(family):
    headings, rule, *lines = cells(tables.to_markdown(family.rows()))
    assert headings[0] == "Network"
    assert len({len(line) for line in (headings, rule, *lines)}) == 1
    assert lines[2][-2:] == ["+10.00 (p = 0.00049)", "-15.00 (p < 0.0001)"]
    assert lines[2][headings.index("Accuracy, 95 % interval")].startswith("60.00 % (")
    assert [line[headings.index("Epochs by run")] for line in lines] == ["1", "1", "1"]
    assert lines[0][-2:] == lines[1][-2:] == ["", ""]


def test_without_labels_there_is_a_difference_and_no_test(family):
    assert cells(tables.to_markdown(family.rows(labels=False)))[-1][-2:] == ["+10.00", "-15.00"]


def test_a_comparison_is_with_its_baseline_and_leaves_empty_columns_out(family):
    rows = family.rows(teacher="teacher", baseline="plain")
    headings, lines = tables.format_table(rows, "plain")
    assert "To plain" in headings
    assert lines[2][headings.index("To plain")] == "+10.00"
    assert lines[2][headings.index("McNemar p")] == "0.00049"
    assert tables.COLUMNS["human_cross_entropy"].heading not in headings
    assert tables.COLUMNS["teacher_kl"].heading in headings


def test_columns_can_be_chosen(family):
    headings, lines = tables.format_table(family.rows(), columns=("name", "parameters", "multiply_adds", "latency"))
    assert len(headings) == 4
    assert lines[0] == ["teacher", "75,290", "12.2", ""]


@pytest.mark.parametrize(("key", "value"), [("accuracy", 60.0), ("size", None), ("latency", None), ("name", "student")])
def test_values_are_in_the_unit_of_the_heading(family, key, value):
    row = family.rows()[2]
    expected = row.size / 1000 if key == "size" else value
    assert tables.COLUMNS[key].value(row) == (expected if expected is None else pytest.approx(expected))


def test_columns_without_text_of_their_own_are_fields():
    fields = ResultRow.__dataclass_fields__
    assert all(column.text is not None or key in fields for key, column in tables.COLUMNS.items())
    assert {*tables.SUMMARY_COLUMNS, *tables.COMPARISON_COLUMNS} <= tables.COLUMNS.keys()


def test_files_read_back_to_the_same_numbers(family):
    rows = family.rows(teacher="teacher", baseline="plain")
    read = list(csv.DictReader(io.StringIO(tables.to_csv(rows))))
    assert [line["name"] for line in read] == ["teacher", "plain", "student"]
    assert float(read[2]["accuracy"]) == rows[2].accuracy
    assert float(read[2]["teacher_kl"]) == rows[2].teacher_kl
    assert read[1]["p"] == ""
    values = json.loads(tables.to_json(rows))
    assert values[2]["p"] == rows[2].p
    assert values[2]["to_teacher"]["name"] == "teacher"
    assert values[2]["objective_terms"]["terms"][0]["temperature"] == 4
    assert values[1]["p"] is None
