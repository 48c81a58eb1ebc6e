"""What a run reports while it trains: its status file, its log, a progress bar, and measures for TensorBoard."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from kdexplorer.analysis import results
from kdexplorer.errors import ConfigError
from kdexplorer.runs.launch import Work
from kdexplorer.runs.run_folder import BatchMetrics, EpochMetrics
from kdexplorer.training.estimate import work_by_epoch

if TYPE_CHECKING:
    from kdexplorer.training.trainer import Trainer

LOG_VARIABLE, LOG_KINDS = "KDEXPLORER_LOG", ("tensorboard",)
"""Where `--log` is kept for the processes that a command starts, and what it may be."""
_EVERY = 0.5
"""Seconds between two writes for those who watch: of the status, and of what the last batches have given."""
_LINES = 200
"""In a run that takes hours, lines become rarer: about so many each time that its duration grows 2.7-fold."""


class RunProgress:
    """Keeps `status.json` fresh, draws the progress bar, and writes to `tensorboard/RUN/STUDENT` among the runs."""

    def __init__(self, work: Work, show: bool = False, report: Callable[[int, int], object] | None = None) -> None:
        """Raises ConfigError where a log is asked for of an unknown kind, or TensorBoard is not installed."""
        self.report = report
        self.work, self.run, self.logger, self.show = work, work.run, work.logger, show
        self.lasting = ""
        """The warnings about the run as a whole."""
        self.rate = 0.0
        """Images a second."""
        self.bar: tqdm[Any] = tqdm(disable=True)
        """Until training begins there is none to see."""
        self.writers: dict[str, Any] = {}
        """TensorBoard's, of each student and of the table of results."""
        self.kind = kind = os.environ.get(LOG_VARIABLE, "") if self.run.writes else ""
        if kind and kind not in LOG_KINDS:
            raise ConfigError(f"{LOG_VARIABLE}: '{kind[:60]}' is none of {', '.join(LOG_KINDS)}.")
        if kind:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigError("log: TensorBoard is not installed: pip install tensorboard") from error
            self.new_writer = SummaryWriter

    def warn(self, message: str, lasting: bool = False) -> None:
        """A warning for the status, the log and the terminal; one that lasts is not removed by `clear_warning`."""
        self.logger.warning("%s", message)
        if self.show:
            self._draw(lambda: tqdm.write(f"warning: {message}", file=sys.stderr))
        if lasting:
            self.lasting, message = ". ".join(filter(None, [self.lasting, message])), ""
        self.work.facts["warning"] = ". ".join(filter(None, [message, self.lasting]))

    def _draw(self, draw: Callable[[], object]) -> None:
        """Draws on the terminal; when nobody reads it any longer, as after `| head`, training goes on without."""
        try:
            draw()
        except OSError:
            self.show, self.bar.disable = False, True

    def clear_warning(self) -> None:
        """Removes the warning from the next status, but for one that lasts."""
        self.work.facts["warning"] = self.lasting

    def begin(self, trainer: Trainer, done: int) -> None:
        """Training begins after so many steps."""
        self.trainer, self.first, self.written = trainer, done, 0.0
        self.started = self.recorded = self.saved = time.monotonic()
        self.seen = {student.config.name: dict(student.sums) for student in trainer.students}
        """The students' sums over the epoch when they were recorded last."""
        self.batch = trainer.config.batch_size
        stored = [trainer.reads_teacher(epoch) for epoch in range(trainer.config.epochs)]
        work = work_by_epoch(trainer.config, trainer.teacher_checkpoints, stored)
        self.costs = np.concatenate([[0.0], np.repeat(work, trainer.steps_per_epoch).cumsum()])
        """The cost of all steps before each: what the time is nearly proportional to."""
        self.bar = tqdm(
            total=trainer.steps * self.batch, initial=done * self.batch, unit="img", unit_scale=True,
            disable=not (self.show and trainer.team.leads), dynamic_ncols=True,
        )  # fmt: skip

    def update(self, epoch: int, step: int) -> None:
        """A step is done; `step` counts those of the epoch."""
        trainer, now = self.trainer, time.monotonic()
        done = epoch * trainer.steps_per_epoch + step
        self.bar.set_description(f"epoch {epoch + 1}/{trainer.config.epochs}", refresh=False)
        self._draw(lambda: self.bar.update(self.batch))
        if self.report is not None:
            self.report(done, trainer.steps)
        if done == self.first + 1:  # the first step compiles and warms up: it says nothing about the others
            self.started = now
        elif now > self.started:
            self.rate = (done - self.first - 1) * self.batch / (now - self.started)
        if step == trainer.steps_per_epoch or now - self.recorded > max(_EVERY, (now - self.started) / _LINES):
            self.recorded = now
            with contextlib.suppress(OSError):  # a full disk must not end a run because nobody can watch it
                self.run.append_batch_metrics(self._average_batches(done / trainer.steps_per_epoch))
        if step == trainer.steps_per_epoch:
            self.seen = {}
        if now - self.written > _EVERY:
            self.written = now
            worked = self.costs[done] - self.costs[self.first + 1]
            left = (self.costs[-1] - self.costs[done]) / worked * (now - self.started) if worked > 0 else None
            self.work.facts |= {
                "epoch": epoch, "epochs": trainer.config.epochs, "step": step,
                "steps_per_epoch": trainer.steps_per_epoch, "images_per_second": round(self.rate, 1),
                "seconds_left": None if left is None else round(left), "teacher_stored": trainer.reads_teacher(epoch),
            }  # fmt: skip
            with contextlib.suppress(OSError):
                self.work.write("running", "training")

    def end(self) -> None:
        self._draw(self.bar.close)

    def close(self) -> None:
        """The students are stored: nothing is left to save, and the table of results is complete."""
        self.clear_warning()
        if self.kind:
            self._writer("results").add_text("results", results.to_markdown(results.read_run(self.run)))
        for writer in self.writers.values():
            writer.close()

    def _average_batches(self, epochs: float) -> list[BatchMetrics]:
        """Each student's means over the batches since the last call."""
        rows = []
        for student in self.trainer.students:
            name, sums = student.config.name, dict(student.sums)
            before, self.seen[name] = self.seen.get(name, {}), sums
            if before.get("images", 0.0) == sums.get("images", 0.0):  # on a GPU losses are not read in every step
                continue
            since = {key: value - before.get(key, 0.0) for key, value in sums.items()}
            rows.append(BatchMetrics(epoch=round(epochs, 4), student=name, train=average_sums(since)))
        return rows

    def show_metrics(self, rows: list[EpochMetrics]) -> None:
        """An epoch is over: its accuracies go to the log and beside the bar, all measures to TensorBoard."""
        for row in rows if self.kind else ():
            for split in ("train", "test"):
                for name, value in getattr(row, split).items():
                    self._writer(row.student).add_scalar(f"{name}/{split}", value, row.epoch + 1)
            self._writer(row.student).flush()
        rows = [row for row in rows if row.test]
        for row in rows:
            where = f"epoch {row.epoch + 1} {row.student}: {self.trainer.data.evaluation_split}"
            self.logger.info("%s accuracy %.4f", where, row.test["accuracy"])
        self.bar.set_postfix({row.student: f"{100 * row.test['accuracy']:.2f} %" for row in rows}, refresh=False)

    def _writer(self, name: str) -> Any:
        if name not in self.writers:
            self.writers[name] = self.new_writer(self.run.path.parent / "tensorboard" / self.run.run_id / name)
        return self.writers[name]


def average_sums(sums: dict[str, float]) -> dict[str, float]:
    """Means over images of what a student's `sums` contain; `correct` becomes `accuracy`."""
    means = {name: value / sums["images"] for name, value in sums.items() if name != "images"}
    means["accuracy"] = means.pop("correct")
    return means
