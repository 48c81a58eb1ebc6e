"""What the temperature changes besides the soft labels, against autograd, the limit of large T, and made-up logits."""

import numpy as np
import pytest
import torch

from kdexplorer.analysis import temperature_effects
from kdexplorer.analysis.metrics import kl_by_image
from kdexplorer.methods.kd import kd_loss
from kdexplorer.runs.checkpoints import bundled_checkpoints

GENERATOR = np.random.default_rng(0)
BUNDLED = {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
needs_bundled = pytest.mark.skipif("resnet56" not in BUNDLED, reason="the bundled networks are missing")


def differentiate(student, teacher, temperature):
    """The mean over images of the L1 norm of the loss's gradient, by autograd."""
    logits = torch.tensor(student, dtype=torch.float64, requires_grad=True)
    kd_loss(logits, torch.tensor(teacher, dtype=torch.float64), temperature).backward()
    return float(logits.grad.abs().sum(dim=1).sum())  # the loss is a mean over images: each has 1/N of its gradient


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_push_is_the_losss_gradient(temperature):
    student, teacher = GENERATOR.normal(0, 3, (2, 30, 10))
    expected = differentiate(student, teacher, temperature)
    assert temperature_effects.push_size(student, teacher, temperature).mean() == pytest.approx(expected)


def test_the_push_becomes_independent_of_a_large_temperature():
    student, teacher = GENERATOR.normal(0, 3, (2, 30, 10))
    centered = [one - one.mean(axis=1, keepdims=True) for one in (student, teacher)]
    limit = np.abs(centered[0] - centered[1]).sum(axis=1) / 10
    np.testing.assert_allclose(temperature_effects.push_size(student, teacher, 1e5), limit, rtol=1e-3)


@needs_bundled
def test_of_the_bundled_networks_it_grows_with_the_temperature():
    teacher, student = (BUNDLED[name].logits() for name in ("resnet56", "resnet20-scratch"))
    for logits, expected in ((student, (0.18, 1.70)), (np.zeros_like(teacher), (1.75, 5.39))):
        found = [differentiate(logits, teacher, t) for t in (1.0, 8.0)]
        assert found == pytest.approx(expected, abs=0.005)
        assert [temperature_effects.push_size(logits, teacher, t).mean() for t in (1.0, 8.0)] == pytest.approx(found)
    assert temperature_effects.fresh_push(teacher, 8.0) == pytest.approx(found[1])
    words = temperature_effects.describe_push("it", teacher, student, 8.0)
    assert "grows from 0.183 at T = 1 to 1.7 at T = 8" in words


@needs_bundled
def test_of_the_bundled_networks_kl_grows_on_most_images_while_its_mean_falls():
    teacher, student = (BUNDLED[name].logits() for name in ("resnet56", "resnet20-scratch"))
    log_p = {
        (n, t): torch.log_softmax(torch.tensor(z).double() / t, 1)
        for n, z in enumerate((teacher, student))
        for t in (1, 4)
    }
    one, four = ((log_p[0, t].exp() * (log_p[0, t] - log_p[1, t])).sum(1) for t in (1, 4))
    share = float((four > one).double().mean())
    assert 0.75 < share < 0.81
    words = temperature_effects.describe_kl("it", teacher, student, 4.0)
    assert f"grows on {share:.0%} of 10,000 test images" in words
    assert f"its mean falls from {one.mean():.3f} to {four.mean():.3f}" in words


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
    before, after = (temperature_effects.push_size(student, teacher, t).mean() for t in (1.0, temperature))
    assert {"grows from": after > before, "shrinks from": after < before}.get(change, after == pytest.approx(before))
    assert change in temperature_effects.describe_push("small", teacher, student, temperature)


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
    assert change in temperature_effects.describe_kl("small", teacher, student, 2.0)
