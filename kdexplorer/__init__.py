"""KD Explorer: see knowledge distillation at work on real CIFAR-10 networks.

What is imported from here is described in `kdexplorer.library` and docs/library.md; importing loads no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdexplorer.library import (  # noqa: I001
        RunConfig, attention_map, export, get_dataset, load, losses, networks_by_name, parse_student, predict, results,
        soft_labels, train,
    )  # fmt: skip

__version__ = "0.1.0"
__all__ = [
    "RunConfig", "attention_map", "export", "get_dataset", "load", "losses", "networks_by_name", "parse_student",
    "predict", "results", "soft_labels", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kdexplorer import library

    return getattr(library, name)
