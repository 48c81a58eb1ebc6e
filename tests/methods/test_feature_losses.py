"""AT, FitNets and ReviewKD: by hand, in NumPy, by finite differences, and what they train beside the student."""

import numpy as np
import pytest
import torch

from kdexplorer.methods import at
from kdexplorer.methods.fitnets import FitNets, fitnets_loss
from kdexplorer.methods.reviewkd import ReviewKD, hcl_loss, make_fusion
from kdexplorer.networks import Outputs, build, get_architecture
from kdexplorer.networks.outputs import match_stages
from tests.methods.test_losses import random


def test_maps_by_hand():
    """Means of absolute values or of squares over channels; each image is then scaled to unit length on its own."""
    features = torch.tensor([[[[1.0, -2.0]], [[3.0, 4.0]]]])
    assert at.attention_map(features).tolist() == [[[2.0, 3.0]]]
    assert at.attention_map(features, power=2).tolist() == [[[5.0, 10.0]]]
    maps = torch.tensor([[[3.0, 4.0]], [[0.0, 500.0]], [[0.0, 0.0]]])
    torch.testing.assert_close(at.normalize_maps(maps), torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


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


def pool(x, side):
    """The average over blocks, in NumPy."""
    step = x.shape[2] // side
    return x.reshape(*x.shape[:2], side, step, side, step).mean(axis=(3, 5))


def reference(student, teacher, power):
    """The lab's formula in NumPy, for stages of one size and those of a teacher that are twice as large."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        maps = (pool((np.abs(x.numpy()) ** power).mean(axis=1, keepdims=True), s.shape[2]) for x in (s, t))
        a, b = (m / np.linalg.norm(m, axis=(2, 3), keepdims=True) for m in maps)
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


@pytest.mark.parametrize("sides", [(4, 4), (8, 4), (4, 8)])
def test_a_hint_agrees_with_numpy_and_has_the_gradient_of_finite_differences(sides):
    student, teacher = random(2, 3, sides[0], sides[0]).requires_grad_(), random(2, 3, sides[1], sides[1], seed=1)
    a, b = (pool(x.detach().numpy(), 4) for x in (student, teacher))
    assert fitnets_loss(student, teacher).item() == pytest.approx(((a - b) ** 2).mean(), rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: fitnets_loss(x, teacher), student)


def test_the_regressor_maps_the_chosen_stage_to_the_teachers_channels():
    student, teacher = get_architecture("resnet8"), get_architecture("wrn_16_2")
    method = FitNets(stage=3)
    adapter = method.adapter(student, teacher)
    assert adapter(torch.zeros(2, 64, 8, 8)).shape == (2, 128, 8, 8)
    stages = [random(2, 16, 8, 8).float(), random(2, 32, 4, 4).float(), random(2, 64, 2, 2).float()]
    target = random(2, 128, 2, 2, seed=1).float()
    kept = method.reduce_teacher(Outputs(torch.zeros(2, 10), [*stages[:2], target]))
    loss = method.loss(Outputs(torch.zeros(2, 10), stages), kept, torch.zeros(2, dtype=torch.int64), adapter)
    assert loss.item() == pytest.approx(((adapter(stages[2]) - target) ** 2).mean().item())


@pytest.mark.parametrize("side", [1, 4, 8])
def test_a_level_agrees_with_numpy_and_has_the_gradient_of_finite_differences(side):
    student, teacher = random(2, 3, side, side).requires_grad_(), random(2, 3, side, side, seed=1).requires_grad_()
    a, b = (x.detach().numpy() for x in (student, teacher))
    sides = [side, *(smaller for smaller in (4, 2, 1) if smaller < side)]
    weights = 0.5 ** np.arange(len(sides))
    parts = [((pool(a, one) - pool(b, one)) ** 2).mean() for one in sides]
    assert hcl_loss(student, teacher).item() == pytest.approx((weights * parts).sum() / weights.sum(), rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: hcl_loss(x, teacher.detach()), student)
    hcl_loss(student, teacher).backward()
    assert teacher.grad is None


def numpy_fusion(module, features, sizes):
    """The fusion of levels in NumPy, in eval mode: 1x1, shares of the level and of the deeper ones, resized."""

    def convolve(sequence, x):  # 1x1 and its batch norm as at the start: mean 0, variance 1
        weight = sequence[0].weight.detach().numpy()[:, :, 0, 0]
        return np.einsum("oc,bchw->bohw", weight, x) / np.sqrt(1 + sequence[1].eps)

    def resize(x, side):
        rows = np.arange(side) * x.shape[2] // side
        return x[:, :, rows][:, :, :, rows]

    deeper, found = None, []
    for number in reversed(range(len(features))):
        x = convolve(module.enter[number], features[number])
        if deeper is not None:
            deeper = resize(deeper, x.shape[2])
            attend = module.attend[number][0]
            both = np.concatenate([x, deeper], axis=1)
            score = np.einsum("oc,bchw->bohw", attend.weight.detach().numpy()[:, :, 0, 0], both)
            share = 1 / (1 + np.exp(-(score + attend.bias.detach().numpy()[:, None, None])))
            x = x * share[:, :1] + deeper * share[:, 1:]
        deeper = resize(x, sizes[number])
        found.insert(0, deeper)
    return found


def test_the_fusion_agrees_with_numpy_up_to_its_last_convolutions():
    module = make_fusion([3, 4, 5], [6, 7, 8]).double().eval()
    features = [random(2, 3, 8, 8), random(2, 4, 4, 4, seed=1), random(2, 5, 1, 1, seed=2)]
    sizes = [(4, 4), (2, 2), (1, 1)]
    assert [tuple(x.shape) for x in module(features, sizes)] == [(2, 6, 4, 4), (2, 7, 2, 2), (2, 8, 1, 1)]
    expected = numpy_fusion(module, [x.numpy() for x in features], [4, 2, 1])
    module.leave = torch.nn.ModuleList(torch.nn.Identity() for _ in features)
    for fused, reference in zip(module(features, sizes), expected, strict=True):
        np.testing.assert_allclose(fused.detach().numpy(), reference, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("student", "teacher"), [("resnet8", "resnet18"), ("resnet18", "resnet8")])
def test_networks_with_different_numbers_of_stages_are_reviewed(student, teacher):
    both = [get_architecture(key) for key in (student, teacher)]
    outputs = [Outputs(*build(one.key).eval()(random(2, 3, 32, 32).float(), all_outputs=True)) for one in both]
    adapter = ReviewKD().adapter(*both)
    assert len(adapter.leave) == 4  # three pairs, and the embedding
    loss = ReviewKD().loss(*outputs, torch.zeros(2, dtype=torch.int64), adapter)
    assert loss.isfinite()
    assert loss > 0
