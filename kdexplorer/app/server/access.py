"""Who may start, stop, resume, delete and download. Everyone may look.

A server that accepts connections from this machine alone lets every visitor act. Any other server requires
the presenter token; without a token these actions are disabled. A token that is set is required on localhost too:
behind a proxy every visitor seems to come from there. Without a token a request that was forwarded, that names another
host than localhost (a site whose name was made to point here), or that no page of this server has sent (one on another
port of this machine, for example, or a program behind a proxy that says nothing of itself) is not the presenter's.

The proof that a visitor has entered the token holds for the browser in which it was entered: a session's id stands in
addresses, and whoever knows it can take over the session, but not the browser's cookie.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import streamlit as st

from kdexplorer.app.layout import as_text
from kdexplorer.app.server import turns
from kdexplorer.app.server.headers import COOKIE, LOCAL
from kdexplorer.app.server.refusals import log_refusal
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import bundled_root
from kdexplorer.runs.run_folder import imported_root, runs_root

VARIABLE = "KDEXPLORER_PRESENTER_TOKEN"
PAUSE = 1.0
"""Seconds that a wrong attempt takes, one at a time for all visitors of an address."""
MIN_TOKEN = 16
"""Characters of the presenter token: the right one is never delayed, so it must not be guessable."""
FORWARDING = re.compile(r"forward|proxy|^via$|(^|-)ip$|^x-(envoy|amzn?|azure|arr|original|scheme)|^cf-|^cdn-", re.I)
"""Names of headers that a proxy adds."""
FOLDERS = re.compile(r"""(?<![\w./~])/(?!/)(?:(?:[^\s/"']+ ){0,2}[^\s/"']+/)+""")
"""The folders of an absolute path in a text; their names may have a few spaces."""

DISABLED = (
    "Everyone may look. Training, stopping and deleting are disabled on this server. To enable them, set "
    f"{VARIABLE} (or `presenter_token` in Streamlit's secrets) and restart the application."
)
T = TypeVar("T")
_PROOF = "presenter_proof"
_failures = tuple(threading.Lock() for _ in range(64))
"""By the hash of an address."""


class NotPresenterError(KDError):
    """The visitor may look but not act."""


def is_allowed(
    address: str | None,
    token: str | None,
    proof: str | None,
    headers: Mapping[str, str] | None = None,
    cookie: str = "",
) -> bool:
    """Whether a visitor may act.

    The address is the server's (`server.address`), None is every one; the proof is what `prove` returned; the headers
    are those of the visitor's request, and the cookie is that of the browser (`headers.COOKIE`).
    """
    if token is None:
        return address in LOCAL and (not headers or _is_from_this_machine(headers))
    return proof is not None and cookie != "" and hmac.compare_digest(proof, _digest(token, cookie))


def _is_from_this_machine(headers: Mapping[str, str]) -> bool:
    """Whether a browser on this machine sent the request, a WebSocket's, from a page of this server."""
    host, origin = headers.get("Host", "").strip().lower(), headers.get("Origin", "")
    if any(FORWARDING.search(name) for name in headers):
        return False
    name = (host.rpartition(":")[0] or host).strip("[]")
    return name in LOCAL and origin.partition("://")[2].lower() == host


def prove(attempt: str, token: str, visitor: str = "", cookie: str = "") -> str:
    """Compares an attempt with the token in constant time and returns the proof to store; only a wrong one waits.

    The proof is a hash: neither a session nor a page contains the token itself. It holds for the browser with this
    cookie alone. Wrong attempts of one address, the visitor's, wait for one another.

    Raises NotPresenterError when it is not the token, or the browser has no cookie.
    """
    proof = _digest(attempt[:1000], cookie)
    if hmac.compare_digest(proof, _digest(token, cookie)):
        if not cookie:
            raise NotPresenterError(
                "Allow cookies for this page and reload it: the token is remembered for one browser."
            )
        return proof
    lock = _failures[hash(visitor) % len(_failures)]
    turns.own().step_aside()
    if lock.acquire(timeout=10 * PAUSE):
        try:
            time.sleep(PAUSE)
        finally:
            lock.release()
    raise NotPresenterError("This is not the presenter token.")


def check_token() -> None:
    """Ends the program with an explanation where the presenter token is too short. Raises SystemExit."""
    token = _token()
    if token is not None and len(token) < MIN_TOKEN:
        raise SystemExit(
            f"The presenter token has {len(token)} characters; it needs {MIN_TOKEN} at least. Make one with: "
            'python3 -c "import secrets; print(secrets.token_urlsafe(18))"'
        )


def _digest(text: str, cookie: str) -> str:
    key = b"kdexplorer presenter\0" + cookie.encode(errors="replace")
    return hmac.new(key, text.encode(errors="replace"), hashlib.sha256).hexdigest()


def _cookie() -> str:
    return st.context.cookies.get(COOKIE, "")


def _token() -> str | None:
    """The presenter token: from the environment, else from Streamlit's secrets."""
    secret = None
    with contextlib.suppress(FileNotFoundError, KeyError):
        secret = str(st.secrets["presenter_token"])
    return os.environ.get(VARIABLE) or secret or None


def is_presenter() -> bool:
    """Whether this visitor may act."""
    headers, cookie, token = st.context.headers, _cookie(), _token()
    proof = st.session_state.get(_PROOF)  # last: it ends the run of who has left, who had no headers to refuse them by
    may_act = is_allowed(st.get_option("server.address"), token, proof, headers, cookie)
    if may_act:
        turns.own().browser.is_presenter = True
    return may_act


def visitor() -> turns.Visitor:
    """This visitor, who may be the presenter, in the order of turns."""
    is_presenter()  # if so, it is noted there
    return turns.own()


def hide_folders(text: str) -> str:
    """A text as this visitor may read it: only the presenter sees where this machine has its files."""
    if is_presenter():
        return text
    for root in (bundled_root(), imported_root(), runs_root()):
        text = text.replace(f"{root}/", "")
    return FOLDERS.sub("", text)


def show_error(error: Exception) -> None:
    """Shows an error's message on the page."""
    st.error(as_text(hide_folders(str(error))))


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
        show_error(error)
        return
    if confirmation:
        st.toast(confirmation)
    st.rerun()


def offer_deletion(label: str, question: str, key: str, delete: Callable[[], object], done: str = "") -> None:
    """A button that asks, and one with this key that deletes; nothing for a visitor without the right.

    The question is Markdown, with what is lost; `done` is said afterwards.
    """
    if not is_presenter():
        return
    with st.popover(label, icon=":material/delete:"):
        st.markdown(question)
        if st.button("Yes, delete", key=key, type="primary"):
            act_and_rerun(delete, done)


def show_login() -> None:
    """For a visitor who may not act: the field for the token, or how to enable the actions."""
    token = _token()
    if is_presenter():
        return
    with st.expander("For the presenter"):
        if token is None:
            st.info(DISABLED)
            return
        with st.form("presenter", clear_on_submit=True, border=False):
            st.markdown("Everyone may look. Training, stopping and deleting need the presenter token.")
            attempt = st.text_input("Presenter token", type="password", autocomplete="off", max_chars=1000)
            if st.form_submit_button("Enter") and attempt:
                try:
                    st.session_state[_PROOF] = prove(attempt, token, st.context.ip_address or "", _cookie())
                except NotPresenterError as error:
                    log_refusal(st.context.ip_address, "a wrong presenter token")
                    show_error(error)
                else:
                    st.rerun()
