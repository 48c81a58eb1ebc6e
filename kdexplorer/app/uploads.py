"""Decoding visitors' pictures: two at a time in the whole server, and each file once, whoever sends it how often."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

import numpy as np
import streamlit as st

from kdexplorer.errors import ImageError
from kdexplorer.images import decode

AT_A_TIME = 2
"""A picture of the largest allowed size takes half a second and 300 MB."""
REMEMBERED = 256
"""Results (6 kB each) and refusals that are kept, by the hash of the file."""

_slots = threading.BoundedSemaphore(AT_A_TIME)
_lock = threading.Lock()
_outcomes: OrderedDict[bytes, dict[decode.Fit, np.ndarray] | str] = OrderedDict()


def decode_once(data: bytes) -> dict[decode.Fit, np.ndarray]:
    """A picture as the networks see it, uint8 `[32, 32, 3]` by fit; says so on the page while others are before it.

    Raises:
        ImageError: as `decode.decode_fits`, also where the same file was refused before.
    """
    key = hashlib.sha256(data).digest()
    outcome = _find(key)
    if outcome is None:
        if not _slots.acquire(blocking=False):
            with st.spinner("Reading other visitors' pictures first …"):
                _slots.acquire()
        try:
            outcome = _find(key)  # meanwhile the same file may have been read
            if outcome is None:
                outcome = _decode(data)
                with _lock:
                    _outcomes[key] = outcome
                    if len(_outcomes) > REMEMBERED:
                        _outcomes.popitem(last=False)
        finally:
            _slots.release()
    if isinstance(outcome, str):
        raise ImageError(outcome)
    return outcome


def _find(key: bytes) -> dict[decode.Fit, np.ndarray] | str | None:
    with _lock:
        outcome = _outcomes.get(key)
        if outcome is not None:
            _outcomes.move_to_end(key)
        return outcome


def _decode(data: bytes) -> dict[decode.Fit, np.ndarray] | str:
    try:
        return decode.decode_fits(data)
    except ImageError as error:
        return str(error)
