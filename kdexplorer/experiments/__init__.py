"""Prepared experiments on why distillation works: one file each, and the registry that everything else reads."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from kdexplorer.errors import ConfigError
from kdexplorer.experiments.base import PreparedExperiment

__all__ = ["PreparedExperiment", "all_experiments", "get_experiment"]


@cache
def all_experiments() -> tuple[PreparedExperiment, ...]:
    """Every experiment of this package, in the order in which they are trained. Loads no torch."""
    found = []
    for module in (info.name for info in pkgutil.iter_modules(__path__)):
        loaded = importlib.import_module(f"{__name__}.{module}")
        for _, kind in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(kind, PreparedExperiment) and kind.__module__ == loaded.__name__ and hasattr(kind, "key"):
                found.append(kind())
    return tuple(sorted(found, key=lambda experiment: experiment.order))


def get_experiment(key: str) -> PreparedExperiment:
    """The experiment of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {experiment.key: experiment for experiment in all_experiments()}
    if key not in found:
        raise ConfigError(f"unknown experiment '{key[:60]}': choose one of {', '.join(found)}")
    return found[key]
