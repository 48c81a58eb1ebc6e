"""How long a run will take on this machine.

The time is that of a few batches, measured in a process of its own:

    python -m kdexplorer.training.estimate config.json [SECONDS]

prints one JSON object; `estimate_process` starts it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel

from kdexplorer import processes
from kdexplorer.config import RunConfig
from kdexplorer.errors import KDError

if TYPE_CHECKING:
    from kdexplorer.training.trainer import Trainer

WARM_UP, STEPS, BUDGET = 2, 8, 6.0
"""Steps that are not counted, steps that are, and seconds after which no further step is timed."""


class Estimate(BaseModel):
    """Seconds: of the whole run, of loading, of a step (the mean), of the evaluation after each epoch, of an epoch.

    `stored` is the share of the epochs whose teacher predictions are on the disk; `speedup` is how many times longer
    the steps would take if none were. `fixing` is the part of `seconds` that is paid once for all seeds: the teacher's
    logits of the training images as they are, where students imitate these and they are not on the disk.
    `warning` says what the teacher loses on the small images of the first epochs, see `teacher_check`.
    """

    seconds: float
    loading: float
    step: float
    evaluation: float
    epoch: float
    images_per_second: float
    stored: float = 0.0
    speedup: float = 1.0
    fixing: float = 0.0
    warning: str = ""


def measure(config: RunConfig, budget: float = BUDGET, age: float = 0.0) -> Estimate:
    """Times loading, some steps and one batch of the evaluation split, and adds them up to the whole run.

    Where the resolution grows, steps are timed at the first and at the last; those between follow their pixels.

    Args:
        config: of the run.
        budget: seconds after which no further step is timed, at each of the two resolutions.
        age: seconds that a process took to get here, which count as loading.

    Raises:
        KDError: whatever would end the run at its start.
    """
    from kdexplorer.training.data import EVALUATION_BATCH
    from kdexplorer.training.hardware import configure_process
    from kdexplorer.training.schedule import resolution
    from kdexplorer.training.teacher_check import check_teacher
    from kdexplorer.training.trainer import Trainer

    configure_process(config.threads)
    begin = time.perf_counter()
    trainer = Trainer(config)
    trainer.read_every = 1  # a timed step waits for what it has given the device to do
    loading = age + time.perf_counter() - begin
    sides = [resolution(config, epoch) for epoch in range(config.epochs)]
    pixels = [side**2 for side in sides]
    fixing = _skip_fixing(trainer)
    stored = _find_stored(trainer, sides)  # before a step is timed: from here on the teacher computes
    ends = {pixels[epoch]: epoch for epoch in (config.epochs - 1, 0)}
    sizes = sorted(ends)
    timed, beyond = zip(*(_time_steps(trainer, ends[size], budget) for size in sizes), strict=True)
    computing = np.interp(pixels, sizes, timed)
    spared = [_time_teacher(trainer, round(size**0.5)) if stored.any() else 0.0 for size in sizes]
    saved = np.minimum(np.interp(pixels, sizes, spared), 0.95 * computing)
    step = float((computing - stored * saved).mean())
    evaluations = -(-config.epochs // config.evaluate_every) + 1
    warm_up = float(np.interp(sorted(set(pixels)), sizes, beyond).sum())
    images, passes = len(trainer.evaluation), _count_teacher_passes(trainer)
    trainer.evaluation = trainer.evaluation.take(np.arange(min(EVALUATION_BATCH, images)))
    share = images / len(trainer.evaluation)
    begin = time.perf_counter()
    teacher_outputs = trainer.teacher.compute_evaluation(trainer.evaluation) if trainer.teacher else None
    teacher = passes * share * (time.perf_counter() - begin)
    begin = time.perf_counter()
    for student in trainer.students:
        trainer.evaluate(student, teacher_outputs)
    evaluation = share * (time.perf_counter() - begin)
    at_start = check_teacher(trainer, teacher_outputs)
    return Estimate(
        # At the end the float16 weights are evaluated once more.
        seconds=loading + warm_up + trainer.steps * step + evaluations * evaluation + teacher + fixing,
        loading=loading,
        step=step,
        evaluation=evaluation,
        epoch=trainer.steps_per_epoch * step + evaluation,
        images_per_second=config.batch_size / step,
        stored=float(stored.mean()),
        speedup=float(computing.mean()) / step,
        fixing=fixing,
        warning=at_start.warning if at_start is not None else "",
    )


def _time_steps(trainer: Trainer, epoch: int, budget: float) -> tuple[float, float]:
    """Seconds of a step in that epoch, and what the first steps take beyond it (compiling, above all)."""
    steps: list[float] = []
    for number in range(min(WARM_UP + STEPS, trainer.steps_per_epoch)):
        begin = time.perf_counter()
        trainer.step(epoch, number)
        steps.append(time.perf_counter() - begin)
        if sum(steps) > budget and number >= WARM_UP:
            break
    step = float(np.median(steps[WARM_UP:] or steps))
    return step, max(0.0, sum(steps[:WARM_UP]) - step * len(steps[:WARM_UP]))


def _find_stored(trainer: Trainer, sides: list[int]) -> np.ndarray:
    """Which epochs' teacher predictions are on the disk, bool `[epochs]`; they are not read from then on."""
    teacher = trainer.teacher
    if teacher is None or teacher.fixed is not None:
        return np.zeros(len(sides), bool)
    stored = np.array([teacher.is_stored(epoch, side) for epoch, side in enumerate(sides)])
    teacher.predictions = None
    return stored


def _count_teacher_passes(trainer: Trainer) -> int:
    """How often the teacher computes the evaluation split: at the start, and in float32 at the end; or it is read."""
    import torch

    teacher = trainer.teacher
    if teacher is None or not teacher.can_read:
        return 2 if teacher else 0
    precisions = {trainer.dtype, torch.float32}  # what the start stores in float32 is read at the end
    return sum(not teacher.is_evaluation_stored(trainer.evaluation, precision) for precision in precisions)


def _skip_fixing(trainer: Trainer) -> float:
    """Seconds that the teacher takes for all training images where its logits are fixed and none are stored.

    Random ones replace them.
    """
    import torch

    if trainer.teacher is None or trainer.config.teacher_view != "fixed":
        return 0.0
    stored = trainer.teacher.is_evaluation_stored(trainer.training_split(), trainer.dtype)
    classes = trainer.teacher.widths["logits"]
    trainer.teacher.fixed = torch.randn(trainer.train_count, classes, device=trainer.device)
    return 0.0 if stored else trainer.train_count / trainer.config.batch_size * _time_teacher(trainer, 32)


def _time_teacher(trainer: Trainer, side: int) -> float:
    """Seconds of the teacher's forward pass on a batch of `side` pixels."""
    import torch

    teacher, times = trainer.teacher, []
    assert teacher is not None
    inputs = torch.zeros(trainer.config.batch_size, 3, side, side, device=trainer.device)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    for _ in range(WARM_UP + 3):
        begin = time.perf_counter()
        teacher.compute(teacher.forward, inputs).logits.cpu()
        times.append(time.perf_counter() - begin)
    return float(np.median(times[WARM_UP:]))


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


def main() -> int:
    """Prints the figures for the configuration file that the command names, and a budget of seconds."""
    path, budget = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else BUDGET
    try:
        print(measure(RunConfig.load(path), budget, processes.age()).model_dump_json())
    except (KDError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
