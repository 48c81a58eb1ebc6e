"""The time that something takes, measured in processes of their own: a button, how far it is, the result."""

import contextlib
from collections.abc import Callable, Hashable
from typing import TypeVar

import streamlit as st

from kdexplorer.app.server import access
from kdexplorer.errors import KDError
from kdexplorer.training.estimate import Measurement

T = TypeVar("T")
POLL = 1.0
"""Seconds between two looks at a measurement, or at a live run's folder."""


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

        st.fragment(wait, run_every=POLL)()
    return result


def forget(key: str) -> None:
    """Ends the measurement of this key, if any: its result is no longer needed."""
    _, measured = st.session_state.pop(key, (None, None))
    if measured is not None:
        measured.cancel()
