"""The room's soft label against hand-computed figures, and the sentences for both outcomes."""

import numpy as np
import pytest

from kdexplorer.vote.questions import choice_of, describe_agreement, distance, soft_label
from tests.vote.conftest import ask


def closed(label, **votes):
    """A closed question with votes for classes by their number: closed(3, c3=2)."""
    return ask(label).model_copy(update={"counts": tuple(votes.get(f"c{k}", 0) for k in range(10))})


def test_soft_label_choice_and_distance_against_hand_computed_figures():
    assert soft_label([1, 3, 0]).tolist() == [0.25, 0.75, 0.0]
    assert soft_label([0, 0]) is None
    assert [choice_of(counts) for counts in ([1, 3, 0], [2, 2, 1], [0, 0, 0])] == [1, None, None]
    logits = np.log(np.array([0.5, 0.25, 0.25]))
    assert distance(np.array([0.5, 0.5, 0.0]), logits) == pytest.approx(0.5 * np.log(1) + 0.5 * np.log(2))
    assert distance(np.exp(logits), logits) == pytest.approx(0, abs=1e-9)


def test_agreement_counts_and_does_not_decide_on_few_pictures():
    questions = [
        closed(3, c3=3, c5=1),
        closed(3, c3=2, c5=2),  # a tie
        closed(None, c3=2),  # a photo
        closed(3),  # nobody voted
        ask(3),  # open
    ]
    logits = {"big": 5.0 * np.eye(10)[[3] * 5], "small": 5.0 * np.eye(10)[[5] * 5]}
    text = describe_agreement(questions, logits)
    assert "On 2 pictures with a label" in text
    assert "is right once (a tie" in text
    assert "62%" in text  # the mean of 75 % and 50 %
    assert "big 2, small 0" in text
    assert "not decided" in text
    assert describe_agreement(questions[2:], logits) is None
    assert "networks" not in describe_agreement(questions, {})


@pytest.mark.parametrize(("room_right", "word"), [(True, "more"), (False, "less")])
def test_agreement_says_when_the_room_differs(room_right, word):
    """Twelve pictures on which only one of the two is right: p = 2 / 2**12, twice that after Holm's correction."""
    same, other = (3, 4) if room_right else (4, 3)
    questions = [closed(3, **{f"c{same}": 5}) for _ in range(12)]
    text = describe_agreement(questions, {"big": 5.0 * np.eye(10)[[other] * 12], "same": 5.0 * np.eye(10)[[same] * 12]})
    assert f"is right {12 * room_right} times (a tie" in text
    assert f"the audience is {word} often right than big (p = 0.00098)" in text
    assert "than same" not in text
