"""The estimate of time."""

from __future__ import annotations

import json

import pytest

from kdexplorer.config import RunConfig
from kdexplorer.training import estimate

SMALL = {
    "dataset": "synthetic",
    "train_images": 80,
    "batch_size": 20,
    "epochs": 2,
    "students": [{"name": "s", "architecture": "resnet8"}],
}


@pytest.mark.parametrize("epochs", [2, 100])
def test_the_whole_is_the_sum_of_its_parts(tiny, epochs):
    figures = estimate.measure(RunConfig.model_validate(SMALL | {"epochs": epochs}))
    parts = figures.loading + 4 * epochs * figures.step + (epochs + 1) * figures.evaluation
    assert figures.seconds >= parts > 0
    assert figures.images_per_second == pytest.approx(20 / figures.step)


def test_where_the_resolution_grows_steps_are_timed_at_both_ends_and_those_between_follow_their_pixels(
    tiny, monkeypatch
):
    seconds = {0: 1.0, 4: 4.0}  # at 16 and at 32 pixels a side; 24 is between them
    monkeypatch.setattr(estimate, "_time_steps", lambda _, epoch, budget: (seconds[epoch], 10 * seconds[epoch]))
    config = RunConfig.model_validate(SMALL | {"epochs": 5, "start_resolution": 16})
    figures = estimate.measure(config)
    steps = [1 + 3 * (side**2 - 256) / 768 for side in (16, 16, 24, 32, 32)]
    assert figures.step == pytest.approx(sum(steps) / 5)
    beyond = figures.seconds - figures.loading - 4 * sum(steps) - 6 * figures.evaluation
    assert beyond == pytest.approx(10 * sum(steps[1:4]))  # each size is compiled for once


def test_the_program_prints_the_figures_or_one_line_that_says_what_is_wrong(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(estimate.sys, "argv", ["estimate", str(tmp_path / "config.json")])
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    assert estimate.main() == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    (tmp_path / "config.json").write_text(json.dumps(SMALL | {"teacher": "nobody"}))
    assert estimate.main() == 1
    assert "no checkpoint 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (720, "12 min"), (7500, "2 h 5 min")]
)
def test_durations_in_words(seconds, text):
    assert estimate.format_duration(seconds) == text
