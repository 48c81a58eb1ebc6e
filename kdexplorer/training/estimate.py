"""How long a run will take on this machine, and how much memory.

The time is that of a few batches, measured in a process of its own, so that whoever waits for it loads no torch and can
stop waiting:

    python -m kdexplorer.training.estimate config.json [SECONDS]

prints one JSON object.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil
from pydantic import BaseModel

from kdexplorer import processes
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import write_json
from kdexplorer.networks import build, get_architecture
from kdexplorer.networks.cost import count_parameters
from kdexplorer.runs.teachers import find_teachers
from kdexplorer.training.recipe import resolution

if TYPE_CHECKING:
    import torch

    from kdexplorer.training.trainer import Trainer

WARM_UP, STEPS, BUDGET = 2, 8, 6.0
"""Steps that are not counted, steps that are, and seconds after which no further step is timed."""
RUNTIME = 0.5 * 2**30
"""Bytes of the interpreter and of torch itself."""


class Estimate(BaseModel):
    """Seconds: of the whole run, of loading, of a step (the mean), of the evaluation after each epoch, of an epoch.

    `stored` is the share of the epochs whose teacher predictions are on the disk; `speedup` is how many times longer
    the steps would take if none were. `fixing` is the part of `seconds` that is paid once for all seeds: the teacher's
    logits of the training images as they are, where students imitate these and they are not on the disk.
    `warning` says what the teacher loses on the small images of the first epochs, see `Teacher.check_size`.
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
    """Times loading, some steps at each resolution and one batch of the evaluation split, and adds them up.

    Args:
        config: of the run.
        budget: seconds after which no further step is timed, at each resolution.
        age: seconds that a process took to get here, which count as loading.

    Raises:
        KDError: whatever would end the run at its start.
    """
    from kdexplorer.training.hardware import configure_process
    from kdexplorer.training.trainer import Trainer

    configure_process(config.threads)
    begin = time.perf_counter()
    trainer = Trainer(config)
    trainer.read_every = 1  # a timed step waits for what it has given the device to do
    loading = age + time.perf_counter() - begin
    sides = [resolution(config, epoch) for epoch in range(config.epochs)]
    fixing = _skip_fixing(trainer)
    stored = _find_stored(trainer, sides)  # before a step is timed: from here on the teacher computes
    timed = {side: _time_steps(trainer, sides.index(side), budget) for side in sorted(set(sides))}
    computing = np.array([timed[side][0] for side in sides])
    spared = {side: _time_teacher(trainer, side) if stored.any() else 0.0 for side in timed}
    saved = np.minimum([spared[side] for side in sides], 0.95 * computing)
    step = float((computing - stored * saved).mean())
    teacher, evaluation, warning = _time_evaluation(trainer, sides[0])
    evaluations = -(-config.epochs // config.evaluate_every) + 1  # at the end the float16 weights once more
    warm_up = sum(beyond for _, beyond in timed.values())
    return Estimate(
        seconds=loading + warm_up + trainer.steps * step + evaluations * evaluation + teacher + fixing,
        loading=loading,
        step=step,
        evaluation=evaluation,
        epoch=trainer.steps_per_epoch * step + evaluation,
        images_per_second=config.batch_size / step,
        stored=float(stored.mean()),
        speedup=float(computing.mean()) / step,
        fixing=fixing,
        warning=warning,
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


def _time_evaluation(trainer: Trainer, side: int) -> tuple[float, float, str]:
    """Seconds of the teacher and of all students on the evaluation split, and the warning about images of that size.

    The teacher computes it at the start, and in float32 at the end, unless it reads what is stored.
    """
    import torch

    from kdexplorer.training.data import EVALUATION_BATCH

    teacher, outputs, warning, seconds = trainer.teacher, None, "", 0.0
    whole = trainer.evaluation
    trainer.evaluation = whole.take(np.arange(min(EVALUATION_BATCH, len(whole))))
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


class Measurement:
    """An estimate that is being measured in a process. `poll` it; `cancel` it when the configuration has changed."""

    def __init__(self, config: RunConfig, budget: float = BUDGET) -> None:
        self.config = config
        self.started = time.time()
        self._folder = tempfile.TemporaryDirectory(prefix="kdexplorer-estimate-")
        folder = Path(self._folder.name)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kdexplorer.training.estimate", str(folder / "config.json"), str(budget)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        processes.lower_priority(self._process.pid)  # as a trainer's
        self._result: Estimate | None = None

    def poll(self) -> Estimate | None:
        """The estimate, or None while it is being measured. Raises RunError when it failed."""
        code = self._process.poll()
        if code is None:
            return None
        if self._result is None:
            folder = Path(self._folder.name)
            if code:
                lines = (folder / "err").read_text(errors="replace").strip().splitlines() or ["no message"]
                raise RunError(f"The time could not be estimated: {lines[-1].removeprefix('error: ')[:300]}")
            self._result = Estimate.model_validate_json((folder / "out").read_text())
        return self._result

    def describe(self) -> str:
        """How far it is."""
        return f"Timing a few batches … {time.time() - self.started:.0f} s"

    def cancel(self) -> None:
        """Ends the process, if it still measures."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def measure_apart(config: RunConfig) -> Estimate:
    """Waits for a measurement in a process of its own, whose memory is free afterwards. Raises RunError."""
    measurement = Measurement(config)
    try:
        while (estimate := measurement.poll()) is None:
            time.sleep(0.2)
        return estimate
    finally:
        measurement.cancel()


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


# --- Memory ---


def estimate_memory(config: RunConfig, elsewhere: bool = False) -> float:
    """Bytes that a run takes at its height, estimated from its networks; see `docs/scaling.md`.

    A student's weights, gradients, momentum and what saving its state copies are seven float32 a parameter. Activations
    are those that autograd keeps, of the largest student, since students learn in turn, and half as much again for what
    comes and goes. The images of both splits lie in memory as bytes.

    Args:
        config: of the run.
        elsewhere: another machine will run it, so this one's devices do not matter.

    Raises:
        KDError: when the teacher cannot be found, or this machine lacks the device.
    """
    import torch

    from kdexplorer.training.data import EVALUATION_BATCH
    from kdexplorer.training.hardware import resolve_device, resolve_precision

    device = resolve_device("cpu" if elsewhere else config.device)
    dtype = resolve_precision(config.precision, device)
    total = 28.0 * sum(count_parameters(build(one.architecture)) for one in config.students)
    kept = max(count_activations(one.architecture, dtype)[0] for one in config.students)
    total += 1.5 * kept * config.batch_size
    if config.teacher:
        architectures = [teacher.architecture for teacher in find_teachers(config.teacher)]
        total += 8 * sum(count_parameters(build(one)) for one in architectures)  # as they are, and folded
        # Without gradients a forward pass holds about three outputs at a time; its widest batch is the evaluation's.
        images = max(config.batch_size, EVALUATION_BATCH)
        total += 3 * images * max(count_activations(one, torch.float32)[1] for one in architectures)
    return RUNTIME + total + sum(get_dataset(config.dataset).sizes.values()) * 3 * 32 * 32


def free_memory(device: str) -> float:
    """Bytes that a run may take: seven tenths of what is free on the device that it would run on."""
    import torch

    from kdexplorer.training.hardware import resolve_device

    if resolve_device(device).type == "cuda":
        return 0.7 * torch.cuda.mem_get_info()[0]
    return 0.7 * psutil.virtual_memory().available


@functools.cache
def count_activations(architecture: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes an image that autograd keeps of a forward pass, and those of its largest single output."""
    import torch

    from kdexplorer.training.objective import autocast

    network = build(architecture)

    def kept(batch: int) -> np.ndarray:
        images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        with _count_kept(network.parameters()) as storages, autocast(images.device, dtype):
            logits = network(images)  # alive until here, so that no address is used twice
        del logits
        return np.array([sum(storages.values()), max(storages.values())])

    whole, largest = (kept(4) - kept(2)) / 2  # what does not grow with the batch is no activation
    return float(whole), float(largest)


class StudentMemory(NamedTuple):
    """Bytes that a student's training takes beside the data and the teacher."""

    state: int
    """Weights, gradients and momentum, float32, of the network and of what its methods train beside it."""
    kept: int
    """What autograd keeps of one batch for the backward pass of the whole objective."""


def count_student_memory(config: RunConfig) -> dict[str, StudentMemory]:
    """What each student of a run takes, by name; counted in one step on random images, not estimated.

    `compile` may keep less. Raises KDError when the teacher cannot be found.
    """
    import torch

    from kdexplorer.training.hardware import resolve_device, resolve_precision
    from kdexplorer.training.objective import bind_terms, compute_objective, run_network

    dtype = resolve_precision(config.precision, resolve_device("cpu"))
    images = torch.randn(config.batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(config.batch_size) % len(get_dataset(config.dataset).classes)
    teacher = get_architecture(find_teachers(config.teacher)[0].architecture) if config.teacher else None
    theirs = None
    if teacher is not None:
        with torch.no_grad():
            theirs = run_network(build(teacher.key).eval(), images, dtype, all_outputs=True)
    found = {}
    for student in config.students:
        network, methods = build(student.architecture), student.methods
        terms = bind_terms(student, get_architecture(student.architecture), teacher)
        modules = [network, *(term.adapter for term in terms if term.adapter is not None)]
        weights = [p for module in modules for p in module.parameters()]
        targets = {m: m.reduce_teacher(theirs) for m in methods if theirs is not None and m.needs}
        shared = [images, labels, *(tensor for one in targets.values() for tensor in one.tensors())]
        all_outputs = any(method.needs - {"logits"} for method in methods)
        with _count_kept([*weights, *shared]) as storages:
            outputs = run_network(network, images, dtype, all_outputs)
            parts = compute_objective(student, terms, outputs, labels, targets, dtype)
        del parts, outputs
        found[student.name] = StudentMemory(12 * sum(p.numel() for p in weights), sum(storages.values()))
    return found


@contextlib.contextmanager
def _count_kept(others: Iterable[torch.Tensor]) -> Iterator[dict[int, int]]:
    """Bytes of the memory blocks that autograd keeps in the block, by address, without those of `others`."""
    import torch

    storages: dict[int, int] = {}
    known = {tensor.untyped_storage().data_ptr() for tensor in others}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield storages


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
