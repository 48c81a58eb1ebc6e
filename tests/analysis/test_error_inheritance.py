"""Error inheritance: counts by hand, every sentence with made-up predictions, the bundled figures a second way."""

import numpy as np
import pytest

from kdexplorer.analysis.verdicts import OWN, REPEATED, RIGHT, count_inheritance, explain_inheritance, share_of

LABELS = np.zeros(200, dtype=int)


def logits_of(predictions):
    return np.eye(4)[np.asarray(predictions)]


TEACHER = logits_of([1] * 100 + [0] * 100)
"""Wrong on the first hundred images."""


def test_counts_by_hand():
    found = count_inheritance(logits_of([1] * 60 + [0] * 30 + [2] * 10 + [0] * 95 + [3] * 5), TEACHER, LABELS)
    assert found == {"wrong": {RIGHT: 30, REPEATED: 60, OWN: 10}, "right": {RIGHT: 95, OWN: 5}}
    assert (share_of(found, "wrong", REPEATED), share_of(found, "right", RIGHT)) == (0.6, 0.95)
    assert np.isnan(share_of(count_inheritance(TEACHER, logits_of(LABELS), LABELS), "wrong", REPEATED))


def explain(student, baseline, teacher=TEACHER):
    return explain_inheritance(("s", "b", "t"), logits_of(student), logits_of(baseline), teacher, LABELS)


REST = [0] * 100


@pytest.mark.parametrize(
    ("student", "baseline", "words"),
    [
        ([1] * 80 + [2] * 20 + REST, [1] * 40 + [2] * 60 + REST, "it inherits errors"),
        ([1] * 40 + [2] * 60 + REST, [1] * 80 + [2] * 20 + REST, "it repeats fewer errors"),
        ([1] * 40 + [2] * 60 + REST, [1] * 41 + [2] * 59 + REST, "(p = 1.00 for repeating): no clear difference"),
        ([1] * 100 + REST, [1] * 100 + [0] * 70 + [2] * 30, "(+30.0 points, p < 0.0001): a gain"),
        ([1] * 100 + [0] * 70 + [2] * 30, [1] * 100 + REST, "(-30.0 points, p < 0.0001): a loss"),
        ([1] * 100 + REST, [1] * 100 + REST, "(+0.0 points, p = 1.00): no clear difference"),
        ([0] * 10 + [1] * 90 + REST, [1] * 100 + REST, "The net is +5.00 points"),
        ([0] * 10 + [1] * 90 + REST, [1] * 100 + REST, "above by 10 images"),
        ([1] * 100 + [2] * 7 + [0] * 93, [1] * 100 + REST, "below by 7 images"),
        ([1] * 100 + REST, [1] * 100 + REST, "it is equal"),
    ],
)
def test_every_sentence(student, baseline, words):
    assert words in explain(student, baseline)


def test_a_teacher_that_is_always_right_or_always_wrong():
    right, wrong = logits_of(LABELS), logits_of(LABELS + 1)
    assert "gets wrong" not in explain(LABELS, LABELS, right)
    assert "Where t is right" not in explain(LABELS, LABELS, wrong)
