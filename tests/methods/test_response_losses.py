"""The response-based losses: by hand, in NumPy, by finite differences, and their limits."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.nn import functional as F

from kdexplorer.methods.dist import correlation, dist_loss
from kdexplorer.methods.dkd import DKD, dkd_loss, dkd_parts
from kdexplorer.methods.jsd import jsd_loss
from kdexplorer.methods.kd import KD, kd_loss
from kdexplorer.methods.logit_std import logit_std_loss, standardize
from kdexplorer.methods.mse_logits import MSELogits, mse_logits_loss
from kdexplorer.methods.reverse_kl import reverse_kl_loss
from kdexplorer.methods.tf_kd import TfKD, tf_kd_loss, virtual_teacher

LABELS = torch.tensor([0, 2, 1, 2, 4])


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logs(*probabilities):
    return torch.tensor([probabilities], dtype=torch.float64).log()


LOSSES = {
    "kd": lambda s, t: kd_loss(s, t, 3.0),
    "reverse_kl": lambda s, t: reverse_kl_loss(s, t, 3.0),
    "jsd": lambda s, t: jsd_loss(s, t, 3.0, 0.3),
    "dkd": lambda s, t: dkd_loss(s, t, LABELS, 1.0, 2.0, 3.0),
    "dist": lambda s, t: dist_loss(s, t, 3.0, 2.0, 0.5),
    "logit_std": lambda s, t: logit_std_loss(s, t, 2.0),
    "mse_logits": mse_logits_loss,
    "tf_kd": lambda s, t: tf_kd_loss(s, LABELS, 0.5, 0.9),
}


# --- By hand ----------------------------------------------------------------------------------------------


def test_the_divergences_by_hand():
    """Teacher (1/4, 3/4), student (1/2, 1/2); their mixture with β 1/2 is (3/8, 5/8), with β 1/4 (7/16, 9/16).

    KL is 1/4 ln 1/2 + 3/4 ln 3/2, the reverse 1/2 ln 2 + 1/2 ln 2/3; at T = 2 from doubled logits 4 times as much.
    """
    student, teacher = logs(0.5, 0.5), logs(0.25, 0.75)

    def kl(p, q):
        return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    for loss, expected in ((kd_loss, kl((0.25, 0.75), (0.5, 0.5))), (reverse_kl_loss, kl((0.5, 0.5), (0.25, 0.75)))):
        assert loss(student, teacher, 1.0).item() == pytest.approx(expected, rel=1e-12)
        assert loss(2 * student, 2 * teacher, 2.0).item() == pytest.approx(4 * expected, rel=1e-12)
    for beta, mixture in ((0.5, (3 / 8, 5 / 8)), (0.25, (7 / 16, 9 / 16))):
        expected = beta * kl((0.25, 0.75), mixture) + (1 - beta) * kl((0.5, 0.5), mixture)
        assert jsd_loss(student, teacher, 1.0, beta).item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_is_the_mean_over_the_batch_and_not_over_classes():
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    once = kd_loss(student, teacher, 1.0)
    equal = torch.cat([teacher, torch.zeros(1, 2)])
    torch.testing.assert_close(kd_loss(student.repeat(8, 1), teacher.repeat(8, 1), 1.0), once)
    torch.testing.assert_close(kd_loss(student.repeat(2, 1), equal, 1.0), once / 2)


def test_the_decoupled_parts_by_hand():
    """Teacher (1/2, 1/4, 1/4), student (1/4, 1/4, 1/2), the label is the first class.

    Target: (1/2, 1/2) against (1/4, 3/4). Others: (1/2, 1/2) against (1/3, 2/3).
    """
    target, others = dkd_parts(logs(0.25, 0.25, 0.5), logs(0.5, 0.25, 0.25), torch.tensor([0]), 1.0)
    assert target.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-12)
    assert others.item() == pytest.approx(0.5 * math.log(3 / 2) + 0.5 * math.log(3 / 4), rel=1e-12)
    loss = dkd_loss(logs(0.25, 0.25, 0.5), logs(0.5, 0.25, 0.25), torch.tensor([0]), 3.0, 5.0, 1.0)
    assert loss.item() == pytest.approx(3 * target.item() + 5 * others.item(), rel=1e-12)


def test_correlation_by_hand():
    """(-1, 0, 1) and (-1, 1, 0): 1 / 2. A constant row correlates with nothing."""
    first, second = torch.tensor([[1.0, 2, 3], [5, 5, 5]]), torch.tensor([[0.0, 2, 1], [1, 2, 3]])
    torch.testing.assert_close(correlation(first.double(), second.double()), torch.tensor([0.5, 0.0]).double())


def test_dist_by_hand():
    """Two classes: a student whose preferences are the reverse correlates with -1 in both directions."""
    teacher = torch.tensor([[0.0, 1.0], [2.0, 0.0]]).double()
    assert dist_loss(teacher.flip(1), teacher, 2.0, 3.0, 5.0).item() == pytest.approx(4 * (3 * 2 + 5 * 2), rel=1e-6)


def test_standard_logits_and_squared_distance_by_hand():
    torch.testing.assert_close(standardize(torch.tensor([[1.0, 3.0], [7.0, -1.0]])), torch.tensor([[-1.0, 1], [1, -1]]))
    assert mse_logits_loss(torch.tensor([[1.0, 2], [0, 0]]), torch.tensor([[3.0, 1], [0, 4]])).item() == (5 + 16) / 4


def test_the_virtual_teacher_by_hand():
    """0.9 on the label of three classes and 0.05 on the others; the temperature 1/2 doubles their difference."""
    soft = virtual_teacher(torch.tensor([1]), 3, 0.5, 0.9)[0]
    top = 1 / (1 + 2 * math.exp(-2 * 0.85))
    assert soft.tolist() == pytest.approx([(1 - top) / 2, top, (1 - top) / 2], rel=1e-12)
    loss = tf_kd_loss(torch.zeros(1, 3).double(), torch.tensor([1]), 0.5, 0.9).item()
    assert loss == pytest.approx(math.log(3) + top * math.log(top) + (1 - top) * math.log((1 - top) / 2), rel=1e-12)


# --- In NumPy ---------------------------------------------------------------------------------------------


def numpy_loss(key, student, teacher):
    """Independent implementations, in probabilities where the package computes in logarithms."""
    p, q = (softmax(z / 3.0, axis=1) for z in (teacher, student))
    rows, labels = np.arange(len(p)), LABELS.numpy()
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
    soft = np.full(p.shape, 0.1 / 4)
    soft[rows, labels] = 0.9
    soft = softmax(soft / 0.5, axis=1)
    return (soft * (np.log(soft) - log_softmax(student, axis=1))).sum(axis=1).mean()


@pytest.mark.parametrize("key", LOSSES)
def test_the_loss_agrees_with_numpy_in_both_precisions(key):
    student, teacher = random(5, 5, scale=4), random(5, 5, seed=1, scale=4)
    expected = numpy_loss(key, student.numpy(), teacher.numpy())
    assert LOSSES[key](student, teacher).item() == pytest.approx(expected, rel=1e-9)
    assert LOSSES[key](student.float(), teacher.float()).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("key", LOSSES)
def test_the_loss_has_the_gradient_of_finite_differences_for_the_student_alone(key):
    student, teacher = random(5, 5, seed=2).requires_grad_(), random(5, 5, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: LOSSES[key](z, teacher.detach()), student)
    LOSSES[key](student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("key", LOSSES)
def test_confident_half_precision_logits_stay_finite(key):
    logits = torch.tensor(5 * [[30_000.0, -30_000, 30_000, 0, 0]], dtype=torch.float16, requires_grad=True)
    loss = LOSSES[key](logits, -logits)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# --- Limits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.2, 4.0, 20.0])
def test_decoupled_parts_with_one_minus_the_teachers_probability_are_kd(temperature):
    """Equation 6 of Zhao et al. 2022: α = 1, β = 1 - p_t, image by image."""
    student, teacher = random(5, 5, scale=3), random(5, 5, seed=1, scale=3)
    target, others = dkd_parts(student, teacher, LABELS, temperature)
    p_target = F.softmax(teacher / temperature, dim=1)[torch.arange(5), LABELS]
    together = (target + (1 - p_target) * others).mean() * temperature**2
    assert together.item() == pytest.approx(kd_loss(student, teacher, temperature).item(), rel=1e-9)


def test_with_two_classes_the_other_part_is_zero_and_the_target_part_is_kd():
    student, teacher, labels = random(4, 2), random(4, 2, seed=1), torch.tensor([0, 1, 1, 0])
    assert dkd_parts(student, teacher, labels, 2.0)[1].tolist() == [0, 0, 0, 0]
    expected = kd_loss(student, teacher, 2.0).item()
    assert dkd_loss(student, teacher, labels, 1.0, 7.0, 2.0).item() == pytest.approx(expected, rel=1e-9)


def test_the_mixture_tends_to_either_divergence_and_near_equality_to_a_quarter():
    student, teacher = random(8, 5), random(8, 5, seed=1)
    forward, reverse = kd_loss(student, teacher, 2.0).item(), reverse_kl_loss(student, teacher, 2.0).item()
    assert jsd_loss(student, teacher, 2.0, 1e-6).item() / 1e-6 == pytest.approx(forward, rel=1e-4)
    assert jsd_loss(student, teacher, 2.0, 1 - 1e-6).item() / 1e-6 == pytest.approx(reverse, rel=1e-4)
    near = teacher + 1e-3 * student
    quarter = kd_loss(near, teacher, 2.0).item() / 4
    assert jsd_loss(near, teacher, 2.0, 0.5).item() == pytest.approx(quarter, rel=1e-2)
    assert reverse_kl_loss(near, teacher, 2.0).item() / 4 == pytest.approx(quarter, rel=1e-2)


def test_squared_distance_is_the_limit_of_kd_at_high_temperature():
    """The default weight is that limit's for ten classes."""
    student, teacher = (z - z.mean(dim=1, keepdim=True) for z in (random(4, 10), random(4, 10, seed=1)))
    limit = MSELogits().settings.weight * mse_logits_loss(student, teacher).item()
    assert kd_loss(student, teacher, 1e3).item() == pytest.approx(limit, rel=1e-2)


def test_without_a_teacher_it_is_label_smoothing():
    """The gradients agree: at the defaults for ten classes a share of 0.09, see `docs/methods.md`."""
    settings, labels, gradients = TfKD().settings, torch.tensor([3, 1, 9, 1]), []
    on_label = float(virtual_teacher(torch.tensor([0]), 10, settings.temperature, settings.correct)[0, 0])
    share = settings.weight * (1 - on_label) * 10 / 9 / (1 + settings.weight)
    assert share == pytest.approx(0.0904, abs=1e-3)
    for smoothed in (False, True):
        logits = random(4, 10).requires_grad_()
        if smoothed:
            loss = (1 + settings.weight) * F.cross_entropy(logits, labels, label_smoothing=share)
        else:
            loss = F.cross_entropy(logits, labels)
            loss += settings.weight * tf_kd_loss(logits, labels, settings.temperature, settings.correct)
        loss.backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(*gradients)


def test_the_weight_of_a_method_that_warms_up_rises_linearly_to_one():
    method = DKD(warmup=0.2)
    assert [method.weight_factor(progress) for progress in (0.05, 0.1, 0.2, 0.7, 1.0)] == pytest.approx(
        [0.25, 0.5, 1, 1, 1]
    )
    assert DKD(warmup=0).weight_factor(0.001) == KD().weight_factor(0.001) == 1
