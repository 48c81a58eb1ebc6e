"""Data sets by name: how each is found, loaded, downloaded, sampled and augmented; human labels."""

from kdexplorer.datasets.base import Dataset, Normalization, Split, data_root
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.datasets.cifar10_small import Cifar10Small
from kdexplorer.datasets.cifar100 import Cifar100
from kdexplorer.datasets.folder import PREFIX, ImageFolder, prepared_folders
from kdexplorer.datasets.synthetic import SyntheticShapes
from kdexplorer.errors import ConfigError

__all__ = [
    "Dataset",
    "Normalization",
    "Split",
    "all_datasets",
    "available_dataset",
    "data_root",
    "dataset_choices",
    "get_dataset",
]

_DATASETS: tuple[Dataset, ...] = (Cifar10(), Cifar10Small(), Cifar100(), SyntheticShapes())
"""One entry each, in the order in which forms list them; the first is the one that cards without a name mean."""


def all_datasets() -> tuple[Dataset, ...]:
    """Every data set, in the order in which forms list them, with the folders that were prepared. Loads no torch."""
    return (*_DATASETS, *prepared_folders())


def available_dataset(key: str) -> str:
    """The data set itself where its data are available, else its substitute if it has one. Raises ConfigError."""
    dataset = get_dataset(key)
    return key if dataset.substitute is None or dataset.is_available() else dataset.substitute


def get_dataset(key: str) -> Dataset:
    """The data set of that key, or `folder:PATH`. Raises ConfigError, which lists the choices, for any other."""
    if key.startswith(PREFIX):
        return ImageFolder(key)
    found = next((dataset for dataset in _DATASETS if dataset.key == key), None)
    if found is None:
        raise ConfigError(f"unknown data set '{key[:60]}': choose one of {dataset_choices()}")
    return found


def dataset_choices() -> str:
    """What may name a data set."""
    return f"{', '.join(dataset.key for dataset in _DATASETS)} or {PREFIX}PATH"
