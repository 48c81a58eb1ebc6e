"""Seconds that the parts of a step take, measured while training; nothing waits for it and no number changes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

Moment = Any
"""A time in seconds, on a GPU an event in its stream."""
Span = tuple[Moment, Moment]


def now(device: torch.device) -> Moment:
    """This moment in the device's work: a GPU is behind the program that gives it work, so it notes the moment."""
    if device.type != "cuda":
        return time.perf_counter()
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def median_seconds(spans: Sequence[Span]) -> float | None:
    """The median of the spans' seconds, which compiling and other programs hardly move; None without any."""
    return float(np.median([_seconds(begin, end) for begin, end in spans])) if spans else None


def _seconds(begin: Moment, end: Moment) -> float:
    if isinstance(begin, float):
        return end - begin
    end.synchronize()
    return begin.elapsed_time(end) / 1000
