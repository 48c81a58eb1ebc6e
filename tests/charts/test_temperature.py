"""Curves over T are the metrics, those of closeness to human labels among them."""

import math

import numpy as np
import pytest

from kdexplorer.analysis.human_agreement import Closeness, closeness
from kdexplorer.analysis.metrics import entropy, gradient_on_logits, kl_divergence, softmax
from kdexplorer.charts import style, temperature
from tests.charts.drawing import rows_of
from tests.charts.test_soft_labels import networks

ROLES = {"small": "scratch"}


def test_the_curve_is_lowest_at_the_marker_and_never_below_the_annotators_entropy():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (50, 10))
    labels = softmax(logits, 3.0)
    spec = temperature.closeness_curves({"small": closeness(labels, logits)}, ROLES, labels, "50 images")
    marker = next(row for row in rows_of(spec, "T") if row["T"] == pytest.approx(3, abs=0.01))
    floor = next(row["value"] for row in rows_of(spec, "value") if "T" not in row)
    assert floor == pytest.approx(np.mean(entropy(labels)))
    assert marker["value"] == pytest.approx(floor, abs=1e-4)
    assert min(row["value"] for row in rows_of(spec, "T")) >= floor - 1e-5


def test_without_a_closest_temperature_there_is_no_marker():
    spec = temperature.closeness_curves(
        {"small": Closeness(np.ones(40), 1.0, None, None)}, ROLES, np.full(10, 0.1), "one image"
    )
    assert len(spec["layer"]) == 2
    assert "at no T" in spec["description"]


def test_curves_over_temperature_are_the_metrics():
    teacher, students, _, _ = networks(10)
    spec = temperature.over_temperature(teacher, students, "kl", 4.0)
    assert {row["network"] for row in rows_of(spec, "network")} == {"scratch", "kd"}
    for row in rows_of(spec, "value"):
        student = next(one for one in students if one.name == row["network"])
        expected = kl_divergence(teacher.logits[None], student.logits[None], row["T"])
        assert row["value"] == pytest.approx(expected)
    spec = temperature.over_temperature(teacher, students, "push", 4.0)
    assert {row["network"] for row in rows_of(spec, "network")} == {"scratch", "kd", style.FRESH}
    logits = {one.name: one.logits for one in students} | {style.FRESH: np.zeros(10)}
    for row in rows_of(spec, "value"):
        parts = gradient_on_logits(logits[row["network"]], teacher.logits, None, row["T"], 1.0)
        assert row["value"] == pytest.approx(np.abs(parts["total"]).sum())
    spec = temperature.over_temperature(teacher, students, "entropy", 4.0)
    entropies = [row["value"] for row in rows_of(spec, "value") if row["network"] == "big"]
    assert entropies == sorted(entropies)
    assert entropies[-1] < math.log(10)
    spec = temperature.over_temperature(teacher, students, "top", 4.0)
    row = next(row for row in rows_of(spec, "value") if row["network"] == "big")
    assert row["value"] == pytest.approx(softmax(teacher.logits, 0.5).max())
