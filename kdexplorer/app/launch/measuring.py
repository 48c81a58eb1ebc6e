"""A measurement of the time that something takes, in processes of its own: a page follows it until it has ended."""

from __future__ import annotations

import contextlib
from typing import Protocol

import streamlit as st

from kdexplorer.errors import KDError


class Measured(Protocol):
    """What is measured; `poll` returns None until it has ended, and raises KDError where it failed."""

    def poll(self) -> object | None: ...

    def describe(self) -> str: ...

    def cancel(self) -> None: ...


def wait_for(measured: Measured) -> None:
    """A fragment: says how far it is, and runs the page again once it has ended."""
    with contextlib.suppress(KDError):
        if measured.poll() is None:
            st.markdown(f":material/timer: {measured.describe()}")
            return
    st.rerun()


def forget(key: str) -> None:
    """Ends the measurement that the session has under this key, if any: its result is no longer needed."""
    if (measured := st.session_state.pop(key, None)) is not None:
        measured.cancel()
