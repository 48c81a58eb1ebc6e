"""A run in memory: data, teacher, students; one step for all of them; their evaluation.

The teacher's forward pass is paid once a batch, however many students there are (`training.teacher`). Every random
choice derives from (seed, epoch, step).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from kdexplorer.config import RunConfig, StudentConfig
from kdexplorer.datasets import Split, get_dataset
from kdexplorer.datasets.augmentation import TEACHER, augment, epoch_order, mix, normalize, resize, to_device
from kdexplorer.errors import ConfigError
from kdexplorer.methods import Method
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.networks.cost import count_multiply_adds
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.teachers import find_teachers, why_not_averaged
from kdexplorer.training import ddp
from kdexplorer.training.data import evaluation_batches, load_run_data
from kdexplorer.training.hardware import describe_environment, require_compiler, resolve_device, resolve_precision
from kdexplorer.training.objective import Relate, Targets, compute_objective, relate_parts
from kdexplorer.training.precision import in_autocast, run_network
from kdexplorer.training.schedule import learning_rate, pixel_shares, resolution
from kdexplorer.training.student import Student, build_student, check_finite
from kdexplorer.training.teacher import EvaluationTeacher, Teacher
from kdexplorer.training.timing import Span, now

READ_EVERY = 20
"""Steps on a GPU after which losses are read: reading one waits for everything that the GPU has been given to do."""


class Trainer:
    """Everything of a configuration in memory. `step` is the loop's body."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.device = resolve_device(config.device)
        if config.compile and self.device.type == "cpu":
            require_compiler()
        self.dtype = resolve_precision(config.precision, self.device)
        self.team = ddp.join()
        self.part = self.team.part(config.batch_size)
        self.read_every = READ_EVERY if self.device.type == "cuda" and self.team.size == 1 else 1
        train, self.evaluation, self.evaluation_name = load_run_data(config)
        self.train_count = len(train)
        self.images = torch.from_numpy(np.array(train.images)).to(self.device)
        self.labels = torch.from_numpy(train.labels).to(self.device)
        self.normalization = get_dataset(config.dataset).normalization
        self.steps_per_epoch = len(train) // config.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        self._order, self._order_epoch = np.empty(0, dtype=np.int64), -1
        self.teacher_checkpoints = self._find_teachers(train.classes)
        self.students = [self.build_student(student) for student in config.students]
        self.teacher = self._load_teacher()
        self.environments = [describe_environment(self.device, self.dtype, self.team.size)]
        """Where the run was trained so far, the current one last."""
        self.spans: list[Span] = []  # of the epoch's steps so far: loading the batch, with the teacher's forward pass

    def _find_teachers(self, classes: tuple[str, ...]) -> tuple[Checkpoint, ...]:
        """The networks that teach; several only where all methods use nothing but logits."""
        teachers = find_teachers(self.config.teacher) if self.config.teacher else ()
        for teacher in teachers:
            if teacher.classes != classes:
                raise ConfigError(
                    f"teacher: {teacher.name} has the classes {', '.join(teacher.classes[:3])}, …; the data "
                    f"have {', '.join(classes[:3])}, …. Choose a teacher that was trained on the same data."
                )
        for method in (method for student in self.config.students for method in student.methods):
            problem = why_not_averaged(teachers, method)
            if problem:
                raise ConfigError(f"teacher: {problem}.")
        return teachers

    def _load_teacher(self) -> Teacher | None:
        """The teacher's network; None where no student needs it. One process alone stores what it computes."""
        needing = [term.method for student in self.students for term in student.terms if term.method.needs]
        methods: list[Method] = list(dict.fromkeys(needing))
        if not self.teacher_checkpoints or not methods:
            return None
        teacher = Teacher(self.teacher_checkpoints, methods, self.config, self.device, self.dtype)
        if self.team.size == 1 and self.config.teacher_view != "fixed":
            teacher.open_predictions(self.images, self.config, self.steps_per_epoch)
        return teacher

    def build_student(self, student: StudentConfig) -> Student:
        """A student as it is before the first step."""
        teachers = self.teacher_checkpoints  # of several only logits are used, which need no adapter
        teacher = get_architecture(teachers[0].architecture) if teachers else None
        return build_student(self.config, student, self.evaluation.classes, teacher, self.team, self.device)

    def training_split(self) -> Split:
        """The training images as they are."""
        return Split(self.images.cpu().numpy(), self.labels.cpu().numpy(), ())

    def reads_teacher(self, epoch: int) -> bool:
        """Whether the teacher's predictions for an epoch are read from the disk instead of computed."""
        return self.teacher is not None and self.teacher.is_stored(epoch, resolution(self.config, epoch))

    def epoch_costs(self) -> np.ndarray:
        """What a step of each epoch costs, in multiply-adds of an image, float64 `[epochs]`.

        A student's backward pass counts twice its forward pass; the teacher counts where it has to compute.
        """
        epochs = self.config.epochs
        costs = np.full(epochs, 3.0 * sum(count_multiply_adds(one.architecture) for one in self.config.students))
        if self.teacher is not None:
            stored = [self.reads_teacher(epoch) for epoch in range(epochs)]
            of_teachers = sum(count_multiply_adds(one.architecture) for one in self.teacher_checkpoints)
            costs += ~np.array(stored) * float(of_teachers)
        return costs * np.array(pixel_shares(self.config))

    # --- One step ---

    def step(self, epoch: int, step: int) -> None:
        """One batch for all students. Raises TrainingError with student, term and step when a loss is not finite."""
        config, begin = self.config, now(self.device)
        inputs, labels, targets = self._load_batch(epoch, step)
        self.spans.append((begin, now(self.device)))
        number = epoch * self.steps_per_epoch + step
        rate, progress = learning_rate(config, number, self.steps), (number + 1) / self.steps
        for student in self.students:
            begin = now(self.device)
            for group in student.optimizer.param_groups:
                group["lr"] = rate
            outputs = run_network(student.forward, inputs, self.dtype, student.needs_features)
            parts = self._compute_objective(student, outputs, labels, targets, self.team.relate, progress)
            correct = (outputs.logits.argmax(dim=1) == labels).sum().double() / len(labels)
            student.record(epoch, step, parts | {"correct": correct})
            if self.read_every == 1:  # before the step changes weights
                self._read_losses_of(student)
            parts["objective"].backward()
            self.team.average_gradients([p for adapter in student.adapters.values() for p in adapter.parameters()])
            student.optimizer.step()
            student.optimizer.zero_grad(set_to_none=True)
            student.spans.append((begin, now(self.device)))
        if (step + 1) % self.read_every == 0 or step + 1 == self.steps_per_epoch:
            self.read_losses()

    def read_losses(self) -> None:
        """Adds the losses of the steps since the last call to the students' sums.

        Raises TrainingError with student, term and step when one is not finite.
        """
        for student in self.students:
            self._read_losses_of(student)

    def _read_losses_of(self, student: Student) -> None:
        for epoch, step, read in student.read():
            values = self.team.mean(read)
            check_finite(student, values, f"in epoch {epoch + 1}, step {step + 1}")
            for name, value in (values | {"images": 1.0}).items():
                student.sums[name] = student.sums.get(name, 0.0) + value * self.config.batch_size

    def _load_batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor, Targets]:
        """This process's part of a batch: normalized images `[B, 3, S, S]`, labels `[B]`, the teacher's targets."""
        config = self.config
        if self._order_epoch != epoch:
            self._order, self._order_epoch = epoch_order(self.train_count, config.seed, epoch), epoch
        indices = self._order[step * config.batch_size : (step + 1) * config.batch_size]
        images = self._augment(indices, epoch, step)
        labels = self.labels[to_device(indices[self.part], self.device)]
        inputs = resize(normalize(images, self.normalization), resolution(config, epoch))
        if self.teacher is None:
            return inputs, labels, {}
        if config.teacher_view == "fixed":
            if self.teacher.fixed is None:
                self.teacher.fix_targets(self.training_split(), keep=self.team.size == 1)
            return inputs, labels, self.teacher.select_targets(indices[self.part])
        seen, of_teacher = images, inputs
        if config.teacher_view == "independent":
            seen = self._augment(indices, epoch, step, stream=TEACHER)
            of_teacher = resize(normalize(seen, self.normalization), resolution(config, epoch))
        return inputs, labels, self.teacher.load_targets(seen, of_teacher, config.dataset, epoch, step)

    def _augment(self, indices: np.ndarray, epoch: int, step: int, **stream: int) -> Tensor:
        """This process's part of a batch, uint8 `[B, 3, 32, 32]`: cropped, mirrored, and mixed where that is chosen."""
        config, mixup = self.config, self.config.mixup
        own = slice(None) if mixup else self.part
        drawn = config.seed, epoch, step
        images = augment(self.images, indices, *drawn, config.crop_padding, config.flip, own, **stream)
        return mix(images, *drawn)[self.part] if mixup else images

    def _compute_objective(
        self,
        student: Student,
        outputs: Outputs,
        labels: Tensor,
        targets: Targets,
        relate: Relate,
        progress: float = 1.0,
    ) -> dict[str, Tensor]:
        """A student's objective with its parts."""
        run_adapter = partial(in_autocast, device=self.device, dtype=self.dtype)
        return compute_objective(student.config, student.terms, outputs, labels, targets, run_adapter, relate, progress)

    # --- Evaluation ---

    def use_single_precision(self) -> None:
        """From here on all networks run in float32."""
        self.dtype = torch.float32
        if self.teacher is not None:
            self.teacher.dtype = torch.float32

    def evaluate_teacher(self) -> EvaluationTeacher | None:
        """The teacher on the evaluation split; None where no student needs one."""
        return self.teacher.evaluate(self.evaluation, keep=self.team.size == 1) if self.teacher else None

    @torch.no_grad()
    def evaluate(self, student: Student, teacher: EvaluationTeacher | None) -> tuple[np.ndarray, dict[str, float]]:
        """Logits `[N, K]` float32 on the evaluation split, and the means of the objective's parts over its images."""
        labels = torch.from_numpy(self.evaluation.labels).to(self.device)
        sums: dict[str, float] = {}
        parts, relate = [], relate_parts(self.config.batch_size)
        modules = [student.network, *student.adapters.values()]
        for module in modules:
            module.eval()
        try:
            for start, stop, inputs in evaluation_batches(self.evaluation, self.normalization, self.device):
                targets = teacher.targets(start, stop) if teacher else {}
                outputs = run_network(student.network, inputs, self.dtype, student.needs_features)
                values = self._compute_objective(student, outputs, labels[start:stop], targets, relate)
                parts.append(outputs.logits.cpu().numpy())
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * (stop - start)
        finally:
            for module in modules:
                module.train()
        return np.concatenate(parts), {name: value / len(labels) for name, value in sums.items()}
