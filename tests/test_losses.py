"""Losses against answers by hand, NumPy and SciPy, and finite differences."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from torch.nn import functional as F

from kdexplorer.config import StudentConfig
from kdexplorer.losses import attention_loss, objective, response_loss

TEMPERATURES = [0.5, 1.0, 4.0, 20.0]


def random(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def student_config(**values):
    return StudentConfig(name="s", architecture="resnet8", **values)


# --- Response-based ---------------------------------------------------------------------------------------


def test_response_loss_by_hand():
    """Teacher (1/4, 3/4), student (1/2, 1/2): KL = 1/4 ln 1/2 + 3/4 ln 3/2. At T 2 from doubled logits, times 4."""
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    kl = 0.25 * math.log(1 / 2) + 0.75 * math.log(3 / 2)
    assert response_loss(student, teacher, 1.0).item() == pytest.approx(kl, rel=1e-6)
    assert response_loss(student, 2 * teacher, 2.0).item() == pytest.approx(4 * kl, rel=1e-6)


def test_response_loss_is_the_mean_over_the_batch_and_not_over_classes():
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    once = response_loss(student, teacher, 1.0)
    equal = torch.cat([teacher, torch.zeros(1, 2)])
    torch.testing.assert_close(response_loss(student.repeat(8, 1), teacher.repeat(8, 1), 1.0), once)
    torch.testing.assert_close(response_loss(student.repeat(2, 1), equal, 1.0), once / 2)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_response_loss_agrees_with_scipy(temperature):
    student, teacher = random(16, 10, scale=5), random(16, 10, seed=1, scale=5)
    p, q = (softmax(logits.numpy() / temperature, axis=1) for logits in (teacher, student))
    expected = temperature**2 * rel_entr(p, q).sum(axis=1).mean()
    assert response_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-10)
    assert response_loss(student.float(), teacher.float(), temperature).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_response_loss_has_the_gradient_of_finite_differences_and_of_hinton(temperature):
    student, teacher = random(6, 5).requires_grad_(), random(6, 5, seed=1)
    assert torch.autograd.gradcheck(lambda z: response_loss(z, teacher, temperature), student)
    response_loss(student, teacher, temperature).backward()
    p_s, p_t = (F.softmax(z.detach() / temperature, dim=1) for z in (student, teacher))
    torch.testing.assert_close(student.grad, temperature * (p_s - p_t) / 6)


def test_temperature_squared_keeps_the_gradients_size():
    """Without T^2 the gradient at T 20 would be some 400 times smaller than at T 1."""
    teacher, sizes = random(32, 10, seed=1), {}
    for temperature in (1.0, 2.0, 5.0, 10.0, 20.0):
        student = random(32, 10).requires_grad_()
        response_loss(student, teacher, temperature).backward()
        sizes[temperature] = student.grad.norm().item()
    assert max(sizes.values()) / min(sizes.values()) < 2


def test_at_high_temperature_the_student_matches_logits():
    """Hinton et al. 2015, equation 4: the gradient tends to (z_s - z_t) / N for logits of mean zero."""
    student, teacher = (z - z.mean(dim=1, keepdim=True) for z in (random(4, 10), random(4, 10, seed=1)))
    student.requires_grad_()
    response_loss(student, teacher, 1e4).backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 10 / 4, rtol=1e-3, atol=1e-5)


@given(st.integers(0, 2**31), st.floats(0.1, 100), st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_response_loss_is_zero_for_equals_positive_otherwise_and_blind_to_a_shift(seed, temperature, shift):
    student, teacher = random(3, 10, seed=seed), random(3, 10, seed=seed + 1)
    assert abs(response_loss(teacher, teacher + shift, temperature).item()) < 1e-6
    loss = response_loss(student, teacher, temperature).item()
    assert loss > 0
    assert response_loss(student + shift, teacher, temperature).item() == pytest.approx(loss, rel=1e-5)


def test_confident_half_precision_logits_stay_finite():
    logits = torch.tensor([[30_000.0, -30_000.0]], dtype=torch.float16, requires_grad=True)
    loss = response_loss(logits, -logits, 0.1)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


# --- Feature-based ----------------------------------------------------------------------------------------


def reference_attention_loss(student, teacher, power):
    """The lab's formula in NumPy, for stages of one size."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        maps = [(x.numpy() ** power).mean(axis=1).reshape(len(x), -1) for x in (s, t)]
        a, b = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in maps)
        total += ((a - b) ** 2).mean()
    return total


def test_attention_loss_by_hand():
    """(3, 4) has length 5: (0.6, 0.8) against (1, 0) differs by (-0.4, 0.8); half of 0.16 + 0.64 is 0.4."""
    student, teacher = torch.tensor([[[[3.0, 4.0]]]]), torch.tensor([[[[9.0, 0.0]], [[1.0, 0.0]]]])
    assert attention_loss([student], [teacher]).item() == pytest.approx(0.4)
    assert attention_loss([student, student], [teacher, teacher]).item() == pytest.approx(0.8)
    assert attention_loss([student, student], [teacher, student]).item() == pytest.approx(0.4)
    squares = (9 / math.sqrt(337), 16 / math.sqrt(337))
    assert attention_loss([student], [teacher], power=2).item() == pytest.approx(
        ((squares[0] - 1) ** 2 + squares[1] ** 2) / 2
    )


@pytest.mark.parametrize("power", [1, 2])
def test_attention_loss_agrees_with_numpy(power):
    student = [random(4, 16, 8, 8), random(4, 32, 4, 4, seed=1)]
    teacher = [random(4, 64, 8, 8, seed=2), random(4, 8, 4, 4, seed=3)]
    expected = reference_attention_loss(student, teacher, power)
    assert attention_loss(student, teacher, power).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("side", [4, 8])
def test_attention_loss_has_the_gradient_of_finite_differences(power, side):
    student, teacher = random(2, 3, 4, 4).requires_grad_(), random(2, 5, side, side, seed=1)
    assert torch.autograd.gradcheck(lambda x: attention_loss([x], [teacher], power), student)


def test_maps_are_normalised_per_image():
    student, teacher = random(3, 4, 4, 4), random(3, 4, 4, 4, seed=1)
    scales = torch.tensor([1e-2, 1.0, 1e3]).double().view(3, 1, 1, 1)
    torch.testing.assert_close(attention_loss([scales * student], [teacher]), attention_loss([student], [teacher]))
    each = [attention_loss([student[i : i + 1]], [teacher[i : i + 1]]) for i in range(3)]
    torch.testing.assert_close(attention_loss([student], [teacher]), torch.stack(each).mean())


@pytest.mark.parametrize("student_side", [4, 8])
def test_maps_of_different_size_are_pooled_to_the_smaller(student_side):
    large, small = random(2, 3, 8, 8), random(2, 5, 4, 4, seed=1)
    pooled = torch.from_numpy(large.numpy().reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5)))
    pair = (large, small) if student_side == 8 else (small, large)
    assert attention_loss([pair[0]], [pair[1]]).item() == pytest.approx(
        reference_attention_loss([pooled], [small], 1), rel=1e-10
    )


def test_a_different_number_of_stages_names_both():
    with pytest.raises(ValueError, match=r"student has 3 stages and the teacher 4"):
        attention_loss([random(1, 1, 2, 2)] * 3, [random(1, 1, 2, 2)] * 4)


# --- The objective ----------------------------------------------------------------------------------------


@pytest.fixture
def batch():
    return {
        "logits": random(8, 10),
        "labels": torch.arange(8),
        "stages": [random(8, 4, 8, 8, seed=2), random(8, 4, 4, 4, seed=3)],
        "teacher_logits": random(8, 10, seed=4),
        "teacher_maps": [random(8, 8, 8, seed=5), random(8, 4, 4, seed=6)],
    }


def test_the_objective_is_the_weighted_sum_and_reports_each_term(batch):
    student = student_config(ce_weight=0.3, response_weight=0.7, temperature=3, attention_weight=50)
    terms = objective(student, **batch)
    assert set(terms) == {"objective", "cross_entropy", "response", "attention", "attention_1", "attention_2"}
    assert terms["cross_entropy"].item() == pytest.approx(
        -np.log(softmax(batch["logits"].numpy(), axis=1)[np.arange(8), np.arange(8)]).mean()
    )
    assert terms["response"].item() == response_loss(batch["logits"], batch["teacher_logits"], 3).item()
    maps = [stage[:, None] for stage in batch["teacher_maps"]]
    assert terms["attention"].item() == pytest.approx(attention_loss(batch["stages"], maps).item())
    assert terms["attention"].item() == pytest.approx((terms["attention_1"] + terms["attention_2"]).item())
    expected = 0.3 * terms["cross_entropy"] + 0.7 * terms["response"] + 50 * terms["attention"]
    assert terms["objective"].item() == pytest.approx(expected.item())


def test_terms_without_weight_take_no_part(batch):
    terms = objective(student_config(), batch["logits"], batch["labels"])
    assert set(terms) == {"objective", "cross_entropy"}
    assert terms["objective"].item() == terms["cross_entropy"].item()


def test_label_smoothing_changes_the_objective_and_not_the_reported_cross_entropy(batch):
    terms = objective(student_config(label_smoothing=0.2), batch["logits"], batch["labels"])
    log_p = F.log_softmax(batch["logits"], dim=1)
    smoothed = 0.8 * terms["cross_entropy"] - 0.2 * log_p.mean()
    assert terms["objective"].item() == pytest.approx(smoothed.item())
    assert terms["cross_entropy"].item() == pytest.approx(F.cross_entropy(batch["logits"], batch["labels"]).item())


def test_attention_power_is_the_students(batch):
    one, two = (
        objective(student_config(attention_weight=1, attention_power=power), **batch)["attention"] for power in (1, 2)
    )
    squares = [stage.square().mean(dim=1, keepdim=True) for stage in batch["stages"]]
    maps = [stage[:, None] for stage in batch["teacher_maps"]]
    assert two.item() == pytest.approx(attention_loss(squares, maps).item())
    assert two.item() != pytest.approx(one.item())


def test_no_gradient_reaches_the_teacher(batch):
    teacher_logits = batch["teacher_logits"].requires_grad_()
    maps = [stage.requires_grad_() for stage in batch["teacher_maps"]]
    features, student = random(2, 3, 4, 4, seed=7).requires_grad_(), random(2, 3, 4, 4).requires_grad_()
    batch["logits"].requires_grad_()
    weights = student_config(response_weight=1, attention_weight=10)
    (objective(weights, **batch)["objective"] + attention_loss([student], [features])).backward()
    assert teacher_logits.grad is None
    assert features.grad is None
    assert all(stage.grad is None for stage in maps)
    assert batch["logits"].grad.abs().sum() > 0
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("preset", ["response", "feature", "combined"])
def test_the_whole_objective_has_the_gradient_of_finite_differences(preset):
    student = StudentConfig.parse(f"resnet8:{preset}:smoothing=0.1")
    labels, answers, maps = torch.tensor([1, 0]), random(2, 3, seed=1), [random(2, 4, 4, seed=2)]

    def total(logits, stage):
        return objective(student, logits, labels, [stage], answers, maps)["objective"]

    inputs = (random(2, 3).requires_grad_(), random(2, 2, 4, 4, seed=3).requires_grad_())
    assert torch.autograd.gradcheck(total, inputs)
