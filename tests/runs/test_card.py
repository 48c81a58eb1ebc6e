"""Cards: every version is read whole, and what is not valid is refused with the field's name."""

import pickle

import pytest

from kdexplorer.errors import CheckpointError
from kdexplorer.runs.checkpoints import list_checkpoints
from tests.runs.forgery import edit_card, reopen


def test_epochs_are_the_sum_over_all_legs_and_the_history_goes_on_counting(saved):
    history = [{"epoch": 0, "test": {"accuracy": 0.4}}, {"epoch": 1, "test": {"accuracy": 0.5}}]
    legs = [
        {"run": "first", "epochs": 3, "seed": 1},  # its curve was not stored
        {"run": "second", "epochs": 2, "seed": 2, "initial": "first/net", "history": history},
    ]
    edit_card(saved, legs=legs)
    card = reopen(saved).card
    assert (card.epochs, card.run, card.seed) == (5, "second", 2)
    assert [(row.epoch, row.test["accuracy"]) for row in card.history] == [(3, 0.4), (4, 0.5)]
    edit_card(saved, objective=None, legs=[])  # weights of unknown origin count as trained on labels alone
    card = reopen(saved).card
    assert (card.objective_key, card.run, card.epochs, card.seed, card.history) == ("scratch", None, None, None, [])


@pytest.mark.parametrize(
    ("holdouts", "split", "seen"),
    [
        ([0], "test", False),
        ([None, 0], "test", True),
        ([500, 0], "test", False),
        ([500, 0, 0], "test", True),
        ([0, 500], "holdout", False),
    ],
)
def test_training_continued_in_view_of_test_figures_unless_they_were_of_held_out_images(saved, holdouts, split, seen):
    edit_card(
        saved,
        legs=[{"epochs": 1, "recipe": {} if count is None else {"holdout": count}} for count in holdouts],
        data={"dataset": "synthetic", "evaluation_split": split, "evaluation_images": 120},
    )
    assert reopen(saved).card.continued_in_view == seen


REQUIRED = (
    "name", "architecture", "parameters", "classes", "normalization", "test_accuracy", "test_cross_entropy", "sha256",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        *(({key: ...}, key) for key in REQUIRED),
        ({"version": 3}, "version"),
        ({"name": "../evil"}, "name"),
        ({"architecture": "../resnet8"}, "architecture: .*resnet8.*'../resnet8'"),
        ({"parameters": 0}, "parameters"),
        ({"classes": ["one"]}, "classes"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "normalization.std.2: .*greater than 0"),
        ({"normalization": {"mean": [0, 0, 10**400], "std": [1, 1, 1]}}, "normalization.mean.2"),
        ({"test_accuracy": 91.5}, "test_accuracy: .*less than or equal to 1"),
        ({"test_cross_entropy": float("inf")}, "test_cross_entropy"),
        ({"objective": {"terms": [{"method": "<magic>"}]}}, "objective.terms.0: .*'<magic>'.*kd"),
        ({"objective": {"terms": [{"method": "magic", "weight": 0}]}}, "objective.terms.0.weight"),
        ({"objective": {"terms": [{"method": "magic", "x": "{"}]}}, "objective.terms.0.x"),
        ({"objective": {"terms": [{"method": "kd", "temperature": 0}]}}, "objective.terms.0.kd.temperature"),
        ({"objective": {"ce_weight": 0}}, "objective"),
        ({"data": {"evaluation_split": "validation"}}, "data.evaluation_split"),
        ({"legs": [{"epochs": 1}] * 65}, "legs"),
        ({"legs": [{"epochs": 1, "history": [{"epoch": 0}] * 1001}]}, "legs.0.history"),
        ({"test_terms": {str(number): 1.0 for number in range(257)}}, "test_terms"),
        ({"legs": [{"epochs": 1001}]}, "legs.0.epochs"),
    ],
    ids=str,
)
def test_an_invalid_card_is_refused_with_the_field(saved, changes, field):
    edit_card(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"card\.json: {field}"):
        reopen(saved)
    assert list_checkpoints(saved.path.parent) == []


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, pickle.dumps({"name": "x"})])
def test_a_card_that_is_garbage_is_refused(saved, garbage):
    (saved.path / "card.json").write_bytes(garbage)
    with pytest.raises(CheckpointError, match=r"no readable card\.json"):
        reopen(saved)
