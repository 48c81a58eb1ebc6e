"""Cards: every version is read whole, and what is not valid is refused with the field's name."""

import pytest

from kdexplorer.errors import CheckpointError
from kdexplorer.runs.checkpoints import list_checkpoints, open_checkpoint
from tests.runs.forgery import edit_card


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
    assert open_checkpoint(saved.path).card.continued_in_view == seen


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sha256": ...}, "sha256"),
        ({"version": 3}, "version"),
        ({"name": "../evil"}, "name"),
        ({"architecture": "../resnet8"}, "architecture: .*resnet8.*'../resnet8'"),
        ({"normalization": {"mean": [0, 0, 0], "std": [1, 1, 0]}}, "normalization.std.2: .*greater than 0"),
        ({"normalization": {"mean": [0, 0, 10**400], "std": [1, 1, 1]}}, "normalization.mean.2"),
        ({"objective": {"terms": [{"method": "<magic>"}]}}, "objective.terms.0: .*'<magic>'.*kd"),
        ({"objective": {"terms": [{"method": "magic", "weight": 0}]}}, "objective.terms.0.weight"),
        ({"objective": {"terms": [{"method": "magic", "x": "{"}]}}, "objective.terms.0.x"),
        ({"objective": {"terms": [{"method": "kd", "temperature": 0}]}}, "objective.terms.0.kd.temperature"),
        ({"legs": [{"epochs": 1, "history": [{"epoch": 0}] * 1001}]}, "legs.0.history"),
        ({"test_terms": {str(number): 1.0 for number in range(257)}}, "test_terms"),
    ],
    ids=str,
)
def test_an_invalid_card_is_refused_with_the_field(saved, changes, field):
    edit_card(saved, **changes)
    with pytest.raises(CheckpointError, match=rf"card\.json: {field}"):
        open_checkpoint(saved.path)
    assert list_checkpoints(saved.path.parent) == []
