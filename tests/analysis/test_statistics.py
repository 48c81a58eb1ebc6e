"""Intervals and tests against results by hand, SciPy and enumeration."""

import itertools
import math
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency, ttest_1samp

from kdexplorer.analysis import metrics, statistics
from kdexplorer.analysis.temperature_scaling import fit_temperature


def logits_of(predictions, classes=10):
    return np.eye(classes)[predictions] * 5


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_wilsons_interval_agrees_with_its_formula(case):
    right, count = case
    z, p = 1.959963984540054, right / count
    center = (p + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    low, high = statistics.wilson_interval(right, count)
    assert (low, high) == pytest.approx((max(0, center - half), min(1, center + half)), abs=1e-9)
    assert 0 <= low <= p <= high <= 1 or (low, high) == pytest.approx((p, high), abs=1e-12)


def test_wilsons_interval_of_the_labs_accuracy():
    low, high = statistics.wilson_interval(9090, 10_000)
    assert (round(low, 4), round(high, 4)) == (0.9032, 0.9145)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (10, 10), (1, 3), (9298, 10_000)])
def test_wilsons_interval_agrees_with_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert statistics.wilson_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mcnemars_test_by_hand():
    """Of ten images on which two networks differ the first wins eight: p = 2 (1 + 10 + 45) / 1024."""
    labels = np.zeros(20, dtype=int)
    first, other = np.zeros(20, dtype=int), np.zeros(20, dtype=int)
    other[:8], first[8:10] = 1, 1  # both right on the rest but one
    first[19] = other[19] = 1
    result = statistics.mcnemar(logits_of(first), logits_of(other), labels)
    assert (result["gained"], result["lost"], result["difference"]) == (8, 2, 6 / 20)
    assert result["p"] == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert statistics.mcnemar(logits_of(other), logits_of(first), labels)["p"] == pytest.approx(result["p"])
    assert statistics.mcnemar(logits_of(first), logits_of(first), labels)["p"] == 1.0


def test_with_one_seed_the_paired_test_is_mcnemars():
    generator = np.random.default_rng(3)
    labels = generator.integers(0, 10, 400)
    one, other = (np.eye(10)[np.where(generator.random(400) < share, labels, 0)] for share in (0.8, 0.7))
    right = [(logits.argmax(axis=1) == labels)[None] for logits in (one, other)]
    expected = statistics.mcnemar(one, other, labels)
    assert statistics.paired_test(*right) == pytest.approx(expected)
    assert 1e-6 < expected["p"] < 0.2


def test_with_several_seeds_the_paired_test_is_the_share_of_sign_flips_that_are_as_extreme():
    generator = np.random.default_rng(4)
    right, other = generator.random((3, 12)) < 0.7, generator.random((3, 12)) < 0.4
    score = right.sum(axis=0) - other.sum(axis=0)
    flips = np.array(list(itertools.product([-1, 1], repeat=12))) @ score
    result = statistics.paired_test(right, other)
    assert result["p"] == pytest.approx(np.mean(np.abs(flips) >= abs(score.sum())))
    assert result["difference"] == pytest.approx(right.mean() - other.mean())
    assert (result["gained"], result["lost"]) == ((score > 0).sum(), (score < 0).sum())


def test_equal_predictions_do_not_differ():
    right = np.ones((2, 5), dtype=bool)
    assert statistics.paired_test(right, right) == {"gained": 0, "lost": 0, "difference": 0.0, "p": 1.0}


def test_paired_interval_by_hand():
    paired = statistics.paired_interval(np.array([-1.0, 1.0, 3.0, 1.0]))
    assert (paired.difference, paired.images) == (1.0, 4)
    assert paired.half == pytest.approx(1.96 * 2**0.5 / 2)
    assert str(paired) == "+1.000 ± 1.386"


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04, times 3, 2, 1 is 0.03, 0.06, 0.04: the last cannot be below the one before it.
    assert statistics.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_the_interval_over_seeds_by_hand():
    low, high = statistics.seed_interval([0.80, 0.82, 0.84])
    assert (low + high) / 2 == pytest.approx(0.82)
    assert high - low == pytest.approx(2 * 4.302653 * 0.02 / 3**0.5, rel=1e-6)  # t with two degrees of freedom
    assert statistics.seed_interval([0.8]) is None


def test_the_test_over_seeds_agrees_with_scipy():
    differences = [0.0132, 0.0062, 0.0124]
    found, expected = statistics.seed_test(differences), ttest_1samp(differences, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval())
    assert (found.difference, found.seeds) == (pytest.approx(np.mean(differences)), 3)
    assert statistics.seed_test([0.1]) is None
    assert statistics.seed_test([0.0, 0.0]).p == 1.0
    assert statistics.seed_test([0.1, 0.1]).p == 0.0


def test_two_accuracies_without_predictions_agree_with_scipy():
    for one, other in ((9199, 9135), (9135, 9090), (9204, 9151)):
        table = [[one, 10_000 - one], [other, 10_000 - other]]
        expected = chi2_contingency(table, correction=False).pvalue
        assert statistics.unpaired_p(one, 10_000, other, 10_000) == pytest.approx(expected)
    assert statistics.unpaired_p(5, 5, 7, 7) == 1.0


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, "p = 1.00"), (0.0314, "p = 0.031"), (0.00017, "p = 0.00017"), (2e-5, "p < 0.0001")]
)
def test_p_is_shown_with_two_digits(p, text):
    assert statistics.format_p(p) == text


def test_nothing_uses_a_half_loaded_torch(monkeypatch):
    """Another visitor's page may be importing torch at this moment."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 500)
    logits, other = generator.normal(size=(2, 500, 10)) + 2 * np.eye(10)[labels]
    assert statistics.wilson_interval(round(500 * metrics.accuracy(logits, labels)), 500)
    assert metrics.kl_divergence(other, logits) > 0
    assert statistics.mcnemar(logits, other, labels)["p"] <= 1
    right = np.stack([logits.argmax(1) == labels, other.argmax(1) == labels])
    assert statistics.paired_test(right, right[::-1])["p"] == pytest.approx(1)
    assert statistics.seed_interval([0.1, 0.2])
    assert statistics.seed_test([0.1, 0.2])
    assert statistics.unpaired_p(1, 5, 2, 5)
    assert fit_temperature(np.eye(10)[labels] * 0.9 + 0.01, logits)
