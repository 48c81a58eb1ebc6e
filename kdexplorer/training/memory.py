"""How much memory a run takes, estimated from its networks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import psutil

from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.networks import build
from kdexplorer.networks.cost import count_parameters
from kdexplorer.runs.teachers import find_teachers

if TYPE_CHECKING:
    import torch

    from kdexplorer.networks import Outputs

RUNTIME = 0.5 * 2**30
"""Bytes of the interpreter and of torch itself."""


def estimate_memory(config: RunConfig, elsewhere: bool = False) -> float:
    """Bytes that a run takes at its height, estimated from its networks; see `docs/scaling.md`.

    A student's weights, gradients, momentum and what saving its state copies are seven float32 a parameter. Activations
    are those that autograd keeps, of the largest student, since students learn in turn, and half as much again for what
    comes and goes. The images of both splits lie in memory as bytes.

    Args:
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
    kept = max(_activations(one.architecture, dtype)[0] for one in config.students)
    total += 1.5 * kept * config.batch_size
    if config.teacher:
        architectures = [teacher.architecture for teacher in find_teachers(config.teacher)]
        total += 8 * sum(count_parameters(build(one)) for one in architectures)  # as they are, and folded
        # Without gradients a forward pass holds about three outputs at a time; its widest batch is the evaluation's.
        images = max(config.batch_size, EVALUATION_BATCH)
        total += 3 * images * max(_activations(one, torch.float32)[1] for one in architectures)
    return RUNTIME + total + sum(get_dataset(config.dataset).sizes.values()) * 3 * 32 * 32


@functools.cache
def _activations(architecture: str, dtype: torch.dtype) -> tuple[float, float]:
    """Bytes an image that autograd keeps of a forward pass, and those of its largest single output."""
    import torch

    from kdexplorer.training.precision import autocast

    network = build(architecture)

    def kept(batch: int) -> np.ndarray:
        images = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        with _count_kept(network.parameters()) as storages, autocast(images.device, dtype):
            logits = network(images)  # alive until here, so that no address is used twice
        del logits
        return np.array([sum(storages.values()), max(storages.values())])

    whole, largest = (kept(4) - kept(2)) / 2  # what does not grow with the batch is no activation
    return float(whole), float(largest)


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

    from kdexplorer.networks import get_architecture
    from kdexplorer.training.hardware import resolve_device, resolve_precision
    from kdexplorer.training.objective import bind_terms, compute_objective
    from kdexplorer.training.precision import in_autocast, run_network

    device = resolve_device("cpu")
    dtype = resolve_precision(config.precision, device)
    run_adapter = functools.partial(in_autocast, device=device, dtype=dtype)
    images = torch.randn(config.batch_size, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.arange(config.batch_size) % len(get_dataset(config.dataset).classes)
    teacher = get_architecture(find_teachers(config.teacher)[0].architecture) if config.teacher else None
    theirs: Outputs | None = None
    if teacher is not None:
        with torch.no_grad():
            theirs = run_network(build(teacher.key).eval(), images, dtype, all_outputs=True)
    found = {}
    for student in config.students:
        network, methods = build(student.architecture), student.methods
        terms = bind_terms(student, get_architecture(student.architecture), teacher)
        adapters = [term.adapter for term in terms if term.adapter is not None]
        weights = [p for module in (network, *adapters) for p in module.parameters()]
        targets = {m: m.reduce_teacher(theirs) for m in methods if theirs is not None and m.needs}
        shared = [images, labels, *(tensor for one in targets.values() for tensor in one.tensors())]
        all_outputs = any(method.needs - {"logits"} for method in methods)
        with _count_kept([*weights, *shared]) as storages:
            outputs = run_network(network, images, dtype, all_outputs)
            parts = compute_objective(student, terms, outputs, labels, targets, run_adapter)
        del parts, outputs
        found[student.name] = StudentMemory(12 * sum(p.numel() for p in weights), sum(storages.values()))
    return found


def free_memory(device: str) -> float:
    """Bytes that a run may take: seven tenths of what is free on the device that it would run on."""
    import torch

    from kdexplorer.training.hardware import resolve_device

    if resolve_device(device).type == "cuda":
        return 0.7 * torch.cuda.mem_get_info()[0]
    return 0.7 * psutil.virtual_memory().available
