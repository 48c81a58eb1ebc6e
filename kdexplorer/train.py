"""The one training loop: a teacher and the students that see the same batches.

The teacher's forward pass is paid once a batch, however many students listen. Every random choice derives from
(seed, epoch, step), so a run that was killed goes on from its last saved step to the same bits. Nothing is
selected on the measured split: the last epoch's weights are the result.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import math
import platform
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from kdexplorer import __version__, checkpoints, data, metrics, parallel, processes, runs
from kdexplorer.attention import attention_map
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.config import ExperimentConfig, StudentConfig, is_name
from kdexplorer.errors import ConfigError, KDError, RunError, TrainingError
from kdexplorer.files import forget_scraps, keep_old, write_bytes, write_json
from kdexplorer.losses import objective
from kdexplorer.models import StagedNetwork, build, folded, parameter_count

STATE, OLD_STATE, DAMAGED_STATE = "state.pt", "state.old.pt", "state.damaged.pt"
HASH = b"sha256:"
PROBES = 20
"""Images of the measured split whose logits are kept after every epoch, so that one can watch it learn."""

EVALUATION_BATCH = 500
FULL = 32
"""Pixels a side of the images as they are, and as they are measured."""


@dataclass
class Student:
    """A network in training with what belongs to it."""

    config: StudentConfig
    network: StagedNetwork
    forward: Callable[..., Any]
    optimizer: torch.optim.Optimizer
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the epoch's images so far: the loss terms, `correct`, and `images`."""


@dataclass
class TeacherAnswers:
    """A teacher's answers on a batch, or on the whole measured split: logits, and maps by power."""

    logits: Tensor
    maps: dict[int, list[Tensor]]

    def part(self, start: int, stop: int) -> TeacherAnswers:
        maps = {power: [stage[start:stop] for stage in stages] for power, stages in self.maps.items()}
        return TeacherAnswers(self.logits[start:stop], maps)

    @classmethod
    def joined(cls, parts: list[TeacherAnswers]) -> TeacherAnswers:
        """The answers on parts of a batch as those on the whole."""
        maps = {
            power: [torch.cat(stage) for stage in zip(*(part.maps[power] for part in parts), strict=True)]
            for power in parts[0].maps
        }
        return cls(torch.cat([part.logits for part in parts]), maps)


class Stopped(Exception):
    """SIGTERM or SIGINT came: the state is saved, the run ends as `stopped`."""


# --- Where and how --------------------------------------------------------------------------------------


def resolve_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises ConfigError when CUDA is asked for and absent."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: this machine has no CUDA device that torch can use; take 'cpu' or 'auto'.")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", parallel.local_rank())


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it, float32 elsewhere."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def _keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks instead of giving them back to the system at once.

    A step frees and takes the same activations of several megabytes again and again; giving them back means that
    the kernel clears them page by page each time (measured: a quarter of the page faults, 1.08 times the speed).
    Elsewhere than on glibc nothing happens.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    largest = 2**31 - 1
    for option, value in ((-3, 2**30), (-1, largest), (-8, 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX
        mallopt(option, value)


def learning_rate(config: ExperimentConfig, step: int, steps: int) -> float:
    """The rate of a step (from 0): up in a straight line, then down to zero in a line or half a cosine."""
    rise = round(config.warmup * steps)
    if step < rise:
        return config.learning_rate * (step + 1) / rise
    rest = (step - rise) / max(1, steps - rise)
    shape = 1 - rest if config.schedule == "one_cycle" else (1 + math.cos(math.pi * rest)) / 2
    return config.learning_rate * shape


def resolution(config: ExperimentConfig, epoch: int) -> int:
    """Pixels a side that an epoch (from 0) trains on: even steps of 8 from `start_resolution`, 32 in the last quarter.

    Smaller images first: Tan & Le, "EfficientNetV2", ICML 2021, section 4. However few epochs, the last has the size
    that is measured, since the statistics of batch norm belong to a size. Steps of 8 because every size is compiled for
    (half a minute for a ResNet-50), and because 28 pixels take nearly the time of 32.
    """
    rising = int(0.75 * config.epochs)
    if epoch >= rising:
        return FULL
    steps = (FULL - config.start_resolution) // 8
    return config.start_resolution + 8 * (steps * epoch // rising)


def _many_networks() -> None:
    """All networks share `StagedNetwork.forward`, and torch.compile gives up on a function after eight variants.

    A variant is a network at a resolution.
    """
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(torch._dynamo.config, name, max(512, getattr(torch._dynamo.config, name)))


def _find_compiler() -> None:
    """On a processor torch.compile needs a C++ compiler: missed before the first step, in words. Raises ConfigError."""
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise ConfigError(
            "compile: torch compiles with a C++ compiler, and none works here. Install one (apt-get install g++), or "
            "leave compile out."
        ) from error


# --- The experiment -------------------------------------------------------------------------------------


class Experiment:
    """Everything of a configuration in memory: data, teacher, students. `step` is the loop's body."""

    def __init__(self, config: ExperimentConfig, progress: data.Progress | None = None) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        _many_networks()
        _keep_freed_memory()
        self.config = config
        self.device = resolve_device(config.device)
        if config.compile and self.device.type == "cpu":
            _find_compiler()
        self.dtype = resolve_precision(config.precision, self.device)
        self.team = parallel.join()
        self.part = self.team.part(config.batch_size)
        train, self.measured, self.measured_name = load_data(config, progress)
        if config.batch_size > len(train):
            raise ConfigError(f"batch_size: {config.batch_size} is more than the {len(train)} training images.")
        self.train_count = len(train)
        self.images = torch.from_numpy(np.array(train.images)).to(self.device)
        self.labels = torch.from_numpy(train.labels).to(self.device)
        self.normalisation = data.NORMALISATION[config.dataset]
        self.steps_per_epoch = len(train) // config.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        self._order, self._order_epoch = np.empty(0, dtype=np.int64), -1
        self.powers = sorted({s.attention_power for s in config.students if s.attention_weight})
        self.teacher: Checkpoint | None = None
        self.teacher_forward: Callable[..., Any] | None = None
        if config.teacher:
            self.teacher = find_checkpoint(config.teacher)
            if self.teacher.classes != train.classes:
                raise ConfigError(
                    f"teacher: {config.teacher} knows the classes {', '.join(self.teacher.classes[:3])}, …; the data "
                    f"have {', '.join(train.classes[:3])}, …. Choose a teacher that was trained on the same data."
                )
            if any(student.needs_teacher for student in config.students):
                self.teacher_network = self.teacher.network().to(self.device)
                self.teacher_forward = self._compiled(folded(self.teacher_network))
        self.students = [self._student(student) for student in config.students]
        self._check_stages()

    def _compiled(self, network: StagedNetwork) -> Callable[..., Any]:
        return torch.compile(network, dynamic=False) if self.config.compile else network

    def _student(self, student: StudentConfig) -> Student:
        network = build(student.architecture, len(self.measured.classes), seed=self.config.seed)
        if student.initial:
            start = find_checkpoint(student.initial)
            if (start.architecture, start.classes) != (student.architecture, self.measured.classes):
                raise ConfigError(
                    f"students: {student.name} cannot go on from {student.initial}, a {start.architecture} of "
                    f"{len(start.classes)} classes: choose a checkpoint of the same architecture and data."
                )
            network.load_state_dict(start.network().state_dict())
        network = self.team.network(network.to(self.device), self.config.sync_batch_norm)
        decayed = [p for p in network.parameters() if p.ndim > 1]
        plain = [p for p in network.parameters() if p.ndim <= 1]
        optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.config.learning_rate,
            momentum=self.config.momentum,
            nesterov=self.config.momentum > 0,
        )
        return Student(student, network, self.team.forward(self._compiled(network)), optimizer)

    def _check_stages(self) -> None:
        for student in self.students:
            if student.config.attention_weight and self.teacher_forward is not None:
                have, need = len(student.network.stage_names), len(self.teacher_network.stage_names)
                if have != need:
                    raise ConfigError(
                        f"students: {student.config.name} ({student.config.architecture}) has {have} stages and the "
                        f"teacher {self.teacher.architecture} has {need}; attention transfer needs the same number. "
                        "Choose networks of one family, or set its attention weight to 0."
                    )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def step(self, epoch: int, step: int) -> None:
        """One batch for everyone. Raises TrainingError naming student, term and step if a loss is not finite."""
        config = self.config
        if self._order_epoch != epoch:
            self._order, self._order_epoch = data.epoch_order(self.train_count, config.seed, epoch), epoch
        indices = self._order[step * config.batch_size : (step + 1) * config.batch_size]
        batch = data.augmented(
            self.images, indices, config.seed, epoch, step, config.crop_padding, config.flip, self.part
        )
        labels = self.labels[data.moved(indices[self.part], self.device)]
        side = resolution(config, epoch)
        inputs = data.scaled(data.normalise(batch, self.normalisation), side)
        answers = None
        if self.teacher_forward is not None:
            theirs, teacher_inputs = self.teacher.card["normalisation"], inputs
            if theirs != self.normalisation:
                teacher_inputs = data.scaled(data.normalise(batch, theirs), side)
            answers = self._teacher_answers(self.teacher_forward, teacher_inputs)
        rate = learning_rate(config, epoch * self.steps_per_epoch + step, self.steps)

        for student in self.students:
            for group in student.optimizer.param_groups:
                group["lr"] = rate
            logits, terms = self._terms(student, student.forward, inputs, labels, answers)
            values = {name: float(value.detach()) for name, value in terms.items()}
            correct = float((logits.argmax(dim=1) == labels).sum()) / len(labels)
            values = self.team.mean(values | {"correct": correct})
            _check_finite(student, values, f"in epoch {epoch + 1}, step {step + 1}")
            terms["objective"].backward()
            student.optimizer.step()
            student.optimizer.zero_grad(set_to_none=True)
            for name, value in (values | {"images": 1.0}).items():
                student.sums[name] = student.sums.get(name, 0.0) + value * config.batch_size

    def _terms(
        self,
        student: Student,
        forward: Callable[..., Any],
        inputs: Tensor,
        labels: Tensor,
        answers: TeacherAnswers | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits `[B, classes]` float32 and the objective with its terms."""
        stages: list[Tensor] = []
        with self._autocast():
            output = forward(inputs, return_stages=bool(student.config.attention_weight))
        if student.config.attention_weight:
            output, stages = output
        logits = output.float()
        teacher_logits = answers.logits if answers else None
        maps = answers.maps[student.config.attention_power] if stages and answers else []
        return logits, objective(student.config, logits, labels, stages, teacher_logits, maps)

    @torch.no_grad()
    def _teacher_answers(self, forward: Callable[..., Any], inputs: Tensor) -> TeacherAnswers:
        with self._autocast():
            output = forward(inputs, return_stages=bool(self.powers))
        logits, stages = output if self.powers else (output, [])
        maps = {power: [attention_map(stage, power) for stage in stages] for power in self.powers}
        return TeacherAnswers(logits.float(), maps)

    # --- Measuring ---

    def _batches(self, normalisation: dict[str, list[float]]) -> Iterable[tuple[int, int, Tensor]]:
        for start in range(0, len(self.measured), EVALUATION_BATCH):
            stop = min(start + EVALUATION_BATCH, len(self.measured))
            part = torch.from_numpy(np.array(self.measured.images[start:stop])).to(self.device)
            yield start, stop, data.normalise(part, normalisation)

    def teacher_on_measured(self) -> TeacherAnswers:
        """The teacher's answers on the measured split, whose pixels never change: computed once."""
        network = folded(self.teacher_network)
        batches = self._batches(self.teacher.card["normalisation"])
        return TeacherAnswers.joined([self._teacher_answers(network, inputs) for _, _, inputs in batches])

    @torch.no_grad()
    def measure(self, student: Student, answers: TeacherAnswers | None) -> tuple[np.ndarray, dict[str, float]]:
        """Logits `[N, classes]` float32 on the measured split, and the terms' means over its images."""
        labels = torch.from_numpy(self.measured.labels).to(self.device)
        sums: dict[str, float] = {}
        parts = []
        student.network.eval()
        try:
            for start, stop, inputs in self._batches(self.normalisation):
                part = answers.part(start, stop) if answers else None
                logits, terms = self._terms(student, student.network, inputs, labels[start:stop], part)
                parts.append(logits.cpu().numpy())
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * (stop - start)
        finally:
            student.network.train()
        return np.concatenate(parts), {name: value / len(labels) for name, value in sums.items()}

    # --- State ---

    def state(self, epoch: int, step: int, seconds: float) -> bytes:
        """Everything that a run needs to go on, as a file for `torch.load(weights_only=True)`, with its hash behind.

        torch does not notice a changed bit in the weights, and the run would go on to other bits without a word.
        """
        buffer = io.BytesIO()
        students = {
            student.config.name: {
                "network": student.network.state_dict(),
                "optimizer": student.optimizer.state_dict(),
                "sums": student.sums,
            }
            for student in self.students
        }
        torch.save({"epoch": epoch, "step": step, "seconds": seconds, "students": students}, buffer)
        content = buffer.getvalue()
        return content + HASH + hashlib.sha256(content).digest()

    def restore(self, path: Path) -> tuple[int, int, float]:
        """Takes up a saved state: the epoch and step to do next, and the seconds spent so far.

        Raises:
            RunError: when the file is damaged or belongs to another experiment; the students may be half restored.
        """
        try:
            content, mark, digest = path.read_bytes().rpartition(HASH)
            if not mark or hashlib.sha256(content).digest() != digest:
                raise ValueError("its hash is missing or another")
            state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
            for student in self.students:
                saved = state["students"][student.config.name]
                student.network.load_state_dict(saved["network"])
                student.optimizer.load_state_dict(saved["optimizer"])
                student.sums = dict(saved["sums"])
            epoch, step, seconds = int(state["epoch"]), int(state["step"]), float(state["seconds"])
            if not (0 <= epoch <= self.config.epochs and 0 <= step <= self.steps_per_epoch):
                raise ValueError(f"epoch {epoch}, step {step}")
            return epoch, step, seconds
        except (OSError, MemoryError, torch.OutOfMemoryError):  # says nothing about the file
            raise
        except Exception as error:  # zip, pickle, torch: each damage has its own exception
            raise RunError(
                f"{path.name} could not be read ({type(error).__name__}): the run goes on from the state before it."
            ) from error


def _check_finite(student: Student, terms: dict[str, float], when: str) -> None:
    for name, value in terms.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{student.config.name}: {name} became {value} {when}. "
                "Lower the learning rate or the weight of that term."
            )


def load_data(config: ExperimentConfig, progress: data.Progress | None = None) -> tuple[data.Split, data.Split, str]:
    """The images to train on, those to measure on, and what the latter are called (`test` or `holdout`)."""
    train = data.load_split(config.dataset, "train", progress=progress)
    if config.holdout:
        held = data.held_out(train.labels, config.holdout)
        kept = np.setdiff1d(np.arange(len(train)), held)
        train, measured, name = train.take(kept), train.take(held), "holdout"
    else:
        measured, name = data.load_split(config.dataset, "test", progress=progress), "test"
    if config.train_images is not None:
        if config.train_images > len(train):
            raise ConfigError(f"train_images: there are only {len(train)}; ask for fewer.")
        train = train.take(class_balanced_order(train.labels, config.train_images))
    return train, measured, name


def class_balanced_order(labels: np.ndarray, count: int) -> np.ndarray:
    """The same class-balanced part for every seed, so that runs on a part can be compared."""
    return data.class_balanced(labels, count, seed=1)


def find_checkpoint(name: str) -> Checkpoint:
    """A bundled checkpoint by name, a run's student as RUN/STUDENT, or a checkpoint folder by path.

    Raises:
        ConfigError: when there is none.
        CheckpointError: when its card is not in order.
    """
    places = [Path(name)]
    run_id, _, student = name.partition("/")
    if is_name(run_id) and is_name(student):
        places.insert(0, runs.runs_root() / run_id / student)
    if is_name(name):
        places.insert(0, checkpoints.bundled_root() / name)
    for place in places:
        with contextlib.suppress(OSError):  # too long for a path
            if (place / checkpoints.CARD).is_file():
                return checkpoints.open_checkpoint(place)
    choices = ", ".join(checkpoint.name for checkpoint in checkpoints.bundled()) or "none"
    raise ConfigError(f"there is no checkpoint '{name[:100]}'. Bundled: {choices}; or give RUN/STUDENT or a folder.")


# --- A run ----------------------------------------------------------------------------------------------


def execute(run: runs.Run, show: bool = False) -> str:
    """Waits for its turn, then trains a run to its end, from its saved state where there is one.

    SIGTERM and SIGINT end it after the current step with its state saved.

    Args:
        run: a folder that `runs.create` wrote.
        show: draw a progress line on stderr.

    Returns:
        The final state, `finished` or `stopped`. Every outcome is also in `status.json`.

    Raises:
        RunError: when another process trains this very run; it is left alone.
        KDError, or anything else: what ended the run, which is then `failed`.
    """
    team = parallel.join()
    own = FileLock(run.path / ".lock")

    def take() -> None:
        try:
            own.acquire(timeout=0)
        except Timeout:
            raise RunError(f"{run.run_id} is in the hands of another process: there is nothing to do.") from None

    team.lead(take)
    try:
        run = run if team.leads else runs.Reader(run.path)
        with processes.stop_signals() as stopping, run.log() as logger:
            return _in_turn(run, team, logger, stopping, show)
    finally:
        own.release()


def _in_turn(run: runs.Run, team: parallel.Team, logger: logging.Logger, stopping: threading.Event, show: bool) -> str:
    """What `execute` promises, once no other process or team holds this run."""
    lock = FileLock(run.path.parent / ".lock")
    facts: dict[str, Any] = {}
    try:
        while True:
            with contextlib.suppress(Timeout):
                if team.leads:
                    lock.acquire(timeout=0.5)
            if team.any(lock.is_locked):
                break
            run.write_status("queued", "waiting for the run before it", **facts)
            if team.any(stopping.is_set()):
                raise Stopped
        if team.lead(lambda: runs.read_json(run.path / "status.json") and run.status()["state"] == "finished"):
            return "finished"
        _train(run, logger, stopping, facts, show)
        run.write_status("finished", "", **facts)
        return "finished"
    except Stopped:
        logger.info("stopped; resume it to go on")
        run.write_status("stopped", "stopped; it can be resumed", **facts)
        return "stopped"
    except KDError as error:
        logger.error("%s", error)
        run.write_status("failed", str(error), **facts)
        raise
    except BaseException as error:
        logger.exception("failed")
        message = f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            message = f"the disk did not take it ({error}); make room and resume"
        with contextlib.suppress(OSError):
            run.write_status("failed", message[:500], **facts)
        raise
    finally:
        lock.release()


def _train(run: runs.Run, logger: logging.Logger, stopping: threading.Event, facts: dict[str, Any], show: bool) -> None:
    config = run.config()
    run.write_status("running", "loading data and networks", **facts)
    experiment = Experiment(config)
    if experiment.team.leads:  # what a kill in the middle of a write has left
        for name in (STATE, OLD_STATE, "metrics.jsonl", "teacher.json", *(student.name for student in config.students)):
            forget_scraps(run.path / name)
    state = run.path / STATE
    epoch, step, before = _restored(run, experiment, logger, facts)
    run.drop_metrics_from(epoch)
    begin = time.monotonic()
    logger.info(
        "%s: %s %s, %s, %d threads, %d images, epoch %d step %d",
        run.run_id, experiment.device, experiment.dtype, platform.machine(), torch.get_num_threads(),
        experiment.train_count, epoch, step,
    )  # fmt: skip
    team, answers = experiment.team, None
    if team.leads and experiment.teacher_forward is not None:
        answers = experiment.teacher_on_measured()
        write_json(run.path / "teacher.json", _teacher_facts(experiment, answers))
    meter = _Meter(run, experiment, facts, epoch * experiment.steps_per_epoch + step, show)

    def save(next_epoch: int, next_step: int) -> None:
        """A full disk costs the newest state, never the last good one nor the run."""
        if not team.leads:
            return
        try:
            content = experiment.state(next_epoch, next_step, before + time.monotonic() - begin)
            if state.exists():
                keep_old(state, run.path / OLD_STATE)
            write_bytes(state, content)
            facts.pop("warning", None)
        except OSError as error:
            facts["warning"] = f"the state could not be saved ({error.strerror}); the last good one is kept"
            logger.warning("%s", facts["warning"])

    saved = time.monotonic()
    while epoch < config.epochs:
        while step < experiment.steps_per_epoch:
            experiment.step(epoch, step)
            step += 1
            meter.update(epoch, step)
            last, stop = step == experiment.steps_per_epoch, team.any(stopping.is_set())
            if stop or (not last and time.monotonic() - saved > 60 * config.save_minutes):
                save(epoch, step)
                saved = time.monotonic()
            if stop:
                raise Stopped
        rows = _epoch_rows(experiment, answers, epoch, before + time.monotonic() - begin, meter.rate)
        run.append_metrics(rows)
        for row in rows:
            logger.info("epoch %d %s: %s accuracy %.4f", epoch + 1, row["student"], experiment.measured_name,
                        row["test"]["accuracy"])  # fmt: skip
        meter.show_rows(rows)
        epoch, step = epoch + 1, 0
        save(epoch, step)
        saved = time.monotonic()
    meter.close()
    run.write_status("running", "measuring the float16 weights", **facts)
    if team.leads:
        _finish(run, experiment, before + time.monotonic() - begin)
        (run.path / OLD_STATE).unlink(missing_ok=True)


def _restored(
    run: runs.Run, experiment: Experiment, logger: logging.Logger, facts: dict[str, Any]
) -> tuple[int, int, float]:
    """The last good state: the newest, else the one before it, else the beginning. What was skipped is told."""
    for name in (STATE, OLD_STATE):
        path = run.path / name
        if not path.exists():
            continue
        try:
            return experiment.restore(path)
        except RunError as error:
            facts["warning"] = str(error)
            logger.warning("%s", error)
            experiment.team.any(False)  # everybody has read it
            if name == STATE and experiment.team.leads:  # else the next one would put it in the good one's place
                path.replace(run.path / DAMAGED_STATE)
            experiment.students = [experiment._student(student) for student in experiment.config.students]
    return 0, 0, 0.0


def _epoch_rows(
    experiment: Experiment, answers: TeacherAnswers | None, epoch: int, seconds: float, rate: float
) -> list[dict[str, Any]]:
    if not experiment.team.leads:
        for student in experiment.students:
            student.sums = {}
        return []

    def row(student: Student) -> dict[str, Any]:
        logits, terms = experiment.measure(student, answers)
        _check_finite(
            student, terms, f"on the {experiment.measured_name} images after epoch {epoch + 1}, "
            f"step {experiment.steps_per_epoch}",
        )  # fmt: skip
        images = student.sums.pop("images")
        train = {name: value / images for name, value in student.sums.items()}
        train["accuracy"] = train.pop("correct")
        student.sums = {}
        return {
            "epoch": epoch,
            "student": student.config.name,
            "learning_rate": learning_rate(
                experiment.config, (epoch + 1) * experiment.steps_per_epoch - 1, experiment.steps
            ),
            "train": train,
            "test": terms | {"accuracy": metrics.accuracy(logits, experiment.measured.labels)},
            "probes": np.round(logits[:PROBES].astype(float), 3).tolist(),
            "seconds": round(seconds, 3),
            "images_per_second": round(rate, 1),
        }

    return [row(student) for student in experiment.students]


def _teacher_facts(experiment: Experiment, answers: TeacherAnswers) -> dict[str, Any]:
    logits = answers.logits.cpu().numpy()
    return {
        "name": experiment.teacher.name,
        "measured_on": experiment.measured_name,
        "accuracy": metrics.accuracy(logits, experiment.measured.labels),
        "cross_entropy": metrics.cross_entropy(logits, experiment.measured.labels),
        "probes": np.round(logits[:PROBES].astype(float), 3).tolist(),
        "probe_labels": experiment.measured.labels[:PROBES].tolist(),
    }


def _finish(run: runs.Run, experiment: Experiment, seconds: float) -> None:
    """Casts each student to float16, measures what will be stored in float32, and writes its checkpoint."""
    config = experiment.config
    experiment.dtype = torch.float32
    torch.backends.cudnn.allow_tf32 = False  # else a GPU rounds the convolutions' factors to ten bits
    answers = experiment.teacher_on_measured() if experiment.teacher_forward is not None else None
    for student in experiment.students:
        state = checkpoints.half_precision(student.network)
        student.network.load_state_dict({key: tensor.float() for key, tensor in state.items()}, strict=False)
        logits, terms = experiment.measure(student, answers)
        stored = logits.astype(np.float16)
        cross_entropy = metrics.cross_entropy(stored, experiment.measured.labels)
        _check_finite(student, terms | {"cross_entropy": cross_entropy}, "after the last step, as float16")
        teacher = experiment.teacher if student.config.needs_teacher else None
        card = {
            "name": student.config.name,
            "architecture": student.config.architecture,
            "parameters": parameter_count(student.network),
            "classes": list(experiment.measured.classes),
            "normalisation": experiment.normalisation,
            "method": student.config.method,
            "objective": student.config.model_dump(mode="json", exclude={"name", "architecture"}),
            "teacher": {"name": teacher.name, "sha256": teacher.sha256} if teacher else None,
            "run": run.run_id,
            "epochs": config.epochs,
            "seed": config.seed,
            "data": {
                "dataset": config.dataset,
                "train_images": experiment.train_count,
                "measured_on": experiment.measured_name,
                "measured_images": len(experiment.measured),
            },
            "recipe": config.model_dump(mode="json", exclude={"students", "teacher", "name", "epochs", "seed"}),
            "versions": {
                "kdexplorer": __version__,
                "torch": torch.__version__.split("+")[0],
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "device": device_name(experiment.device),
            "precision": str(resolve_precision(config.precision, experiment.device)).removeprefix("torch."),
            "seconds": round(seconds, 1),
            "students_in_run": len(config.students),
            "history": runs.history(run, student.config.name),
            "test_accuracy": metrics.accuracy(stored, experiment.measured.labels),
            "test_cross_entropy": cross_entropy,
            "test_objective": terms["objective"],
            "test_terms": {name: value for name, value in terms.items() if name != "objective"},
        }
        checkpoints.save(run.path / student.config.name, state, card, stored)


def device_name(device: torch.device) -> str:
    """What the card calls the hardware: the GPU's name, or the processor's with its thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {torch.get_num_threads()} threads"


class _Meter:
    """Keeps `status.json` fresh (every two seconds) and draws the progress line."""

    def __init__(self, run: runs.Run, experiment: Experiment, facts: dict[str, Any], done: int, show: bool) -> None:
        from tqdm import tqdm

        self.run, self.experiment, self.facts = run, experiment, facts
        self.batch = experiment.config.batch_size
        self.begin, self.first, self.written = time.monotonic(), done, 0.0
        self.rate = 0.0
        work = [resolution(experiment.config, epoch) ** 2 for epoch in range(experiment.config.epochs)]
        self.work = np.concatenate([[0.0], np.repeat(work, experiment.steps_per_epoch).cumsum()])
        """Pixels a side, squared, of all steps before each: what the time goes by."""
        self.bar = tqdm(
            total=experiment.steps * self.batch, initial=done * self.batch, unit="img", unit_scale=True,
            disable=not (show and experiment.team.leads), dynamic_ncols=True,
        )  # fmt: skip

    def update(self, epoch: int, step: int) -> None:
        experiment, now = self.experiment, time.monotonic()
        done = epoch * experiment.steps_per_epoch + step
        self.bar.set_description(f"epoch {epoch + 1}/{experiment.config.epochs}", refresh=False)
        self.bar.update(self.batch)
        if done == self.first + 1:  # the first step compiles and warms up: it says nothing about the rest
            self.begin = now
        elif now > self.begin:
            self.rate = (done - self.first - 1) * self.batch / (now - self.begin)
        if now - self.written > 2:
            self.written = now
            worked = self.work[done] - self.work[self.first + 1]
            left = (self.work[-1] - self.work[done]) / worked * (now - self.begin) if worked > 0 else None
            self.facts |= {
                "epoch": epoch, "epochs": experiment.config.epochs, "step": step,
                "steps_per_epoch": experiment.steps_per_epoch, "images_per_second": round(self.rate, 1),
                "seconds_left": round(left) if left is not None else None,
            }  # fmt: skip
            with contextlib.suppress(OSError):  # a full disk must not end a run for want of a heartbeat
                self.run.write_status("running", "training", **self.facts)

    def show_rows(self, rows: list[dict[str, Any]]) -> None:
        shown = {row["student"]: f"{100 * row['test']['accuracy']:.2f} %" for row in rows}
        self.bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        self.bar.close()
