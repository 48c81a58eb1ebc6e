"""Evaluating checkpoints again."""

import numpy as np
import pytest

from kdexplorer.analysis import metrics
from kdexplorer.analysis.evaluate import evaluate_checkpoint, format_report
from kdexplorer.analysis.inference import predict
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import DataError


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
    with pytest.raises(DataError, match="not evaluated on the test split"):
        evaluate_checkpoint(str(held.path))
