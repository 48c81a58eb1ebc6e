"""Memory that the server gives back to the system: a free host has 1 GB, and a run beside it wants some."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
from collections.abc import Callable

from kdexplorer.app.server import turns

PERIOD, ABSENCE = 30.0, 120.0
"""Seconds between two looks, and after which nobody is expected back, as `disconnectedSessionTTL`."""
_ARENAS = -8  # M_ARENA_MAX


def limit_arenas() -> None:
    """Every thread would get a heap of its own, with holes of its own: after a class had left, 50 to 100 MB."""
    _libc("mallopt", _ARENAS, 2)


async def load_torch() -> None:
    """Before the first visitor needs it."""
    await asyncio.to_thread(importlib.import_module, "torch")


async def tidy(forget: Callable[[], object]) -> None:
    """Returns what is free now and then; when nobody has been there for a while, forgets what can be loaded again."""
    absent = 0.0
    while True:
        await asyncio.sleep(PERIOD)
        absent = 0.0 if turns.count_visitors() else absent + PERIOD
        if absent >= ABSENCE:
            forget()
        await asyncio.to_thread(_libc, "malloc_trim", 0)


def _libc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; elsewhere nothing happens."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # Windows has no CDLL(None), macOS other functions
        getattr(ctypes.CDLL(None), name)(*arguments)
