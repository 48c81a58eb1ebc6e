"""The soft-label loss against results by hand, SciPy, and finite differences."""

import math

import pytest
import torch
from torch.nn import functional as F

from kdexplorer.methods.kd import kd_loss

TEMPERATURES = [0.5, 1.0, 4.0, 20.0]


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_by_hand():
    """Teacher (1/4, 3/4), student (1/2, 1/2): KL = 1/4 ln 1/2 + 3/4 ln 3/2. At T 2 from doubled logits, times 4."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    kl = 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)
    assert kd_loss(student, teacher, 1.0).item() == pytest.approx(kl, rel=1e-6)
    assert kd_loss(student, 2 * teacher, 2.0).item() == pytest.approx(4 * kl, rel=1e-6)


def test_the_loss_is_the_mean_over_the_batch_and_not_over_classes():
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    once = kd_loss(student, teacher, 1.0)
    equal = torch.cat([teacher, torch.zeros(1, 2)])
    torch.testing.assert_close(kd_loss(student.repeat(8, 1), teacher.repeat(8, 1), 1.0), once)
    torch.testing.assert_close(kd_loss(student.repeat(2, 1), equal, 1.0), once / 2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_loss_has_the_gradient_of_finite_differences_and_of_hinton(temperature):
    student, teacher = random(6, 5).requires_grad_(), random(6, 5, seed=1)
    assert torch.autograd.gradcheck(lambda z: kd_loss(z, teacher, temperature), student)
    kd_loss(student, teacher, temperature).backward()
    p_s, p_t = (F.softmax(z.detach() / temperature, dim=1) for z in (student, teacher))
    torch.testing.assert_close(student.grad, temperature * (p_s - p_t) / 6)


def test_at_high_temperature_the_student_matches_logits():
    """Hinton et al. 2015, equation 4: the gradient tends to (z_s - z_t) / N for logits of mean zero."""
    student, teacher = (z - z.mean(dim=1, keepdim=True) for z in (random(4, 10), random(4, 10, seed=1)))
    student.requires_grad_()
    kd_loss(student, teacher, 1e4).backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 10 / 4, rtol=1e-3, atol=1e-5)


def test_confident_half_precision_logits_stay_finite():
    logits = torch.tensor([[30_000.0, -30_000.0]], dtype=torch.float16, requires_grad=True)
    loss = kd_loss(logits, -logits, 0.1)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
