"""The temperature: scaling, the size of the gradient and KL, against autograd, a search, and made-up logits."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from kdexplorer.analysis import metrics, verdicts
from kdexplorer.analysis.measures import Evaluation, measure
from kdexplorer.analysis.metrics import FOLDS, fit_temperature, kl_by_image, scale_logits, softmax
from kdexplorer.methods.kd import kd_loss

GENERATOR = np.random.default_rng(0)


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
    found = measure(Evaluation(logits, labels))
    assert found["scaling_temperature"] == pytest.approx(temperature, rel=0.05)
    assert found["scaled_calibration_error"] < 0.025
    assert found["scaled_cross_entropy"] == pytest.approx(metrics.cross_entropy(logits / temperature, labels), abs=2e-3)
    assert found == measure(Evaluation(logits, labels))


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
        found = measure(Evaluation(bundled.logits[name], bundled.labels))
        assert found["scaling_temperature"] == pytest.approx(np.mean(errors), rel=1e-3)
        assert found["scaled_cross_entropy"] == pytest.approx(losses.mean(), abs=1e-6)
        assert found["scaled_calibration_error"] < 0.0132


def differentiate(student, teacher, temperature):
    """The mean over images of the L1 norm of the loss's gradient, by autograd."""
    logits = torch.tensor(student, dtype=torch.float64, requires_grad=True)
    kd_loss(logits, torch.tensor(teacher, dtype=torch.float64), temperature).backward()
    return float(logits.grad.abs().sum(dim=1).sum())  # the loss is a mean over images: each has 1/N of its gradient


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_push_is_the_losss_gradient(temperature):
    student, teacher = GENERATOR.normal(0, 3, (2, 30, 10))
    expected = differentiate(student, teacher, temperature)
    assert metrics.push_size(student, teacher, temperature).mean() == pytest.approx(expected)


def test_the_push_becomes_independent_of_a_large_temperature():
    student, teacher = GENERATOR.normal(0, 3, (2, 30, 10))
    centered = [one - one.mean(axis=1, keepdims=True) for one in (student, teacher)]
    limit = np.abs(centered[0] - centered[1]).sum(axis=1) / 10
    np.testing.assert_allclose(metrics.push_size(student, teacher, 1e5), limit, rtol=1e-3)


SURE, UNSURE = np.array([[8.0, 0.0, 0.0]]), np.array([[0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("teacher", "student", "temperature", "change"),
    [
        (SURE, SURE - 3, 4.0, "has the same size"),
        (SURE, UNSURE, 4.0, "grows from"),
        (SURE, UNSURE, 0.5, "shrinks from"),
    ],
)
def test_the_sentence_on_the_push_follows_the_numbers(teacher, student, temperature, change):
    before, after = (metrics.push_size(student, teacher, t).mean() for t in (1.0, temperature))
    assert {"grows from": after > before, "shrinks from": after < before}.get(change, after == pytest.approx(before))
    assert change in verdicts.describe_push("small", teacher, student, temperature)


RIGHT, WRONG = np.array([[8.0, 0.0, 0.0]]), np.array([[6.0, 4.0, 0.0]])


@pytest.mark.parametrize(
    ("teacher", "student", "change"),
    [
        (SURE, SURE + 1, "grows on 0% of 1 test images; its mean stays at 0.000"),
        (SURE, UNSURE, "grows on 0% of 1 test images; its mean falls from"),
        (RIGHT, WRONG, "grows on 100% of 1 test images; its mean rises from"),
        (
            np.concatenate([RIGHT, SURE]),
            np.concatenate([WRONG, UNSURE]),
            "grows on 50% of 2 test images; its mean falls",
        ),
    ],
)
def test_the_sentence_on_kl_follows_the_numbers(teacher, student, change):
    first, second = (kl_by_image(teacher, student, t).mean() for t in (1.0, 2.0))
    assert ("rises" in change) == (second > first)
    assert change in verdicts.describe_kl("small", teacher, student, 2.0)
