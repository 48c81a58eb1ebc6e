"""Points of figures from values by seed: the mean with its 95 % t interval, and the seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdexplorer.analysis.statistics import seed_interval
from kdexplorer.experiments.base import Point


def row_of(label: str, series: str, values: Sequence[float], scale: float = 100) -> list[Point]:
    """A row of `dots`; empty without values."""
    if not values:
        return []
    low, high = _interval(values, scale)
    seeds = tuple(scale * value for value in values)
    return [Point(series, scale * float(np.mean(values)), label=label, low=low, high=high, seeds=seeds)]


def point_at(x: float, series: str, values: Sequence[float], label: str = "", scale: float = 100) -> list[Point]:
    """A point of `lines` or `scatter` whose y is the mean; empty without values."""
    if not values:
        return []
    low, high = _interval(values, scale)
    return [Point(series, x, scale * float(np.mean(values)), label, low, high)]


def _interval(values: Sequence[float], scale: float) -> tuple[float | None, float | None]:
    interval = seed_interval(list(values))
    return (None, None) if interval is None else (scale * interval[0], scale * interval[1])
