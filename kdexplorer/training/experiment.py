"""An experiment in memory: data, teacher, students; one step for all of them; their evaluation.

The teacher's forward pass is paid once a batch, however many students there are. Every random choice derives from
(seed, epoch, step).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.datasets import Normalization, get_dataset
from kdexplorer.datasets.augmentation import augment, epoch_order, normalize, resize, to_device
from kdexplorer.errors import ConfigError
from kdexplorer.methods import Method
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.networks.base import fold_batch_norm
from kdexplorer.runs.checkpoints import Checkpoint, find_checkpoint
from kdexplorer.training import ddp
from kdexplorer.training.data import load_experiment_data
from kdexplorer.training.hardware import describe_environment, require_compiler, resolve_device, resolve_precision
from kdexplorer.training.objective import Targets, compute_objective
from kdexplorer.training.predictions import VERSION, BatchPredictions, hash_images, load_predictions, save_predictions
from kdexplorer.training.schedule import learning_rate, resolution
from kdexplorer.training.student import Student, build_student, check_finite, compile_network

EVALUATION_BATCH = 500
MAX_KEPT_BYTES = 1 << 30
"""How much of the teacher's outputs on the evaluation split is kept; more is computed again in each epoch."""


@dataclass
class EvaluationTeacher:
    """The teacher on the evaluation split: its logits `[N, K]`, and what the methods keep, batch by batch."""

    logits: np.ndarray
    targets: Callable[[int, int], Targets]


class Experiment:
    """Everything of a configuration in memory. `step` is the loop's body."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.config = config
        self.device = resolve_device(config.device)
        if config.compile and self.device.type == "cpu":
            require_compiler()
        self.dtype = resolve_precision(config.precision, self.device)
        self.team = ddp.join()
        self.part = self.team.part(config.batch_size)
        train, self.evaluation, self.evaluation_name = load_experiment_data(config)
        self.train_count = len(train)
        self.images = torch.from_numpy(np.array(train.images)).to(self.device)
        self.labels = torch.from_numpy(train.labels).to(self.device)
        self.normalization = get_dataset(config.dataset).normalization
        self.steps_per_epoch = len(train) // config.batch_size
        self.steps = self.steps_per_epoch * config.epochs
        self._order, self._order_epoch = np.empty(0, dtype=np.int64), -1
        self._load_teacher(train.classes)
        self.students = [self.build_student(student) for student in config.students]
        self.methods: list[Method] = list(
            dict.fromkeys(term.method for student in self.students for term in student.terms if term.method.needs)
        )
        self.teacher_needs_features = any(method.needs - {"logits"} for method in self.methods)
        self.predictions = self._open_predictions()
        self.environments = [describe_environment(self.device, self.dtype, self.team.size)]
        """Where the run was trained so far, the current one last."""

    def _load_teacher(self, classes: tuple[str, ...]) -> None:
        self.teacher: Checkpoint | None = None
        self.teacher_forward: Callable[..., Any] | None = None
        if not self.config.teacher:
            return
        self.teacher = find_checkpoint(self.config.teacher)
        if self.teacher.classes != classes:
            raise ConfigError(
                f"teacher: {self.config.teacher} has the classes {', '.join(self.teacher.classes[:3])}, …; the data "
                f"have {', '.join(classes[:3])}, …. Choose a teacher that was trained on the same data."
            )
        if any(student.needs_teacher for student in self.config.students):
            self.teacher_network = self.teacher.network().to(self.device)
            self.teacher_forward = compile_network(fold_batch_norm(self.teacher_network), self.config)

    def build_student(self, student: StudentConfig) -> Student:
        """A student as it is before the first step."""
        teacher = get_architecture(self.teacher.architecture) if self.teacher else None
        return build_student(self.config, student, self.evaluation.classes, teacher, self.team, self.device)

    # --- One step ---

    def step(self, epoch: int, step: int) -> None:
        """One batch for all students. Raises TrainingError with student, term and step when a loss is not finite."""
        config = self.config
        inputs, labels, targets = self._load_batch(epoch, step)
        rate = learning_rate(config, epoch * self.steps_per_epoch + step, self.steps)
        for student in self.students:
            for group in student.optimizer.param_groups:
                group["lr"] = rate
            outputs, parts = self._forward(student, student.forward, inputs, labels, targets)
            values = {name: float(value.detach()) for name, value in parts.items()}
            correct = float((outputs.logits.argmax(dim=1) == labels).sum()) / len(labels)
            values = self.team.mean(values | {"correct": correct})
            check_finite(student, values, f"in epoch {epoch + 1}, step {step + 1}")
            parts["objective"].backward()
            self.team.average_gradients([p for adapter in student.adapters.values() for p in adapter.parameters()])
            student.optimizer.step()
            student.optimizer.zero_grad(set_to_none=True)
            for name, value in (values | {"images": 1.0}).items():
                student.sums[name] = student.sums.get(name, 0.0) + value * config.batch_size

    def _load_batch(self, epoch: int, step: int) -> tuple[Tensor, Tensor, Targets]:
        """This process's part of a batch: normalized images `[B, 3, S, S]`, labels `[B]`, the teacher's targets."""
        config = self.config
        if self._order_epoch != epoch:
            self._order, self._order_epoch = epoch_order(self.train_count, config.seed, epoch), epoch
        indices = self._order[step * config.batch_size : (step + 1) * config.batch_size]
        images = augment(self.images, indices, config.seed, epoch, step, config.crop_padding, config.flip, self.part)
        labels = self.labels[to_device(indices[self.part], self.device)]
        inputs = resize(normalize(images, self.normalization), resolution(config, epoch))
        return inputs, labels, self._load_targets(images, inputs, epoch, step)

    def _load_targets(self, images: Tensor, inputs: Tensor, epoch: int, step: int) -> Targets:
        """What the methods keep of the teacher's outputs on a batch: read where they were stored, else computed."""
        if self.teacher is None or self.teacher_forward is None:
            return {}
        side = inputs.shape[-1]
        if self.predictions is not None and not self.teacher_needs_features:
            stored = self.predictions.get(epoch, side, step)
            if stored is not None:
                return self._reduce_stored(stored)
        own = self.teacher.card.normalization
        theirs = inputs if own == self.normalization else resize(normalize(images, own), side)
        logits, targets = self._compute_targets(self.teacher_forward, theirs)
        if self.predictions is not None:
            self.predictions.add(epoch, side, step, logits.cpu().numpy())
        return targets

    def _reduce_stored(self, logits: np.ndarray) -> Targets:
        return self._reduce(Outputs(torch.from_numpy(np.ascontiguousarray(logits)).to(self.device)))

    def _open_predictions(self) -> BatchPredictions | None:
        """The store of the teacher's logits on the training batches, where one process computes whole batches."""
        config = self.config
        if self.teacher_forward is None or self.team.size > 1:
            return None
        facts = self._teacher_facts() | {
            "images": hash_images(self.images.cpu().numpy()),
            "seed": config.seed,
            "batch_size": config.batch_size,
            "crop_padding": config.crop_padding,
            "flip": config.flip,
        }
        return BatchPredictions(facts, (self.steps_per_epoch, config.batch_size, len(self.evaluation.classes)))

    def _teacher_facts(self) -> dict[str, Any]:
        assert self.teacher is not None
        return {
            "teacher": self.teacher.sha256,
            "normalization": self.teacher.card.normalization.model_dump(),
            "precision": str(self.dtype),
            "device": self.device.type,
            "compile": self.config.compile,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def _run(self, forward: Callable[..., Any], inputs: Tensor, all_outputs: bool) -> Outputs:
        """A network's outputs in the training precision, logits in float32."""
        with self._autocast():
            found = forward(inputs, all_outputs=True) if all_outputs else (forward(inputs),)
        return Outputs(found[0].float(), *found[1:])

    def _forward(
        self, student: Student, forward: Callable[..., Any], inputs: Tensor, labels: Tensor, targets: Targets
    ) -> tuple[Outputs, dict[str, Tensor]]:
        """A student's outputs, and its objective with its parts."""
        outputs = self._run(forward, inputs, student.needs_features)
        return outputs, compute_objective(student.config, student.terms, outputs, labels, targets, self._run_adapter)

    def _run_adapter(self, adapter: nn.Module) -> Callable[[Tensor], Tensor]:
        def run(*tensors: Tensor) -> Tensor:
            with self._autocast():
                return adapter(*tensors)

        return run

    @torch.no_grad()
    def _compute_targets(self, forward: Callable[..., Any], inputs: Tensor) -> tuple[Tensor, dict[Method, Outputs]]:
        """The teacher's logits float32 `[B, K]`, and what each method keeps of its outputs."""
        outputs = self._run(forward, inputs, self.teacher_needs_features)
        return outputs.logits, self._reduce(outputs)

    def _reduce(self, outputs: Outputs) -> dict[Method, Outputs]:
        return {method: method.reduce_teacher(outputs) for method in self.methods}

    # --- Evaluation ---

    def _evaluation_batches(self, normalization: Normalization) -> Iterator[tuple[int, int, Tensor]]:
        for start in range(0, len(self.evaluation), EVALUATION_BATCH):
            stop = min(start + EVALUATION_BATCH, len(self.evaluation))
            yield start, stop, self._evaluation_inputs(start, stop, normalization)

    def _evaluation_inputs(self, start: int, stop: int, normalization: Normalization) -> Tensor:
        part = torch.from_numpy(np.array(self.evaluation.images[start:stop])).to(self.device)
        return normalize(part, normalization)

    def evaluate_teacher(self) -> EvaluationTeacher | None:
        """The teacher on the evaluation split, whose pixels never change; None where no student needs one."""
        if self.teacher is None or self.teacher_forward is None:
            return None
        facts = self._teacher_facts() | {"version": VERSION, "evaluation": hash_images(self.evaluation.images)}
        shape = (len(self.evaluation), len(self.evaluation.classes))
        stored = None if self.teacher_needs_features else load_predictions(facts, shape)
        if stored is not None:
            return EvaluationTeacher(stored, lambda start, stop: self._reduce_stored(stored[start:stop]))
        network, normalization = fold_batch_norm(self.teacher_network), self.teacher.card.normalization
        found, kept, room = [], {}, MAX_KEPT_BYTES
        for start, stop, inputs in self._evaluation_batches(normalization):
            batch, targets = self._compute_targets(network, inputs)
            found.append(batch.cpu().numpy())
            room -= sum(_count_bytes(outputs) for outputs in targets.values())
            if room > 0:
                kept[start, stop] = targets
        logits = np.concatenate(found)
        if self.team.size == 1:
            save_predictions(facts, logits)

        def targets_of(start: int, stop: int) -> Targets:
            if (start, stop) in kept:
                return kept[start, stop]
            return self._compute_targets(network, self._evaluation_inputs(start, stop, normalization))[1]

        return EvaluationTeacher(logits, targets_of)

    @torch.no_grad()
    def evaluate(self, student: Student, teacher: EvaluationTeacher | None) -> tuple[np.ndarray, dict[str, float]]:
        """Logits `[N, K]` float32 on the evaluation split, and the means of the objective's parts over its images."""
        labels = torch.from_numpy(self.evaluation.labels).to(self.device)
        sums: dict[str, float] = {}
        parts = []
        modules = [student.network, *student.adapters.values()]
        for module in modules:
            module.eval()
        try:
            for start, stop, inputs in self._evaluation_batches(self.normalization):
                targets = teacher.targets(start, stop) if teacher else {}
                outputs, values = self._forward(student, student.network, inputs, labels[start:stop], targets)
                parts.append(outputs.logits.cpu().numpy())
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * (stop - start)
        finally:
            for module in modules:
                module.train()
        return np.concatenate(parts), {name: value / len(labels) for name, value in sums.items()}


def _count_bytes(outputs: Outputs) -> int:
    tensors = [outputs.logits, *outputs.stages, *([outputs.embedding] if outputs.embedding is not None else [])]
    return sum(tensor.nbytes for tensor in tensors)
