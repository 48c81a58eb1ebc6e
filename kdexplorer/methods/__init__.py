"""Distillation methods: one file each, and the registry that everything else reads."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from kdexplorer.errors import ConfigError
from kdexplorer.methods.base import FAMILIES, Method, MethodSettings

__all__ = ["FAMILIES", "Method", "MethodSettings", "all_methods", "describe_methods", "get_method"]


@cache
def all_methods() -> tuple[type[Method], ...]:
    """Every method of this package, family by family, then by key. Loads no torch.

    Raises:
        TypeError: when two files define the same key or one lacks a part of its description.
    """
    found: dict[str, type[Method]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        loaded = importlib.import_module(f"{__name__}.{module}")
        for _, method in inspect.getmembers(loaded, inspect.isclass):
            if issubclass(method, Method) and method.__module__ == loaded.__name__ and method is not Method:
                _check_description(method)
                if method.key in found:
                    raise TypeError(f"{method.__name__} and {found[method.key].__name__} share the key '{method.key}'")
                found[method.key] = method
    return tuple(sorted(found.values(), key=lambda method: (FAMILIES.index(method.family), method.key)))


def get_method(key: str) -> type[Method]:
    """The method of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {method.key: method for method in all_methods()}
    if key not in found:
        raise ConfigError(f"unknown method '{key[:60]}': choose one of {', '.join(found)}")
    return found[key]


def describe_methods() -> list[dict[str, str]]:
    """A row for each method as text: family, name, key, what it uses, the defaults of its settings, and its source."""
    rows = []
    for method in all_methods():
        defaults = {name: field.default for name, field in method.Settings.model_fields.items() if name != "method"}
        rows.append(
            {
                "Family": method.family,
                "Method": method.label,
                "Key": method.key,
                "Uses": ", ".join(sorted(method.needs)) or "no teacher",
                "Settings": ", ".join(f"{name} {value}" for name, value in defaults.items()),
                "Source": method.reference,
            }
        )
    return rows


def _check_description(method: type[Method]) -> None:
    missing = [
        name
        for name in ("key", "label", "family", "reference", "formula", "summary", "needs")
        if not hasattr(method, name)
    ]
    if missing:
        raise TypeError(f"{method.__name__} lacks {', '.join(missing)}")
    if method.family not in FAMILIES:
        raise TypeError(f"{method.__name__}: '{method.family}' is none of {', '.join(FAMILIES)}")
