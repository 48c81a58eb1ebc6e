"""What of Streamlit's protocol (1.67) the server depends on: what begins and ends a run, and what no page sends.

A version that has another protocol serves its pages as well, without turns, and the log says so once.
"""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

from kdexplorer.app.server.streamlit_internals import BackMsg, DecodeError, ForwardMsg

MESSAGE, VALUE, FILES = 256 * 1024, 64 * 1024, 64
"""Bytes of a message and of one widget's value (what was changed in a table, as JSON), and uploads of a message."""
BEGIN, END = {"rerun_script", "backend_operation_request"}, {"script_finished", "backend_operation_response"}
DROPPED = {"clear_cache", "load_git_info", "set_run_on_save", "debug_disconnect_websocket", "debug_shutdown_runtime"}
"""The first empties the caches of all visitors, the others are for developers."""
OPERATIONS = {"deferred_file", "dataframe_chunk"}
UNREADABLE = (AttributeError, ValueError, TypeError)


@functools.cache
def warn() -> None:
    """Says once that turns cannot be told."""
    logging.getLogger(__name__).warning(
        "Streamlit's protocol is not that of 1.67: pages wait for no turns, so one visitor can slow down all others."
    )


def read(data: bytes) -> str | None:
    """The kind of a browser's message, see `BEGIN`; None for one that the application must not see."""
    if len(data) > MESSAGE:
        return None
    try:
        message = BackMsg.FromString(data)
        kind = message.WhichOneof("type")
        is_known = (
            kind not in DROPPED
            and len(message.file_urls_request.file_names) <= FILES
            and message.backend_operation_request.WhichOneof("payload") in {None, *OPERATIONS}
            and all(map(_is_of_page, message.rerun_script.widget_states.widgets))
        )
        return kind if is_known else None
    except DecodeError:
        return None
    except UNREADABLE:
        warn()
        return "unknown"


def ends_run(data: bytes) -> bool:
    """Whether a message to the browser says that what `BEGIN` began has ended."""
    if len(data) > 4096:  # such a message is short
        return False
    try:
        message = ForwardMsg.FromString(data)
        again = message.script_finished == message.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
        return message.WhichOneof("type") in END and not again
    except (DecodeError, *UNREADABLE):
        warn()
        return True


def _is_of_page(widget: Any) -> bool:
    """Whether it has a widget's id, and a value that a browser sends."""
    numbers = widget.double_value, *widget.double_array_value.data
    return widget.id.startswith("$$") and widget.ByteSize() <= VALUE and all(map(math.isfinite, numbers))
