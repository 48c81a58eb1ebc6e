"""The training loop: load, then for each epoch and each batch a step, an evaluation after each epoch, a result.

A run selects nothing on the evaluation split: the last epoch's weights are the result. A run that was killed continues
from its last saved step to the same bits.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from filelock import FileLock, Timeout

from kdexplorer.analysis import metrics
from kdexplorer.datasets.base import PROBES
from kdexplorer.files import remove_leftovers, write_json
from kdexplorer.runs.launch import Stopped, Work, work_in
from kdexplorer.runs.records import EpochMetrics, State, TeacherFigures
from kdexplorer.runs.run_folder import Run
from kdexplorer.training import ddp
from kdexplorer.training.event_log import EventLog
from kdexplorer.training.export import export_snapshots, export_students
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.progress import RunProgress
from kdexplorer.training.recipe import learning_rate, resolution
from kdexplorer.training.state import OLD_STATE, STATE, restore_latest, save_state
from kdexplorer.training.teacher import EvaluationTeacher
from kdexplorer.training.trainer import Student, Trainer, average_sums, median_seconds


def execute(run: Run, show: bool = False, report: Callable[[int, int], object] | None = None) -> State:
    """Trains a run to its end, from its saved state where there is one, when no other run trains.

    Args:
        run: a folder that `launch.create_run` wrote.
        show: draw a progress bar on stderr.
        report: called after every step with the steps done and their total.

    Returns:
        The final state, see `work_in`; whatever that raises is raised here.
    """
    team = ddp.join()
    if team.lead(lambda: run.status().state == "finished"):
        return "finished"

    def train_in_turn(work: Work) -> None:
        with _turn(work, team):
            configure_process(run.config().threads)
            train(RunProgress(work, show, report))

    return work_in(replace(run, writes=team.leads), train_in_turn, team.lead)


@contextlib.contextmanager
def _turn(work: Work, team: ddp.Team) -> Iterator[None]:
    """Waits until no other run trains, and lets none begin in the block. Raises Stopped when it was stopped before.

    Each GPU after the first has an order of its own.
    """
    number = work.run.config().device.partition(":")[2]
    turn = FileLock(work.run.path.parent / (f".cuda-{number}.lock" if int(number or 0) else ".lock"))
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

    Raises:
        Stopped: the run was asked to stop; its state is saved.
        KDError: what makes the run fail, such as a loss that is not finite.
    """
    run, work = progress.run, progress.work
    config = run.config()
    events = EventLog(run)
    work.write("running", "loading data and networks")
    trainer = Trainer(config)
    team = trainer.team
    if team.leads:
        _remove_leftovers(progress, trainer)
    if team.size == 1:  # others would wait for this process in vain
        trainer.stop_when(work.stopping)
    epoch, step, seconds_before = restore_latest(trainer, progress)
    run.drop_metrics_from(epoch, step, trainer.steps_per_epoch)
    clock = _Clock(seconds_before)
    _log_start(progress, trainer, epoch, step)

    teacher = trainer.evaluate_teacher() if team.leads else None
    if teacher is not None:
        write_json(run.path / "teacher.json", _describe_teacher(trainer, teacher).model_dump(mode="json"))
        side = resolution(config, min(epoch, config.epochs - 1))
        if trainer.teacher and (warning := trainer.teacher.check_size(trainer.evaluation, teacher, side)):
            progress.warn(warning, lasting=True)

    progress.begin(trainer, epoch * trainer.steps_per_epoch + step)
    while epoch < config.epochs:
        while step < trainer.steps_per_epoch:
            trainer.step(epoch, step)
            step += 1
            progress.update(epoch, step)
            stop, last = team.any(work.stopping.is_set()), step == trainer.steps_per_epoch
            if stop or (not last and clock.since_save() > 60 * config.save_minutes):
                _save(progress, trainer, epoch, step, clock)
            if stop:
                raise Stopped
        before = [(student.sums, student.spans) for student in trainer.students]
        try:
            rows = [_evaluate(trainer, student, teacher, epoch, clock, progress.rate) for student in trainer.students]
        except Stopped:
            for student, (sums, spans) in zip(trainer.students, before, strict=True):
                student.sums, student.spans = sums, spans
            _save(progress, trainer, epoch, step, clock)
            raise
        run.append_metrics(rows)
        events.write(rows)
        progress.show_metrics(rows if team.leads else [])
        trainer.spans = []
        epoch, step = epoch + 1, 0
        if team.leads and config.snapshots and epoch % config.snapshots == 0 and epoch < config.epochs:
            export_snapshots(run, trainer, teacher, epoch, clock.seconds())
        _save(progress, trainer, epoch, step, clock)
    progress.close()

    work.write("running", "evaluating the float16 weights")
    if team.leads:
        export_students(run, trainer, clock.seconds())
        (run.path / OLD_STATE).unlink(missing_ok=True)
        events.close()
    progress.clear_warning()  # nothing is left to save


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
    student.check_finite(parts, where)
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
        evaluation_split=trainer.evaluation_name, note="" if unseen else None,
        accuracy=metrics.accuracy(teacher.logits, labels),
        cross_entropy=metrics.cross_entropy(teacher.logits, labels),
        probes=np.round(teacher.logits[:PROBES].astype(float), 3).tolist(), probe_labels=labels[:PROBES].tolist(),
    )  # fmt: skip


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
    where = f"{trainer.device} {trainer.dtype}, {platform.machine()}, {torch.get_num_threads()} threads"
    what = f"{trainer.train_count} images, epoch {epoch} step {step}"
    progress.logger.info("%s: %s, %s", progress.run.run_id, where, what)
