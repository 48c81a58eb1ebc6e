"""The demo: a student with and without its teacher on the bundled images, as many epochs as fit about a minute.

How fast a machine is gets measured once and stored. In each of the offered lengths the distilled student was ahead of
its scratch baseline in at least nine of ten seeds, in bfloat16 and in float32: `python -m benchmarks.demo`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
from pathlib import Path

from pydantic import ValidationError

from kdexplorer.config import RunConfig
from kdexplorer.files import read_json, write_json
from kdexplorer.presets import DEMO, STARTING_POINTS
from kdexplorer.runs.run_folder import runs_root
from kdexplorer.schema import validate
from kdexplorer.training.estimate import Estimate
from kdexplorer.training.hardware import processor_name

LENGTHS = (6, 9)
"""Epochs that the demo may take, the shortest first."""
TARGET = 75.0
"""Seconds that the chosen length stays below where one does."""
BUDGET = 2.0
"""Seconds for which steps are timed."""


def demo_config(epochs: int = LENGTHS[1], seed: int = 0) -> RunConfig:
    """The demo's run. Raises ConfigError for a length or a seed that no run may have."""
    return validate(RunConfig, STARTING_POINTS[DEMO] | {"epochs": epochs, "seed": seed})


def stored_estimate() -> Estimate | None:
    """What `demo_config()` takes on this machine, if it was measured before with this processor and this PyTorch."""
    values = read_json(_path()) or {}
    try:
        return Estimate.model_validate(values.get("estimate")) if values.get("machine") == _machine() else None
    except ValidationError:
        return None


def store_estimate(estimate: Estimate) -> Estimate:
    """Keeps a measurement of `demo_config()`. Raises OSError."""
    _path().parent.mkdir(parents=True, exist_ok=True)
    write_json(_path(), {"machine": _machine(), "estimate": estimate.model_dump()})
    return estimate


def forget_estimate() -> None:
    """Removes the stored measurement. Raises OSError."""
    _path().unlink(missing_ok=True)


def demo_seconds(estimate: Estimate, epochs: int) -> float:
    """How long a demo of so many epochs takes, from its start to its results, by the estimate of `demo_config()`."""
    return estimate.seconds + (epochs - demo_config().epochs) * estimate.epoch


def choose_length(estimate: Estimate) -> int:
    """The most epochs that stay below `TARGET` seconds; the fewest where none do."""
    return max((epochs for epochs in LENGTHS if demo_seconds(estimate, epochs) <= TARGET), default=LENGTHS[0])


def _path() -> Path:
    return runs_root() / ".machine.json"


@functools.cache
def _machine() -> str:
    return f"{processor_name()}, {os.cpu_count()} processors, torch {importlib.metadata.version('torch')}"
