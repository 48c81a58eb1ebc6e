"""The log of what is refused: each sentence once per address and minute, so that nobody can fill the disk with it."""

from __future__ import annotations

import functools
import ipaddress
import logging
import threading
import time
import traceback
from collections.abc import Hashable

PERIOD = 60.0
KEPT = 4096
"""Sentences that are remembered; beyond that, nothing new is logged until the period has passed."""

logger = logging.getLogger("kdexplorer.server")
_lock, _seen = threading.Lock(), dict[Hashable, float]()
"""When a sentence was logged, the oldest first."""


class OncePerMinute(logging.Filter):
    """For loggers, of libraries too, that would write a line for each refused or faulty request or connection."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the same sentence, whatever stands in its gaps, was not logged within the last `PERIOD`."""
        if record.levelno < logging.WARNING:
            return True
        _, error, frames = record.exc_info or (None, None, None)
        places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(frames)[-2:]]
        sentence, now = (record.name, str(record.msg), type(error), *places), time.monotonic()
        with _lock:
            while _seen and now - next(iter(_seen.values())) > PERIOD:
                del _seen[next(iter(_seen))]
            if sentence in _seen or len(_seen) >= KEPT:
                return False
            _seen[sentence] = now
            return True


logger.addFilter(OncePerMinute())


@functools.lru_cache(maxsize=4096)
def network_of(address: str | None) -> str:
    """What stands for one visitor's network: an IPv4 address, or the first 64 bits of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return (address or "unknown")[:100]
    found = getattr(found, "ipv4_mapped", None) or found
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def log_refusal(address: str | None, sentence: str) -> None:
    """Warns in the log that something from an address is refused; at most once per address, sentence and minute.

    The sentence is one of few: it contains nothing that a visitor has chosen.
    """
    logger.warning(f"{network_of(address)}: {sentence} (the next minute's are not logged)")
