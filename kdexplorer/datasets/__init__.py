"""Data sets by name: how each is found, loaded, downloaded, sampled and augmented; human labels."""

from functools import cache

from kdexplorer.datasets.base import Dataset, Normalization, Split, data_root
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.datasets.cifar10_small import Cifar10Small
from kdexplorer.datasets.synthetic import SyntheticShapes
from kdexplorer.errors import ConfigError
from kdexplorer.plugins import classes_in, leave_out, plugins

__all__ = ["Dataset", "Normalization", "Split", "all_datasets", "available_dataset", "data_root", "get_dataset"]

_DATASETS: tuple[Dataset, ...] = (Cifar10(), Cifar10Small(), SyntheticShapes())
"""One entry each, in the order in which forms list them; the first is the one that cards without a name mean."""


@cache
def all_datasets() -> tuple[Dataset, ...]:
    """Every data set, in the order in which forms list them, and the plugins' own. Loads no torch."""
    found = {one.key: one for one in _DATASETS}
    for plugin in plugins():
        for kind in classes_in(plugin, Dataset):  # type: ignore[type-abstract]
            with leave_out(f"{kind.__name__} in {plugin.__file__}"):
                if kind.key in found:
                    raise ValueError(f"there is another data set '{kind.key}'")
                found[kind.key] = kind()
    return tuple(found.values())


def available_dataset(key: str) -> str:
    """The data set itself where its data are available, else its substitute if it has one. Raises ConfigError."""
    dataset = get_dataset(key)
    return key if dataset.substitute is None or dataset.is_available() else dataset.substitute


def get_dataset(key: str) -> Dataset:
    """The data set of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {dataset.key: dataset for dataset in all_datasets()}
    if key not in found:
        raise ConfigError(f"unknown data set '{key[:60]}': choose one of {', '.join(found)}")
    return found[key]
