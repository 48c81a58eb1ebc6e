"""The lab's claims: every verdict with made-up data.

The claims and tables of the bundled networks are those of docs/results.md, see tests/test_docs.py.
"""

import numpy as np
import pytest

from kdexplorer.studies.experiments import lab_claims
from kdexplorer.studies.table import Row, Table, pack_bits
from tests.studies.sample import ACCURACIES, NOISE, first, make_table

OPEN = "cannot be decided"


@pytest.mark.parametrize(
    ("means", "seeds", "verdict"),
    [
        ({1: 0.5, 4: 0.6, 8: 0.5}, 5, "supported"),
        ({1: 0.5, 4: 0.6, 8: 0.7}, 5, "not supported"),
        ({1: 0.5, 4: 0.6, 8: 0.6}, 5, OPEN),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 4, OPEN),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 1, OPEN),
        ({1: 0.5, 8: 0.6}, 5, OPEN),
        ({}, 5, OPEN),
    ],
)
def test_a_setting_is_judged_by_seeds(means, seeds, verdict):
    values = {value: (mean + np.roll(NOISE, n))[:seeds].tolist() for n, (value, mean) in enumerate(means.items())}
    judged = lab_claims.judge_setting("c", "T", values, (3, 5))
    assert judged.verdict == verdict
    assert all(f"T = {value}: {100 * np.mean(v):.2f} %" in judged.evidence for value, v in values.items())
    assert ("fewer than 5" in judged.evidence) == (seeds < 5)
    assert ("80 % power" in judged.evidence) == (verdict == OPEN and len(means) == 3 and seeds > 1)


def test_the_example_is_computed(monkeypatch):
    judged = lab_claims.judge_example()
    assert "0.536 / 0.258 / 0.205" in judged.evidence  # the fourth roots of 0.93, 0.05 and 0.02, divided by their sum
    assert judged.verdict == "not supported"
    monkeypatch.setattr(lab_claims, "LAB_SOFTENED", (0.54, 0.26, 0.21))
    assert lab_claims.judge_example().verdict == "supported"


def test_channels_can_differ_where_maps_have_equal_sizes():
    assert lab_claims.judge_channels(("resnet8", "resnet50")).verdict == "not supported"


def networks(*rows, images=1000):
    """A table of rows `(part, name, measures)`, where `right` among the measures is bits."""
    found = [
        Row(
            part=part, entry=name, right=pack_bits(measures["right"]) if "right" in measures else "",
            measures={"accuracy": 0.9, "cross_entropy": 0.3}
            | {key: value for key, value in measures.items() if key != "right"},
        )
        for part, name, measures in rows
    ]  # fmt: skip
    return Table(images=images, rows=found)


@pytest.mark.parametrize(
    ("terms", "verdict"), [([5e-4, 2e-3], "supported"), ([5e-4, 0.5], OPEN), ([0.5], "not supported"), ([], OPEN)]
)
def test_the_size_of_the_attention_term(terms, verdict):
    table = networks(*(("", f"s{n}", {"attention_term": value}) for n, value in enumerate(terms)))
    assert lab_claims.judge_beta(table).verdict == verdict


@pytest.mark.parametrize(("right", "verdict"), [(950, "supported"), (850, "not supported"), (901, OPEN), (None, OPEN)])
def test_whether_students_beat_their_teacher(right, verdict):
    own = {} if right is None else {"right": first(right), "accuracy": right / 1000}
    table = networks(("", "t", {"right": first(900), "accuracy": 0.9}), ("", "s", own), ("teacher t", "s", {}))
    (judged,) = lab_claims.judge_beating(table)
    assert judged.verdict == verdict
    assert ("+0.45 (p = 0.26) and +0.61 (p = 0.13)" in judged.evidence) == (right is None)  # `t` is not the lab's
    assert ("80 % power" in judged.evidence) == (right == 901)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.1, 0.1], "supported"),
        ([0.1, -0.1], OPEN),
        ([-0.1, 0.001], "not supported"),
        ([0.001, 0.001], OPEN),
        ([-0.012], "not supported"),
        ([-0.012] * 10, OPEN),  # each alone is clearly below zero, of ten together none is
        ([], OPEN),
    ],
)
def test_whether_the_loss_is_larger(differences, verdict):
    rows = [("", "b", {"objective": 0.2})]
    for number, difference in enumerate(differences):
        scaled = {"scaled_difference": difference, "half_interval": 0.01}
        rows += [("", f"s{number}", {"objective": 0.4}), ("scratch baseline b", f"s{number}", scaled)]
    judged = lab_claims.judge_larger_loss(networks(*rows))
    assert judged.verdict == verdict
    assert (f"larger for {len(differences)} of" in judged.evidence) == bool(differences)


def test_a_study_is_judged_by_seeds(bundled):
    """Both distilled students are better than the one from labels; none reaches the bundled teacher, ResNet-56."""
    accuracies = ACCURACIES | {"at": [value + 0.001 for value in ACCURACIES["kd"]]}
    scratch, kd, at = (np.mean(values) for values in accuracies.values())
    teacher = bundled.entries["resnet56"].card.test_accuracy
    judged = lab_claims.judge_study(make_table(accuracies))
    for claim, other, verdict in zip(judged, (scratch, teacher), ("supported", "not supported"), strict=True):
        assert claim.verdict == verdict
        assert f"Kd: {100 * (kd - other):+.2f} points" in claim.evidence
        assert f"at: {100 * (at - other):+.2f} points" in claim.evidence
    assert "resnet56" in judged[1].claim
    assert [one.verdict for one in lab_claims.judge_study(make_table(accuracies, seeds=4))] == [OPEN, OPEN]
    assert lab_claims.judge_study(None) == []


def test_there_may_be_none_of_the_labs_networks():
    assert "None of the lab's" in lab_claims.describe_lab(networks(("", "s", {})))
