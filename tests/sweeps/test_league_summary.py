"""The figures of a league's table against independent computations."""

import numpy as np
import pytest
from scipy import stats

from kdexplorer.sweeps.league_summary import describe_league, summarize_entries
from tests.sweeps.league_sample import ACCURACIES, make_table


def by_name(table):
    return {entry.name: entry for entry in summarize_entries(table)}


def test_means_intervals_and_paired_differences_are_those_of_scipy():
    found = by_name(make_table())
    for name, values in ACCURACIES.items():
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert found[name].accuracy == pytest.approx(np.mean(values))
        assert (found[name].accuracy_low, found[name].accuracy_high) == pytest.approx((low, high))
    for reference in ("scratch", "kd"):
        others = [name for name in ACCURACIES if name != reference]
        p = {name: stats.ttest_rel(ACCURACIES[name], ACCURACIES[reference]).pvalue for name in others}
        assert reference not in found[reference].differences
        for name in others:
            one = found[name].differences[reference]
            assert one.values == pytest.approx(np.subtract(ACCURACIES[name], ACCURACIES[reference]))
            assert one.test.p == pytest.approx(p[name])
        first, second = sorted(others, key=p.get)  # Holm by hand
        assert found[first].differences[reference].p_holm == pytest.approx(min(1, 2 * p[first]))
        assert found[second].differences[reference].p_holm == pytest.approx(max(min(1, 2 * p[first]), p[second]))


def test_steps_are_compared_within_a_run():
    found = by_name(make_table())
    assert found["scratch"].own_step == 1
    assert found["kd"].own_step == pytest.approx(1.5)  # on machines of different speed
    assert found["at"].own_step == pytest.approx(2)
    assert found["at"].whole_step == pytest.approx((0.03 + 0.02) / (0.03 + 0.015))
    assert found["kd"].whole_step == 1
    assert found["scratch"].whole_step is None  # it needs no teacher


def test_five_seeds_decide_and_fewer_do_not():
    text = describe_league(make_table())
    assert "kd (+2.00) is above it" in text
    assert "Compared with kd, at (-1.88), scratch (-2.00) are below it" in text
    assert "kd has the highest mean" in text
    undecided = describe_league(make_table(seeds=4))
    assert "4 seeds" in undecided
    assert "cannot be decided" in undecided
    assert "more than chance" not in undecided


def test_entries_that_do_not_differ_are_not_said_to():
    text = describe_league(make_table(dict.fromkeys(ACCURACIES, ACCURACIES["scratch"])))
    assert "Compared with scratch, no entry differs" in text


def test_one_seed_gives_means_alone():
    entry = by_name(make_table(seeds=1))["kd"]
    assert entry.accuracy_low is None
    assert entry.differences["scratch"].test is None
    assert entry.differences["scratch"].p_holm is None
    assert "one seed" in describe_league(make_table(seeds=1))
