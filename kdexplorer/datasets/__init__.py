"""Data sets by name: how each is found, loaded, downloaded, sampled and augmented; human labels."""

from kdexplorer.datasets.base import Dataset, Normalization, Split, data_root
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.datasets.cifar10_small import Cifar10Small
from kdexplorer.datasets.synthetic import SyntheticShapes
from kdexplorer.errors import ConfigError

__all__ = ["Dataset", "Normalization", "Split", "all_datasets", "available_dataset", "data_root", "get_dataset"]

_DATASETS: tuple[Dataset, ...] = (Cifar10(), Cifar10Small(), SyntheticShapes())
"""One entry each, in the order in which forms list them; the first is the one that cards without a name mean."""


def all_datasets() -> tuple[Dataset, ...]:
    """Every data set, in the order in which forms list them. Loads no torch."""
    return _DATASETS


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
