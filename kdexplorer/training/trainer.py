"""A run in memory: data, teacher, students; one step for all of them; their evaluation.

The teacher's forward pass is paid once a batch, however many students there are (`training.teacher`). Every random
choice derives from (seed, epoch, step).
"""

from __future__ import annotations

import copy
import functools
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdexplorer.config import RunConfig, StudentConfig, learning_rate, resolution
from kdexplorer.datasets import Split, augmentation, get_dataset
from kdexplorer.datasets.base import hold_out, load_evaluation, sample_class_balanced
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.networks import build, get_architecture
from kdexplorer.networks.base import StagedNetwork
from kdexplorer.runs.card import DataFacts, Leg
from kdexplorer.runs.checkpoints import find_checkpoint, find_teachers
from kdexplorer.training import ddp, hardware
from kdexplorer.training.checks import count_problems, require_startable
from kdexplorer.training.objective import Targets, compute_objective, make_adapters, relate_parts, run_network
from kdexplorer.training.recipe import build_optimizer, prepare
from kdexplorer.training.teacher import EvaluationTeacher, Teacher, evaluation_batches

_order_of = functools.lru_cache(maxsize=1)(augmentation.epoch_order)
READ_EVERY = 20
"""Steps on a GPU after which losses are read: reading one waits for everything that the GPU has been given to do."""

Span = tuple[Any, Any]
"""When a part of a step began and ended: seconds, on a GPU events in its stream."""


@dataclass
class Student:
    """A network in training with what belongs to it."""

    config: StudentConfig
    network: StagedNetwork
    forward: Callable[..., Any]
    adapters: dict[str, nn.Module]
    """What is trained beside the network, by the term's name."""
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Keeps float16 gradients from vanishing; does nothing in other precisions."""
    average: StagedNetwork | None = None
    """The average of its weights over the steps so far, where it is asked for."""
    earlier: tuple[Leg, ...] = ()
    """Of the training of the checkpoint that it began as."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums over the epoch's images so far: the objective's parts, `correct`, and `images`."""
    unread: list[tuple[int, int, dict[str, Tensor]]] = field(default_factory=list)
    """Epoch, step and losses, scalars, that are still on the device."""
    spans: list[Span] = field(default_factory=list)
    """Of its part of each of the epoch's steps: forward pass, objective, backward pass, update."""

    @property
    def result(self) -> StagedNetwork:
        """The network that is evaluated and kept."""
        return self.network if self.average is None else self.average

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        """Moves the average towards the weights and the norms' statistics of now."""
        if self.average is not None:
            for kept, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                kept.lerp_(now, 1 - decay) if kept.is_floating_point() else kept.copy_(now)

    def check_finite(self, values: dict[str, float], when: str) -> None:
        """Raises TrainingError, which names the student, the term and the moment, where a value is not finite."""
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingError(
                    f"{self.config.name}: {name} became {value} {when}. "
                    "Lower the learning rate or the weight of that term."
                )


def load_run_data(config: RunConfig) -> tuple[Split, Split]:
    """The training images and the evaluation split: the test split, or training images held out while tuning.

    Raises DataError when data are missing, ConfigError for too many images.
    """
    dataset = get_dataset(config.dataset)
    train = dataset.load("train", order=config.image_order)
    evaluation = load_evaluation(dataset, config.holdout, config.image_order)
    if config.holdout:
        train = train.take(np.setdiff1d(np.arange(len(train)), hold_out(train.labels, config.holdout)))
        if len(gone := np.setdiff1d(evaluation.labels, train.labels)):
            raise ConfigError(f"holdout: no training image of {train.classes[gone[0]]} would be left: hold out fewer.")
    if config.without_class is not None:
        train = train.take(np.flatnonzero(train.labels != config.without_class))
    for name, sentence in count_problems(config, len(train)):
        raise ConfigError(f"{name}: {sentence}.")
    if config.train_images is not None:
        train = train.take(sample_class_balanced(train.labels, config.train_images, seed=1))  # the same for every seed
    return train, evaluation


class Trainer:
    """Everything of a configuration in memory. `step` is the loop's body."""

    def __init__(self, config: RunConfig, stopping: threading.Event | None = None) -> None:
        """Loads data and networks. Raises KDError: whatever would end the run at its start.

        Evaluations end with Stopped once `stopping` is set.
        """
        self.config, self.stopping = config, stopping
        self.device = hardware.resolve_device(config.device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # whose stream events are recorded in
        if config.compile:
            hardware.require_compiler(self.device)
        self.dtype = hardware.resolve_precision(config.precision, self.device)
        self.team = ddp.join()
        self.part = self.team.part(config.batch_size)
        self.read_every = READ_EVERY if self.device.type == "cuda" else 1
        require_startable(config)
        train, self.evaluation = load_run_data(config)
        self.train = Split(np.array(train.images), train.labels, train.classes)
        """The training images as they are."""
        self.images = torch.from_numpy(self.train.images).to(self.device)
        self.labels = torch.from_numpy(train.labels).to(self.device)
        dataset = get_dataset(config.dataset)
        self.normalization = dataset.normalization
        self.data = DataFacts(
            dataset=config.dataset, sha256=dataset.sha256, train_images=len(train),
            evaluation_split="holdout" if config.holdout else "test", evaluation_images=len(self.evaluation),
        )  # fmt: skip
        self.steps_per_epoch = len(train) // config.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        self.teacher_checkpoints = find_teachers(config.teacher)
        self.students = self.build_students()
        self.teacher = self._load_teacher()
        self.environments = [hardware.describe_environment(self.device, self.dtype, self.team.size)]
        """Where the run was trained so far, the current one last."""
        self.spans: list[Span] = []  # of the epoch's steps so far: loading the batch, with the teacher's forward pass
        self.begin = time.monotonic()

    def seconds(self) -> float:
        """Seconds spent on the run so far, those before it was resumed included."""
        return time.monotonic() - self.begin

    # --- One step ---

    def step(self, epoch: int, step: int) -> None:
        """One batch for all students. Raises TrainingError with student, term and step when a loss is not finite."""
        begin = now(self.device)
        inputs, labels, targets = self._load_batch(epoch, step)
        self.spans.append((begin, now(self.device)))
        number = epoch * self.steps_per_epoch + step
        rate, progress = learning_rate(self.config, number, self.steps), (number + 1) / self.steps
        for student in self.students:
            begin = now(self.device)
            hardware.seed_generators(self.device, self.config.seed, epoch, step, self.team.rank)
            for group in student.optimizer.param_groups:
                group["lr"] = rate * group.get("factor", 1.0)
            outputs = run_network(student.forward, inputs, self.dtype, student.config.needs)
            parts = compute_objective(
                student.config, student.adapters, outputs, labels, targets, self.dtype, self.team.relate, progress
            )
            correct = (outputs.logits.argmax(dim=1) == labels).sum().double() / len(labels)
            student.unread.append((epoch, step, {k: v.detach() for k, v in parts.items()} | {"correct": correct}))
            if self.read_every == 1:  # before the step changes weights
                self.read_losses()
            student.scaler.scale(parts["objective"]).backward()
            self.team.average_gradients([p for adapter in student.adapters.values() for p in adapter.parameters()])
            student.scaler.step(student.optimizer)
            student.scaler.update()
            student.optimizer.zero_grad(set_to_none=True)
            # At first the average forgets faster, as it began untrained.
            student.update_average(min(self.config.ema, (1 + number) / (10 + number)))
            student.spans.append((begin, now(self.device)))
        if (step + 1) % self.read_every == 0 or step + 1 == self.steps_per_epoch:
            self.read_losses()

    def _load_batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor, Targets]:
        """This process's part of a batch: normalized images `[B, 3, S, S]`, labels `[B]`, the teacher's targets."""
        config = self.config
        order = _order_of(len(self.labels), config.seed, epoch)
        indices = order[step * config.batch_size : (step + 1) * config.batch_size]
        images, side = self._augment(indices, epoch, step), resolution(config, epoch)
        labels = self.labels[augmentation.to_device(indices[self.part], self.device)]
        inputs = augmentation.resize(augmentation.normalize(images, self.normalization), side)
        if self.teacher is None:
            return inputs, labels, {}
        if config.teacher_view == "fixed":
            return inputs, labels, self.teacher.select_targets(self.train, indices[self.part])
        seen, of_teacher = images, inputs
        if config.teacher_view == "independent":
            seen = self._augment(indices, epoch, step, stream=augmentation.TEACHER)
            of_teacher = augmentation.resize(augmentation.normalize(seen, self.normalization), side)
        return inputs, labels, self.teacher.load_targets(seen, of_teacher, epoch, step)

    def _augment(self, indices: np.ndarray, epoch: int, step: int, stream: int = augmentation.STUDENT) -> Tensor:
        """This process's part of a batch, uint8 `[B, 3, 32, 32]`: cropped, mirrored, cut out and mixed as chosen."""
        config, mixup = self.config, self.config.mixup
        own = slice(None) if mixup else self.part
        drawn = config.seed, epoch, step
        images = augmentation.augment(self.images, indices, *drawn, config.crop_padding, config.flip, own, stream)
        if config.cutout:
            images = augmentation.cut_out(images, config.cutout, self.normalization, len(indices), own, *drawn, stream)
        return augmentation.mix(images, *drawn)[self.part] if mixup else images

    def read_losses(self) -> None:
        """Adds the losses of the steps since the last call to the students' sums.

        Raises TrainingError with student, term and step when one is not finite.
        """
        for student in (one for one in self.students if one.unread):
            steps, student.unread = student.unread, []
            stacked = torch.stack([torch.stack([loss.double() for loss in losses.values()]) for *_, losses in steps])
            for (epoch, step, losses), row in zip(steps, stacked.tolist(), strict=True):
                values = self.team.mean(dict(zip(losses, row, strict=True)))
                student.check_finite(values, f"in epoch {epoch + 1}, step {step + 1}")
                for name, value in (values | {"images": 1.0}).items():
                    student.sums[name] = student.sums.get(name, 0.0) + value * self.config.batch_size

    def forget_epoch(self) -> None:
        """Drops the sums and spans of an epoch that is over."""
        self.spans = []
        for student in self.students:
            student.sums, student.spans = {}, []

    # --- Evaluation ---

    def evaluate_teacher(self) -> EvaluationTeacher | None:
        """The teacher on the evaluation split; None where no student needs one."""
        return self.teacher.evaluate(self.evaluation) if self.teacher else None

    @torch.no_grad()
    def evaluate(self, student: Student, teacher: EvaluationTeacher | None) -> tuple[np.ndarray, dict[str, float]]:
        """Logits `[N, K]` float32 on the evaluation split, and the means of the objective's parts over its images."""
        labels = torch.from_numpy(self.evaluation.labels).to(self.device)
        sums: dict[str, float] = {}
        logits, relate = [], relate_parts(self.config.batch_size)
        hardware.seed_generators(self.device, self.config.seed)
        modules = [student.result, *student.adapters.values()]
        for module in modules:
            module.eval()
        try:
            batches = evaluation_batches(student.result, self.evaluation, self.normalization, self.stopping)
            for start, stop, inputs in batches:
                targets = teacher.targets(start, stop) if teacher and student.config.needs else {}
                outputs = run_network(student.result, inputs, self.dtype, student.config.needs)
                parts = compute_objective(
                    student.config, student.adapters, outputs, labels[start:stop], targets, self.dtype, relate
                )
                logits.append(outputs.logits.cpu().numpy())
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * (stop - start)
        finally:
            for module in modules:
                module.train()
        return np.concatenate(logits), {name: value / len(labels) for name, value in sums.items()}

    # --- What is loaded ---

    def build_students(self) -> list[Student]:
        """The students as they are before the first step: weights and adapters derive from the run's seed."""
        return [self._build_student(student) for student in self.config.students]

    def _build_student(self, student: StudentConfig) -> Student:
        config, team = self.config, self.team
        network = build(student.architecture, len(self.evaluation.classes), seed=config.seed)
        start = find_checkpoint(student.initial) if student.initial else None
        if start is not None:
            network.load_state_dict(start.network().state_dict())
        prepare(config, network, self.images, self.normalization, fresh=start is None)
        # Of several teachers only logits are used, which need no adapter.
        teacher = get_architecture(self.teacher_checkpoints[0].architecture) if self.teacher_checkpoints else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            fresh = make_adapters(student, get_architecture(student.architecture), teacher)
        adapters = {name: team.network(one.to(self.device), config.sync_batch_norm) for name, one in fresh.items()}
        network = team.network(network.to(self.device), config.sync_batch_norm)
        optimizer = build_optimizer(config, network, adapters.values(), self.dtype)
        average = copy.deepcopy(network) if config.ema else None
        captured = self.device.type == "cuda" and team.size == 1  # with DDP torch makes no graphs of batch norm
        forward = team.forward(hardware.compile_network(network, config.compile, captured))
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        legs = start.card.legs if start else ()
        return Student(student, network, forward, adapters, optimizer, scaler, average, legs)

    def _load_teacher(self) -> Teacher | None:
        """The teacher's network; None where no student needs it."""
        if not self.teacher_checkpoints or not any(student.needs for student in self.config.students):
            return None
        teacher = Teacher(self.teacher_checkpoints, self.config, self.device, self.dtype, self.stopping)
        if teacher.keeps and self.config.teacher_view != "fixed":
            teacher.open_predictions(self.train, self.steps_per_epoch)
        return teacher

    def reads_teacher(self, epoch: int) -> bool:
        """Whether the teacher's predictions for an epoch are read from the disk instead of computed."""
        return self.teacher is not None and self.teacher.is_stored(epoch)


# --- How long the parts of a step take; nothing waits for it and no number changes ---


def now(device: torch.device) -> Any:
    """This moment in the device's work: a GPU is behind the program that gives it work, so it notes the moment."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def median_seconds(spans: Sequence[Span]) -> float | None:
    """The median of the spans' seconds, which compiling and other programs hardly move; None without any."""
    seconds = []
    for begin, end in spans:
        if isinstance(begin, float):
            seconds.append(end - begin)
        else:
            end.synchronize()
            seconds.append(begin.elapsed_time(end) / 1000)
    return float(np.median(seconds)) if seconds else None
