"""Experiments on why distillation works, and the lab's claims: one file each, and the registry that all else reads."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.studies.experiments.base import Experiment

__all__ = ["Experiment", "all_experiments", "get_experiment"]


@cache
def all_experiments() -> tuple[Experiment, ...]:
    """Every experiment of this package, in the order in which they are trained. Loads no torch."""
    modules = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    found = [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]
    return tuple(sorted(found, key=lambda experiment: experiment.order))


def get_experiment(key: str) -> Experiment:
    """The experiment of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {experiment.key: experiment for experiment in all_experiments()}
    if key not in found:
        raise ConfigError(unknown_name("experiment", key, found))
    return found[key]
