"""Access control on the pages: everyone may look, only the presenter may start, stop and delete; see `access_rules`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from kdexplorer.app import access_rules
from kdexplorer.errors import KDError

T = TypeVar("T")
_PROOF = "presenter_proof"
DISABLED = (
    "Everyone may look. Training, stopping and deleting are disabled on this server. To enable them, set "
    f"{access_rules.VARIABLE} (or `presenter_token` in Streamlit's secrets) and restart the application."
)


def is_presenter() -> bool:
    """Whether this visitor may act."""
    host = st.context.headers.get("Host")
    return access_rules.is_allowed(st.get_option("server.address"), _token(), st.session_state.get(_PROOF), host)


def act(action: Callable[[], T]) -> T:
    """Carries out an action that only the presenter may start. Raises NotPresenterError for anyone else."""
    if not is_presenter():
        raise access_rules.NotPresenterError(DISABLED if _token() is None else "Enter the presenter token first.")
    return action()


def act_and_rerun(action: Callable[[], object], confirmation: str = "") -> None:
    """Carries out an action, confirms it and runs the page again; where that is not possible, it says why."""
    try:
        act(action)
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
                st.session_state[_PROOF] = access_rules.prove(attempt, token)
            except access_rules.NotPresenterError as error:
                st.error(str(error))
            else:
                st.rerun()


def _token() -> str | None:
    secret = None
    with contextlib.suppress(FileNotFoundError, KeyError):
        secret = str(st.secrets["presenter_token"])
    return access_rules.find_token(secret)
