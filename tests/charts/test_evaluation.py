"""Networks side by side: accuracy and its intervals, costs, classes, and the outcomes of error inheritance."""

import numpy as np
import pytest

from kdexplorer.analysis.metrics import per_class_accuracy
from kdexplorer.analysis.verdicts import OWN, REPEATED, RIGHT
from kdexplorer.charts import evaluation, style
from tests.charts.drawing import rows_of
from tests.charts.records import make_row
from tests.charts.test_class_maps import LOOKS, predictions


def test_each_bar_adds_up_and_wrong_images_come_first():
    counts = {
        "student": {"wrong": {RIGHT: 20, REPEATED: 70, OWN: 10}, "right": {RIGHT: 880, OWN: 20}},
        "baseline": {"wrong": {RIGHT: 30, REPEATED: 60, OWN: 10}, "right": {RIGHT: 870, OWN: 30}},
    }
    spec = evaluation.inheritance(counts, "teacher")
    bars = [
        "student, teacher wrong", "baseline, teacher wrong", "student, teacher right", "baseline, teacher right",
    ]  # fmt: skip
    assert spec["layer"][0]["encoding"]["y"]["sort"] == bars
    for bar in bars:
        parts = [row for row in rows_of(spec, "images") if row["bar"] == bar]
        name, where = bar.split(", teacher ")
        assert {row["outcome"]: row["images"] for row in parts} == counts[name][where]
        assert sum(row["share"] for row in parts) == pytest.approx(1)
    assert "where teacher is wrong, right on 20.0% and the same wrong class on 70.0%" in spec["description"]


def test_networks_of_equal_cost_are_side_by_side():
    costs = {"plain": 10, "distilled": 10, "large": 90}
    rows = [make_row(name, parameters=cost) for name, cost in costs.items()]
    spec = evaluation.accuracy_cost(rows, style.series(dict.fromkeys(costs, "scratch")), "parameters")
    aside = {row["network"]: row["aside"] for row in rows_of(spec, "aside")}
    assert aside == {"plain": -evaluation.ASIDE / 2, "distilled": evaluation.ASIDE / 2, "large": 0}
    assert all("datum.aside" in layer["mark"]["xOffset"]["expr"] for layer in spec["layer"])


def test_accuracies_have_their_intervals_in_percent():
    rows = [make_row("plain", accuracy=0.93, accuracy_low=0.92, accuracy_high=0.94), make_row("distilled")]
    spec = evaluation.accuracies(rows, {"plain": "scratch", "distilled": "kd"})
    found = {row["label"]: (row["low"], row["x"], row["high"]) for row in rows_of(spec, "low")}
    assert found["plain"] == pytest.approx((92, 93, 94))
    assert found["distilled"] == pytest.approx((40, 50, 60))


@pytest.mark.parametrize("count", [10, 12])
def test_accuracy_by_class_is_the_metric_of_the_least_accurate_classes(count):
    logits, labels, classes = predictions(count)
    spec = evaluation.per_class(logits, labels, LOOKS, classes)
    expected = {name: per_class_accuracy(values, labels) for name, values in logits.items()}
    mean = np.mean(list(expected.values()), axis=0)
    shown = {row["class"] for row in rows_of(spec, "accuracy")}
    assert len(shown) == 10
    assert max(mean[classes.index(name)] for name in shown) <= np.sort(mean)[9]
    for row in rows_of(spec, "accuracy"):
        assert row["accuracy"] == pytest.approx(expected[row["network"]][classes.index(row["class"])], abs=1e-5)
