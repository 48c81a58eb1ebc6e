"""The lab's claims: every verdict with made-up data, and the figures of the bundled networks a second way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from kdexplorer.analysis import claims, lab, results
from kdexplorer.analysis.difference import Difference

NOISE = np.array([0.0, 0.001, -0.001, 0.002, -0.002])


def setting(values, seeds=5):
    """Accuracies by seed around each value's mean, with other noise for each."""
    return {value: (mean + np.roll(NOISE, n))[:seeds].tolist() for n, (value, mean) in enumerate(values.items())}


@pytest.mark.parametrize(
    ("means", "seeds", "verdict"),
    [
        ({1: 0.5, 4: 0.6, 8: 0.5}, 5, "supported"),
        ({1: 0.5, 4: 0.6, 8: 0.7}, 5, "not supported"),
        ({1: 0.5, 4: 0.6, 8: 0.6}, 5, "cannot be decided"),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 4, "cannot be decided"),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 1, "cannot be decided"),
        ({1: 0.5, 8: 0.6}, 5, "cannot be decided"),
        ({4: 0.6}, 5, "cannot be decided"),
        ({}, 5, "cannot be decided"),
    ],
)
def test_a_setting_is_judged_by_seeds(means, seeds, verdict):
    values = setting(means, seeds)
    judged = claims.judge_setting("c", "T", values, lambda t: 3 <= t <= 5, lambda t: not 3 <= t <= 5)
    assert judged.verdict == verdict
    assert all(
        f"T = {value}: {100 * np.mean(v):.2f} %" in judged.evidence for value, v in setting(means, seeds).items()
    )
    assert ("fewer than 5" in judged.evidence) == (seeds < 5)


def test_the_example_is_computed(monkeypatch):
    exact = np.array([0.93, 0.05, 0.02]) ** 0.25  # softmax of logarithms over 4
    judged = claims.judge_example()
    assert " / ".join(f"{p:.3f}" for p in exact / exact.sum()) in judged.evidence
    assert "0.536 / 0.258 / 0.205" in judged.evidence
    assert judged.verdict == "not supported"
    monkeypatch.setattr(claims, "LAB_SOFTENED", (0.54, 0.26, 0.21))
    assert claims.judge_example().verdict == "supported"


def test_channels_can_differ_where_maps_have_equal_sizes():
    assert claims.judge_channels(("resnet18", "resnet50")).verdict == "supported"
    assert claims.judge_channels(("resnet8", "resnet50")).verdict == "not supported"


@pytest.mark.parametrize(
    ("terms", "verdict"),
    [
        ([5e-4, 2e-3], "supported"),
        ([5e-4, 0.5], "cannot be decided"),
        ([0.5], "not supported"),
        ([], "cannot be decided"),
    ],
)
def test_the_size_of_the_attention_term(family, terms, verdict):
    rows = [replace(family.rows()[0], terms={"at": value}) for value in terms]
    assert claims.judge_beta(rows).verdict == verdict


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [
        (0.02, 1e-5, "supported"),
        (-0.02, 1e-5, "not supported"),
        (0.02, 0.3, "cannot be decided"),
        (0.02, None, "cannot be decided"),
    ],
)
def test_whether_students_beat_their_teacher(family, difference, p, verdict):
    rows = family.rows()
    rows[2] = replace(rows[2], to_teacher=Difference(difference, p=p, p_alone=p, other="teacher"))
    judged = claims.judge_beating(rows)
    assert judged.verdict == verdict
    assert "+0.45 (p = 0.26) and +0.61 (p = 0.13)" in judged.evidence


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [([0.1, 0.1], "supported"), ([0.1, -0.1], "cannot be decided"), ([-0.1, 0.001], "not supported"), ([], None)],
)
def test_whether_the_loss_is_larger(family, differences, verdict):
    teacher, plain, student = family.rows()
    students = [
        replace(student, scaled_to_scratch_baseline=Difference(one, (one - 0.01, one + 0.01), other="plain"))
        for one in differences
    ]
    judged = claims.judge_larger_loss([teacher, plain, *students])
    assert judged.verdict == (verdict or "cannot be decided")
    assert ("larger for" in judged.evidence) == bool(differences)


def test_the_labs_accuracies_are_compared_without_pairs(family):
    row = replace(family.rows()[1], name="resnet18-response", images=10_000, accuracy=0.9199)
    (one,) = lab.compare_with_lab([row])
    pooled = (0.9199 + 0.9135) / 2
    z = (0.9199 - 0.9135) / (pooled * (1 - pooled) * 2 / 10_000) ** 0.5
    assert one.difference.p == pytest.approx(2 * norm.sf(z))
    assert one.difference.points == "+0.64 (p = 0.10)"
    assert "which can be chance" in lab.describe_lab([one])
    clear = lab.compare_with_lab([replace(row, accuracy=0.95)])
    assert "more than chance" in lab.describe_lab(clear)
    assert "chance" in lab.describe_lab([one, *clear])
    assert "None of the lab's" in lab.describe_lab(lab.compare_with_lab(family.rows()))


def test_the_bundled_networks_against_their_teachers(bundled):
    """McNemar's test a second way: a binomial test on the images that one of two classifies correctly."""
    rows = results.build_rows(bundled.entries, bundled.logits, bundled.labels)
    judged = claims.judge_beating(rows)
    clear = 0
    for row in rows:
        if row.is_distilled:
            own, other = (
                bundled.logits[name].argmax(axis=1) == bundled.labels for name in (row.name, row.to_teacher.other)
            )
            gained, lost = int((own & ~other).sum()), int((other & ~own).sum())
            p = binomtest(gained, gained + lost).pvalue
            assert row.to_teacher.p == pytest.approx(p)
            clear += p < 0.05 / 8 and lost > gained
    assert f"0 clearly above, {clear} clearly below of 8" in judged.evidence
    loss = claims.judge_larger_loss(rows)
    assert (judged.verdict, loss.verdict) == ("not supported", "not supported")
    assert "for 2; after temperature scaling it is clearly larger for 0" in loss.evidence


def test_the_tables_have_a_row_for_each_claim_and_network(family):
    text = claims.to_markdown(claims.judge_all(family.rows(), {}, {}))
    assert len([line for line in text.splitlines() if line.startswith("| ")]) == 1 + 8
    row = replace(family.rows()[1], name="resnet50", images=10_000, objective=None)
    compared = lab.to_markdown(lab.compare_with_lab([row])).splitlines()
    assert compared[2].startswith("| resnet50 | 0.43 | 90.90 % |  |")
    assert lab.to_markdown([]) == lab.describe_lab([])
