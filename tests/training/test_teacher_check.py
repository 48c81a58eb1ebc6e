"""What the teacher loses on the small images of the first epochs, and who is told."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdexplorer.analysis.metrics import accuracy, softmax
from kdexplorer.datasets import get_dataset
from kdexplorer.training import estimate, teacher_check
from kdexplorer.training.teacher_check import TeacherAtStart, check_teacher
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer
from tests.training.configs import COMBINED, SCRATCH, create, make_config


@pytest.fixture
def small(tiny, teacher):
    """Two epochs, the first on images of 16 pixels."""
    return make_config(SCRATCH, COMBINED, teacher=str(teacher.path), start_resolution=16)


@pytest.mark.parametrize(("right", "warned"), [(440, False), (435, False), (434, True), (300, True), (470, False)])
def test_a_teacher_that_loses_more_than_five_points_is_reported(right, warned):
    found = TeacherAtStart("big", 16, 500, accuracy=right / 500, full=460 / 500, confidence=0.89)
    assert bool(found.warning) == warned
    if warned:
        assert f"{right / 5:.1f} %" in found.warning
        assert "92.0 %" in found.warning
        assert "89 %" in found.warning


def test_the_figures_are_those_of_the_teacher_on_resized_images(small, teacher):
    trainer = Trainer(small)
    outputs = trainer.evaluate_teacher()
    found = check_teacher(trainer, outputs)
    split = get_dataset("synthetic").load("test")
    mean, std = (
        np.reshape(part, (3, 1, 1)) for part in (teacher.card.normalization.mean, teacher.card.normalization.std)
    )
    pixels = torch.tensor((split.images / 255 - mean) / std, dtype=torch.float32)
    with torch.inference_mode():
        inputs = F.interpolate(pixels, size=(16, 16), mode="bilinear", antialias=True)
        logits = teacher.network()(inputs).numpy()
    assert (found.side, found.images) == (16, 60)
    assert found.accuracy == pytest.approx(accuracy(logits, split.labels))
    assert found.full == pytest.approx(accuracy(teacher.network()(pixels).numpy(), split.labels))
    assert found.confidence == pytest.approx(softmax(logits).max(axis=1).mean(), abs=1e-4)


def test_nothing_is_measured_where_no_small_image_is_left_or_no_teacher_is_used(small):
    trainer = Trainer(small)
    assert check_teacher(trainer, trainer.evaluate_teacher(), epoch=1) is None
    assert check_teacher(trainer, None) is None
    full = Trainer(small.model_copy(update={"start_resolution": 32}))
    assert check_teacher(full, full.evaluate_teacher()) is None


def test_the_run_the_terminal_and_the_estimate_warn_to_the_end(small, monkeypatch, capsys):
    monkeypatch.setattr(teacher_check, "MOST", -1.0)
    run = create(small)
    assert execute(run, show=True) == "finished"
    assert run.status().warning.startswith("At 16 pixels the teacher")
    assert "warning: At 16 pixels the teacher" in capsys.readouterr().err
    assert "At 16 pixels" in run.log_tail(50)
    assert estimate.measure(small).warning == run.status().warning
    monkeypatch.setattr(teacher_check, "MOST", 2.0)
    assert estimate.measure(small).warning == ""
