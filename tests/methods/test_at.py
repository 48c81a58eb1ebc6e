"""Attention maps as drawn and as trained on, and the loss: by hand, in NumPy, by finite differences."""

import numpy as np
import pytest
import torch

from kdexplorer.methods import at
from kdexplorer.networks import Outputs, build
from kdexplorer.networks.outputs import match_stages
from tests.methods.test_losses import random


def test_maps_by_hand():
    """Means of absolute values or of squares over channels; each image is then scaled to unit length on its own."""
    features = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]])
    assert at.attention_map(features).tolist() == [[[2.0, 3.0]]]
    assert at.attention_map(features, power=2).tolist() == [[[5.0, 10.0]]]
    maps = torch.tensor([[[3.0, 4.0]], [[0.0, 500.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(at.normalize_maps(maps), torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize("key", ["resnet8", "resnet20", "resnet56", "resnet18", "resnet50"])
def test_stages_of_the_bundled_networks_end_in_relu_so_power_1_is_their_channel_mean(key):
    images = random(2, 3, 32, 32).float()
    with torch.no_grad():
        stages = build(key, seed=0)(images, all_outputs=True)[1]
    for stage in stages:
        assert stage.min() == 0
        assert torch.equal(at.attention_map(stage), stage.mean(dim=1))


def test_half_precision_is_averaged_in_float32_and_float64_stays():
    features = torch.full((1, 3, 1, 1), 60_000.0, dtype=torch.float16)
    assert at.attention_map(features, power=2).dtype == torch.float32
    assert at.attention_map(features, power=2).item() == pytest.approx(60_000.0**2)
    assert at.normalize_maps(at.attention_map(features.double())).dtype == torch.float64


def loss(student, teacher, power=1):
    """The method's loss for stages `[B, C, H, W]`, as training computes it."""
    method = at.AT(power=power)
    logits = torch.zeros(len(student[0]), 10)
    targets = method.reduce_teacher(Outputs(logits, teacher))
    return method.loss(Outputs(logits, student), targets, torch.zeros(len(logits), dtype=torch.int64))


def reference(student, teacher, power):
    """The lab's formula in NumPy, for stages of one size and those of a teacher that are twice as large."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        a, b = ((np.abs(x.numpy()) ** power).mean(axis=1) for x in (s, t))
        if b.shape != a.shape:
            b = b.reshape(len(b), a.shape[1], 2, a.shape[2], 2).mean(axis=(2, 4))
        a, b = (m / np.linalg.norm(m, axis=(1, 2), keepdims=True) for m in (a, b))
        total += ((a - b) ** 2).mean()
    return total


def test_maps_that_are_no_list_are_refused():
    maps, stage = torch.ones(2, 4, 4), torch.ones(2, 8, 4, 4)
    for wrong in (maps, [stage], stage):
        with pytest.raises(ValueError, match="lists of maps"):
            at.at_loss(wrong, wrong)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("side", [4, 8])
def test_the_loss_agrees_with_numpy_and_has_the_gradient_of_finite_differences_for_the_student_alone(power, side):
    student = [random(4, 16, 8, 8), random(4, 32, 4, 4, seed=1)]
    teacher = [random(4, 64, 2 * side, 2 * side, seed=2), random(4, 8, 4, 4, seed=3)]
    assert loss(student, teacher, power).item() == pytest.approx(reference(student, teacher, power), rel=1e-10)
    student, teacher = random(2, 3, 4, 4).requires_grad_(), random(2, 5, side, side, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss([x], [teacher.detach()], power), student)
    loss([student], [teacher], power).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ([16, 8, 4], [32, 16, 8], [(0, 0), (1, 1), (2, 2)]),  # as many: one by one
        ([32, 16, 8], [32, 16, 8, 4], [(0, 0), (1, 1), (2, 2)]),
        ([32, 16, 8, 4], [16, 8, 4], [(1, 0), (2, 1), (3, 2)]),
        ([32, 8], [32, 16, 16, 8, 8], [(0, 0), (1, 4)]),  # the deeper of two of a size
        ([1, 0.5], [1, 0.25, 0.125], [(0, 0), (1, 1)]),
    ],
)
def test_stages_of_the_nearest_sizes_are_compared(first, second, pairs):
    assert match_stages(first, second) == pairs
    assert match_stages(second, first) == [(b, a) for a, b in pairs]


def test_networks_with_different_numbers_of_stages_are_compared():
    student = [random(2, 3, size, size) for size in (8, 4, 2)]
    teacher = [random(2, 5, size, size, seed=7) for size in (8, 4, 2, 1)]
    assert loss(student, teacher) == loss(student, teacher[:3]) > 0
