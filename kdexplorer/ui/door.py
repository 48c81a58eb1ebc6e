"""The presenter's door: the one place through which a page does what not everyone may do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from kdexplorer import presenter
from kdexplorer.errors import KDError

T = TypeVar("T")
_PROOF = "presenter_proof"
WHY_NOT = (
    "Everyone may look. Training, stopping and deleting are the presenter's on this server. "
    f"To turn them on, set {presenter.VARIABLE} (or `presenter_token` in Streamlit's secrets) and start it again."
)


def is_presenter() -> bool:
    """Whether this visitor may act."""
    host = st.context.headers.get("Host")
    return presenter.allowed(st.get_option("server.address"), _token(), st.session_state.get(_PROOF), host)


def act(action: Callable[[], T]) -> T:
    """Carries out an action of the presenter's. Raises NotPresenterError for anyone else."""
    if not is_presenter():
        raise presenter.NotPresenterError(WHY_NOT if _token() is None else "Enter the presenter token first.")
    return action()


def carry_out(action: Callable[[], object], words: str = "") -> None:
    """Carries out an action of the presenter's, says `words` and runs the page again; or says why it did not."""
    try:
        act(action)
    except (KDError, OSError) as error:
        st.error(str(error))
        return
    if words:
        st.toast(words)
    st.rerun()


def ask() -> None:
    """Draws what a visitor who may not act needs: the field for the token, or how to turn the actions on."""
    token = _token()
    if is_presenter():
        return
    if token is None:
        st.info(WHY_NOT)
        return
    with st.form("presenter", clear_on_submit=True, border=True):
        st.markdown("Everyone may look. Training, stopping and deleting need the presenter token.")
        given = st.text_input("Presenter token", type="password", autocomplete="off", max_chars=1000)
        if st.form_submit_button("Enter") and given:
            try:
                st.session_state[_PROOF] = presenter.prove(given, token)
            except presenter.NotPresenterError as error:
                st.error(str(error))
            else:
                st.rerun()


def _token() -> str | None:
    secret = None
    with contextlib.suppress(FileNotFoundError, KeyError):
        secret = str(st.secrets["presenter_token"])
    return presenter.token(secret)
