"""Temperature scaling against logits whose temperature is known, and against a search over the stored logits."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from kdexplorer.analysis import metrics
from kdexplorer.analysis.metrics import softmax
from kdexplorer.analysis.temperature_scaling import (
    FOLDS,
    fit_temperature,
    scale_logits,
    scaled_metrics,
)


def test_annotators_who_follow_the_network_at_some_temperature_are_closest_there():
    logits = np.random.default_rng(1).normal(0, 4, (500, 10))
    for temperature in (0.7, 2.5, 8.0):
        shares = softmax(logits, temperature)
        assert fit_temperature(shares, logits) == pytest.approx(temperature, rel=1e-3)
        assert fit_temperature(shares[0], logits[0]) == pytest.approx(temperature, rel=1e-3)


def test_no_temperature_is_closest_where_annotators_agree_or_the_network_is_wrong():
    logits = np.array([5.0, 1.0, 0.0])
    assert fit_temperature(np.array([1.0, 0, 0]), logits) is None
    assert fit_temperature(np.array([0, 0, 1.0]), logits) is None


def draw(temperature, images=4000):
    """Calibrated logits times a temperature, and labels drawn from their predictions."""
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, (images, 10))
    labels = (softmax(logits).cumsum(axis=1) > generator.random((images, 1))).argmax(axis=1)
    return temperature * logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_scaling_undoes_a_wrong_level_of_confidence(temperature):
    logits, labels = draw(temperature)
    found = scaled_metrics(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.calibration_error < 0.025
    assert found.cross_entropy == pytest.approx(metrics.cross_entropy(logits / temperature, labels), abs=2e-3)
    assert found == scaled_metrics(logits, labels)


def test_an_image_is_scaled_by_the_temperature_of_the_other_folds():
    logits, labels = draw(2.0, 100)
    changed = labels.copy()
    changed[::FOLDS] = (changed[::FOLDS] + 1) % 10  # the first fold's labels
    before, after = scale_logits(logits, labels)[0], scale_logits(logits, changed)[0]
    same = np.isclose(before, after).all(axis=1)
    assert same[::FOLDS].all()
    assert not same[1::FOLDS].any()


def test_without_a_best_temperature_logits_stay_as_they_are():
    labels = np.arange(20) % 10
    logits = 3 * np.eye(10)[labels]
    assert (scale_logits(logits, labels)[0] == logits).all()
    assert (scale_logits(logits[:1], labels[:1])[0] == logits[:1]).all()


def test_one_number_explains_the_bundled_students_calibration(bundled):
    """Every figure a second time, with a search instead of Newton's method and the sums written out."""
    for name in ("resnet8-scratch", "resnet8-response", "resnet20-combined"):
        logits, errors, losses = bundled.logits[name].astype(np.float64), [], np.empty(10_000)
        for fold in range(FOLDS):
            others = np.arange(10_000) % FOLDS != fold

            def cost(t, others=others, logits=logits):
                z = logits[others] / t
                return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(8000), bundled.labels[others]]).mean()

            best = minimize_scalar(cost, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-4}).x
            scaled = np.exp(logits[~others] / best)
            scaled /= scaled.sum(axis=1, keepdims=True)
            losses[~others] = -np.log(scaled[np.arange(2000), bundled.labels[~others]])
            errors.append(best)
        found = scaled_metrics(bundled.logits[name], bundled.labels)
        assert found.temperature == pytest.approx(np.mean(errors), rel=1e-3)
        assert found.cross_entropy == pytest.approx(losses.mean(), abs=1e-6)
        assert found.calibration_error < 0.0132


def test_after_scaling_the_distilled_resnet8_is_below_its_baseline(bundled):
    """Its cross-entropy is 0.038 above the baseline's as trained, and 0.069 below it when both are scaled."""
    pair = [bundled.logits[name] for name in ("resnet8-response", "resnet8-scratch")]
    raw = [metrics.cross_entropy(one, bundled.labels) for one in pair]
    scaled = [scaled_metrics(one, bundled.labels).cross_entropy for one in pair]
    assert raw[0] - raw[1] == pytest.approx(0.038, abs=5e-4)
    assert scaled[0] - scaled[1] == pytest.approx(-0.069, abs=5e-4)
