"""Metrics against results by hand and independent formulas, and what is said of the temperature."""

import math

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from scipy.special import softmax as scipy_softmax

from kdexplorer.analysis import metrics, verdicts
from kdexplorer.analysis.measures import Evaluation, measure
from kdexplorer.analysis.metrics import FOLDS, fit_temperature, scale_logits, softmax

GENERATOR = np.random.default_rng(0)
LOGITS, OTHER, LABELS = *GENERATOR.normal(0, 3, (2, 500, 10)), GENERATOR.integers(0, 10, 500)


def test_softmax_and_entropy_by_hand():
    np.testing.assert_allclose(softmax(np.array([0.0, np.log(3)])), [0.25, 0.75])
    np.testing.assert_allclose(softmax(np.array([0.0, 2 * np.log(3)]), 2.0), [0.25, 0.75])
    assert softmax(np.array([1000.0, -1000.0, 0.0]), 0.5).tolist() == [1, 0, 0]
    assert metrics.entropy(np.full(10, 0.1)) == pytest.approx(np.log(10))
    assert metrics.entropy(np.eye(10)[3]) == 0
    assert metrics.entropy(np.array([0.5, 0.5, 0, 0])) == pytest.approx(np.log(2))


def test_cross_entropy_agrees_with_torch_and_with_a_hand_case():
    shares = scipy_softmax(OTHER, axis=1)
    found = metrics.cross_entropy(LOGITS, LABELS), metrics.cross_entropy_to_humans(shares, LOGITS).mean()
    targets = torch.from_numpy(LABELS), torch.from_numpy(shares)
    expected = [torch.nn.functional.cross_entropy(torch.from_numpy(LOGITS), one).item() for one in targets]
    assert found == pytest.approx(expected, rel=1e-12)
    assert metrics.cross_entropy(np.zeros((3, 10)), np.array([0, 1, 2])) == pytest.approx(math.log(10))
    assert metrics.cross_entropy(np.array([[60_000.0, 0]], dtype=np.float16), np.array([1])) == pytest.approx(60_000)


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
    assert [row["noise"] for row in bins] == pytest.approx([(3 / 4 / 4 / 4) ** 0.5, 0])


def test_what_sampling_gives_a_calibrated_network_is_the_mean_of_simulated_labels():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3000, 4))
    chances = scipy_softmax(logits, axis=1).cumsum(axis=1)
    drawn = [(generator.random((3000, 1)) > chances).sum(axis=1) for _ in range(60)]
    simulated = np.mean([metrics.expected_calibration_error(logits, labels) for labels in drawn])
    assert metrics.calibration_noise(logits, drawn[0]) == pytest.approx(simulated, rel=0.1)


def test_per_class_accuracy_and_confusion_by_hand():
    logits, labels = 5 * np.eye(3)[[0, 1, 1]], np.array([0, 0, 1])
    np.testing.assert_array_equal(metrics.per_class_accuracy(logits, labels), [0.5, 1, np.nan])
    np.testing.assert_array_equal(metrics.confusion(logits, labels), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_divergence_agrees_with_scipy_and_goes_from_teacher_to_student(temperature):
    p, q = (scipy_softmax(z / temperature, axis=1) for z in (OTHER, LOGITS))
    expected = rel_entr(p, q).sum(axis=1).mean()
    assert metrics.kl_divergence(OTHER, LOGITS, temperature) == pytest.approx(expected, rel=1e-10)
    assert metrics.kl_divergence(LOGITS, OTHER, temperature) != pytest.approx(expected, rel=1e-6)
    assert metrics.kl_divergence(OTHER, OTHER, temperature) == pytest.approx(0, abs=1e-12)


def test_class_similarity_by_hand():
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    rows = metrics.class_similarity(logits, np.array([0, 0, 1]), 1.0)
    np.testing.assert_allclose(rows, [[0.6, 0.225, 0.175], [0.1, 0.8, 0.1], 3 * [np.nan]])


def test_annotators_who_follow_the_network_at_some_temperature_are_closest_there_and_others_nowhere():
    logits = np.random.default_rng(1).normal(0, 4, (500, 10))
    for temperature in (0.7, 2.5, 8.0):
        shares = softmax(logits, temperature)
        assert fit_temperature(shares, logits) == pytest.approx(temperature, rel=1e-3)
        assert fit_temperature(shares[0], logits[0]) == pytest.approx(temperature, rel=1e-3)
    for agreed in (0, 2):  # on the network's prediction, or on its least probable class
        assert fit_temperature(np.eye(3)[agreed], np.array([5.0, 1.0, 0.0])) is None


def draw(temperature, images=4000):
    """Calibrated logits times a temperature, and labels drawn from their predictions."""
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 2, (images, 10))
    labels = (softmax(logits).cumsum(axis=1) > generator.random((images, 1))).argmax(axis=1)
    return temperature * logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_scaling_undoes_a_wrong_level_of_confidence(temperature):
    logits, labels = draw(temperature)
    found = measure(Evaluation(logits, labels))
    assert found["scaling_temperature"] == pytest.approx(temperature, rel=0.05)
    assert found["scaled_calibration_error"] < 0.025
    assert found["scaled_cross_entropy"] == pytest.approx(metrics.cross_entropy(logits / temperature, labels), abs=2e-3)
    assert found == measure(Evaluation(logits, labels))


def test_an_image_is_scaled_by_the_temperature_of_the_other_folds_if_there_is_one():
    logits, labels = draw(2.0, 100)
    changed = labels.copy()
    changed[::FOLDS] = (changed[::FOLDS] + 1) % 10  # the first fold's labels
    before, after = scale_logits(logits, labels)[0], scale_logits(logits, changed)[0]
    same = np.isclose(before, after).all(axis=1)
    assert same[::FOLDS].all()
    assert not same[1::FOLDS].any()
    labels = np.arange(20) % 10
    logits = 3 * np.eye(10)[labels]
    assert (scale_logits(logits, labels)[0] == logits).all()
    assert (scale_logits(logits[:1], labels[:1])[0] == logits[:1]).all()


SURE, LESS_SURE, UNSURE = np.array([[8.0, 0, 0]]), np.array([[6.0, 4, 0]]), np.zeros((1, 3))
PUSH, KL = verdicts.describe_push, verdicts.describe_kl


@pytest.mark.parametrize(
    ("describe", "teacher", "student", "temperature", "change"),
    [
        (PUSH, SURE, SURE - 3, 4.0, "has the same size"),
        (PUSH, SURE, UNSURE, 4.0, "grows from"),
        (PUSH, SURE, UNSURE, 0.5, "shrinks from"),
        (KL, SURE, SURE + 1, 2.0, "grows on 0% of 1 test images; its mean stays at 0.000"),
        (KL, SURE, UNSURE, 2.0, "grows on 0% of 1 test images; its mean falls from"),
        (KL, SURE, LESS_SURE, 2.0, "grows on 100% of 1 test images; its mean rises from"),
        (KL, SURE[[0, 0]], np.vstack([LESS_SURE, UNSURE]), 2.0, "grows on 50% of 2 test images; its mean falls"),
    ],
)
def test_the_sentences_on_the_push_and_on_kl_follow_the_numbers(describe, teacher, student, temperature, change):
    assert change in describe("small", teacher, student, temperature)
