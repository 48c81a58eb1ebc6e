"""What the server loads before anybody comes, and the memory that it gives back: a free host has 1 GB in all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pandas  # noqa: F401  # before any page: Altair would use what another thread has imported of it so far

from kdexplorer.app.server import turns
from kdexplorer.app.server.streamlit_internals import expect_no_page
from kdexplorer.errors import KDError
from kdexplorer.processes import call_libc

PERIOD, ABSENCE = 30.0, 120.0
"""Seconds between two looks, and after which nobody is expected back, as `disconnectedSessionTTL`."""
FIRST = 1.5
"""Seconds after the start in which nothing is loaded ahead: beside it the first page's heading takes twice as long.
With 4 seconds, a class that came at once waited for it."""


async def load_ahead(read_images: Callable[[], object]) -> None:
    """Loads what a class would wait for: large modules, and the images to choose from.

    A page computes with one thread: with two that wait for each other, the next picture on Attention took 350 instead
    of 135 ms of processor time beside other programs, and the other core is for other visitors or a run.
    """
    await asyncio.sleep(FIRST)
    await asyncio.to_thread(_load, read_images)


def _load(read_images: Callable[[], object]) -> None:
    import pyarrow.dataset  # noqa: F401
    import torch

    torch.set_num_threads(1)
    expect_no_page()
    with contextlib.suppress(KDError):  # pages say what is wrong
        read_images()


async def tidy(forget: Callable[[], object]) -> None:
    """Returns what is free now and then; when nobody has been there for a while, forgets what can be loaded again."""
    absent = 0.0
    while True:
        await asyncio.sleep(PERIOD)
        absent = 0.0 if turns.visitors else absent + PERIOD
        if absent >= ABSENCE:
            forget()
        await asyncio.to_thread(call_libc, "malloc_trim", 0)
