"""What is looked at again and again: a run, a download, and the measurement of the time that something takes."""

import contextlib
import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

import streamlit as st

from kdexplorer.app.server import access, turns
from kdexplorer.errors import KDError
from kdexplorer.training.estimate import Measurement

T = TypeVar("T")
POLL = 1.0
"""Seconds between two looks at a measurement, or of the presenter at a live run's folder."""


def interval() -> float:
    """Seconds between two looks at what runs: for visitors so many that a class takes a quarter of a core."""
    return POLL if access.is_presenter() else max(2.0, 0.3 * len(turns.visitors))


def follow(show: Callable[[], object], every: float | None) -> None:
    """Draws what `show` draws, anew every so many seconds; an error is shown there, not as Streamlit's traceback."""

    @functools.wraps(show)
    def draw() -> None:
        try:
            show()
        except KDError as error:
            access.show_error(error)

    st.fragment(draw, run_every=every)()


def offer_estimate(key: str, subject: Hashable, measure: Callable[[], Measurement[T]], caption: str = "") -> T | None:
    """Draws the button that starts a measurement, or how far it is; returns the result, or None while there is none.

    A session has one measurement of each key; it ends when another subject is to be measured.
    """
    if st.session_state.get(key, (subject, None))[0] != subject:
        forget(key)
    _, measured = st.session_state.get(key, (subject, None))
    result: T | None = None
    try:
        result = measured.poll() if measured is not None else None
    except KDError as error:
        access.show_error(error)
        forget(key)
        measured = None
    if measured is None:
        if st.button("Estimate the time", key=f"start_{key}", icon=":material/timer:"):
            access.act_and_rerun(lambda: st.session_state.update({key: (subject, measure())}))
        if caption:
            st.caption(caption)
    elif result is None:

        def wait() -> None:
            with contextlib.suppress(KDError):
                if measured.poll() is None:
                    st.markdown(f":material/timer: {measured.describe()}")
                    return
            st.rerun()

        follow(wait, POLL)
    return result


def forget(key: str) -> None:
    """Ends the measurement of this key, if any: its result is no longer needed."""
    _, measured = st.session_state.pop(key, (None, None))
    if measured is not None:
        measured.cancel()
