"""One run on several processes that `torchrun` started: which one leads, what they share, who gets which images.

The global batch, its order and its augmentation are those of one process. Each process holds the teacher and all
students and computes its slice; DistributedDataParallel averages the students' gradients. Only rank 0 writes and
evaluates. Outside torchrun a team has one member, and nothing here costs anything.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from kdexplorer import processes
from kdexplorer.errors import ConfigError, KDError
from kdexplorer.networks import Outputs
from kdexplorer.runs.run_folder import runs_root

T = TypeVar("T")
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Team:
    """The processes that train one run together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def lead(self, compute: Callable[[], T]) -> T:
        """What rank 0 computes, in every process. The KDError that it raises is raised in every process."""
        if self.size == 1:
            return compute()
        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = compute()
            except KDError as error:
                outcome[1] = error.with_traceback(None)
        dist.broadcast_object_list(outcome, src=0)
        raised = outcome.pop()
        if raised is None:
            return outcome[0]
        try:
            raise raised
        finally:
            del raised  # no cycle through this frame: what its callers hold must be free when the team leaves

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the same everywhere."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Means over the team's slices, which are of equal size: the global batch's."""
        if self.size == 1:
            return values
        together = torch.tensor(list(values.values()), dtype=torch.float64)
        dist.all_reduce(together)
        return dict(zip(values, (together / self.size).tolist(), strict=True))

    def part(self, batch: int) -> slice:
        """This process's slice of a batch. Raises ConfigError where the team does not divide it."""
        if batch % self.size:
            raise ConfigError(f"batch_size: {self.size} processes cannot share {batch} images evenly.")
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def relate(
        self, loss: Callable[[Outputs, Outputs, Tensor], Tensor], student: Outputs, teacher: Outputs, labels: Tensor
    ) -> Tensor:
        """A loss that compares images with each other, over the global batch; the same in every process."""
        if self.size == 1:
            return loss(student, teacher, labels)
        return loss(student.map(_Gather.apply), teacher.map(_Gather.apply), _Gather.apply(labels))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Averages the gradients of parameters that no `forward` covers over the team."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= self.size

    def network(self, network: Module, synchronized: bool) -> Module:
        """The network, or an adapter, with its batch norms over the global batch where that is requested."""
        if self.size == 1 or not synchronized:
            return network
        if next(network.parameters()).is_cuda:
            return nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for module in network.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = SyncedBatchNorm2d
        return network

    def forward(self, network: nn.Module) -> Callable[..., Any]:
        """The forward pass whose backward pass averages gradients over the team."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network)  # running statistics are the leader's


def join() -> Team:
    """The team that torchrun started this process in; a team of one anywhere else."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Team()
    if not dist.is_initialized():
        backend = "gloo"
        if local_rank() < torch.cuda.device_count():
            torch.cuda.set_device(local_rank())
            backend = "cpu:gloo,cuda:nccl"
        store, rank, size = next(dist.rendezvous("env://"))
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            # torchrun's own store outlives a restart (torch 2.8 to 2.13): the addresses of the dead are still in it.
            store = dist.PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    return Team(dist.get_rank(), dist.get_world_size())


def leave() -> None:
    """Ends the team's connections."""
    if dist.is_initialized():
        dist.destroy_process_group()


def local_rank() -> int:
    """This process's number on its machine: which GPU is its own."""
    return int(os.environ.get("LOCAL_RANK", 0))


def run_id(name: str) -> str | None:
    """The id of the run of this torchrun command: the same when it starts its processes again after a failure.

    None outside torchrun.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return None
    agent = processes.identity(os.getppid())
    key = hashlib.sha256(f"{agent['pid']} {agent['pid_started']:.2f} {agent['boot']}".encode()).hexdigest()[:8]
    begun = [path.name for path in runs_root().glob(f"*-{name[:40]}-{key}")]  # the date is the wall clock's
    return begun[0] if begun else f"{time.strftime('%Y%m%d-%H%M%S')}-{name[:40]}-{key}"


class _Gather(torch.autograd.Function):
    """The team's slices in the order of ranks, `[B, ...]` to `[size * B, ...]`.

    The gradient of a slice is the sum of the team's gradients of it, as those of parameters are averaged over the team.
    Unlike `torch.distributed.nn`'s, a graph of it holds no process group: one that outlives `leave` would be torn down
    at the interpreter's end, where its threads abort the process.
    """

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the global batch, for processors: torch's own `SyncBatchNorm` is for GPUs alone.

    The slices are of equal size, so the global mean is the mean of means, and the global variance the mean of
    variances and of the means' squared distances (Chan, Golub & LeVeque 1983).
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, H, W]` to the same, in the input's dtype."""
        if not self.training:
            return super().forward(x)
        size = dist.get_world_size()
        variance, own = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        variances, means = _Gather.apply(torch.stack([variance, own])[None]).unbind(dim=1)
        mean = means.mean(dim=0)
        variance = (variances + (means - mean).square()).mean(dim=0)
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            momentum = self.momentum or 0.0
            count = size * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[None, :, None, None], x.float(), scale[None, :, None, None]).to(x.dtype)
