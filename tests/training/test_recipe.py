"""What changes during training: the learning rate, the resolution, and the time that is left."""

import json
import logging
import threading

import pytest

from kdexplorer.config import learning_rate, resolution
from kdexplorer.runs.launch import Work
from kdexplorer.training import progress
from kdexplorer.training.trainer import Trainer
from tests.training.configs import create, make_config


@pytest.mark.parametrize(
    ("schedule", "warmup", "steps", "rates"),
    [
        ("one_cycle", 0.2, 10, dict(enumerate([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]))),
        ("cosine", 0.0, 4, {0: 1.0, 1: (1 + 0.5**0.5) / 2, 2: 0.5, 3: (1 - 0.5**0.5) / 2}),
        ("step", 0.0, 240, {0: 1, 149: 1, 150: 0.1, 179: 0.1, 180: 0.01, 209: 0.01, 210: 0.001, 239: 0.001}),
    ],
)
def test_the_rate_of_each_step(schedule, warmup, steps, rates):
    """The last are those of the field's tables."""
    config = make_config(learning_rate=2.0, warmup=warmup, schedule=schedule)
    assert {step: learning_rate(config, step, steps) / 2 for step in rates} == pytest.approx(rates)


def test_the_result_is_the_average_of_the_weights(tiny):
    trainer = Trainer(make_config(ema=0.5, optimizer="adamw", learning_rate=0.01))
    (student,) = trainer.students
    expected = student.network.state_dict()["fc.weight"].clone()
    for step in range(3):
        trainer.step(0, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * student.network.state_dict()["fc.weight"]
    assert student.result.state_dict()["fc.weight"].numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert student.result.state_dict()["bn1.num_batches_tracked"] == 3


def test_the_resolution_grows_in_even_steps_and_the_last_quarter_is_full():
    def sides(epochs, start):
        config = make_config(epochs=epochs, start_resolution=start)
        return [resolution(config, epoch) for epoch in range(epochs)]

    assert sides(8, 32) == [32] * 8
    assert sides(8, 16) == [16, 16, 16, 24, 24, 24, 32, 32]
    assert sides(12, 24) == [24] * 9 + [32] * 3
    assert sides(1, 16) == [32]  # the size that is evaluated has been trained on
    assert sides(2, 16) == [16, 32]


def test_the_time_left_is_proportional_to_pixels_and_lines_are_means_since_the_line_before(tiny, monkeypatch):
    """Two epochs of six steps, at 16 and 32 pixels a side; each step's clock is its pixels.

    On a GPU the losses of several steps are read at once: between two readings there is nothing to say.
    """
    run = create(make_config(start_resolution=16))
    trainer, clock = Trainer(run.config()), [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    work = Work(run, logging.getLogger("test"), threading.Event())
    shown = progress.RunProgress(work)
    shown.begin(trainer, 0)
    read = [(5, 1.0), (5, 1.0), (10, 6.0), (10, 6.0), (15, 9.0), (30, 9.0)]  # images so far, and right ones
    for number, (images, total) in enumerate(2 * read):
        clock[0] += 3.0 * (resolution(trainer.config, number // 6) / 16) ** 2
        trainer.students[0].sums = {"images": float(images), "correct": total}
        shown.update(number // 6, number % 6 + 1)
        expected = 3 * ((5 - number if number < 6 else 0) + 4 * min(6, 11 - number))
        assert work.facts["seconds_left"] == (expected if number else None)
        assert run.status().seconds_left == work.facts["seconds_left"]
    lines = [json.loads(line) for line in (run.path / "batches.jsonl").read_text().splitlines()]
    assert [line["train"]["accuracy"] for line in lines] == [0.2, 1.0, 0.6, 0.0] * 2
