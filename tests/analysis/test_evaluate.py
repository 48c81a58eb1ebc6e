"""Evaluating checkpoints again."""

import numpy as np
import pytest

from kdexplorer.analysis import metrics
from kdexplorer.analysis.evaluate import (
    evaluate_checkpoint,
    format_after_choice,
    format_report,
    measure_after_choice,
)
from kdexplorer.analysis.inference import predict
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import DataError
from kdexplorer.runs.checkpoints import open_checkpoint


@pytest.fixture
def evaluated(tmp_path, make_checkpoint, tiny):
    """`evaluated(name, **changes)`: a checkpoint whose card agrees with its weights but for the changes."""
    split = get_dataset("synthetic").load("test")

    def make(name, **changes):
        network = make_checkpoint(tmp_path / f"{name}-draft")
        logits = predict(network.network(), split.images, network.card.normalization).astype(np.float16)
        figures = {
            "test_accuracy": metrics.accuracy(logits, split.labels),
            "test_cross_entropy": metrics.cross_entropy(logits, split.labels),
        }
        return make_checkpoint(tmp_path / name, **figures | changes)

    return make


def test_a_network_agrees_with_its_own_card(evaluated):
    checkpoint = evaluated("a")
    report = evaluate_checkpoint(str(checkpoint.path))
    assert report.matches_card
    assert report.images == 60
    assert report.accuracy_low < report.accuracy < report.accuracy_high
    assert np.nanmean(report.per_class_accuracy) == pytest.approx(report.accuracy)
    assert "agrees with its card" in format_report(report)


@pytest.mark.parametrize("change", [{"test_accuracy": 0.99}, {"test_cross_entropy": 0.01}])
def test_a_difference_from_the_card_is_found(evaluated, change):
    report = evaluate_checkpoint(str(evaluated("a", **change).path))
    assert not report.matches_card
    assert "DIFFERS" in format_report(report)


def test_only_test_splits_are_evaluated_again(evaluated):
    held = evaluated("a", data={"dataset": "synthetic", "evaluation_split": "holdout", "evaluation_images": 60})
    with pytest.raises(DataError, match=r"not evaluated on the test split.* --after-choice"):
        evaluate_checkpoint(str(held.path))


def test_what_was_chosen_on_held_out_images_is_measured_once_on_the_test_split(evaluated, monkeypatch):
    held = evaluated("a", data={"dataset": "synthetic", "evaluation_split": "holdout", "evaluation_images": 60})
    found = measure_after_choice(held)
    on_test = evaluated("b")
    known = on_test.card  # the same weights, whose card has the figures of the test split
    assert (found.images, found.accuracy) == (60, known.test_accuracy)
    assert found.cross_entropy == pytest.approx(known.test_cross_entropy)
    recorded = open_checkpoint(held.path)
    assert recorded.card == held.card.model_copy(update={"after_choice": found})
    monkeypatch.setattr(type(held), "network", lambda self: pytest.fail("it is measured once"))
    assert measure_after_choice(recorded) == found
    assert f"{100 * found.accuracy:.2f} %" in format_after_choice("a", found)
    with pytest.raises(DataError, match="leave out --after-choice"):
        measure_after_choice(on_test)
