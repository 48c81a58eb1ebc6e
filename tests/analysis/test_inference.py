"""Predictions with attention maps, and the gradient that the page shows against autograd of the loss in training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdexplorer.analysis import inference
from kdexplorer.config import Objective
from kdexplorer.datasets import get_dataset
from kdexplorer.methods.kd import kd_loss
from kdexplorer.networks import build


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("label", [0, 7])
def test_gradient_agrees_with_autograd(temperature, alpha, label):
    generator = np.random.default_rng(label)
    student, teacher = generator.normal(0, 3, 10), generator.normal(0, 5, 10)
    logits = torch.tensor(student[None], requires_grad=True)
    soft = kd_loss(logits, torch.tensor(teacher[None]), temperature)
    loss = alpha * soft + (1 - alpha) * F.cross_entropy(logits, torch.tensor([label]))
    loss.backward()
    parts = inference.gradient_on_logits(student, teacher, label, temperature, alpha)
    np.testing.assert_allclose(parts["total"], logits.grad[0].numpy(), atol=1e-10)
    np.testing.assert_allclose(parts["teacher"] + parts["label"], parts["total"])


def test_the_teachers_part_alone_agrees_with_autograd():
    generator = np.random.default_rng(3)
    student, teacher = generator.normal(0, 3, 10), generator.normal(0, 5, 10)
    parts = inference.gradient_on_logits(student, teacher, 2, 4.0, 0.7)
    logits = torch.tensor(student[None], requires_grad=True)
    (0.7 * kd_loss(logits, torch.tensor(teacher[None]), 4.0)).backward()
    np.testing.assert_allclose(parts["teacher"], logits.grad[0].numpy(), atol=1e-10)


def test_without_a_label_only_the_teacher_contributes():
    parts = inference.gradient_on_logits(np.arange(10.0), np.zeros(10), None, 2.0, 0.5)
    assert not parts["label"].any()
    assert parts["teacher"].any()
    np.testing.assert_allclose(parts["total"].sum(), 0, atol=1e-12)  # softmax ignores a constant


def test_the_gradient_is_zero_when_student_and_teacher_agree():
    logits = np.random.default_rng(0).normal(size=10)
    assert np.abs(inference.gradient_on_logits(logits, logits + 5, 0, 3.0, 1.0)["total"]).max() < 1e-12


@pytest.mark.parametrize("architecture", ["resnet8", "mobilenet_v2"])
def test_attention_maps_come_with_the_same_logits(architecture):
    network = build(architecture, seed=0).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    normalization = get_dataset("cifar10").normalization
    plain = inference.predict(network, images, normalization)
    logits, maps = inference.predict_with_attention(network, images, normalization)
    np.testing.assert_allclose(plain, logits, atol=1e-6)
    assert set(maps) == {1, 2}
    assert all(stage.ndim == 3 and len(stage) == 2 for stage in maps[1])
    assert all((stage >= 0).all() for stage in maps[2])


@pytest.mark.parametrize(
    ("terms", "ce_weight", "expected"),
    [
        ([], 1.0, 0.7),
        ([{"method": "at"}], 1.0, 0.7),
        ([{"method": "kd", "weight": 0.9}], 0.1, 0.9),
        ([{"method": "kd", "weight": 1.5}, {"method": "kd", "weight": 0.5}, {"method": "at"}], 2.0, 0.5),
        ([{"method": "kd", "weight": 3.0}], 0.0, 1.0),
    ],
)
def test_alpha_is_the_share_of_the_teachers_term(terms, ce_weight, expected):
    objective = Objective(ce_weight=ce_weight, terms=terms)
    assert inference.trained_alpha(objective) == pytest.approx(expected)
    assert inference.trained_alpha(None) == 0.7
