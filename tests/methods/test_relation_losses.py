"""SP, RKD and CRD: by hand, in NumPy, and by finite differences."""

import math

import numpy as np
import pytest
import torch

from kdexplorer.methods import rkd
from kdexplorer.methods.crd import CRD, crd_loss
from kdexplorer.methods.rkd import angle_loss, distance_loss, rkd_loss
from kdexplorer.methods.sp import similarities, sp_loss
from kdexplorer.networks import get_architecture

LABELS = torch.tensor([0, 1, 0, 2, 1])


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LOSSES = {
    "sp": sp_loss,
    "rkd": lambda s, t: rkd_loss(s, t, 25.0, 50.0),
    "crd": lambda s, t: crd_loss(s, t, LABELS, 0.5),
}


# --- By hand ----------------------------------------------------------------------------------------------


def test_similarities_by_hand():
    """(1, 0) and (1, 1): inner products (1, 1; 1, 2). Of equal images they are all the same."""
    features = torch.tensor([[1.0, 0], [1, 1]]).double()
    half, two, one = 1 / math.sqrt(2), 2 / math.sqrt(5), 1 / math.sqrt(5)
    torch.testing.assert_close(similarities(features), torch.tensor([[half, half], [one, two]]).double())
    expected = ((one - half) ** 2 + (two - half) ** 2) / 4
    assert sp_loss(features, torch.ones(2, 3).double()).item() == pytest.approx(expected, rel=1e-12)


def test_distances_by_hand():
    """On a line at 0, 1 and 3 the mean distance is 2: 0.5, 1, 1.5. At 0, 1, 2 it is 4/3: 0.75, 0.75, 1.5.

    Smooth L1 is half the square below 1: twice (1/4² + 1/4²) / 2 of nine pairs.
    """
    student, teacher = torch.tensor([[0.0], [1], [3]]).double(), torch.tensor([[0.0], [1], [2]]).double()
    assert distance_loss(student, teacher).item() == pytest.approx(2 * (1 / 16 + 1 / 16) / 2 / 9, rel=1e-12)


def test_angles_by_hand():
    """A right-angled triangle with equal legs has cosines 0, 1/√2 and 1/√2 at its corners; on a line 1, -1 and 1.

    Each is counted twice; the cosine of a side with itself is 1 in both; differences above 1 count linearly.
    """
    triangle = torch.tensor([[0.0, 0], [1, 0], [0, 1]]).double()
    line = torch.tensor([[0.0], [1], [2]]).double()
    corner = 1 / math.sqrt(2)
    expected = [(1 - 0) ** 2 / 2, abs(-1 - corner) - 0.5, (1 - corner) ** 2 / 2]
    assert angle_loss(triangle, line).item() == pytest.approx(2 * sum(expected) / 27, rel=1e-12)


def test_contrast_by_hand():
    """Three orthogonal images, two of one class: each of those has one negative, the third two; both directions."""
    unit, labels = torch.eye(3).double(), torch.tensor([0, 0, 1])
    one, two = math.log(1 + math.exp(-2)), math.log(1 + 2 * math.exp(-2))
    assert crd_loss(5 * unit, unit, labels, 0.5).item() == pytest.approx(2 * (one + one + two) / 3, rel=1e-12)


# --- In NumPy ---------------------------------------------------------------------------------------------


def huber(difference):
    size = np.abs(difference)
    return np.where(size < 1, size**2 / 2, size - 0.5)


def numpy_loss(key, s, t):
    """Independent implementations, pair by pair and angle by angle."""
    count, pair = len(s), (s, t)
    if key == "sp":
        grams = [np.einsum("ik,jk->ij", x, x) for x in pair]
        a, b = (gram / np.sqrt((gram**2).sum(axis=1, keepdims=True)) for gram in grams)
        return ((a - b) ** 2).sum() / count**2
    if key == "rkd":
        distances = [np.array([[np.linalg.norm(a - b) for b in x] for a in x]) for x in pair]
        relative = [d / d[d > 0].mean() for d in distances]
        total = 25 * huber(relative[0] - relative[1]).mean()

        def cosine(x, i, j, k):
            a, b = x[j] - x[i], x[k] - x[i]
            return 0.0 if i in (j, k) else a @ b / np.linalg.norm(a) / np.linalg.norm(b)

        every = range(count)
        angles = [[cosine(x, i, j, k) for i in every for j in every for k in every] for x in pair]
        return total + 50 * huber(np.subtract(*angles)).mean()
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in pair)
    similarity, total = np.exp(a @ b.T / 0.5), 0.0
    for i in range(count):
        negatives = [j for j in range(count) if LABELS[j] != LABELS[i]]
        for row in (similarity[i], similarity[:, i]):
            total -= math.log(row[i] / (row[i] + row[negatives].sum())) / count
    return total


@pytest.mark.parametrize("key", LOSSES)
def test_the_loss_agrees_with_numpy_in_both_precisions(key):
    student, teacher = random(5, 4), random(5, 4, seed=1)
    expected = numpy_loss(key, student.numpy(), teacher.numpy())
    assert LOSSES[key](student, teacher).item() == pytest.approx(expected, rel=1e-10)
    assert LOSSES[key](student.float(), teacher.float()).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("key", LOSSES)
def test_the_loss_has_the_gradient_of_finite_differences(key):
    student, teacher = random(5, 4, seed=2).requires_grad_(), random(5, 4, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[key](x, teacher.detach()), student)
    LOSSES[key](student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert (teacher.grad is not None) == (key == "crd")  # its projection is trained


# --- Large batches, equal images, what is trained ---------------------------------------------------------


def test_angles_in_blocks_are_the_same_with_the_same_gradient(monkeypatch):
    found = []
    for limit in (rkd.MAX_ANGLES, 2 * 49):
        monkeypatch.setattr(rkd, "MAX_ANGLES", limit)
        student = random(7, 4).requires_grad_()
        loss = angle_loss(student, random(7, 3, seed=1))
        loss.backward()
        found.append((loss.detach(), student.grad))
    torch.testing.assert_close(*found)


def test_images_that_coincide_have_a_finite_gradient():
    student = torch.ones(3, 4).requires_grad_()
    rkd_loss(student, random(3, 4).float(), 25.0, 50.0).backward()
    assert student.grad.abs().max() < 1e3


def test_both_projections_are_trained():
    student, teacher = get_architecture("resnet8"), get_architecture("wrn_16_2")
    projections = CRD(width=16).adapter(student, teacher)
    assert {name: tuple(p.shape) for name, p in projections.named_parameters()} == {
        "student.weight": (16, 64), "student.bias": (16,), "teacher.weight": (16, 128), "teacher.bias": (16,),
    }  # fmt: skip
    crd_loss(*projections(torch.randn(5, 64), torch.randn(5, 128)), LABELS, 0.1).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in projections.parameters())
