"""Visitors' pictures: two are decoded at a time in the whole server, each file once, and old uploads are forgotten."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import numpy as np
import streamlit as st

from kdexplorer.app.server import turns
from kdexplorer.app.server.streamlit_internals import MemoryUploadedFileManager, UploadedFileRec
from kdexplorer.errors import ImageError, ImageMemoryError
from kdexplorer.images import decode
from kdexplorer.images.picture import encode_jpeg

AT_A_TIME = 2
"""A picture of the largest allowed size takes half a second and 300 MB."""
REMEMBERED = 256
"""Results (50 kB each) and refusals that are kept."""
SIDE = 224
"""Of the picture beside what the networks see, in pixels."""

FILES_OF_A_VISITOR = 3
MAX_UPLOADED_BYTES = 100 * 2**20

_slots = threading.BoundedSemaphore(AT_A_TIME)


@dataclass(frozen=True)
class Photo:
    """A visitor's picture in one fit: as the networks see it, uint8 `[32, 32, 3]`, and larger, a JPEG."""

    pixels: np.ndarray
    large: bytes


def decode_once(data: bytes) -> dict[decode.Fit, Photo]:
    """A picture by fit; says so on the page while others are before it.

    Raises:
        ImageError: as `decode.decode_sizes`, also where the same file was refused before. A lack of memory is not
            remembered.
    """
    visitor = turns.own()
    with contextlib.ExitStack() as ending:
        if not visitor.is_presenter:  # who never waits
            if _slots.acquire(blocking=False):
                ending.callback(_slots.release)
            else:
                visitor.step_aside()
                with st.spinner("Reading other visitors' pictures first …"):
                    ending.enter_context(_slots)  # at once: the spinner's end may end the run
        outcome = _decode(data)
    if isinstance(outcome, str):
        raise ImageError(outcome)
    return outcome


@st.cache_data(max_entries=REMEMBERED, show_spinner=False)
def _decode(data: bytes) -> dict[decode.Fit, Photo] | str:
    """The picture, or why it is refused."""
    try:
        found = decode.decode_sizes(data, (decode.SIZE, SIDE))
        return {fit: Photo(pixels, encode_jpeg(large)) for fit, (pixels, large) in found.items()}
    except ImageMemoryError:
        raise
    except ImageError as error:
        return str(error)


def limit_uploads(manager: MemoryUploadedFileManager) -> None:
    """Makes Streamlit forget old uploads, which it would keep until their visitor has left.

    A visitor keeps `FILES_OF_A_VISITOR` files, the server `MAX_UPLOADED_BYTES`; the oldest go first. Files come from
    outside by an address that needs no page, so a limit in a widget would not hold.
    """
    add_file, order, lock = manager.add_file, list[tuple[str, str]](), threading.Lock()

    def add_and_forget(session_id: str, file: UploadedFileRec) -> None:
        add_file(session_id, file)
        with lock:
            order.append((session_id, file.file_id))
            # Without those that a page or the end of a session has removed; the latest upload of a file counts.
            sizes = {key: len(files[0].data) for key in order[::-1] if (files := manager.get_files(key[0], [key[1]]))}
            order[:] = reversed(sizes)
            beyond, total = [key for key in order if key[0] == session_id][:-FILES_OF_A_VISITOR], sum(sizes.values())
            for key in dict.fromkeys([*beyond, *order[:-1]]):
                if key in beyond or total > MAX_UPLOADED_BYTES:
                    manager.remove_file(*key)
                    total -= sizes[key]

    manager.add_file = add_and_forget  # type: ignore[method-assign]
