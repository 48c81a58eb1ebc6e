"""A network on one batch: its outputs, and what a student minimizes, cross-entropy and its methods' weighted losses.

And the memory that this takes, in a run and of each student.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from operator import itemgetter
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdexplorer.config import Objective, RunConfig, StudentConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import TrainingError
from kdexplorer.methods import Method
from kdexplorer.networks import Architecture, Outputs, build, count_parameters, get_architecture
from kdexplorer.runs.checkpoints import find_teachers
from kdexplorer.training.hardware import resolve_device, resolve_precision

EVALUATION_BATCH = 500
"""Images of the evaluation split at once, for the teacher and the students."""
COUNTED = 4, 8
"""Batches on which a student's memory is counted."""
RUNTIME = 0.5 * 2**30
"""Bytes of the interpreter and of torch itself."""

Targets = Mapping[Method, Outputs]
"""What each method keeps of the teacher's outputs; methods with equal settings share it."""

Loss = Callable[[Outputs, Outputs, Tensor], Tensor]
"""A loss of the student's outputs, the teacher's and the labels `[B]`."""

Relate = Callable[[Loss, Outputs, Outputs, Tensor], Tensor]
"""Computes a loss that compares images with each other: which images are compared is its choice."""


def make_adapters(objective: Objective, student: Architecture, teacher: Architecture | None) -> dict[str, nn.Module]:
    """What an objective's terms train beside the student, by the term's name, with fresh weights."""
    if teacher is None:
        return {}
    named = zip(objective.term_names, objective.methods, strict=True)
    return {name: made for name, method in named if (made := method.adapter(student, teacher)) is not None}


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """The context in which forward passes run in `dtype`."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def run_network(forward: Callable[..., Any], inputs: Tensor, dtype: torch.dtype, needs: Set[str]) -> Outputs:
    """A network's outputs in the training precision: stages in `dtype`, logits and embedding in float32.

    Only logits where nothing else is among the `needs`.
    """
    with autocast(inputs.device, dtype):
        if not needs - {"logits"}:
            return Outputs(forward(inputs).float())
        logits, stages, embedding = forward(inputs, all_outputs=True)
    return Outputs(logits.float(), stages, embedding.float())


def relate_parts(size: int) -> Relate:
    """Relations within consecutive parts of at most `size` images; the mean over images."""

    def relate(loss: Loss, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        total = labels.new_zeros((), dtype=student.logits.dtype)
        for start in range(0, len(labels), size):
            part = itemgetter(slice(start, start + size))
            own = part(labels)
            total = total + loss(student.map(part), teacher.map(part), own) * len(own)
        return total / len(labels)

    return relate


def compute_objective(
    objective: Objective,
    adapters: Mapping[str, nn.Module],
    outputs: Outputs,
    labels: Tensor,
    targets: Targets,
    dtype: torch.dtype = torch.float32,
    relate: Relate = lambda loss, *batch: loss(*batch),
    progress: float = 1.0,
) -> dict[str, Tensor]:
    """What a student minimizes on one batch, and its parts: scalars.

    They are `objective`; `cross_entropy` (plain, comparable between students whatever they minimize); and each term's
    unweighted loss by its name. `outputs` are the student's, as from `run_network`, `labels` int64 `[B]`; adapters run
    in `dtype`. By default images are compared with those of the batch. `progress` is the share of all steps that is
    done with this one, for methods whose weight rises at the beginning.
    """
    logits = outputs.logits
    hard = F.cross_entropy(logits, labels)
    parts = {"cross_entropy": hard}
    if objective.label_smoothing:
        hard = F.cross_entropy(logits, labels, label_smoothing=objective.label_smoothing)
    total = objective.ce_weight * hard
    for name, method in zip(objective.term_names, objective.methods, strict=True):
        target = targets.get(method, Outputs(logits.detach()))
        loss: Loss = method.loss
        if name in adapters:
            loss = functools.partial(method.loss, adapter=autocast(logits.device, dtype)(adapters[name]))
        if method.relates_images:
            value = relate(loss, method.reduce_teacher(outputs), target, labels)
        else:
            value = loss(outputs, target, labels)
        if getattr(value, "shape", None) != ():
            shape = [*value.shape] if isinstance(value, Tensor) else "of no tensor"
            raise TrainingError(
                f"{name}: the loss of {method.label} has the shape {shape}: return a scalar, the mean over the batch."
            )
        parts[name] = value
        total = total + method.settings.weight * method.weight_factor(progress) * value
    return {"objective": total, **parts}


# --- What it takes in memory ---


@contextlib.contextmanager
def count_kept(others: Iterable[Tensor]) -> Iterator[dict[int, int]]:
    """Bytes of the memory blocks that autograd keeps in the block, by address, without those of `others`."""
    storages: dict[int, int] = {}
    known = {tensor.untyped_storage().data_ptr() for tensor in others}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield storages


def count_student_memory(config: RunConfig) -> dict[str, dict[str, int]]:
    """Bytes that each student's training takes beside the data and the teacher, by name; counted in one step.

    `state_bytes`: weights, gradients and the optimizer's state, float32, of the network and of what its methods train
    beside it. `kept_bytes`: what autograd keeps of one batch for the backward pass of the whole objective; `compile`
    may keep less. Raises KDError when the teacher cannot be found.
    """
    found, counted = {}, _count_students(config, config.batch_size)
    for student, (trained, own, kept) in zip(config.students, counted, strict=True):
        state = (12 + 4 * (config.optimizer == "adamw")) * trained + 4 * own * bool(config.ema)
        found[student.name] = {"state_bytes": state, "kept_bytes": kept}
    return found


def _count_students(config: RunConfig, batch_size: int) -> list[tuple[int, int, int]]:
    """Of each student: the parameters that are trained, those of the network, and bytes that autograd keeps.

    Raises KDError when the teacher cannot be found.
    """
    dtype = resolve_precision(config.precision, resolve_device("cpu"))
    classes = len(get_dataset(config.dataset).classes)
    teacher = next((teacher.architecture for teacher in find_teachers(config.teacher)), None)
    return [_count_student(student, teacher, classes, batch_size, dtype) for student in config.students]


def _random_images(batch_size: int) -> Tensor:
    images = torch.randn(batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return images.contiguous(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=4)
@torch.no_grad()
def _outputs_of(teacher: str, classes: int, batch_size: int, dtype: torch.dtype) -> Outputs:
    """What a fresh network of an architecture says of random images: the shapes of a teacher's outputs."""
    return run_network(build(teacher, classes).eval(), _random_images(batch_size), dtype, {"stages"})


@functools.lru_cache(maxsize=256)
def _count_student(
    student: StudentConfig, teacher_key: str | None, classes: int, batch_size: int, dtype: torch.dtype
) -> tuple[int, int, int]:
    images, labels = _random_images(batch_size), torch.arange(batch_size) % classes
    teacher = get_architecture(teacher_key) if teacher_key else None
    theirs = _outputs_of(teacher_key, classes, batch_size, dtype) if teacher_key else None
    network, methods = build(student.architecture, classes), student.methods
    adapters = make_adapters(student, get_architecture(student.architecture), teacher)
    weights = [p for module in (network, *adapters.values()) for p in module.parameters()]
    targets = {m: m.reduce_teacher(theirs) for m in methods if theirs is not None and m.needs}
    shared = [images, labels, *(tensor for one in targets.values() for tensor in one.tensors())]
    with count_kept([*weights, *shared]) as storages:
        outputs = run_network(network, images, dtype, student.needs)
        parts = compute_objective(student, adapters, outputs, labels, targets, dtype)
    del parts, outputs
    return sum(p.numel() for p in weights), sum(p.numel() for p in network.parameters()), sum(storages.values())


def estimate_memory(config: RunConfig, elsewhere: bool = False) -> float:
    """Bytes that a run takes at its height, estimated from its students; see `docs/scaling.md`.

    A student's weights, gradients, momentum and what saving its state copies are seven float32 a parameter, three more
    with AdamW's second moment, and three with an average of the weights. Activations are those that autograd keeps, of
    the largest student, since students learn in turn, and half as much again for what comes and goes. The images of
    both splits lie in memory as bytes.

    Where the run is `elsewhere`, this machine's devices do not matter. Raises KDError when the teacher cannot be found,
    or this machine lacks the device.
    """
    resolve_device("cpu" if elsewhere else config.device)
    floats = 7 + 3 * (config.optimizer == "adamw") + 3 * bool(config.ema)
    kinds = [  # whatever their weights are, and the settings of what trains nothing beside them
        (one.architecture, one.key, *(method for method in one.methods if type(method).adapter is not Method.adapter))
        for one in config.students
    ]
    alike = config.model_copy(update={"students": [*dict(zip(kinds, config.students, strict=True)).values()]})
    teachers = [teacher.architecture for teacher in find_teachers(config.teacher)]
    few, more = (_count_students(alike, images) for images in COUNTED)
    trained = {kind: count for kind, (count, _, _) in zip(dict.fromkeys(kinds), few, strict=True)}
    total = 4.0 * floats * sum(trained[kind] for kind in kinds)
    kept = max(many - one for (*_, one), (*_, many) in zip(few, more, strict=True)) / (COUNTED[1] - COUNTED[0])
    total += 1.5 * kept * config.batch_size  # what does not grow with the batch is no activation
    if teachers:
        total += 8 * sum(count_parameters(build(one)) for one in teachers)  # folded, and before that as they are
        # Without gradients a forward pass holds about three outputs at a time; its widest batch is the evaluation's.
        images = max(config.batch_size, EVALUATION_BATCH)
        total += 3 * images * max(count_largest_output(one) for one in teachers)
    return RUNTIME + total + sum(get_dataset(config.dataset).sizes.values()) * 3 * 32 * 32


def free_memory(device: str) -> float:
    """Bytes that a run may take: seven tenths of what is free on the device that it would run on."""
    if (found := resolve_device(device)).type == "cuda":
        return 0.7 * torch.cuda.mem_get_info(found)[0]
    return 0.7 * psutil.virtual_memory().available


@functools.cache
def count_largest_output(architecture: str) -> float:
    """Bytes an image of the largest output in a forward pass, in float32."""
    network = build(architecture)

    def largest(batch: int) -> int:
        with count_kept(network.parameters()) as storages:
            logits = network(_random_images(batch))  # alive until here, so that no address is used twice
        del logits
        return max(storages.values(), default=0)

    return (largest(4) - largest(2)) / 2  # what does not grow with the batch is no activation
