"""The live view in the application: a component whose networks run in the visitor's browser.

Weights are served under an address that is their hash, so a browser fetches each network once. What comes back is only
what the visitor hands over by "Use this picture": a PNG of 32 × 32 pixels, checked like any upload.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import streamlit as st

from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import ImageError
from kdexplorer.handout.sources import Sources, choose
from kdexplorer.ui import cached, charts
from kdexplorer.ui.charts_soft import T_MAX, T_MIN
from kdexplorer.web import assemble

PREFIX = "data:image/png;base64,"

_view = st.components.v2.component("kdexplorer_live", js=assemble.module(), css=assemble.styles())


def live_view(teacher: Checkpoint, students: Sequence[Checkpoint], temperature: float) -> bytes | None:
    """Draws the view; returns the bytes of a picture when one has just been handed over.

    It begins with the test image at hand that has most to tell, answered.

    Raises:
        CheckpointError: for weights that cannot be trusted or an architecture that is too large for a page.
        ImageError: for what is not a picture of this view.
    """
    networks = []
    for number, checkpoint in enumerate([teacher, *students]):
        made = cached.exported(checkpoint)
        role = charts.role(checkpoint, teacher)
        name = checkpoint.name
        url = _served(made.weights, f"kdexplorer_live_{number}")
        networks.append(assemble.network(name, charts.COLOURS[role], charts.MARKS[role], made, url))
    begin = choose(1, teacher, students, Sources(cached.answer, cached.stored_logits, cached.gallery))
    sample = (begin[0].address(), begin[0].caption(teacher)) if begin else None
    settings = assemble.settings(networks, temperature, T_MIN, T_MAX, sample)
    result = _view(data=settings, key="live_view", on_picture_change=lambda: None)
    return None if result.picture is None else _png(result.picture)


def _served(weights: bytes, place: str) -> str:
    """An address of these bytes that names their hash; it lasts as long as a page that uses it is open."""
    from streamlit import runtime

    if not runtime.exists():
        return ""
    address = runtime.get_instance().media_file_mgr.add(weights, "application/octet-stream", place)
    base = (st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{address}" if base else address


def _png(picture: object) -> bytes:
    """The bytes of a data address as the view makes it. Raises ImageError."""
    if not isinstance(picture, str) or not picture.startswith(PREFIX):
        raise ImageError("This is not a picture that the live view made.")
    try:
        return base64.b64decode(picture.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ImageError("This is not a picture that the live view made.") from error
