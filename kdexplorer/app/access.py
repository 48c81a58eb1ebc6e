"""Who may start, stop, resume, delete and download. Everyone may look.

A server that accepts connections from this machine alone lets every visitor act. Any other server requires
the presenter token; without a token these actions are disabled. A token that is set is required on localhost too:
behind a proxy every visitor seems to come from there. A browser that uses another host name than localhost (through a
proxy, or on another site whose name was made to point here) is not on this machine either.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from kdexplorer.errors import KDError

VARIABLE = "KDEXPLORER_PRESENTER_TOKEN"
LOCAL = ("localhost", "127.0.0.1", "::1")
PAUSE = 1.0
"""Seconds that every attempt takes, one at a time for all visitors: a token of 20 letters cannot be guessed."""

DISABLED = (
    "Everyone may look. Training, stopping and deleting are disabled on this server. To enable them, set "
    f"{VARIABLE} (or `presenter_token` in Streamlit's secrets) and restart the application."
)
T = TypeVar("T")
_PROOF = "presenter_proof"
_attempts = threading.Lock()


class NotPresenterError(KDError):
    """The visitor may look but not act."""


def is_allowed(address: str | None, token: str | None, proof: str | None, host: str | None = None) -> bool:
    """Whether a visitor may act.

    Args:
        address: the server's address (`server.address`); None is every address.
        token: the presenter token, or None where none is set.
        proof: what `prove` returned for this visitor, or None.
        host: the Host header of the visitor's request, or None where there is none.
    """
    if token is None:
        name = None if host is None else host.strip().rpartition(":")[0] or host.strip()
        return address in LOCAL and (name is None or name.strip("[]") in LOCAL)
    return proof is not None and hmac.compare_digest(proof, _digest(token))


def prove(attempt: str, token: str) -> str:
    """Compares an attempt with the token, slowly and in constant time, and returns the proof to store.

    The proof is a hash: neither a session nor a page contains the token itself.

    Raises:
        NotPresenterError: when it is not the token, or too many attempts are waiting.
    """
    if not _attempts.acquire(timeout=10 * PAUSE):
        raise NotPresenterError("Too many attempts at once. Wait a minute and try again.")
    try:
        time.sleep(PAUSE)
    finally:
        _attempts.release()
    proof = _digest(attempt[:1000])
    if not hmac.compare_digest(proof, _digest(token)):
        raise NotPresenterError("This is not the presenter token.")
    return proof


def _digest(text: str) -> str:
    return hashlib.sha256(b"kdexplorer presenter\0" + text.encode(errors="replace")).hexdigest()


def _token() -> str | None:
    """The presenter token: from the environment, else from Streamlit's secrets."""
    secret = None
    with contextlib.suppress(FileNotFoundError, KeyError):
        secret = str(st.secrets["presenter_token"])
    return os.environ.get(VARIABLE) or secret or None


def is_presenter() -> bool:
    """Whether this visitor may act."""
    host = st.context.headers.get("Host")
    return is_allowed(st.get_option("server.address"), _token(), st.session_state.get(_PROOF), host)


def act_if_presenter(action: Callable[[], T]) -> T | None:
    """Carries out an action that a page begins by itself; None for a visitor who may not act."""
    return action() if is_presenter() else None


def act_and_rerun(action: Callable[[], object], confirmation: str = "") -> None:
    """Carries out an action that only the presenter may start, confirms it and runs the page again, or says why not."""
    try:
        if not is_presenter():
            raise NotPresenterError(DISABLED if _token() is None else "Enter the presenter token first.")
        action()
    except (KDError, OSError) as error:
        st.error(str(error))
        return
    if confirmation:
        st.toast(confirmation)
    st.rerun()


def show_login() -> None:
    """For a visitor who may not act: the field for the token, or how to enable the actions."""
    token = _token()
    if is_presenter():
        return
    if token is None:
        st.info(DISABLED)
        return
    with st.form("presenter", clear_on_submit=True, border=True):
        st.markdown("Everyone may look. Training, stopping and deleting need the presenter token.")
        attempt = st.text_input("Presenter token", type="password", autocomplete="off", max_chars=1000)
        if st.form_submit_button("Enter") and attempt:
            try:
                st.session_state[_PROOF] = prove(attempt, token)
            except NotPresenterError as error:
                st.error(str(error))
            else:
                st.rerun()
