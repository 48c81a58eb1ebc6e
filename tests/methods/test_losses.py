"""The losses of logits and of relations: by hand, in NumPy, by finite differences, and their limits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import huber, log_softmax, rel_entr, softmax
from torch.nn import functional as F

from kdexplorer import losses
from kdexplorer.methods import rkd
from kdexplorer.methods.altered_kd import alter
from kdexplorer.methods.mse_logits import MSELogits
from kdexplorer.methods.tf_kd import TfKD, virtual_teacher

LABELS = torch.tensor([0, 2, 1, 2, 4])


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LOSSES = {
    "kd": lambda s, t: losses.kd(s, t, 3.0),
    "reverse_kl": lambda s, t: losses.reverse_kl(s, t, 3.0),
    "jsd": lambda s, t: losses.jsd(s, t, 3.0, 0.3),
    "dkd": lambda s, t: losses.dkd(s, t, LABELS, 1.0, 2.0, 3.0),
    "dist": lambda s, t: losses.dist(s, t, 3.0, 2.0, 0.5),
    "logit_std": lambda s, t: losses.logit_std(s, t, 2.0),
    "mse_logits": losses.mse_logits,
    "tf_kd": lambda s, t: losses.tf_kd(s, LABELS, 0.5, 0.9),
    "sp": losses.sp,
    "rkd": lambda s, t: losses.rkd(s, t, 25.0, 50.0),
    "crd": lambda s, t: losses.crd(s, t, LABELS, 0.5),
}


def test_the_divergences_by_hand():
    """Teacher (1/4, 3/4), student (1/2, 1/2); their mixture with β 1/2 is (3/8, 5/8), with β 1/4 (7/16, 9/16).

    KL is 1/4 ln 1/2 + 3/4 ln 3/2, the reverse 1/2 ln 2 + 1/2 ln 2/3; at T = 2 from doubled logits 4 times as much.
    """
    student, teacher = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]], dtype=torch.float64).log()

    def kl(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    forward, reverse = kl((0.25, 0.75), (0.5, 0.5)), kl((0.5, 0.5), (0.25, 0.75))
    for loss, expected in ((losses.kd, forward), (losses.reverse_kl, reverse)):
        assert loss(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-12)
        assert loss(2 * student, 2 * teacher, 2.0).item() == pytest.approx(4 * expected, rel=1e-12)
    for beta, mixture in ((0.5, (3 / 8, 5 / 8)), (0.25, (7 / 16, 9 / 16))):
        expected = beta * kl((0.25, 0.75), mixture) + (1 - beta) * kl((0.5, 0.5), mixture)
        assert losses.jsd(student, teacher, 1.0, beta).item() == pytest.approx(expected, rel=1e-12)


def numpy_loss(key, student, teacher):
    """Independent implementations: in probabilities where the package computes in logarithms, and pair by pair."""
    p, q = (softmax(z / 3.0, axis=1) for z in (teacher, student))
    rows, labels, pair = np.arange(len(p)), LABELS.numpy(), (student, teacher)
    if key == "kd":
        return 9 * rel_entr(p, q).sum(axis=1).mean()
    if key == "reverse_kl":
        return 9 * rel_entr(q, p).sum(axis=1).mean()
    if key == "jsd":
        m = 0.3 * p + 0.7 * q
        return 9 * (0.3 * rel_entr(p, m) + 0.7 * rel_entr(q, m)).sum(axis=1).mean()
    if key == "dkd":
        total = 0.0
        for a, b, label in zip(p, q, labels, strict=True):
            pair_a, pair_b = (np.array([x[label], 1 - x[label]]) for x in (a, b))
            rest_a, rest_b = (np.delete(x, label) / (1 - x[label]) for x in (a, b))
            total += rel_entr(pair_a, pair_b).sum() + 2 * rel_entr(rest_a, rest_b).sum()
        return 9 * total / len(p)
    if key == "dist":
        inter = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
        intra = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
        return 9 * (2 * (1 - inter) + 0.5 * (1 - intra))
    if key == "logit_std":
        a, b = (
            softmax((z - z.mean(1, keepdims=True)) / z.std(1, keepdims=True) / 2, axis=1) for z in (teacher, student)
        )
        return 4 * rel_entr(a, b).sum(axis=1).mean()
    if key == "mse_logits":
        return 0.5 * ((student - teacher) ** 2).sum() / len(p)
    if key == "sp":
        grams = [np.einsum("ik,jk->ij", x, x) for x in pair]
        a, b = (gram / np.sqrt((gram**2).sum(axis=1, keepdims=True)) for gram in grams)
        return ((a - b) ** 2).sum() / len(p) ** 2
    if key == "rkd":
        distances = [np.array([[np.linalg.norm(a - b) for b in x] for a in x]) for x in pair]
        relative = [d / d[d > 0].mean() for d in distances]
        total = 25 * huber(1, relative[0] - relative[1]).mean()

        def cosine(x, i, j, k):
            a, b = x[j] - x[i], x[k] - x[i]
            return 0.0 if i in (j, k) else a @ b / np.linalg.norm(a) / np.linalg.norm(b)

        angles = [[cosine(x, i, j, k) for i in rows for j in rows for k in rows] for x in pair]
        return total + 50 * huber(1, np.subtract(*angles)).mean()
    if key == "crd":
        a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in pair)
        similarity, total = np.exp(a @ b.T / 0.5), 0.0
        for i in rows:
            for row in (similarity[i], similarity[:, i]):
                total -= math.log(row[i] / (row[i] + row[labels != labels[i]].sum())) / len(p)
        return total
    soft = np.full(p.shape, 0.1 / 5)
    soft[rows, labels] = 0.9
    soft = softmax(soft / 0.5, axis=1)
    return (soft * (np.log(soft) - log_softmax(student, axis=1))).sum(axis=1).mean()


@pytest.mark.parametrize("key", LOSSES)
def test_the_loss_agrees_with_numpy_in_both_precisions_and_has_the_gradient_of_finite_differences(key):
    student, teacher = random(5, 6, scale=4), random(5, 6, seed=1, scale=4)
    expected = numpy_loss(key, student.numpy(), teacher.numpy())
    assert LOSSES[key](student, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert LOSSES[key](student.float(), teacher.float()).item() == pytest.approx(expected, rel=1e-4)
    student, teacher = random(5, 5, seed=2).requires_grad_(), random(5, 5, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: LOSSES[key](z, teacher.detach()), student)
    LOSSES[key](student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert (teacher.grad is not None) == (key == "crd")  # its projection is trained


def test_squared_distance_is_the_limit_of_kd_at_high_temperature():
    """The default weight is that limit's for ten classes."""
    student, teacher = (z - z.mean(dim=1, keepdim=True) for z in (random(4, 10), random(4, 10, seed=1)))
    limit = MSELogits().settings.weight * losses.mse_logits(student, teacher).item()
    assert losses.kd(student, teacher, 1e3).item() == pytest.approx(limit, rel=1e-2)


def test_without_a_teacher_it_is_label_smoothing():
    """The gradients agree: at the defaults for ten classes a share of 0.09, see `docs/methods.md`."""
    settings, labels, logits = TfKD().settings, torch.tensor([3, 1, 9, 1]), random(4, 10).requires_grad_()
    on_label = float(virtual_teacher(torch.tensor([0]), 10, settings.temperature, settings.correct)[0, 0])
    share = settings.weight * (1 - on_label) * 10 / 9 / (1 + settings.weight)
    assert share == pytest.approx(0.0904, abs=1e-3)
    smoothed = (1 + settings.weight) * F.cross_entropy(logits, labels, label_smoothing=share)
    designed = losses.tf_kd(logits, labels, settings.temperature, settings.correct)
    loss = F.cross_entropy(logits, labels) + settings.weight * designed
    torch.testing.assert_close(*(torch.autograd.grad(one, logits) for one in (smoothed, loss)))


def test_angles_in_blocks_are_the_same_with_the_same_gradient(monkeypatch):
    found = []
    for limit in (rkd.MAX_ANGLES, 2 * 49):
        monkeypatch.setattr(rkd, "MAX_ANGLES", limit)
        student = random(7, 4).requires_grad_()
        loss = rkd.angle_loss(student, random(7, 3, seed=1))
        loss.backward()
        found.append((loss.detach(), student.grad))
    torch.testing.assert_close(*found)


def test_images_that_coincide_have_a_finite_gradient():
    student = torch.ones(3, 4).requires_grad_()
    losses.rkd(student, random(3, 4).float(), 25.0, 50.0).backward()
    assert student.grad.abs().max() < 1e3


P = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
P_LABELS = torch.tensor([0, 0, 3])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("top", [[0.5, 1 / 6, 1 / 6, 1 / 6], [0.4 / 3, 0.6, 0.4 / 3, 0.4 / 3], [0.2, 0.2, 0.2, 0.4]]),
        ("class-mean", [[0.2, 0.6, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]]),
        ("smoothing", np.where(np.eye(4)[P_LABELS], 1.1 / 3, 1.9 / 9)),  # 0.5, 0.2 and 0.4 at the labels
    ],
)
def test_what_is_kept(keep, expected, temperature):
    np.testing.assert_allclose(alter(P.log() * temperature, P_LABELS, temperature, keep), expected, rtol=1e-5)


def test_permuted_wrong_classes_are_the_same_numbers_in_another_order():
    logits = torch.randn(4000, 10, generator=torch.Generator().manual_seed(0)) * 3
    soft, found = logits.softmax(dim=1), alter(logits, torch.zeros(4000, dtype=torch.int64), 1.0, "permuted")
    assert torch.equal(found.sort(dim=1).values, soft.sort(dim=1).values)
    assert torch.equal(found.argmax(dim=1), soft.argmax(dim=1))
    places = (found == soft.sort(dim=1).values[:, -2:-1]).float().mean(dim=0)
    assert ((places - 0.1).abs() < 0.02).all()  # anywhere, equally often
    part = alter(logits[7:9], torch.zeros(2, dtype=torch.int64), 1.0, "permuted")
    assert torch.equal(part, found[7:9])  # the image alone decides


@pytest.mark.parametrize("keep", ["top", "permuted", "class-mean", "smoothing"])
def test_the_loss_is_kd_with_other_soft_labels(keep):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    soft = alter(teacher, labels, 3.0, keep)
    expected = losses.kd(student, 3.0 * soft.log(), 3.0)  # logits whose softmax at T = 3 is the soft label
    assert float(losses.altered_kd(student, teacher, labels, 3.0, keep)) == pytest.approx(float(expected))
