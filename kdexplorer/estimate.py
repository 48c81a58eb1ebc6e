"""How long an experiment will take on this machine, and how much memory.

The time is that of a few batches, measured in a process of its own:

    python -m kdexplorer.estimate experiment.json

prints one JSON object. The application starts that process, so that it stays free of torch and can give up waiting.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import KDError, RunError
from kdexplorer.files import write_json

if TYPE_CHECKING:
    import torch

    from kdexplorer import train

RUNTIME = 0.5 * 2**30
"""Bytes of the interpreter and of torch itself."""

WARM_UP, STEPS, BUDGET = 2, 8, 6.0
"""Steps that are not counted, steps that are, and seconds after which enough has been seen."""


def measure(config: ExperimentConfig) -> dict[str, float]:
    """Times loading, steps and one batch of the measured images, and adds them up to the whole run.

    Where the resolution grows, steps are timed at the first and at the last; those between follow their pixels.

    Returns:
        `seconds` (the whole run), `loading`, `step` (the mean), `evaluation` (after each epoch), `images_per_second`.

    Raises:
        KDError: whatever would end the run at its start.
    """
    from kdexplorer import train

    begin = time.perf_counter()
    experiment = train.Experiment(config)
    loading = time.perf_counter() - begin
    pixels = [train.resolution(config, epoch) ** 2 for epoch in range(config.epochs)]
    ends = {pixels[epoch]: epoch for epoch in (config.epochs - 1, 0)}
    sizes = sorted(ends)
    timed, beyond = zip(*(_timed_steps(experiment, ends[size]) for size in sizes), strict=True)
    step = float(np.interp(pixels, sizes, timed).mean())
    warm = float(np.interp(sorted(set(pixels)), sizes, beyond).sum())
    measured = len(experiment.measured)
    experiment.measured = experiment.measured.take(np.arange(min(train.EVALUATION_BATCH, measured)))
    share = measured / len(experiment.measured)
    begin = time.perf_counter()
    answers = experiment.teacher_on_measured() if experiment.teacher_forward else None
    teacher = share * (time.perf_counter() - begin)
    begin = time.perf_counter()
    for student in experiment.students:
        experiment.measure(student, answers)
    evaluation = share * (time.perf_counter() - begin)
    return {
        # At the end the float16 weights are measured once more, by teacher and students, in float32.
        "seconds": loading + warm + experiment.steps * step + (config.epochs + 1) * evaluation + 2 * teacher,
        "loading": loading,
        "step": step,
        "evaluation": evaluation,
        "images_per_second": config.batch_size / step,
    }


def _timed_steps(experiment: train.Experiment, epoch: int) -> tuple[float, float]:
    """Seconds of a step in that epoch, and what the first ones take beyond it (compiling, above all)."""
    steps: list[float] = []
    for number in range(min(WARM_UP + STEPS, experiment.steps_per_epoch)):
        begin = time.perf_counter()
        experiment.step(epoch, number)
        steps.append(time.perf_counter() - begin)
        if sum(steps) > BUDGET and number >= WARM_UP:
            break
    step = float(np.median(steps[WARM_UP:] or steps))
    return step, max(0.0, sum(steps[:WARM_UP]) - step * len(steps[:WARM_UP]))


def memory(config: ExperimentConfig, elsewhere: bool = False) -> float:
    """Bytes that an experiment takes at its height, estimated from its networks; see `docs/scaling.md`.

    A student's weights, gradients, momentum and what saving its state copies are seven float32 a parameter. Activations
    are those that autograd keeps, of the largest student, since they learn in turn, and half as much again for what
    comes and goes. The images of both splits lie in memory as bytes.

    Args:
        elsewhere: another machine will run it, so this one's devices are not asked for.

    Raises:
        KDError: when the teacher cannot be found, or this machine has not the device.
    """
    import torch

    from kdexplorer import data, models, train

    device = train.resolve_device("cpu" if elsewhere else config.device)
    dtype = train.resolve_precision(config.precision, device)
    total = 28 * sum(models.parameter_count(models.build(one.architecture)) for one in config.students)
    kept = max(_activations(one.architecture, dtype)[0] for one in config.students)
    total += 1.5 * kept * config.batch_size
    if config.teacher:
        architecture = train.find_checkpoint(config.teacher).architecture
        total += 8 * models.parameter_count(models.build(architecture))  # as it is, and folded
        # Without gradients a forward pass holds about three outputs at a time; it is widest where it is measured.
        images = max(config.batch_size, train.EVALUATION_BATCH)
        total += 3 * images * _activations(architecture, torch.float32)[1]
    sizes = data.SIZES if config.dataset == "cifar10" else data.SYNTHETIC_SIZES
    return RUNTIME + total + sum(sizes.values()) * 3 * 32 * 32


@functools.cache
def _activations(architecture: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes an image that autograd keeps of a forward pass, and those of its largest single output."""
    import torch

    from kdexplorer import models

    network = models.build(architecture)
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}

    def kept(batch: int) -> np.ndarray:
        storages: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in weights:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        autocast = torch.autocast("cpu", dtype, enabled=dtype != torch.float32)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            logits = network(images)  # alive until here, so that no address is used twice
        del logits
        return np.array([sum(storages.values()), max(storages.values())])

    whole, largest = (kept(4) - kept(2)) / 2  # what does not grow with the batch is no activation
    return float(whole), float(largest)


def free_memory(device: str) -> float:
    """Bytes that an experiment may take: seven tenths of what is free on the device that it would run on."""
    import torch

    from kdexplorer import train

    if train.resolve_device(device).type == "cuda":
        return 0.7 * torch.cuda.mem_get_info()[0]
    return 0.7 * psutil.virtual_memory().available


class Measurement:
    """An estimate on its way. `poll` it; `cancel` it when the question has changed."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config
        self.started = time.time()
        self._folder = tempfile.TemporaryDirectory(prefix="kdexplorer-estimate-")
        folder = Path(self._folder.name)
        write_json(folder / "experiment.json", config.model_dump(mode="json"))
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kdexplorer.estimate", str(folder / "experiment.json")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self._result: dict[str, Any] | None = None

    def poll(self) -> dict[str, Any] | None:
        """The figures of `measure`, or None while it measures. Raises RunError when it failed."""
        code = self._process.poll()
        if code is None:
            return None
        if self._result is None:
            folder = Path(self._folder.name)
            if code:
                lines = (folder / "err").read_text(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RunError(f"The time could not be estimated: {lines[-1].removeprefix('error: ')[:300]}")
            self._result = json.loads((folder / "out").read_text())
        return self._result

    def cancel(self) -> None:
        """Ends the process, if it still measures."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def words(seconds: float) -> str:
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
    """Prints the figures for the configuration file that the command names."""
    try:
        print(json.dumps(measure(ExperimentConfig.load(Path(sys.argv[1])))))
    except (KDError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
