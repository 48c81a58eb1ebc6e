"""Intervals and tests against results by hand, SciPy and enumeration."""

import itertools
import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency, dunnett, norm, t, ttest_1samp

from kdexplorer.analysis import difference, metrics
from kdexplorer.analysis.difference import Difference


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(deadline=None)
def test_wilsons_interval_agrees_with_scipy(case):
    correct, count = case
    expected = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    assert difference.wilson_interval(correct / count, count) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_mcnemars_test_by_hand():
    """Of ten images on which two networks differ the first wins eight: p = 2 (1 + 10 + 45) / 1024."""
    right, other = (np.isin(np.arange(20), wrong, invert=True) for wrong in ([8, 9, 19], [*range(8), 19]))
    found = difference.over_images(right, other, "the other")
    assert (found.gained, found.lost, found.estimate) == (8, 2, 6 / 20)
    assert (found.unit, found.count, found.other) == ("images", 20, "the other")
    assert found.p == found.p_alone == pytest.approx(2 * (1 + 10 + 45) / 1024)
    deviation = np.std([1] * 8 + [-1] * 2 + [0] * 10)
    assert found.interval == pytest.approx((0.3 - 1.96 * deviation / 20**0.5, 0.3 + 1.96 * deviation / 20**0.5))
    assert found.sign == 0
    assert found.points == "+30.00 (p = 0.11)"
    assert difference.over_images(other, right).p == pytest.approx(found.p)
    same = difference.over_images(right, right)
    assert (same.p, same.gained, same.lost, same.estimate) == (1.0, 0, 0, 0.0)


def test_with_several_seeds_the_test_over_images_is_the_share_of_sign_flips_that_are_as_extreme():
    generator = np.random.default_rng(4)
    right, other = generator.random((3, 12)) < 0.7, generator.random((3, 12)) < 0.4
    score = right.sum(axis=0) - other.sum(axis=0)
    flips = np.array(list(itertools.product([-1, 1], repeat=12))) @ score
    found = difference.over_images(right, other)
    assert found.p == pytest.approx(np.mean(np.abs(flips) >= abs(score.sum())))
    assert found.estimate == pytest.approx(right.mean() - other.mean())
    assert (found.gained, found.lost) == ((score > 0).sum(), (score < 0).sum())
    assert sum(found.interval) / 2 == pytest.approx(found.estimate)


def test_holm_by_hand():
    # Sorted 0.01, 0.03, 0.04, times 3, 2, 1 is 0.03, 0.06, 0.04: the last cannot be below the one before it.
    alone = {"a": 0.04, "b": 0.01, "c": 0.03}
    family = difference.correct(
        {key: Difference(1.0, p=p, p_alone=p) for key, p in alone.items()} | {"d": Difference(1)}
    )
    assert [one.p for one in family.values()] == pytest.approx([0.06, 0.03, 0.06, None])
    assert [one.family for one in family.values()] == [3, 3, 3, 1]
    assert family["a"].p_alone == 0.04
    largest = difference.correct({key: Difference(1.0, p_alone=p) for key, p in (("a", 0.9), ("b", 0.8))})
    assert [one.p for one in largest.values()] == [1.0, 1.0]
    assert difference.correct({}) == {}
    assert Difference(1.0, (0.5, 1.5), p=0.05).sign == 0  # corrected, so the interval alone does not decide
    assert Difference(-1.0, p=0.049).sign == -1


def test_the_test_over_seeds_agrees_with_scipy():
    values = [0.0132, 0.0062, 0.0124]
    found, expected = difference.over_seeds(values), ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(expected.confidence_interval())
    assert (found.estimate, found.unit, found.count) == (pytest.approx(np.mean(values)), "seeds", 3)
    single = difference.over_seeds([0.1])
    assert (single.estimate, single.interval, single.p, single.sign) == (0.1, None, None, 0)
    for equal in ([0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]):  # nothing shows how much other seeds would vary
        found = difference.over_seeds(equal)
        assert (found.interval, found.p, found.sign, found.count) == (None, None, 0, len(equal))
    entries = {"one": {0: 0.5, 1: 0.5}}
    assert difference.compare_pooled(entries, {0: 0.4, 1: 0.4})["one"].p is None


def test_entries_are_compared_by_the_seeds_that_they_share_with_the_reference():
    entries = {"a": {0: 0.5, 1: 0.7, 2: 0.6}, "b": {1: 0.4, 2: 0.5}, "c": {9: 0.1}}
    found = difference.compare_seeds(entries, {0: 0.4, 1: 0.5, 2: 0.5})
    assert found.keys() == {"a", "b"}
    assert found["a"].values == pytest.approx((0.1, 0.2, 0.1))
    alone = difference.over_seeds([0.1, 0.2, 0.1]).p
    assert found["a"].p_alone == pytest.approx(alone)
    assert found["a"].p == pytest.approx(2 * alone)
    assert found["a"].family == 2


GROUPS = {"a": [1.0, 2, 3], "b": [2.0, 5, 3, 1, 9], "c": [0.0, 1]}


@pytest.mark.parametrize("groups", [GROUPS, {name: [2.0 * len(name) + i % 3 for i in range(5)] for name in GROUPS}])
def test_pooled_differences_are_those_of_dunnetts_test(groups):
    """SciPy integrates with random numbers, so its figures are less exact."""
    reference = [1.0, 1.5, 0, 0.2]
    found = difference.compare_pooled({k: dict(enumerate(v)) for k, v in groups.items()}, dict(enumerate(reference)))
    expected = dunnett(*groups.values(), control=reference, random_state=np.random.default_rng(0))
    intervals = expected.confidence_interval()
    for place, one in enumerate(found.values()):
        assert one.p == pytest.approx(expected.pvalue[place], abs=1e-3)
        assert one.interval == pytest.approx((intervals.low[place], intervals.high[place]), abs=0.01)
        assert (one.unit, one.family) == ("seeds", 3)
    shared = [own - other for own, other in zip(groups["b"], reference, strict=False)]
    assert found["b"].paired.p_alone == pytest.approx(ttest_1samp(shared, 0).pvalue)
    alone = difference.compare_pooled({"a": {0: 1.0}}, {0: 0.0})["a"]
    assert (alone.p, alone.paired) == (None, None)


def test_the_smallest_difference_that_is_found_with_eighty_percent():
    values = [0.01, 0.03, 0.02, 0.04, 0.0]
    error = np.std(values, ddof=1) / 5**0.5
    seeds = difference.over_seeds(values)
    assert seeds.detectable == pytest.approx((t.ppf(0.975, 4) + t.ppf(0.8, 4)) * error)
    images = difference.over_mean(np.arange(50.0))
    assert images.detectable == pytest.approx((1.96 + norm.ppf(0.8)) * np.arange(50).std() / 50**0.5)
    family = difference.correct(dict.fromkeys("abc", seeds))["a"]
    assert family.simultaneous.half == pytest.approx(t.ppf(1 - 0.025 / 3, 4) * error)
    assert family.half == pytest.approx(t.ppf(0.975, 4) * error)


def test_two_accuracies_without_predictions_agree_with_scipy():
    for one, other in ((9199, 9135), (9135, 9090), (9204, 9151)):
        table = [[one, 10_000 - one], [other, 10_000 - other]]
        expected = chi2_contingency(table, correction=False).pvalue
        assert difference.over_shares(one / 10_000, other / 10_000, 10_000).p == pytest.approx(expected)
    assert difference.over_shares(1, 1, 5).p == 1.0


def test_nothing_uses_a_half_loaded_torch(monkeypatch):
    """Another visitor's page may be importing torch at this moment."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 500)
    logits, other = generator.normal(size=(2, 500, 10)) + 2 * np.eye(10)[labels]
    assert difference.wilson_interval(metrics.accuracy(logits, labels), 500)
    assert metrics.kl_divergence(other, logits) > 0
    assert difference.over_images(logits.argmax(axis=1) == labels, other.argmax(axis=1) == labels).p <= 1
    assert difference.over_seeds([0.1, 0.2]).p
    assert difference.over_shares(0.2, 0.4, 5).p
    assert metrics.fit_temperature(np.eye(10)[labels] * 0.9 + 0.01, logits)
