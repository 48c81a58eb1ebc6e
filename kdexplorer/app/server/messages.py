"""What a browser may send over its connection. Anything else is dropped before the application sees it.

Every value of every widget arrives here. The bounds hold for all widgets, whatever the page would do with their values;
what a value means is checked where it is used. A page that is used as intended stays far below them.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any

from kdexplorer.app.server.streamlit_internals import BackMsg, ClientState, DecodeError, ForwardMsg, WidgetState

MESSAGE = 256 * 1024
"""Bytes of a message."""
WIDGETS = 512
"""Widgets of a page that have a value."""
ITEMS = 64
"""Values of a widget with several, chosen options for example."""
ITEM = 300
"""Characters of one of several values."""
TEXT = 64 * 1024
"""Characters of one value; the longest is what was changed in a table, as JSON."""
NAME = 512
"""Characters of an identifier."""
ID = "$$"
"""With what Streamlit's (1.67) identifiers of widgets begin. A state under any other name is an error of the page."""
QUERY = 8 * 1024
"""Characters behind the `?` of a link."""
HASHES = 4096
"""Messages that a browser has kept."""

KINDS = {"rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "backend_operation_request"}
"""What is left out: `clear_cache` empties the caches of all visitors, and the others are for developers."""
WORK = {"rerun_script", "backend_operation_request"}
"""What lets the server compute."""
_OPERATIONS = {"deferred_file", "dataframe_chunk"}
_END = {"script_finished", "backend_operation_response"}


def read(data: bytes) -> str | None:
    """The kind of a browser's message (see `KINDS`), or None for one that the application must not see."""
    if len(data) > MESSAGE:
        return None
    try:
        message = BackMsg.FromString(data)
    except DecodeError:
        return None
    kind = message.WhichOneof("type")
    if kind == "rerun_script":
        allowed = _is_bounded(message.rerun_script)
    elif kind == "file_urls_request":
        request = message.file_urls_request
        allowed = _fits(ITEMS, request.file_names) and _fits(NAME, request.request_id, *request.file_names)
    elif kind == "backend_operation_request":
        allowed = message.backend_operation_request.WhichOneof("payload") in _OPERATIONS
    else:
        allowed = kind in KINDS
    return kind if allowed else None


def ends_work(data: bytes) -> bool:
    """Whether a message to the browser says that what `WORK` began has ended."""
    if len(data) > 4096:  # such a message is short
        return False
    message = ForwardMsg.FromString(data)
    again = message.script_finished == ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN
    return message.WhichOneof("type") in _END and not again


def _is_bounded(state: ClientState) -> bool:
    widgets = state.widget_states.widgets
    return (
        _fits(QUERY, state.query_string)
        and _fits(NAME, state.page_script_hash, state.page_name, state.fragment_id, *state.cached_message_hashes)
        and _fits(HASHES, state.cached_message_hashes)
        and _fits(WIDGETS, widgets)
        and all(widget.id.startswith(ID) and _fits(NAME, widget.id) and _is_value_bounded(widget) for widget in widgets)
    )


def _is_value_bounded(widget: WidgetState) -> bool:
    kind = widget.WhichOneof("value")
    value: Any = None if kind is None else getattr(widget, kind)
    if kind in (None, "trigger_value", "bool_value", "int_value"):
        return True
    if kind == "double_value":
        return math.isfinite(widget.double_value)
    if kind in ("string_value", "json_value", "json_trigger_value"):
        return _fits(TEXT, value)
    if kind == "string_array_value":
        return _fits(ITEMS, value.data) and _fits(ITEM, *value.data)
    if kind in ("double_array_value", "int_array_value"):
        return _fits(ITEMS, value.data) and all(map(math.isfinite, value.data))
    if kind == "file_uploader_state_value":
        return _fits(ITEMS, value.uploaded_file_info)
    return False  # no page has a widget with such a value


def _fits(limit: int, *values: Sized) -> bool:
    return all(len(value) <= limit for value in values)
