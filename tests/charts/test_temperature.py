"""Curves over T are the metrics, those of closeness to human labels among them."""

import numpy as np
import pytest

from kdexplorer.analysis.human_agreement import closeness, cross_entropy_to_humans
from kdexplorer.analysis.metrics import entropy, gradient_on_logits, kl_divergence, softmax
from kdexplorer.charts import style, temperature
from kdexplorer.charts.common import Source
from kdexplorer.charts.temperature import CURVES
from tests.charts.drawing import rows_of
from tests.charts.test_soft_labels import networks

ROLES = {"small": "scratch"}
LOGITS = np.random.default_rng(0).normal(0, 2, (50, 10))


def test_the_curve_is_lowest_at_the_marker_and_never_below_the_annotators_entropy():
    labels = softmax(LOGITS, 3.0)
    spec = temperature.closeness_curves({"small": closeness(labels, LOGITS)}, ROLES, labels, "50 images")
    marker = next(row for row in rows_of(spec, "T") if row["T"] == pytest.approx(3, abs=0.01))
    floor = next(row["value"] for row in rows_of(spec, "value") if "T" not in row)
    assert floor == pytest.approx(np.mean(entropy(labels)))
    assert marker["value"] == pytest.approx(floor, abs=1e-4)
    assert min(row["value"] for row in rows_of(spec, "T")) >= floor - 1e-5
    for row in rows_of(spec, "T"):
        assert row["value"] == pytest.approx(cross_entropy_to_humans(labels, LOGITS, row["T"]).mean(), rel=1e-4)
    certain = np.eye(10)[LOGITS.argmax(axis=1)]
    spec = temperature.closeness_curves({"small": closeness(certain, LOGITS)}, ROLES, certain, "50 images")
    assert len(spec["layer"]) == 2
    assert "at no T" in spec["description"]  # and no marker


def test_curves_over_temperature_are_the_metrics():
    teacher, students, classes, label = networks(10)
    source = Source([teacher, *students], classes, label, 4.0)
    rows = {key: rows_of(temperature.over_temperature(source, key), "value") for key in CURVES}
    shown = {key: {row["network"] for row in found} for key, found in rows.items()}
    students_alone, everyone = {"scratch", "kd"}, {"big", "scratch", "kd"}
    assert shown == {"kl": students_alone, "push": students_alone | {style.FRESH}, "entropy": everyone, "top": everyone}
    logits = {one.name: one.logits for one in [teacher, *students]} | {style.FRESH: np.zeros(10)}
    measures = {
        "kl": lambda z, t: kl_divergence(teacher.logits[None], z[None], t),
        "push": lambda z, t: np.abs(gradient_on_logits(z, teacher.logits, None, t, 1.0)["total"]).sum(),
        "entropy": lambda z, t: entropy(softmax(z, t)),
        "top": lambda z, t: softmax(z, t).max(),
    }
    for key, measure in measures.items():
        for row in rows[key]:
            assert row["value"] == pytest.approx(measure(logits[row["network"]], row["T"]))
