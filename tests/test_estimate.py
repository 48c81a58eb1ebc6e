"""The estimate of time, and how it is asked for from a process that stays free of torch."""

from __future__ import annotations

import pytest

from kdexplorer import estimate
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import RunError

SMALL = {
    "dataset": "synthetic",
    "train_images": 200,
    "batch_size": 50,
    "epochs": 2,
    "students": [{"name": "s", "architecture": "resnet8"}],
}


@pytest.mark.parametrize("epochs", [2, 100])
def test_the_whole_is_the_sum_of_its_parts(tiny, epochs):
    figures = estimate.measure(ExperimentConfig.model_validate(SMALL | {"epochs": epochs}))
    parts = figures["loading"] + 4 * epochs * figures["step"] + (epochs + 1) * figures["evaluation"]
    assert figures["seconds"] >= parts > 0
    assert figures["images_per_second"] == pytest.approx(50 / figures["step"])


def test_a_process_says_what_is_wrong():
    config = ExperimentConfig.model_validate(SMALL | {"teacher": "nobody"})
    measurement = estimate.Measurement(config)
    measurement._process.wait(300)
    with pytest.raises(RunError, match="no checkpoint 'nobody'"):
        measurement.poll()


def test_a_measurement_can_be_given_up():
    measurement = estimate.Measurement(ExperimentConfig.model_validate(SMALL))
    measurement.cancel()
    with pytest.raises(RunError):
        measurement.poll()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (720, "12 min"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds, text):
    assert estimate.words(seconds) == text
