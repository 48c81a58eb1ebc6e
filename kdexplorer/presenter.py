"""Who may launch, stop, resume, discard and download. Everyone may look.

Where the server listens on this machine alone, whoever sits there is the presenter. Elsewhere it takes the presenter
token, and with no token set those actions are off. A token that is set is asked for on localhost too: behind a proxy
every visitor seems to come from there. And where a browser came under another name than localhost (through a proxy, or
on a foreign page that lets its own name point here), it is not somebody who sits at this machine.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time

from kdexplorer.errors import KDError

VARIABLE = "KDEXPLORER_PRESENTER_TOKEN"
LOCAL = ("localhost", "127.0.0.1", "::1")
PAUSE = 1.0
"""Seconds that every attempt takes, one at a time for all visitors: a token of 20 letters is out of reach."""

_attempts = threading.Lock()


class NotPresenterError(KDError):
    """The visitor may look, not act."""


def token(secret: str | None = None) -> str | None:
    """The presenter token: from the environment, else `secret` (Streamlit's), else None."""
    return os.environ.get(VARIABLE) or secret or None


def allowed(address: str | None, token: str | None, proof: str | None, host: str | None = None) -> bool:
    """The rule.

    Args:
        address: where the server listens (`server.address`); None is every address.
        token: the presenter token, or None where none is set.
        proof: what `prove` gave this visitor, or None.
        host: the Host header under which the visitor came, or None where there is none.
    """
    if token is None:
        name = None if host is None else host.strip().rpartition(":")[0] or host.strip()
        return address in LOCAL and (name is None or name.strip("[]") in LOCAL)
    return proof is not None and hmac.compare_digest(proof, _digest(token))


def prove(given: str, token: str) -> str:
    """Compares an attempt with the token, in constant time and slowly, and returns the proof to keep.

    The proof is a hash: neither a session nor a page ever holds the token itself.

    Raises:
        NotPresenterError: when it is not the token, or too many attempts are waiting.
    """
    if not _attempts.acquire(timeout=10 * PAUSE):
        raise NotPresenterError("Many are trying at once: wait a minute and try again.")
    try:
        time.sleep(PAUSE)
    finally:
        _attempts.release()
    proof = _digest(given[:1000])
    if not hmac.compare_digest(proof, _digest(token)):
        raise NotPresenterError("This is not the presenter token.")
    return proof


def _digest(text: str) -> str:
    return hashlib.sha256(b"kdexplorer presenter\0" + text.encode(errors="replace")).hexdigest()
