"""Charts of runs: the numbers that go in are the numbers that are drawn, and every chart says what it shows."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
import pytest

from kdexplorer import metrics
from kdexplorer.ui import charts, charts_compare, charts_runs, style

CLASSES = tuple("abcdefghij")
LOOKS = style.series({"plain": "scratch", "taught": "combined"})


@pytest.fixture
def answers():
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 10
    eye = 2.0 * np.eye(10)[labels]
    return {name: generator.normal(size=(200, 10)) + eye for name in ("plain", "taught")}, labels


def rows_of(spec, field):
    """All inline rows of a chart that have a field."""
    data = [*spec.get("datasets", {}).values()]
    data += [layer["data"]["values"] for layer in [spec, *spec.get("layer", [])] if "values" in layer.get("data", {})]
    return [row for rows in data for row in rows if field in row]


def lines(epochs=3):
    return [
        {
            "epoch": epoch,
            "student": name,
            "test": {"accuracy": 0.1 * (epoch + number + 1), "cross_entropy": 2.0 - epoch / 10, "objective": 3.0},
            "train": {"accuracy": 0.1, "cross_entropy": 2.2},
        }
        for epoch in range(epochs)
        for number, name in enumerate(("plain", "taught"))
    ]


def every_chart(answers):
    logits, labels = answers
    table = [
        {"name": name, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "multiply_adds": 1e7 * (number + 1)}
        for number, name in enumerate(logits)
    ]
    return [
        charts_runs.learning_curves(lines(), LOOKS, teacher={"accuracy": 0.9}),
        charts_runs.soft_labels_at(np.eye(10)[3], {"plain": np.eye(10)[4]}, LOOKS, CLASSES, 2.0, 3, "after epoch 1"),
        charts_compare.accuracy_cost(table, LOOKS, "multiply_adds"),
        charts_compare.reliability(logits, labels, LOOKS),
        charts_compare.per_class(logits, labels, LOOKS, CLASSES),
        charts_compare.confusion_map(logits["plain"], labels, CLASSES, "plain"),
        charts_compare.confusion_difference(logits["plain"], logits["taught"], labels, CLASSES, ("plain", "taught")),
    ]


def test_every_chart_has_title_alt_text_and_axes_with_words(answers):
    for spec in every_chart(answers):
        alt.Chart.from_dict(spec)  # against Vega-Lite's schema
        assert spec["title"]["text"], spec
        assert len(spec["description"]) > 20
        assert spec["width"] == "container"
        encodings = [layer.get("encoding", {}) for layer in spec["layer"]]
        titles = [encoding[axis].get("title") for encoding in encodings for axis in ("x", "y") if axis in encoding]
        assert any(titles)
        json.dumps(spec, allow_nan=False)


def test_titles_break_before_a_phone_s_edge(answers):
    for chart in every_chart(answers):
        text = chart["title"]["text"]
        assert all(len(line) <= 40 for line in ([text] if isinstance(text, str) else text))


def test_learning_curves_draw_the_metrics_and_the_teacher():
    spec = charts_runs.learning_curves(lines(), LOOKS, "accuracy", 10, {"accuracy": 0.9})
    drawn = {(row["network"], row["epoch"]): row["value"] for row in rows_of(spec, "epoch")}
    assert drawn["taught", 3] == pytest.approx(0.4)
    assert {"value": 0.9} in rows_of(spec, "value")
    domains = [layer["encoding"]["x"]["scale"]["domain"] for layer in spec["layer"] if "x" in layer["encoding"]]
    assert domains == [[1, 10]] * 2  # the axis stands still while it grows


@pytest.mark.parametrize("measure", ["response", "attention"])
def test_a_measure_that_nobody_has_draws_nothing(measure):
    assert charts_runs.learning_curves(lines(), LOOKS, measure) is None


def test_damaged_metrics_lines_are_left_out():
    rows = [*lines(1), {"epoch": 1, "student": "plain"}, {"epoch": 1, "student": "plain", "test": {"accuracy": "x"}}]
    spec = charts_runs.learning_curves(rows, LOOKS)
    assert {row["epoch"] for row in rows_of(spec, "epoch")} == {1}


def test_soft_labels_are_the_softmax_at_the_temperature():
    teacher, student = np.arange(10.0), np.zeros(10)
    spec = charts_runs.soft_labels_at(teacher, {"plain": student}, LOOKS, CLASSES, 4.0, 9, "after epoch 1")
    bars = {row["class"]: row["p"] for row in rows_of(spec, "p") if row["network"] == "teacher"}
    expected = np.exp(teacher / 4) / np.exp(teacher / 4).sum()
    assert list(bars.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert "j (true)" in bars
    assert {row["p"] for row in rows_of(spec, "p") if row["network"] == "plain"} == {0.1}


def test_same_method_same_colour_and_the_second_of_a_role_has_another_shape():
    looks = style.series({"a": "scratch", "b": "feature", "c": "scratch"})
    assert [look.colour for look in looks] == [charts.COLOURS[role] for role in ("scratch", "feature", "scratch")]
    assert len({look.shape for look in looks}) == 3


def test_per_class_and_confusion_show_what_metrics_say(answers):
    logits, labels = answers
    spec = charts_compare.per_class(logits, labels, LOOKS, CLASSES)
    drawn = [row["accuracy"] for row in rows_of(spec, "accuracy") if row["network"] == "plain"]
    assert drawn == pytest.approx(metrics.per_class_accuracy(logits["plain"], labels), abs=1e-5)
    cells = rows_of(charts_compare.confusion_map(logits["plain"], labels, CLASSES, "plain"), "share")
    assert [c["share"] for c in cells if c["true"] == c["answer"]] == pytest.approx(drawn, abs=1e-4)
    for true in CLASSES:
        assert sum(cell["share"] for cell in cells if cell["true"] == true) == pytest.approx(1, abs=1e-3)


def test_the_difference_of_a_network_to_itself_is_nothing(answers):
    logits, labels = answers
    spec = charts_compare.confusion_difference(logits["plain"], logits["plain"], labels, CLASSES, ("x", "x"))
    assert {row["share"] for row in rows_of(spec, "share")} == {0}


def test_an_unknown_cost_draws_nothing():
    table = [{"name": "plain", "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "latency": None}]
    assert charts_compare.accuracy_cost(table, LOOKS, "latency") is None


def test_networks_that_cost_the_same_stand_side_by_side():
    def row(name, cost):
        return {"name": name, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "parameters": cost}

    spec = charts_compare.accuracy_cost([row("plain", 10), row("taught", 10), row("large", 90)], LOOKS, "parameters")
    aside = {row["network"]: row["aside"] for row in rows_of(spec, "aside")}
    assert aside == {"plain": -charts_compare.ASIDE / 2, "taught": charts_compare.ASIDE / 2, "large": 0}
    assert all(layer["mark"]["xOffset"] == {"expr": "datum.aside"} for layer in spec["layer"])
