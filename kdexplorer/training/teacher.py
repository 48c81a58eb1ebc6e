"""The teacher of a run: its outputs, computed once a batch for all students or read where they were stored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdexplorer.config import RunConfig
from kdexplorer.datasets import Split, get_dataset
from kdexplorer.datasets.augmentation import normalize, resize, to_device
from kdexplorer.methods import Method
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.networks.base import StagedNetwork, fold_batch_norm
from kdexplorer.runs.array_store import is_stored, load_array, save_array
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.teachers import refer_to
from kdexplorer.training.data import evaluation_batches, evaluation_inputs
from kdexplorer.training.ensemble import AveragedNetwork
from kdexplorer.training.hardware import describe_environment
from kdexplorer.training.objective import Targets
from kdexplorer.training.precision import run_network
from kdexplorer.training.predictions import VERSION, BatchPredictions, hash_images
from kdexplorer.training.student import compile_network

MAX_KEPT_BYTES = 1 << 30
"""How much of the teacher's outputs on the evaluation split is kept; more is computed again in each epoch."""


@dataclass
class EvaluationTeacher:
    """The teacher on the evaluation split: what is stored of its outputs, and what the methods keep, batch by batch."""

    parts: dict[str, np.ndarray]
    targets: Callable[[int, int], Targets]

    @property
    def logits(self) -> np.ndarray:
        """`[N, K]`, float32."""
        return self.parts["logits"]


class Teacher:
    """A trained network in evaluation mode, or the average of several, and the methods that use its outputs."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        methods: list[Method],
        config: RunConfig,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.methods, self.device, self.dtype = methods, device, dtype
        checkpoint = checkpoints[0]
        self.normalization = checkpoint.card.normalization
        self.network = _load(checkpoints).to(device)
        self._folded = _fold(self.network)
        self.forward: Callable[..., Any] = compile_network(self._folded, config)
        needs = {need for method in methods for need in method.needs}
        self.needs_features = bool(needs - {"logits"})
        widths = {
            "logits": len(checkpoint.classes),
            "embedding": get_architecture(checkpoint.architecture).embedding,
        }
        self.widths = {part: width for part, width in widths.items() if part == "logits" or part in needs}
        """The parts that are stored, and the numbers of an image in each."""
        self.can_read = "stages" not in needs
        """Whether the stored parts are all that the methods use."""
        self._checkpoints, self._compile = checkpoints, config.compile
        self.predictions: BatchPredictions | None = None
        """Where its outputs on the training batches are kept; None where they are not."""
        self.fixed: Tensor | None = None
        """Logits `[N, K]` of the training images as they are, where these are what students imitate."""

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the bits of its outputs on given images."""
        return self._facts_in(self.dtype)

    def _facts_in(self, dtype: torch.dtype) -> dict[str, Any]:
        normalizations = [checkpoint.card.normalization.model_dump() for checkpoint in self._checkpoints]
        environment = describe_environment(self.device, dtype, processes=1)
        return {
            "teacher": refer_to(self._checkpoints).sha256,
            "normalization": normalizations[0],
            **({"normalizations": normalizations} if normalizations[1:] else {}),
            "environment": environment.model_dump(exclude={"epoch", "step", "processes"}),
            "tf32": self.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
            "compile": self._compile,
        }

    def open_predictions(self, images: Tensor, config: RunConfig, steps: int) -> None:
        """Lets `load_targets` read and keep the outputs on the training batches, `steps` of them in an epoch."""
        facts = self.facts | {
            "images": hash_images(images.cpu().numpy()),
            "seed": config.seed,
            "batch_size": config.batch_size,
            "crop_padding": config.crop_padding,
            "flip": config.flip,
            **({"view": config.teacher_view} if config.teacher_view != "same" else {}),
            **({"mixup": True} if config.mixup else {}),
        }
        shapes = {part: (steps, config.batch_size, width) for part, width in self.widths.items()}
        self.predictions = BatchPredictions(facts, shapes)

    def is_stored(self, epoch: int, side: int) -> bool:
        """Whether an epoch on images of `side` pixels is read instead of computed."""
        if self.fixed is not None:
            return True
        return self.can_read and self.predictions is not None and self.predictions.contains(epoch, side)

    def fix_targets(self, train: Split, keep: bool) -> None:
        """Computes the logits of the training images as they are, once, or reads them; see `select_targets`.

        `keep` stores them for later runs.
        """
        self.fixed = to_device(self.evaluate(train, keep).logits, self.device)

    def select_targets(self, indices: np.ndarray) -> Targets:
        """What the methods keep of the fixed logits of images, by their positions `[B]` in the training set."""
        assert self.fixed is not None
        return self._reduce(Outputs(self.fixed[to_device(indices, self.device)]))

    def load_targets(self, images: Tensor, inputs: Tensor, dataset: str, epoch: int, step: int) -> Targets:
        """What the methods keep of the outputs on a batch: read where they were stored, else computed.

        Args:
            images: uint8 `[B, 3, 32, 32]`, augmented.
            inputs: the same normalized for the students and resized, `[B, 3, S, S]`.
            dataset: whose normalization `inputs` has.
            epoch, step: of the batch.
        """
        side = inputs.shape[-1]
        if self.predictions is not None and self.can_read:
            stored = self.predictions.get(epoch, side, step)
            if stored is not None:
                return self._reduce_stored(stored)
        if self.normalization != get_dataset(dataset).normalization:
            inputs = resize(normalize(images, self.normalization), side)
        outputs = self.compute(self.forward, inputs)
        if self.predictions is not None:
            parts = self._stored_parts(outputs)
            self.predictions.add(epoch, side, step, lambda: _to_arrays(parts))
        return self._reduce(outputs)

    @torch.no_grad()
    def compute(self, forward: Callable[..., Any], inputs: Tensor) -> Outputs:
        """The outputs for normalized images `[B, 3, S, S]`, compiled or not."""
        return run_network(forward, inputs, self.dtype, self.needs_features)

    def _reduce(self, outputs: Outputs) -> dict[Method, Outputs]:
        return {method: method.reduce_teacher(outputs) for method in self.methods}

    def _stored_parts(self, outputs: Outputs) -> dict[str, Tensor]:
        return {part: getattr(outputs, part) for part in self.widths}

    def _reduce_stored(self, stored: dict[str, np.ndarray]) -> Targets:
        tensors = {part: to_device(values, self.device) for part, values in stored.items()}
        return self._reduce(Outputs(tensors["logits"], [], tensors.get("embedding")))

    def evaluate(self, evaluation: Split, keep: bool) -> EvaluationTeacher:
        """The teacher on the evaluation split, whose pixels never change.

        Args:
            evaluation: the split.
            keep: whether to store the outputs for later runs.
        """
        by_part = self._evaluation_facts(evaluation, self.dtype)
        stored = self._load_evaluation(by_part, len(evaluation)) if self.can_read else None
        if stored is not None:
            return EvaluationTeacher(
                stored,
                lambda start, stop: self._reduce_stored({part: values[start:stop] for part, values in stored.items()}),
            )
        computed = self.compute_evaluation(evaluation)
        if keep:
            for part, values in computed.parts.items():
                with contextlib.suppress(OSError):  # on a full disk they are not kept
                    save_array(by_part[part], values)
        return computed

    def is_evaluation_stored(self, evaluation: Split, dtype: torch.dtype) -> bool:
        """Whether `evaluate` reads the outputs in that precision instead of computing them."""
        by_part = self._evaluation_facts(evaluation, dtype)
        shapes = {part: (len(evaluation), width) for part, width in self.widths.items()}
        return self.can_read and all(is_stored(by_part[part], shape) for part, shape in shapes.items())

    def compute_evaluation(self, evaluation: Split) -> EvaluationTeacher:
        """The teacher on the evaluation split, neither read nor stored."""
        arrays: list[dict[str, np.ndarray]] = []
        kept: dict[tuple[int, int], Targets] = {}
        room = MAX_KEPT_BYTES
        for start, stop, inputs in evaluation_batches(evaluation, self.normalization, self.device):
            outputs = self.compute(self._folded, inputs)
            targets = self._reduce(outputs)
            arrays.append(_to_arrays(self._stored_parts(outputs)))
            room -= sum(tensor.nbytes for one in targets.values() for tensor in one.tensors())
            if room > 0:
                kept[start, stop] = targets
        computed = {part: np.concatenate([batch[part] for batch in arrays]) for part in self.widths}

        def targets_of(start: int, stop: int) -> Targets:
            if (start, stop) in kept:
                return kept[start, stop]
            inputs = evaluation_inputs(evaluation, start, stop, self.normalization, self.device)
            return self._reduce(self.compute(self._folded, inputs))

        return EvaluationTeacher(computed, targets_of)

    def _evaluation_facts(self, evaluation: Split, dtype: torch.dtype) -> dict[str, dict[str, Any]]:
        facts = self._facts_in(dtype) | {"version": VERSION, "evaluation": hash_images(evaluation.images)}
        return {part: facts | ({} if part == "logits" else {"part": part}) for part in self.widths}

    def _load_evaluation(self, by_part: dict[str, dict[str, Any]], count: int) -> dict[str, np.ndarray] | None:
        found = {part: load_array(facts, (count, self.widths[part])) for part, facts in by_part.items()}
        whole = {part: values for part, values in found.items() if values is not None}
        return whole if len(whole) == len(found) else None


def _load(checkpoints: Sequence[Checkpoint]) -> StagedNetwork | AveragedNetwork:
    networks = [checkpoint.network() for checkpoint in checkpoints]
    if len(networks) == 1:
        return networks[0]
    return AveragedNetwork(networks, [checkpoint.card.normalization for checkpoint in checkpoints])


def _fold(network: StagedNetwork | AveragedNetwork) -> StagedNetwork | AveragedNetwork:
    return network.fold() if isinstance(network, AveragedNetwork) else fold_batch_norm(network)


def _to_arrays(parts: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {part: tensor.cpu().numpy() for part, tensor in parts.items()}
