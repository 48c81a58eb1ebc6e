"""Rows of results against independent ways of computing them, what may stand in one table, and the tables' forms."""

import csv
import io
import json

import numpy as np
import pytest

from kdexplorer.analysis import measures, results
from kdexplorer.analysis.measures import MEASURES, to_json
from kdexplorer.analysis.metrics import softmax
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.lineage import is_distilled, short_names


def test_rows_agree_with_the_logits(family):
    rows = family.rows(teacher="teacher", baseline="plain")
    logits, student = family.logits, rows[2]
    assert (student.to_baseline.gained, student.to_baseline.lost) == (12, 0)
    assert student.measures["teacher_agreement"] == pytest.approx((120 - 18) / 120)
    p, q = (np.exp(logits[n]) / np.exp(logits[n]).sum(1, keepdims=True) for n in ("teacher", "student"))
    assert student.measures["teacher_kl"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-5)
    assert student.size == (family.entries["student"].path / "weights.safetensors").stat().st_size
    assert student.method == "KD"
    assert [row.is_distilled for row in rows] == [is_distilled(c) for c in family.entries.values()]
    assert "teacher_kl" not in rows[0].measures
    assert rows[1].to_baseline is None
    assert family.rows(teacher="plain")[2].to_teacher.other == "teacher"  # its own, whatever the others agree with
    tables = results.tabulate(family.rows()), results.tabulate(family.rows(labels=None))
    known, unknown = ([list(line.values())[-2:] for line in table] for table in tables)
    assert known == [["", ""], ["", ""], ["+10.00 (p = 0.00049)", "-15.00 (p < 0.0001)"]]
    assert unknown == [["", ""], ["", ""], ["+10.00", "-15.00"]]


HELD = {"dataset": "synthetic", "evaluation_split": "holdout", "evaluation_images": 120}


def test_networks_evaluated_on_different_images_are_grouped_apart_and_not_subtracted(family, tmp_path, make_checkpoint):
    assert list(results.group_by_evaluation(family.entries).values()) == [["teacher", "plain", "student"]]
    card = family.entries["student"].card
    same = {"objective": card.objective, "teacher": card.teacher, "data": HELD}
    held = make_checkpoint(tmp_path / "held", recipe={"image_order": "content"}, run="r", **same)
    by_source = make_checkpoint(tmp_path / "by-source", recipe={"image_order": "source"}, **same)  # others of them
    other = make_checkpoint(tmp_path / "other", data={"dataset": "synthetic", "evaluation_images": 2000})
    unknown = make_checkpoint(tmp_path / "unknown", data={"dataset": "somewhere else", "evaluation_images": 120})
    networks = family.entries | {"held": held, "by_source": by_source, "other": other, "unknown": unknown}
    assert len(results.group_by_evaluation(networks)) == 5
    logits = family.logits | {"held": family.entries["student"].logits()}
    row = results.build_rows(networks, logits, family.labels, "teacher")[3]
    assert (row.name, row.to_scratch_baseline, row.to_teacher) == ("held", None, None)
    assert "teacher_kl" not in row.measures


def test_labels_are_those_of_the_test_split_that_the_card_names(tmp_path, make_checkpoint, tiny):
    synthetic = get_dataset("synthetic")
    checkpoint = make_checkpoint(tmp_path / "a", logits=np.zeros((60, 10)))
    np.testing.assert_array_equal(results.evaluation_labels(checkpoint), synthetic.load("test").labels)
    assert checkpoint.card.split_logits(checkpoint.logits(), "synthetic") is not None
    assert checkpoint.card.split_logits(checkpoint.logits()[:50], "synthetic") is None
    assert checkpoint.card.split_logits(checkpoint.logits(), "cifar10") is None
    for name, changes in (("held", {"data": HELD}), ("classes", {"classes": list("0123456789")})):
        assert results.evaluation_labels(make_checkpoint(tmp_path / name, **changes)) is None


def test_disagreements_begin_with_the_most_confident_pair():
    first = np.array([[2.0, 0], [5, 0], [1, 0], [9, 0]])
    second = np.array([[0.0, 2], [0, 5], [0, 9], [9, 0]])
    groups = results.disagreements(first, second, np.array([0, 1, 0, 0]))
    assert groups["all"].tolist() == [1, 0, 2]
    assert (groups["first"].tolist(), groups["second"].tolist()) == ([0, 2], [1])


def test_short_names_are_unique():
    keys = ["a", "20260101-000000-demo-1234/a", "20260102-000000-demo-5678/a", "20260102-000000-demo-5678/b"]
    assert list(short_names(keys).values()) == ["a", "a (demo-1234)", "a (demo-5678)", "b"]
    assert len(set(short_names(["x/a", "x/y/a"]).values())) == 2


def test_the_teachers_figures_come_with_curves_only_where_it_is_the_only_teacher(family, tmp_path, make_checkpoint):
    teacher, student = family.entries["teacher"], family.entries["student"].card
    taught = {"objective": student.objective, "history": [{"epoch": 0, "test": {"accuracy": 0.5}}]}
    mine = make_checkpoint(tmp_path / "mine", teacher=student.teacher, **taught)
    other = make_checkpoint(tmp_path / "other", teacher={"name": "x", "sha256": "another"}, **taught)
    curves, figures = results.learning_curves({"mine": mine, "plain": family.entries["plain"]}, teacher)
    assert (curves["mine"][0].epoch, curves["mine"][0].test, curves["plain"]) == (0, {"accuracy": 0.5}, [])
    assert (figures.accuracy, figures.cross_entropy) == (90 / 120, teacher.card.test_cross_entropy)
    assert figures.note == ""
    held = make_checkpoint(tmp_path / "held", teacher=student.teacher, data=HELD, **taught)
    assert results.learning_curves({"held": held}, teacher)[1].note.startswith("on the 120 test images")
    assert results.learning_curves({"mine": mine, "other": other}, teacher)[1] is None
    assert results.learning_curves({"mine": mine}, None)[1] is None


def test_files_read_back_to_the_same_numbers(family):
    rows = family.rows(teacher="teacher", baseline="plain")
    read = list(csv.DictReader(io.StringIO(measures.to_csv(results.to_records(rows)))))
    assert [line["name"] for line in read] == ["teacher", "plain", "student"]
    pair = rows[2].to_baseline
    expected = {
        "accuracy": rows[2].accuracy, "teacher_kl": rows[2].measures["teacher_kl"],
        "to_baseline": pair.estimate, "p_to_baseline": pair.p, "gained_to_baseline": pair.gained,
        "lost_to_baseline": pair.lost, "to_teacher": rows[2].to_teacher.estimate,
    }  # fmt: skip
    assert {key: float(read[2][key]) for key in expected} == expected
    assert [read[1][key] for key in ("p_to_baseline", "to_baseline", "teacher")] == ["", "", ""]
    assert [read[2][key] for key in ("baseline", "scratch_baseline", "teacher")] == ["plain", "plain", "teacher"]
    values = json.loads(to_json(rows))
    assert values[2]["to_teacher"]["other"] == "teacher"
    assert values[2]["objective_terms"]["terms"][0]["temperature"] == 4
    assert values[1]["to_baseline"] is None


def test_markdown_and_csv_by_hand():
    table = [{"a": "x", "b": "1", "c": "2"}, {"a": "y|z", "b": "", "c": "3"}]
    assert measures.to_markdown(table, text_columns=2) == (
        "| a | b | c |\n|---|---|---:|\n| x | 1 | 2 |\n| y\\|z |  | 3 |"
    )
    assert measures.to_csv([{"a": "x", "b": 0.1}, {"a": None, "c": 1}]) == "a,b,c\nx,0.1,\n,,1\n"
    assert measures.to_markdown([]) == ""


def test_measures_are_shown_in_the_unit_of_their_heading(family):
    keys = ("name", "parameters", "multiply_adds", "latency", "accuracy", "cross_entropy")
    rows = family.rows()
    table = measures.tabulate(rows, keys, {"accuracy": "right"})
    assert list(table[0]) == ["Network", "Parameters", "Multiply-adds (M)", "Latency (ms)", "right", "Cross-entropy"]
    assert list(table[2].values()) == ["student", "75,290", "12.2", "", "60.00", f"{rows[2].cross_entropy:.3f}"]
    assert MEASURES["size"].value(rows[2]) == pytest.approx(rows[2].size / 1000)
    assert MEASURES["accuracy"].value({"accuracy": 0.25}) == 25
    assert MEASURES["teacher_kl"].cell({}) == ""
    assert MEASURES["cross_entropy"].axis_title == "Cross-entropy (nats), lower is better"


def test_a_measure_of_logits_needs_no_more_than_its_entry(family, monkeypatch):
    """Results, CSV, JSON and studies have it then."""
    brier = measures.Measure(
        "brier", "Brier score", "", ".3f", 1, "lower",
        compute=lambda one: float(((softmax(one.logits) - np.eye(10)[one.labels]) ** 2).sum(axis=1).mean()),
    )  # fmt: skip
    monkeypatch.setitem(MEASURES, "brier", brier)
    rows = family.rows()
    expected = np.mean((softmax(family.logits["student"]) - np.eye(10)[family.labels]) ** 2) * 10
    assert rows[2].measures["brier"] == pytest.approx(expected)
    assert measures.tabulate(rows, ["brier"])[2] == {"Brier score": f"{expected:.3f}"}
    assert "brier" in measures.to_csv(results.to_records(rows)).splitlines()[0]
    assert json.loads(to_json(rows))[2]["brier"] == pytest.approx(expected)
    rows[2].measures["brier"] = float("nan")
    assert json.loads(to_json(rows))[2]["brier"] is None
