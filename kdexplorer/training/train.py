"""The training loop: load, then for each epoch and each batch a step, an evaluation after each epoch, a result.

A run selects nothing on the evaluation split: the last epoch's weights are the result. A run that was killed continues
from its last saved step to the same bits.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from filelock import FileLock, Timeout

from kdexplorer.analysis import metrics
from kdexplorer.config import learning_rate, resolution
from kdexplorer.datasets.base import PROBES
from kdexplorer.errors import TrainingError
from kdexplorer.files import remove_leftovers, write_json
from kdexplorer.runs.launch import Stopped, Work, work_in
from kdexplorer.runs.run_folder import EpochMetrics, Run, State, TeacherMeasures
from kdexplorer.training import ddp
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.progress import RunProgress, average_sums
from kdexplorer.training.state import OLD_STATE, STATE, export_students, restore_latest, save_state
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.trainer import Student, Trainer, median_seconds


def execute(run: Run, show: bool = False, report: Callable[[int, int], object] | None = None) -> State:
    """Trains a run to its end, from its saved state where there is one, when no other run trains.

    `show` draws a progress bar on stderr; `report` is called after every step with the steps done and their total.
    Returns the final state, see `work_in`; whatever that raises is raised here.
    """
    team = ddp.join()
    if team.lead(lambda: run.status().state == "finished"):
        return "finished"

    def train_in_turn(work: Work) -> None:
        with _turn(work, team), torch.random.fork_rng(devices=[]):  # a script that trains keeps its own draws
            configure_process(run.config().threads)
            try:
                train(RunProgress(work, show, report))
            except torch.OutOfMemoryError as error:
                raise TrainingError(
                    "the GPU's memory is too small for this run: lower batch_size, train fewer students or smaller "
                    "networks, or choose the device cpu."
                ) from error

    return work_in(replace(run, writes=team.leads), train_in_turn, team.lead)


@contextlib.contextmanager
def _turn(work: Work, team: ddp.Team) -> Iterator[None]:
    """Waits until no other run trains, and lets none begin in the block. Raises Stopped when it was stopped before.

    Each GPU after the first has an order of its own, by its number on the machine or its name.
    """
    device, seen = work.run.config().device, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    number = int(device.partition(":")[2] or 0)
    gpu = seen[number].strip() if number < len(seen) and seen[number].strip() else str(number)
    name = ".lock" if device == "cpu" or gpu == "0" else f".cuda-{re.sub('[^A-Za-z0-9]', '', gpu)}.lock"
    turn = FileLock(work.run.path.parent / name)
    try:
        while True:
            with contextlib.suppress(Timeout):
                if team.leads:
                    turn.acquire(timeout=0.5)
            if team.any(turn.is_locked):
                break
            work.write("queued", "waiting for the run before it")
            if team.any(work.stopping.is_set()):
                raise Stopped
        yield
    finally:
        turn.release()


def train(progress: RunProgress) -> None:
    """Loads, trains and exports a run; `progress` has its folder, which receives everything.

    Raises Stopped when the run was asked to stop, its state is saved; KDError for what makes it fail, such as a loss
    that is not finite.
    """
    run, work = progress.run, progress.work
    config, team = run.config(), ddp.join()
    work.write("running", "loading data and networks")
    # Of several processes, one that stopped within an evaluation would leave the others waiting.
    trainer = Trainer(config, work.stopping if team.size == 1 else None)
    if team.leads:
        files = STATE, OLD_STATE, "metrics.jsonl", "batches.jsonl", "teacher.json"
        names = [student.name for student in config.students]
        for name in (*files, *names, *(f"{name}-after-*" for name in names)):
            remove_leftovers(run.path / name)  # of a kill in the middle of a write
    epoch, step = restore_latest(trainer, progress)
    run.drop_metrics_from(epoch, step, trainer.steps_per_epoch)
    where = f"{trainer.device} {trainer.dtype}, {platform.machine()}, {torch.get_num_threads()} threads"
    progress.logger.info("%s: %s, %d images, epoch %d step %d", run.run_id, where, len(trainer.labels), epoch, step)

    teacher = trainer.evaluate_teacher() if team.leads else None
    if teacher is not None:
        _report_teacher(progress, trainer, teacher, epoch)

    progress.begin(trainer, epoch * trainer.steps_per_epoch + step)
    while epoch < config.epochs:
        while step < trainer.steps_per_epoch:
            trainer.step(epoch, step)
            step += 1
            progress.update(epoch, step)
            due = step < trainer.steps_per_epoch and time.monotonic() - progress.saved > 60 * config.save_minutes
            if team.any(due or work.stopping.is_set()):
                stop = team.any(work.stopping.is_set())
                _save(progress, epoch, step)
                if stop:
                    raise Stopped
        try:
            rows = [_evaluate(progress, student, teacher, epoch) for student in trainer.students]
        except Stopped:
            _save(progress, epoch, step)
            raise
        run.append_metrics(rows)
        progress.show_metrics(rows)
        trainer.forget_epoch()
        epoch, step = epoch + 1, 0
        is_snapshot = config.snapshots and epoch % config.snapshots == 0 and epoch < config.epochs
        if team.leads and is_snapshot and (refused := export_students(run, trainer, teacher, epoch)):
            progress.warn(f"after {epoch} epochs float16 cannot hold all students: {refused}", lasting=True)
        _save(progress, epoch, step)
    progress.end()

    work.write("running", "evaluating the float16 weights")
    if team.leads:
        if refused := export_students(run, trainer, teacher, epoch):
            raise TrainingError(refused)
        (run.path / OLD_STATE).unlink(missing_ok=True)
    progress.close()


def _evaluate(progress: RunProgress, student: Student, teacher: EvaluationTeacher | None, epoch: int) -> EpochMetrics:
    """A student after an epoch: means over its batches and, in the leading process, on the evaluation split."""
    trainer = progress.trainer
    config = trainer.config
    row = EpochMetrics(epoch=epoch, student=student.config.name, train=average_sums(student.sums))
    if not trainer.team.leads or ((epoch + 1) % config.evaluate_every and epoch + 1 < config.epochs):
        return row
    logits, parts = trainer.evaluate(student, teacher)
    where = f"on the {trainer.data.evaluation_split} images after epoch {epoch + 1}, step {trainer.steps_per_epoch}"
    student.check_finite(parts, where)
    return row.model_copy(
        update={
            "learning_rate": learning_rate(config, (epoch + 1) * trainer.steps_per_epoch - 1, trainer.steps),
            "test": parts | {"accuracy": metrics.accuracy(logits, trainer.evaluation.labels)},
            "probes": np.round(logits[:PROBES].astype(float), 3).tolist(),
            "seconds": round(trainer.seconds(), 3),
            "images_per_second": round(progress.rate, 1),
            "step_seconds": median_seconds(student.spans),
            "batch_seconds": median_seconds(trainer.spans),
        }
    )


def _report_teacher(progress: RunProgress, trainer: Trainer, teacher: EvaluationTeacher, epoch: int) -> None:
    """Writes the teacher's measures on the evaluation split; warns where the epoch's small images cost it accuracy."""
    labels, data = trainer.evaluation.labels, [one.card.data for one in trainer.teacher_checkpoints]
    holdout = trainer.config.holdout
    own = ("holdout", trainer.config.dataset, holdout)  # held out from the teacher too
    unseen = not holdout or all((one.evaluation_split, one.dataset, one.evaluation_images) == own for one in data)
    measures = TeacherMeasures(
        name="+".join(teacher.name for teacher in trainer.teacher_checkpoints),
        note="" if unseen else "on training images that it may have been trained on",
        accuracy=metrics.accuracy(teacher.logits, labels),
        cross_entropy=metrics.cross_entropy(teacher.logits, labels),
        probes=np.round(teacher.logits[:PROBES].astype(float), 3).tolist(), probe_labels=labels[:PROBES].tolist(),
    )  # fmt: skip
    write_json(progress.run.path / "teacher.json", measures.model_dump(mode="json"))
    side = resolution(trainer.config, min(epoch, trainer.config.epochs - 1))
    if trainer.teacher and (warning := trainer.teacher.check_size(trainer.evaluation, teacher, side)):
        progress.warn(warning, lasting=True)


def _save(progress: RunProgress, epoch: int, step: int) -> None:
    """Saves the state. A full disk costs the newest state, never the last good one nor the run."""
    progress.saved = time.monotonic()
    progress.trainer.read_losses()
    if not progress.trainer.team.leads:
        return
    try:
        save_state(progress.run.path, progress.trainer, epoch, step)
        progress.clear_warning()
    except OSError as error:
        progress.warn(f"the state could not be saved ({error.strerror}); the last good one is kept")
