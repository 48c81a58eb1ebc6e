"""Networks against human labels: curves, the closest temperature, and what is said about it."""

import numpy as np
import pytest

from kdexplorer.analysis.human_agreement import Closeness, closeness
from kdexplorer.analysis.metrics import entropy, softmax
from kdexplorer.charts import temperature
from tests.charts.drawing import rows_of

CURVE = np.ones(40)
ROLES = {"big": "teacher", "small": "scratch", "soft": "kd", "both": "kd+at", "maps": "at"}


def near(at_one, temperature=2.0, least=0.1):
    return Closeness(CURVE, at_one, temperature, least)


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
    spec = temperature.closeness_curves({"small": near(1.0, None, None)}, ROLES, np.full(10, 0.1), "one image")
    assert len(spec["layer"]) == 2
    assert "at no T" in spec["description"]
