"""Distillation methods: one file each, and the registry that everything else reads."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, get_args

from pydantic import ConfigDict, Field

from kdexplorer.errors import ConfigError, unknown_name
from kdexplorer.methods.base import FAMILIES, Method, MethodSettings, Need
from kdexplorer.plugins import classes_in, leave_out, plugins
from kdexplorer.schema import Name

RESERVED = {"objective", "cross_entropy", "accuracy", "correct", "images", "scratch", "response", "feature", "combined"}
"""What no method may be called: measures of a student beside its terms, and the notation's presets."""


@cache
def all_methods() -> tuple[type[Method], ...]:
    """Every method of this package and of the plugins, family by family, then by key. Loads no torch.

    What cannot be imported, lacks a part of its description or has the key of another is left out with a warning.
    """
    modules, found = list[ModuleType](), dict[str, type[Method]]()
    for name in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        with leave_out(f"{__name__}.{name}"):
            modules.append(importlib.import_module(f"{__name__}.{name}"))
    for module in (*modules, *plugins()):
        for method in classes_in(module, Method):
            with leave_out(f"{method.__name__} in {module.__file__}"):
                _check_description(method, found)
                found[method.key] = method
    return tuple(sorted(found.values(), key=lambda method: (FAMILIES.index(method.family), method.key)))


def get_method(key: str) -> type[Method]:
    """The method of that key. Raises ConfigError, which lists the choices, for any other."""
    found = {method.key: method for method in all_methods()}
    if key not in found:
        raise ConfigError(unknown_name("method", key, found))
    return found[key]


class UnknownSettings(MethodSettings):
    """The settings of a method that is not installed, as a record has them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, float | Name | None] = Field(init=False)


@lru_cache(maxsize=1000)
def find_method(key: str) -> type[Method]:
    """The method of that key; for one that is not installed a stand-in, which is shown and cannot train."""
    if any(method.key == key for method in all_methods()):
        return get_method(key)
    described = {
        "key": key, "label": key, "family": "response", "reference": "not installed", "formula": rf"\text{{{key}}}",
        "summary": "This method is not installed.", "needs": frozenset({"logits"}),
    }  # fmt: skip
    unknown: Any = type("Unknown", (Method,), described)
    unknown.Settings = UnknownSettings  # a module has it, so pickle finds it
    return unknown


def describe_methods() -> list[dict[str, str]]:
    """A row for each method as text: family, name, key, what it uses, the defaults of its settings, and its source."""
    rows = []
    for method in all_methods():
        fields = [(name, field.default) for name, field in method.Settings.model_fields.items() if name != "method"]
        row = {"Family": method.family, "Method": method.label, "Key": method.key}
        row |= {"Uses": ", ".join(sorted(method.needs)) or "no teacher"}
        row |= {"Settings": ", ".join(f"{name} {value}" for name, value in fields), "Source": method.reference}
        rows.append(row)
    return rows


def _check_description(method: type[Method], known: Mapping[str, type[Method]]) -> None:
    asked = ("key", "label", "family", "reference", "formula", "summary", "needs")
    if missing := [name for name in asked if not hasattr(method, name)]:
        raise TypeError(f"{method.__name__} lacks {', '.join(missing)}")
    if not method.key.isidentifier():
        raise TypeError(f"{method.__name__}: the key '{method.key}' may have letters, digits and _ only")
    if method.key in RESERVED:
        raise TypeError(f"{method.__name__}: '{method.key}' means something else: choose another key")
    if unknown := method.needs - set(get_args(Need)):
        raise TypeError(f"{method.__name__} needs {', '.join(sorted(unknown))}: choose of {', '.join(get_args(Need))}")
    if method.family not in FAMILIES:
        raise TypeError(f"{method.__name__}: '{method.family}' is none of {', '.join(FAMILIES)}")
    if method.key in known:
        raise TypeError(f"{method.__name__} and {known[method.key].__name__} share the key '{method.key}'")
    method.Settings()  # each has a default, which forms and the command line take
