"""The registry of measures, and tables as Markdown and CSV."""

import json

import numpy as np
import pytest

from kdexplorer.analysis import measures
from kdexplorer.analysis.measures import MEASURES
from kdexplorer.analysis.metrics import softmax
from kdexplorer.analysis.results import to_csv


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
    expected = np.mean((softmax(family.logits()["student"]) - np.eye(10)[family.labels]) ** 2) * 10
    assert rows[2].measures["brier"] == pytest.approx(expected)
    assert measures.tabulate(rows, ["brier"])[2] == {"Brier score": f"{expected:.3f}"}
    assert "brier" in to_csv(rows).splitlines()[0]
    assert json.loads(measures.to_json(rows))[2]["brier"] == pytest.approx(expected)
    rows[2].measures["brier"] = float("nan")
    assert json.loads(measures.to_json(rows))[2]["brier"] is None
