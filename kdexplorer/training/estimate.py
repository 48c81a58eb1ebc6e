"""The estimator: how long a run, a study or the demo takes on this machine.

All times follow from an `Estimate`, which is measured in a process of its own: whoever waits for it loads no torch and
can stop waiting. `python -m kdexplorer.training.estimate config.json` prints one.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from kdexplorer import processes
from kdexplorer.config import RunConfig, pixel_shares, resolution
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import read_json, write_json
from kdexplorer.networks import count_multiply_adds
from kdexplorer.networks.outputs import torch
from kdexplorer.presets import DEMO, STARTING_POINTS
from kdexplorer.runs.checkpoints import Checkpoint, find_teachers
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import validate

if TYPE_CHECKING:
    from kdexplorer.training.trainer import Trainer

T = TypeVar("T")
WARM_UP, STEPS, BUDGET = 2, 8, 6.0
"""Steps that are not counted, steps that are, and seconds after which no further step is timed."""
LENGTHS, TARGET = (9, 14), 75.0
"""Epochs that the demo may take, the shortest first, and the seconds that the chosen length stays below where one does.

How often the distilled student is ahead of its scratch baseline in each: `python -m benchmarks.demo`, and
docs/performance.md.
"""


class Estimate(BaseModel):
    """Seconds: of the whole run, of the evaluation after each epoch, of an epoch; and images per second in training.

    `stored` is the share of the epochs whose teacher predictions are on the disk; `speedup` is how many times longer
    the steps would take if none were. `fixing` is the part of `seconds` that is paid once for all seeds: the teacher's
    logits of the training images as they are, where students imitate these and they are not on the disk.
    `warning` says what the teacher loses on the small images of the first epochs, see `Teacher.check_size`.
    """

    seconds: float
    evaluation: float
    epoch: float
    images_per_second: float
    stored: float = 0.0
    speedup: float = 1.0
    fixing: float = 0.0
    warning: str = ""

    def repeat(self, times: float) -> float:
        """Seconds of so many runs like it; what they share is paid once."""
        return self.fixing + times * (self.seconds - self.fixing)


def measure(config: RunConfig) -> Estimate:
    """Times loading, some steps at each resolution and one batch of the evaluation split, and adds them up.

    Loading begins with the process. Raises KDError: whatever would end the run at its start.
    """
    from kdexplorer.training.hardware import configure_process
    from kdexplorer.training.trainer import Trainer

    configure_process(config.threads)
    trainer = Trainer(config)
    trainer.read_every = 1  # a timed step waits for what it has given the device to do
    loading = processes.age()
    sides = [resolution(config, epoch) for epoch in range(config.epochs)]
    stored = np.array([trainer.reads_teacher(epoch) for epoch in range(config.epochs)])
    fixing = _skip_fixing(trainer)
    if trainer.teacher is not None:
        trainer.teacher.batch_facts = None  # before a step is timed: from here on the teacher computes
    timed = {side: _time_steps(trainer, sides.index(side)) for side in sorted(set(sides))}
    computing = np.array([timed[side][0] for side in sides])
    spared = {side: _time_teacher(trainer, side) if stored.any() else 0.0 for side in timed}
    saved = np.minimum([spared[side] for side in sides], 0.95 * computing)
    step = float((computing - stored * saved).mean())
    teacher, evaluation, warning = _time_evaluation(trainer, sides[0])
    evaluations = -(-config.epochs // config.evaluate_every) + 1  # at the end the float16 weights once more
    evaluations += (config.epochs - 1) // config.snapshots if config.snapshots else 0
    warm_up = sum(beyond for _, beyond in timed.values())
    return Estimate(
        seconds=loading + warm_up + trainer.steps * step + evaluations * evaluation + teacher + fixing,
        evaluation=evaluation,
        epoch=trainer.steps_per_epoch * step + evaluation,
        images_per_second=config.batch_size / step,
        stored=float(stored.mean()),
        speedup=float(computing.mean()) / step,
        fixing=fixing,
        warning=warning,
    )


def _time(act: Callable[[int], object], count: int) -> tuple[float, float]:
    """Seconds of an action (the median), and what the first ones take beyond it (compiling, above all)."""
    times: list[float] = []
    while len(times) < count and (len(times) <= WARM_UP or sum(times) <= BUDGET):
        begin = time.perf_counter()
        act(len(times))
        times.append(time.perf_counter() - begin)
    usual = float(np.median(times[WARM_UP:] or times))
    return usual, max(0.0, sum(times[:WARM_UP]) - usual * len(times[:WARM_UP]))


def _time_steps(trainer: Trainer, epoch: int) -> tuple[float, float]:
    """Seconds of a step in that epoch, and what the first steps take beyond it."""
    return _time(lambda number: trainer.step(epoch, number), min(WARM_UP + STEPS, trainer.steps_per_epoch))


def _skip_fixing(trainer: Trainer) -> float:
    """Seconds that the teacher takes for all training images where its logits are fixed and none are stored.

    Random ones replace them.
    """
    if trainer.teacher is None or trainer.config.teacher_view != "fixed":
        return 0.0
    stored = trainer.teacher.is_evaluation_stored(trainer.train, trainer.dtype)
    trainer.teacher.fixed = torch.randn(len(trainer.labels), trainer.teacher.widths["logits"], device=trainer.device)
    return 0.0 if stored else len(trainer.labels) / trainer.config.batch_size * _time_teacher(trainer, 32)


def _time_teacher(trainer: Trainer, side: int) -> float:
    """Seconds of the teacher's forward pass on a batch of `side` pixels."""
    teacher = trainer.teacher
    assert teacher is not None
    inputs = torch.zeros(trainer.config.batch_size, 3, side, side, device=trainer.device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    return _time(lambda _: teacher.compute(teacher.forward, inputs).logits.cpu(), WARM_UP + 3)[0]


def _time_evaluation(trainer: Trainer, side: int) -> tuple[float, float, str]:
    """Seconds of the teacher and of all students on the evaluation split, and the warning about images of that size.

    The teacher computes it at the start, and in float32 at the end, unless it reads what is stored.
    """
    from kdexplorer.training.teacher import EVALUATION_BATCH

    teacher, outputs, warning, seconds = trainer.teacher, None, "", 0.0
    whole = trainer.evaluation
    trainer.evaluation = whole.first(EVALUATION_BATCH)
    share = len(whole) / len(trainer.evaluation)
    if teacher is not None:
        precisions = {trainer.dtype, torch.float32}  # what the start stores in float32 is read at the end
        passes = sum(not teacher.is_evaluation_stored(whole, one) for one in precisions) if teacher.can_read else 2
        begin = time.perf_counter()
        outputs = teacher.compute_evaluation(trainer.evaluation)
        seconds = passes * share * (time.perf_counter() - begin)
        warning = teacher.check_size(trainer.evaluation, outputs, side)
    begin = time.perf_counter()
    for student in trainer.students:
        trainer.evaluate(student, outputs)
    return seconds, share * (time.perf_counter() - begin), warning


def work_by_epoch(config: RunConfig, teachers: Sequence[Checkpoint], stored: Sequence[bool]) -> np.ndarray:
    """Multiply-adds of an image in each epoch, float64 `[epochs]`: a backward pass takes twice the forward pass.

    The teachers are not counted where they are `stored`, nor where no student uses them or their logits are fixed,
    which are computed once.
    """
    students = sum(3.0 * count_multiply_adds(student.architecture) for student in config.students)
    is_used = config.teacher_view != "fixed" and any(student.needs for student in config.students)
    of_teachers = float(sum(count_multiply_adds(teacher.architecture) for teacher in teachers if is_used))
    return (students + (1.0 - np.array(stored, float)) * of_teachers) * np.array(pixel_shares(config))


def count_work(config: RunConfig) -> float:
    """Multiply-adds of a run. Raises KDError without the teacher."""
    teachers = find_teachers(config.teacher)
    return float(work_by_epoch(config, teachers, [False] * config.epochs).sum()) * (config.train_images or 1)


class Measurement(Generic[T]):
    """Estimates that are measured, one after the other, each in a process whose memory is free afterwards.

    `poll` it; `cancel` it when nobody waits for it any more. `add_up` makes the result of the estimates of `configs`;
    `{part}` in the title counts them.
    """

    def __init__(
        self, configs: Sequence[RunConfig], add_up: Callable[[list[Estimate]], T], title: str = "Timing a few batches"
    ) -> None:
        self._configs, self._add_up, self._title = configs, add_up, title
        self._found: list[Estimate] = []
        self._start()

    def _start(self) -> None:
        if len(self._found) == len(self._configs):
            return
        self._started, self._folder = time.time(), tempfile.TemporaryDirectory(prefix="kdexplorer-estimate-")
        path = Path(self._folder.name)
        write_json(path / "config.json", self._configs[len(self._found)].model_dump(mode="json"))
        command = [sys.executable, "-m", "kdexplorer.training.estimate", str(path / "config.json")]
        with open(path / "out", "wb") as out, open(path / "err", "wb") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=processes.environment()
            )
        processes.lower_priority(self._process.pid)  # as a trainer's

    def poll(self) -> T | None:
        """The result, or None while it is being measured. Raises RunError when that failed."""
        while len(self._found) < len(self._configs):
            if (code := self._process.poll()) is None:
                return None
            path = Path(self._folder.name)
            if code:
                lines = (path / "err").read_text(errors="replace").strip().splitlines() or ["no message"]
                raise RunError(f"The time could not be estimated: {lines[-1].removeprefix('error: ')[:300]}")
            self._found.append(Estimate.model_validate_json((path / "out").read_text().splitlines()[-1]))
            self._start()
        return self._add_up(self._found)

    def describe(self) -> str:
        return f"{self._title.format(part=len(self._found) + 1)} … {time.time() - self._started:.0f} s"

    def cancel(self) -> None:
        """Ends the process that still measures."""
        if self._configs and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def wait(self) -> T:
        """The result, once it is there. Raises RunError."""
        try:
            while (result := self.poll()) is None:
                time.sleep(0.2)
            return result
        finally:
            self.cancel()


def format_duration(seconds: float) -> str:
    """A duration for a reader: `40 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        minutes, rest = divmod(seconds, 60)
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h" + (f" {rest} min" if rest else "")


# --- The demo, whose estimate is stored: how fast a machine is gets measured once ---


def demo_config(epochs: int = LENGTHS[1], seed: int = 0) -> RunConfig:
    """The demo's run. Raises ConfigError for a length or a seed that no run may have."""
    return validate(RunConfig, STARTING_POINTS[DEMO] | {"epochs": epochs, "seed": seed})


def stored_estimate() -> Estimate | None:
    """What `demo_config()` takes on this machine, if it was measured before with this processor and this PyTorch."""
    values = read_json(runs_root() / ".machine.json") or {}
    with contextlib.suppress(ValidationError):
        return Estimate.model_validate(values.get("estimate")) if values.get("machine") == _machine() else None
    return None


def store_estimate(estimate: Estimate | None) -> None:
    """Keeps a measurement of `demo_config()`, or forgets it. Raises OSError."""
    runs_root().mkdir(parents=True, exist_ok=True)
    write_json(runs_root() / ".machine.json", {"machine": _machine(), "estimate": estimate and estimate.model_dump()})


@functools.cache
def _machine() -> str:
    return f"{processes.processor_name()}, {os.cpu_count()} processors, torch {importlib.metadata.version('torch')}"


def demo_seconds(estimate: Estimate, epochs: int) -> float:
    """How long a demo of so many epochs takes, from its start to its results, by the estimate of `demo_config()`."""
    return estimate.seconds + (epochs - LENGTHS[1]) * estimate.epoch


def choose_length(estimate: Estimate | None) -> int:
    """The most epochs that stay below `TARGET` seconds; the fewest where none do, or the machine is not measured."""
    fitting = [epochs for epochs in LENGTHS if estimate is not None and demo_seconds(estimate, epochs) <= TARGET]
    return max(fitting, default=LENGTHS[0])


def main() -> int:
    """Prints the estimate for the configuration file that the command names."""
    try:
        print(measure(RunConfig.load(Path(sys.argv[1]))).model_dump_json())
    except (KDError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
