"""Device, precision, and the settings of a training process. Settings of the whole process are made here only."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import cast

import numpy as np
import platformdirs
import torch
from torch import nn

from kdexplorer.errors import ConfigError
from kdexplorer.processes import call_libc, processor_name, read_cpuinfo
from kdexplorer.runs.card import Environment
from kdexplorer.training import ddp


def configure_process(threads: int | None = None) -> None:
    """Sets what holds for the whole process that trains: threads (torch's choice if not given), memory, compiling."""
    if threads:
        torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True  # a GPU computes convolutions to the same bits again
    # glibc keeps large freed blocks: a step frees and allocates the same activations of several megabytes again and
    # again, and the kernel would clear them each time (measured: a quarter of the page faults, 1.08 times the speed).
    for option, value in ((-3, 2**30), (-1, 2**31 - 1), (-8, 1)):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_ARENA_MAX
        call_libc("mallopt", option, value)
    # The next run of the same pair compiles in seconds; torch's own cache is lost with the temporary files.
    folder = platformdirs.user_cache_path("kdexplorer") / "inductor"
    with contextlib.suppress(OSError):  # without a home folder it stays where torch puts it
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    # All networks share `StagedNetwork.forward`, and torch.compile gives up on a function after eight variants; a
    # variant is a network at a resolution.
    for name in ("recompile_limit", "accumulated_recompile_limit"):
        setattr(torch._dynamo.config, name, max(512, getattr(torch._dynamo.config, name)))


def seed_generators(device: torch.device, *numbers: int) -> None:
    """Lets these numbers decide what is drawn from torch's own generators next, as by a plugin's dropout."""
    seed = int(np.random.SeedSequence([*numbers, 0xD0]).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)  # `torch.manual_seed` takes a millisecond
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Lets a GPU compute float32 convolutions in float32; TF32 rounds their factors to ten bits."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def resolve_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one; `cuda` is this process's. Raises ConfigError when it is missing."""
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cpu" or (kind == "auto" and not count):
        return torch.device("cpu")
    if number and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ConfigError("device: under torchrun each process has a GPU of its own: choose 'cuda' or 'auto'.")
    if not count:
        raise ConfigError("device: this machine has no CUDA device that torch can use; choose 'cpu' or 'auto'.")
    index = int(number) if number else ddp.local_rank()
    if index >= count:
        raise ConfigError(f"device: this machine has no cuda:{index}: it has {count}, and the first is cuda:0.")
    if not _has_kernels(index):
        if kind == "auto":
            return torch.device("cpu")
        raise ConfigError(
            "device: this build of torch has no code for this GPU: install another build (pytorch.org), or choose "
            "'cpu' or 'auto'."
        )
    return torch.device("cuda", index)


def _has_kernels(index: int) -> bool:
    """Whether this build of torch has code for a GPU; where it has not, torch itself only warns."""
    if torch.version.cuda is None:  # ROCm
        return True
    major, minor = torch.cuda.get_device_capability(index)
    built = re.findall(r"(sm|compute)_(\d+)", " ".join(torch.cuda.get_arch_list()))
    return not built or any(
        int(digits) // 10 == major and int(digits) % 10 <= minor if kind == "sm" else int(digits) <= 10 * major + minor
        for kind, digits in built
    )


NO_FLOAT16 = re.compile(r"GTX 16\d\d|\bT(4|5|6|10|12|20)00\b|\bT550\b")
"""GPUs whose convolutions in float16 give values that are no numbers (pytorch issue 77955)."""


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it, on older GPUs float16, float32 elsewhere."""
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        if not torch.cuda.is_bf16_supported(including_emulation=False):  # a T4 or V100 emulates it, slowly
            has_float16 = torch.cuda.get_device_capability(device)[0] >= 7 and not NO_FLOAT16.search(
                torch.cuda.get_device_name(device)
            )
            return torch.float16 if has_float16 else torch.float32
        return torch.bfloat16
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def require_compiler(device: torch.device) -> None:
    """torch.compile needs a C++ compiler, or on a GPU Triton. Raises ConfigError, before the first step, without it."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ConfigError("compile: Triton is missing here, or does not know this GPU: leave compile out.")
        return
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise ConfigError(
            "compile: torch compiles with a C++ compiler, and none works here. Install one (apt-get install g++), or "
            "leave compile out."
        ) from error


def compile_network(network: nn.Module, compiled: bool, captured: bool = False) -> nn.Module:
    """The network, compiled where that is chosen.

    `captured`, a GPU receives its forward and its backward pass as one CUDA graph each, by resolution. Then a call
    overwrites the outputs of the one before, so there must have been a backward pass between them.
    """
    mode = "reduce-overhead" if captured else None
    return cast(nn.Module, torch.compile(network, dynamic=False, mode=mode)) if compiled else network


def describe_environment(device: torch.device, precision: torch.dtype, processes: int) -> Environment:
    """What decides a run's bits in this process, beside its configuration.

    Two processors of the same description compute the same bits. A virtual machine may give several generations one
    name and hide instructions, so both are part of it.
    """
    if device.type == "cuda":
        processor = torch.cuda.get_device_name(device)
    else:
        facts = read_cpuinfo()
        generation = [f"{name} {facts[name]}" for name in ("cpu family", "model", "CPU part") if name in facts]
        more = {"AVX512_BF16": torch.cpu._is_avx512_bf16_supported(), "AMX": torch.cpu._is_amx_tile_supported()}
        instructions = [torch.backends.cpu.get_cpu_capability(), *(name for name, exists in more.items() if exists)]
        processor = ", ".join([processor_name(), *generation, *instructions])
    return Environment(
        threads=torch.get_num_threads(), processes=processes, device=device.type,
        precision=str(precision).removeprefix("torch."), torch=torch.__version__, processor=processor,
    )  # fmt: skip
