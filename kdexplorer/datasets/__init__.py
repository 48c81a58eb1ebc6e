"""Data sets by name: how each is found, loaded, downloaded, sampled and augmented; human labels."""

from functools import cache

from kdexplorer.datasets.base import Dataset, Normalization, Split, data_root
from kdexplorer.datasets.cifar10 import Cifar10, Cifar10Small, Cifar100
from kdexplorer.datasets.folder import PREFIX, ImageFolder, prepared_folders
from kdexplorer.datasets.synthetic import SyntheticShapes
from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.plugins import classes_in, leave_out, plugins

__all__ = [
    "Dataset", "Normalization", "Split", "all_datasets", "available_dataset", "data_root", "dataset_choices",
    "find_dataset", "get_dataset",
]  # fmt: skip


@cache
def _listed() -> dict[str, Dataset]:
    """By name, in the order in which forms list them, with the plugins' own."""
    found: dict[str, Dataset] = {one.key: one for one in (Cifar10(), Cifar10Small(), Cifar100(), SyntheticShapes())}
    for plugin in plugins():
        for kind in classes_in(plugin, Dataset):
            if kind.find is Dataset.find or kind.load is Dataset.load:  # what others share, or unfinished
                continue
            with leave_out(f"{kind.__name__} in {plugin.__file__}"):
                if kind.key in found:
                    raise ValueError(f"there is another data set '{kind.key}'")
                found[kind.key] = kind()
    return found


def all_datasets() -> tuple[Dataset, ...]:
    """Every data set, in the order in which forms list them, with the folders that were prepared. Loads no torch."""
    return (*_listed().values(), *prepared_folders())


def available_dataset(key: str) -> str:
    """The data set itself where its data are available, else its substitute if it has one. Raises ConfigError."""
    dataset = get_dataset(key)
    return key if dataset.substitute is None or dataset.is_available() else dataset.substitute


def get_dataset(key: str) -> Dataset:
    """The data set of that key, or `folder:PATH`. Raises ConfigError, which lists the choices, for any other."""
    if key.startswith(PREFIX):
        return ImageFolder(key)
    if key not in _listed():
        raise ConfigError(f"{unknown_name('data set', key, _listed())} or {PREFIX}PATH")
    return _listed()[key]


def find_dataset(key: str) -> Dataset:
    """The data set of that key; for one that is not installed a stand-in without images and classes."""
    try:
        return get_dataset(key)
    except ConfigError:
        missing = Dataset()
        missing.key = missing.label = key
        return missing


def dataset_choices() -> str:
    """What may name a data set."""
    return f"{', '.join(_listed())} or {PREFIX}PATH"
