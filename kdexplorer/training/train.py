"""The training loop: load, then for each epoch and each batch a step, an evaluation after each epoch, a result.

The evaluation split is never used for selection: the last epoch's weights are the result. A run that was killed
continues from its last saved step to the same bits.
"""

from __future__ import annotations

import platform
import threading
import time

import numpy as np
import torch

from kdexplorer.analysis import metrics
from kdexplorer.files import remove_leftovers, write_json
from kdexplorer.runs.records import EpochMetrics, TeacherFigures
from kdexplorer.training.export import export_snapshots, export_students
from kdexplorer.training.progress import RunProgress
from kdexplorer.training.schedule import learning_rate
from kdexplorer.training.state import OLD_STATE, STATE, restore_latest, save_state
from kdexplorer.training.student import Student, average_sums, check_finite
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.teacher_check import check_teacher
from kdexplorer.training.timing import median_seconds
from kdexplorer.training.trainer import Trainer

PROBES = 20
"""Images of the evaluation split whose logits are stored after every epoch, so that one can watch a student learn."""


class Stopped(Exception):
    """A signal or another process asked the run to stop; its state is saved."""


def train(progress: RunProgress, stopping: threading.Event) -> None:
    """Trains a run to its end, from its saved state where there is one.

    Args:
        progress: of the run, whose folder receives everything.
        stopping: when it is set, the state is saved after the current step and the run ends.

    Raises:
        Stopped: `stopping` was set.
        KDError: what makes the run fail, such as a loss that is not finite.
    """
    run = progress.run
    config = run.config()
    progress.write("running", "loading data and networks")
    trainer = Trainer(config)
    team = trainer.team
    if team.leads:
        _remove_leftovers(progress, trainer)
    epoch, step, seconds_before = restore_latest(trainer, progress)
    run.drop_metrics_from(epoch, step, trainer.steps_per_epoch)
    clock = _Clock(seconds_before)
    _log_start(progress, trainer, epoch, step)

    teacher = trainer.evaluate_teacher() if team.leads else None
    if teacher is not None:
        write_json(run.path / "teacher.json", _describe_teacher(trainer, teacher).model_dump(mode="json"))
        at_start = check_teacher(trainer, teacher, epoch)
        if at_start is not None and at_start.warning:
            progress.warn(at_start.warning, lasting=True)

    progress.begin(trainer, epoch * trainer.steps_per_epoch + step)
    while epoch < config.epochs:
        while step < trainer.steps_per_epoch:
            trainer.step(epoch, step)
            step += 1
            progress.update(epoch, step)
            stop, last = team.any(stopping.is_set()), step == trainer.steps_per_epoch
            if stop or (not last and clock.since_save() > 60 * config.save_minutes):
                _save(progress, trainer, epoch, step, clock)
            if stop:
                raise Stopped
        rows = [_evaluate(trainer, student, teacher, epoch, clock, progress.rate) for student in trainer.students]
        run.append_metrics(rows)
        progress.show_metrics(rows if team.leads else [])
        trainer.spans = []
        epoch, step = epoch + 1, 0
        if team.leads and config.snapshots and epoch % config.snapshots == 0 and epoch < config.epochs:
            export_snapshots(run, trainer, teacher, epoch, clock.seconds())
        _save(progress, trainer, epoch, step, clock)
    progress.close()

    progress.write("running", "evaluating the float16 weights")
    if team.leads:
        export_students(run, trainer, clock.seconds())
        (run.path / OLD_STATE).unlink(missing_ok=True)


class _Clock:
    """Seconds spent on the run in all its parts, and since its state was saved."""

    def __init__(self, before: float) -> None:
        self.before, self.begin = before, time.monotonic()
        self.saved = self.begin

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.begin

    def since_save(self) -> float:
        return time.monotonic() - self.saved


def _evaluate(
    trainer: Trainer, student: Student, teacher: EvaluationTeacher | None, epoch: int, clock: _Clock, rate: float
) -> EpochMetrics:
    """A student after an epoch: means over its batches and, in the leading process, figures on the evaluation split."""
    sums, student.sums = student.sums, {}
    spans, student.spans = student.spans, []
    row = EpochMetrics(epoch=epoch, student=student.config.name, train=average_sums(sums))
    config = trainer.config
    skipped = (epoch + 1) % config.evaluate_every != 0 and epoch + 1 < config.epochs
    if skipped or not trainer.team.leads:
        return row
    logits, parts = trainer.evaluate(student, teacher)
    where = f"on the {trainer.evaluation_name} images after epoch {epoch + 1}, step {trainer.steps_per_epoch}"
    check_finite(student, parts, where)
    last_step = (epoch + 1) * trainer.steps_per_epoch - 1
    return row.model_copy(
        update={
            "learning_rate": learning_rate(trainer.config, last_step, trainer.steps),
            "test": parts | {"accuracy": metrics.accuracy(logits, trainer.evaluation.labels)},
            "probes": np.round(logits[:PROBES].astype(float), 3).tolist(),
            "seconds": round(clock.seconds(), 3),
            "images_per_second": round(rate, 1),
            "step_seconds": median_seconds(spans),
            "batch_seconds": median_seconds(trainer.spans),
        }
    )


def _describe_teacher(trainer: Trainer, teacher: EvaluationTeacher) -> TeacherFigures:
    labels, data = trainer.evaluation.labels, [one.card.data for one in trainer.teacher_checkpoints]
    own = ("holdout", trainer.config.dataset, trainer.config.holdout)  # held out from the teacher too
    unseen = all((one.evaluation_split, one.dataset, one.evaluation_images) == own for one in data)
    return TeacherFigures(
        name="+".join(teacher.name for teacher in trainer.teacher_checkpoints),
        evaluation_split=trainer.evaluation_name,
        note="" if unseen else None,
        accuracy=metrics.accuracy(teacher.logits, labels),
        cross_entropy=metrics.cross_entropy(teacher.logits, labels),
        probes=np.round(teacher.logits[:PROBES].astype(float), 3).tolist(),
        probe_labels=labels[:PROBES].tolist(),
    )


def _save(progress: RunProgress, trainer: Trainer, epoch: int, step: int, clock: _Clock) -> None:
    """Saves the state. A full disk costs the newest state, never the last good one nor the run."""
    clock.saved = time.monotonic()
    trainer.read_losses()
    if not trainer.team.leads:
        return
    try:
        save_state(progress.run.path, trainer, epoch, step, clock.seconds())
        progress.clear_warning()
    except OSError as error:
        progress.warn(f"the state could not be saved ({error.strerror}); the last good one is kept")


def _remove_leftovers(progress: RunProgress, trainer: Trainer) -> None:
    """Removes what a kill in the middle of a write has left."""
    students = [student.name for student in trainer.config.students]
    for name in (STATE, OLD_STATE, "metrics.jsonl", "batches.jsonl", "teacher.json", *students):
        remove_leftovers(progress.run.path / name)


def _log_start(progress: RunProgress, trainer: Trainer, epoch: int, step: int) -> None:
    progress.logger.info(
        "%s: %s %s, %s, %d threads, %d images, epoch %d step %d",
        progress.run.run_id,
        trainer.device,
        trainer.dtype,
        platform.machine(),
        torch.get_num_threads(),
        trainer.train_count,
        epoch,
        step,
    )
