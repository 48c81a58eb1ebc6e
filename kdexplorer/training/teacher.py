"""The teacher of a run: its outputs, computed once a batch for all students, or read where an earlier run stored them.

Every random choice of a batch derives from (seed, epoch, step). So the training images, the seed, the batch size and
the augmentation decide the pixels that the teacher receives in an epoch, and with its weights and the environment
(precision, threads, processor, torch) they decide the bits of its logits. A run stores an epoch's logits when it has
computed all of them; every later run with the same facts reads them: a resumed one, one with another student or another
temperature.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.analysis import metrics
from kdexplorer.analysis.inference import predict_batches, to_inputs
from kdexplorer.config import FULL_RESOLUTION, RunConfig, resolution
from kdexplorer.datasets import Normalization, Split, get_dataset
from kdexplorer.datasets.augmentation import normalize, resize, to_device
from kdexplorer.methods import Method
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.networks.base import StagedNetwork, fold_batch_norm
from kdexplorer.runs.array_store import Arrays, Shapes, are_stored, can_store, load_arrays, save_arrays
from kdexplorer.runs.checkpoints import Checkpoint, refer_to
from kdexplorer.runs.launch import Stopped
from kdexplorer.training.ddp import join
from kdexplorer.training.hardware import compile_network, describe_environment
from kdexplorer.training.objective import EVALUATION_BATCH, Targets, run_network

VERSION = 1
"""Of what a stored file means; to be increased when the same facts lead to other pixels or logits."""
MAX_KEPT_BYTES = 1 << 30
"""How much of the teacher's outputs on the evaluation split is kept; more is computed again in each epoch."""
CHECKED_IMAGES, CHECKED_BATCH = 500, 100
"""Images on which the teacher is checked at a small size, the first of the evaluation split, and how many at once."""
MOST_LOST = 0.05
"""The accuracy that a teacher may lose at a small size without a warning."""


@dataclass
class EvaluationTeacher:
    """The teacher on the evaluation split: its logits `[N, K]`, float32, and what the methods keep of a batch."""

    logits: np.ndarray
    targets: Callable[[int, int], Targets]
    """By the batch's start and end."""


class Teacher:
    """A trained network in evaluation mode, or the average of several, and the methods that use its outputs."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        config: RunConfig,
        device: torch.device,
        dtype: torch.dtype,
        stopping: threading.Event | None,
    ) -> None:
        self.keeps = join().size == 1
        """Whether it stores what it computes: one process alone does."""
        self.checkpoints, self.config = checkpoints, config
        self.device, self.dtype, self.stopping = device, dtype, stopping
        needing = (method for student in config.students for method in student.methods if method.needs)
        self.methods = list(dict.fromkeys(needing))
        self.normalization = checkpoints[0].card.normalization
        networks = [fold_batch_norm(checkpoint.network().to(device)) for checkpoint in checkpoints]
        self.network: nn.Module = networks[0]
        if len(networks) > 1:
            self.network = AveragedNetwork(networks, [one.card.normalization for one in checkpoints]).eval()
        self.forward: Callable[..., Any] = compile_network(self.network, config.compile)
        self.needs = {need for method in self.methods for need in method.needs}
        self.can_read = "stages" not in self.needs
        """Whether the stored parts are all that the methods use."""
        first = checkpoints[0]
        self.widths = {"logits": len(first.classes)}
        """The parts that are stored, and the numbers of an image in each."""
        if self.can_read and "embedding" in self.needs:
            self.widths["embedding"] = get_architecture(first.architecture).embedding
        self.batch_facts: dict[str, Any] | None = None
        """What decides its outputs on the training batches beside the epoch; None where they are not kept."""
        self._epoch = -1
        self._stored: Arrays | None = None
        self._computed: list[dict[str, Tensor]] = []
        """Of the epoch so far."""
        self.fixed: Tensor | None = None
        """Logits `[N, K]` of the training images as they are, where these are what students imitate."""

    def facts_in(self, dtype: torch.dtype) -> dict[str, Any]:
        """What decides the bits of its outputs on given images, in that precision."""
        environment = describe_environment(self.device, dtype, processes=1)
        return {
            "version": VERSION,
            "teacher": refer_to(self.checkpoints).sha256,
            "normalizations": [checkpoint.card.normalization.model_dump() for checkpoint in self.checkpoints],
            "environment": environment.model_dump(exclude={"epoch", "step", "processes"}),
            "tf32": self.device.type == "cuda" and torch.backends.cudnn.allow_tf32,
            "compile": sorted(self.needs) if self.config.compile else False,  # of other outputs, other kernels
        }

    # --- On training batches ---

    def open_predictions(self, train: Split, steps: int) -> None:
        """Lets `load_targets` read and keep the outputs on the training batches, `steps` of them in an epoch."""
        decisive = {"seed", "batch_size", "crop_padding", "flip", "teacher_view", "mixup"}
        facts = {"images": hash_images(train.images)} | self.config.model_dump(include=decisive)
        if self.config.cutout:  # what was stored before there was any has no such fact
            facts |= {"cutout": self.config.cutout}
        self.shapes = {part: (steps, self.config.batch_size, width) for part, width in self.widths.items()}
        if can_store(self.shapes):
            self.batch_facts = self.facts_in(self.dtype) | facts

    def facts_of(self, epoch: int) -> dict[str, Any]:
        """What decides the outputs in an epoch."""
        return (self.batch_facts or {}) | {"epoch": epoch, "side": resolution(self.config, epoch)}

    def is_stored(self, epoch: int) -> bool:
        """Whether an epoch is read instead of computed."""
        may_read = self.batch_facts is not None and self.can_read
        return self.fixed is not None or (may_read and are_stored(self.facts_of(epoch), self.shapes))

    def select_targets(self, train: Split, indices: np.ndarray) -> Targets:
        """What the methods keep of the logits of training images as they are, by their positions `[B]`."""
        if self.fixed is None:
            self.fixed = to_device(self.evaluate(train).logits, self.device)
        return self._reduce(Outputs(self.fixed[to_device(indices, self.device)]))

    def load_targets(self, images: Tensor, inputs: Tensor, epoch: int, step: int) -> Targets:
        """What the methods keep of the outputs on a batch: read where they were stored, else computed.

        `images` are augmented, uint8 `[B, 3, 32, 32]`; `inputs` the same for the students, normalized and resized,
        `[B, 3, S, S]`.
        """
        if self.batch_facts and epoch != self._epoch:
            self._epoch, self._computed = epoch, []
            self._stored = load_arrays(self.facts_of(epoch), self.shapes)
        if self.batch_facts and self._stored is not None and self.can_read:
            return self._reduce_stored({part: values[step] for part, values in self._stored.items()})
        if self.normalization != get_dataset(self.config.dataset).normalization:
            inputs = resize(normalize(images, self.normalization), inputs.shape[-1])
        outputs = self.compute(self.forward, inputs)
        if self.batch_facts and self._stored is None and step == len(self._computed):  # whole epochs are kept
            self._computed.append({part: getattr(outputs, part) for part in self.widths})
            if len(self._computed) == self.shapes["logits"][0]:  # only now they are copied from a GPU
                parts = {part: torch.stack([b[part].cpu() for b in self._computed]).numpy() for part in self.shapes}
                self._save(self.facts_of(epoch), parts)
        return self._reduce(outputs)

    def _save(self, facts: dict[str, Any], parts: Arrays) -> None:
        with contextlib.suppress(OSError):  # a disk that is full or read-only: they are not kept
            save_arrays(facts, parts)

    @torch.no_grad()
    def compute(self, forward: Callable[..., Any], inputs: Tensor) -> Outputs:
        """The outputs for normalized images `[B, 3, S, S]`, compiled or not."""
        return run_network(forward, inputs, self.dtype, self.needs)

    def _reduce(self, outputs: Outputs) -> dict[Method, Outputs]:
        return {method: method.reduce_teacher(outputs) for method in self.methods}

    def _reduce_stored(self, stored: Arrays, start: int = 0, stop: int | None = None) -> Targets:
        tensors = {part: to_device(values[start:stop], self.device) for part, values in stored.items()}
        return self._reduce(Outputs(tensors["logits"], [], tensors.get("embedding")))

    # --- On the evaluation split ---

    def evaluate(self, evaluation: Split) -> EvaluationTeacher:
        """The teacher on the evaluation split, whose pixels never change; read, or stored for later runs."""
        facts, shapes = self._describe_evaluation(evaluation, self.dtype)
        if self.can_read and (stored := load_arrays(facts, shapes)) is not None:
            return EvaluationTeacher(stored["logits"], functools.partial(self._reduce_stored, stored))
        return self.compute_evaluation(evaluation, facts if self.keeps else None)

    def is_evaluation_stored(self, evaluation: Split, dtype: torch.dtype) -> bool:
        """Whether `evaluate` reads the outputs in that precision instead of computing them."""
        computes = all(checkpoint.computes for checkpoint in self.checkpoints)
        return not computes or (self.can_read and are_stored(*self._describe_evaluation(evaluation, dtype)))

    def compute_evaluation(self, evaluation: Split, facts: dict[str, Any] | None = None) -> EvaluationTeacher:
        """The teacher on the evaluation split, stored where there are facts to know it by, and not read."""
        parts: list[dict[str, Tensor]] = []
        kept: dict[tuple[int, int], Targets] = {}
        room = MAX_KEPT_BYTES
        for start, stop, inputs in evaluation_batches(self.network, evaluation, self.normalization, self.stopping):
            outputs = self.compute(self.network, inputs)
            targets = self._reduce(outputs)
            parts.append({part: getattr(outputs, part).cpu() for part in self.widths})
            room -= sum(tensor.nbytes for one in targets.values() for tensor in one.tensors())
            if room > 0:
                kept[start, stop] = targets

        def targets_of(start: int, stop: int) -> Targets:
            if (start, stop) in kept:
                return kept[start, stop]
            inputs = to_inputs(self.network, evaluation.images[start:stop], self.normalization)
            return self._reduce(self.compute(self.network, inputs))

        whole = {part: torch.cat([batch[part] for batch in parts]).numpy() for part in self.widths}
        if facts is not None:
            self._save(facts, whole)
        return EvaluationTeacher(whole["logits"], targets_of)

    def _describe_evaluation(self, evaluation: Split, dtype: torch.dtype) -> tuple[dict[str, Any], Shapes]:
        """What decides the outputs on the evaluation split, and the shapes of what is stored of them."""
        facts = self.facts_in(dtype) | {"evaluation": hash_images(evaluation.images)}
        return facts, {part: (len(evaluation), width) for part, width in self.widths.items()}

    def check_size(self, evaluation: Split, outputs: EvaluationTeacher, side: int) -> str:
        """A warning where the teacher loses more than `MOST_LOST` on images of `side` pixels, else nothing.

        It sees the pixels that its students see, as attention maps of another size could not be compared and a larger
        image would cost the time that small ones save. So on small images it also teaches its errors.
        """
        if side == FULL_RESOLUTION or self.config.teacher_view == "fixed":
            return ""
        some = evaluation.first(CHECKED_IMAGES)
        logits = predict_batches(self.network, some.images, self.normalization, CHECKED_BATCH, side=side)
        accuracy, full = (metrics.accuracy(one, some.labels) for one in (logits, outputs.logits[: len(some)]))
        if round((full - accuracy) * len(some)) <= MOST_LOST * len(some):
            return ""
        return (
            f"At {side} pixels the teacher {'+'.join(one.name for one in self.checkpoints)} classifies "
            f"{100 * accuracy:.1f} % of {len(some)} evaluation images correctly, at {FULL_RESOLUTION} pixels "
            f"{100 * full:.1f} %; its mean confidence at {side} is "
            f"{100 * float(metrics.softmax(logits).max(axis=1).mean()):.0f} %. In the first epochs it teaches these "
            "errors: choose a larger start_resolution"
        )


def evaluation_batches(
    network: nn.Module, evaluation: Split, normalization: Normalization, stopping: threading.Event | None = None
) -> Iterator[tuple[int, int, Tensor]]:
    """Start, end and normalized images `[B, 3, 32, 32]` of each batch of the evaluation split, where the network is.

    Raises Stopped before a batch once `stopping` is set.
    """
    for start in range(0, len(evaluation), EVALUATION_BATCH):
        if stopping is not None and stopping.is_set():
            raise Stopped
        stop = min(start + EVALUATION_BATCH, len(evaluation))
        yield start, stop, to_inputs(network, evaluation.images[start:stop], normalization)


# --- Several teachers ---


class AveragedNetwork(nn.Module):
    """Several networks as one, whose probabilities are averaged (Hinton et al. 2015, section 1).

    Each receives the images in its own normalization.
    """

    def __init__(self, members: Sequence[StagedNetwork], normalizations: Sequence[Normalization]) -> None:
        super().__init__()
        self.members, self.normalizations = nn.ModuleList(members), tuple(normalizations)

    def forward(self, images: Tensor) -> Tensor:
        """Images `[B, 3, H, W]` in the first member's normalization to logits float32 `[B, K]`.

        The logits are the logarithm of the mean of the members' probabilities at T = 1.
        """
        first, logits = self.normalizations[0], []
        for member, own in zip(self.members, self.normalizations, strict=True):
            logits.append(member(images if own == first else _renormalize(images, first, own)).float())
        return torch.logsumexp(F.log_softmax(torch.stack(logits), dim=-1), dim=0) - math.log(len(logits))


def _renormalize(images: Tensor, old: Normalization, new: Normalization) -> Tensor:
    mean, std, other_mean, other_std = (
        to_device(np.asarray(values, np.float32), images.device).view(1, 3, 1, 1)
        for values in (old.mean, old.std, new.mean, new.std)
    )
    return ((images * std + mean) - other_mean) / other_std


def hash_images(images: np.ndarray) -> str:
    """SHA-256 of uint8 images `[N, C, H, W]`, in their order."""
    return hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
