"""Metrics against results by hand and independent formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax

from kdexplorer.analysis import metrics


def logits_of(predictions, classes=10):
    return np.eye(classes)[predictions] * 5


@pytest.fixture
def random_logits():
    generator = np.random.default_rng(0)
    return generator.normal(0, 3, (500, 10)), generator.normal(0, 3, (500, 10)), generator.integers(0, 10, 500)


def test_softmax_by_hand():
    np.testing.assert_allclose(metrics.softmax(np.array([0.0, np.log(3)])), [0.25, 0.75])
    np.testing.assert_allclose(metrics.softmax(np.array([0.0, 2 * np.log(3)]), 2.0), [0.25, 0.75])


def test_softmax_of_large_logits_is_finite():
    probabilities = metrics.softmax(np.array([1000.0, -1000.0, 0.0]), 0.5)
    assert np.isfinite(probabilities).all()
    assert probabilities.sum() == pytest.approx(1)


def test_entropy_by_hand():
    assert metrics.entropy(np.full(10, 0.1)) == pytest.approx(np.log(10))
    assert metrics.entropy(np.eye(10)[3]) == 0
    assert metrics.entropy(np.array([0.5, 0.5, 0, 0])) == pytest.approx(np.log(2))


def test_cross_entropy_agrees_with_torch_and_with_a_hand_case(random_logits):
    logits, _, labels = random_logits
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert metrics.cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-12)
    assert metrics.cross_entropy(np.zeros((3, 10)), np.array([0, 1, 2])) == pytest.approx(math.log(10))
    assert metrics.cross_entropy(np.array([[60_000.0, 0]], dtype=np.float16), np.array([1])) == pytest.approx(60_000)


def test_cross_entropy_takes_shares_as_torch_does(random_logits):
    logits, other, _ = random_logits
    shares = scipy_softmax(other, axis=1)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(shares)).item()
    assert metrics.cross_entropy_to_humans(shares, logits).mean() == pytest.approx(expected, rel=1e-12)


def test_calibration_error_by_hand():
    """Confidence 3/4 on four images of which two are right: off by 1/4. Certain and right on one: off by 0."""
    unsure = np.log(np.array([[0.75, 0.25]] * 4))
    logits = np.concatenate([unsure, [[0.0, -100.0]]])
    labels = np.array([0, 0, 1, 1, 0])
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(4 / 5 * 0.25)
    bins = metrics.calibration_bins(logits, labels)
    assert [(row["count"], row["accuracy"]) for row in bins] == [(4, 0.5), (1, 1.0)]
    assert [row["confidence"] for row in bins] == pytest.approx([0.75, 1.0])
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in bins)


def test_calibration_error_agrees_with_its_definition(random_logits):
    logits, _, labels = random_logits
    p = scipy_softmax(logits, axis=1)
    total, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        inside = (p.max(axis=1) >= low) & (p.max(axis=1) < high)
        total += abs((p.max(axis=1) - (p.argmax(axis=1) == labels))[inside].sum())
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(total / 500)
    assert sum(row["count"] for row in metrics.calibration_bins(logits, labels)) == 500


def test_per_class_accuracy_is_nan_where_a_class_is_absent():
    shares = metrics.per_class_accuracy(logits_of([0, 1, 1], classes=3), np.array([0, 0, 1]), classes=3)
    assert shares[:2] == [0.5, 1.0]
    assert math.isnan(shares[2])


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_divergence_agrees_with_scipy_and_goes_from_teacher_to_student(random_logits, temperature):
    student, teacher, _ = random_logits
    p, q = (scipy_softmax(z / temperature, axis=1) for z in (teacher, student))
    expected = rel_entr(p, q).sum(axis=1).mean()
    assert metrics.kl_divergence(teacher, student, temperature) == pytest.approx(expected, rel=1e-10)
    assert metrics.kl_divergence(student, teacher, temperature) != pytest.approx(expected, rel=1e-6)
    assert metrics.kl_divergence(teacher, teacher, temperature) == pytest.approx(0, abs=1e-12)


def test_confusion_by_hand():
    shares = metrics.confusion(logits_of([0, 1, 1], classes=3), np.array([0, 0, 1]), classes=3)
    np.testing.assert_array_equal(shares, [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])


def test_class_similarity_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    rows = metrics.class_similarity(logits, np.array([0, 0, 1]), 1.0, classes=3)
    np.testing.assert_allclose(rows[0], [0.6, 0.225, 0.175])
    np.testing.assert_allclose(rows[1], [0.1, 0.8, 0.1])
    assert np.isnan(rows[2]).all()
