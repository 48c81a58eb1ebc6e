"""Figures against answers by hand and independent formulas."""

import itertools
import math
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest

from kdexplorer import metrics, people


def logits_of(answers, classes=10):
    return np.eye(classes)[answers] * 5


@pytest.fixture
def random_logits():
    generator = np.random.default_rng(0)
    return generator.normal(0, 3, (500, 10)), generator.normal(0, 3, (500, 10)), generator.integers(0, 10, 500)


def test_accuracy_counts_right_answers():
    assert metrics.accuracy(logits_of([0, 1, 2, 3]), np.array([0, 1, 2, 9])) == 0.75


def test_cross_entropy_agrees_with_torch_and_with_a_hand_case(random_logits):
    logits, _, labels = random_logits
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert metrics.cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-12)
    assert metrics.cross_entropy(np.zeros((3, 10)), np.array([0, 1, 2])) == pytest.approx(math.log(10))
    assert metrics.cross_entropy(np.array([[60_000.0, 0]], dtype=np.float16), np.array([1])) == pytest.approx(60_000)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_wilsons_interval_agrees_with_its_formula(case):
    right, count = case
    z, p = 1.959963984540054, right / count
    centre = (p + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    low, high = metrics.wilson_interval(right, count)
    assert (low, high) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-9)
    assert 0 <= low <= p <= high <= 1 or (low, high) == pytest.approx((p, high), abs=1e-12)


def test_wilsons_interval_of_the_labs_accuracy():
    low, high = metrics.wilson_interval(9090, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9032, 0.9145)
    assert metrics.wilson_interval(9090, 10_000, confidence=0.99)[0] < low


def test_calibration_error_by_hand():
    """Confidence 3/4 on four images of which two are right: off by 1/4. Sure and right on one: off by 0."""
    unsure = np.log(np.array([[0.75, 0.25]] * 4))
    logits = np.concatenate([unsure, [[0.0, -100.0]]])
    labels = np.array([0, 0, 1, 1, 0])
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(4 / 5 * 0.25)
    bins = metrics.calibration_bins(logits, labels)
    assert [(row["count"], row["accuracy"]) for row in bins] == [(4, 0.5), (1, 1.0)]
    assert [row["confidence"] for row in bins] == pytest.approx([0.75, 1.0])
    assert all(row["low"] <= row["confidence"] <= row["high"] for row in bins)


def test_calibration_error_agrees_with_its_definition(random_logits):
    logits, _, labels = random_logits
    p = softmax(logits, axis=1)
    total, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        inside = (p.max(axis=1) >= low) & (p.max(axis=1) < high)
        total += abs((p.max(axis=1) - (p.argmax(axis=1) == labels))[inside].sum())
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(total / 500)
    assert sum(row["count"] for row in metrics.calibration_bins(logits, labels)) == 500


def test_per_class_accuracy_is_not_a_number_where_a_class_is_absent():
    shares = metrics.per_class_accuracy(logits_of([0, 1, 1], classes=3), np.array([0, 0, 1]), classes=3)
    assert shares[:2] == [0.5, 1.0]
    assert math.isnan(shares[2])


def test_agreement_needs_no_label():
    assert metrics.agreement(logits_of([0, 1, 2, 3]), logits_of([0, 1, 9, 9])) == 0.5


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_divergence_agrees_with_scipy_and_runs_from_teacher_to_student(random_logits, temperature):
    student, teacher, _ = random_logits
    p, q = (softmax(z / temperature, axis=1) for z in (teacher, student))
    expected = rel_entr(p, q).sum(axis=1).mean()
    assert metrics.kl_divergence(teacher, student, temperature) == pytest.approx(expected, rel=1e-10)
    assert metrics.kl_divergence(student, teacher, temperature) != pytest.approx(expected, rel=1e-6)
    assert metrics.kl_divergence(teacher, teacher, temperature) == pytest.approx(0, abs=1e-12)


def test_mcnemars_test_by_hand():
    """Of ten images on which two networks differ the first wins eight: p = 2 (1 + 10 + 45) / 1024."""
    labels = np.zeros(20, dtype=int)
    first, other = np.zeros(20, dtype=int), np.zeros(20, dtype=int)
    other[:8], first[8:10] = 1, 1  # both right on the rest but one
    first[19] = other[19] = 1
    result = metrics.mcnemar(logits_of(first), logits_of(other), labels)
    assert (result["gained"], result["lost"], result["difference"]) == (8, 2, 6 / 20)
    assert result["p"] == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert metrics.mcnemar(logits_of(other), logits_of(first), labels)["p"] == pytest.approx(result["p"])
    assert metrics.mcnemar(logits_of(first), logits_of(first), labels)["p"] == 1.0


def test_a_summary_holds_what_follows_from_stored_logits(random_logits):
    student, teacher, labels = random_logits
    row = metrics.summary(student, labels, teacher)
    assert row["accuracy"] == metrics.accuracy(student, labels)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["images"] == 500
    assert row["teacher_kl"] == metrics.kl_divergence(teacher, student)
    assert "teacher_kl" not in metrics.summary(student, labels)


def test_multiply_adds_agree_with_a_count_by_hand():
    """ResNet-20: a stem, then 6, 1 + 5 and 1 + 5 convolutions at 32, 16 and 8 pixels, and the last layer."""
    stem, whole, half = 32 * 32 * 9 * 3 * 16, 32 * 32 * 9 * 16 * 16, 16 * 16 * 9 * 16 * 32
    assert metrics.multiply_adds("resnet20") == stem + 6 * whole + 2 * (half + 5 * whole) + 640


def test_latency_is_a_median_in_seconds():
    assert 0 < metrics.latency("resnet8", batch=2, repetitions=3) < 5


# --- Several seeds ------------------------------------------------------------------------------------------


def test_with_one_seed_the_paired_test_is_mcnemars():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 10, 400)
    one, other = (np.eye(10)[np.where(generator.random(400) < share, labels, 0)] for share in (0.8, 0.7))
    right = [(logits.argmax(axis=1) == labels)[None] for logits in (one, other)]
    facts = metrics.mcnemar(one, other, labels)
    assert metrics.paired_test(*right) == pytest.approx(facts)
    assert 1e-6 < facts["p"] < 0.2


def test_with_several_seeds_the_paired_test_is_the_share_of_sign_flips_that_are_as_far():
    generator = np.random.default_rng(4)
    right, other = generator.random((3, 12)) < 0.7, generator.random((3, 12)) < 0.4
    score = right.sum(axis=0) - other.sum(axis=0)
    flips = np.array(list(itertools.product([-1, 1], repeat=12))) @ score
    facts = metrics.paired_test(right, other)
    assert facts["p"] == pytest.approx(np.mean(np.abs(flips) >= abs(score.sum())))
    assert facts["difference"] == pytest.approx(right.mean() - other.mean())
    assert (facts["gained"], facts["lost"]) == ((score > 0).sum(), (score < 0).sum())


def test_networks_that_answer_alike_are_not_told_apart():
    right = np.ones((2, 5), dtype=bool)
    assert metrics.paired_test(right, right) == {"gained": 0, "lost": 0, "difference": 0.0, "p": 1.0}


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04, times 3, 2, 1 is 0.03, 0.06, 0.04: the last cannot be below the one before it.
    assert metrics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert metrics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert metrics.holm([]) == []


def test_the_interval_over_seeds_by_hand():
    low, high = metrics.seed_interval([0.80, 0.82, 0.84])
    assert (low + high) / 2 == pytest.approx(0.82)
    assert high - low == pytest.approx(2 * 4.302653 * 0.02 / 3**0.5, rel=1e-6)  # t with two degrees of freedom
    assert metrics.seed_interval([0.8]) is None


def test_nothing_asks_a_half_loaded_torch_for_a_name(monkeypatch):
    """Another visitor's page may be loading it in this very moment."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 500)
    logits, other = generator.normal(size=(2, 500, 10)) + 2 * np.eye(10)[labels]
    assert metrics.summary(logits, labels, other)
    assert metrics.mcnemar(logits, other, labels)["p"] <= 1
    right = np.stack([logits.argmax(1) == labels, other.argmax(1) == labels])
    assert metrics.paired_test(right, right[::-1])["p"] == pytest.approx(1)
    assert metrics.seed_interval([0.1, 0.2])
    assert people.closest_temperature(np.eye(10)[labels] * 0.9 + 0.01, logits)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (1, 3), (9298, 10_000)])
def test_wilsons_interval_is_scipys(right, count):
    theirs = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert metrics.wilson_interval(right, count) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
