"""Everything private of Streamlit (1.67) and its server that the application uses, and what breaks when it changes.

Other modules import Streamlit's public names only. When the requirement on Streamlit is raised, this file is what has
to be read again; `tests/test_structure.py` finds private imports anywhere else.

Where `BackMsg` and `ForwardMsg`, the messages between browser and server, change, pages still work, but what no page
sends is not recognized, nor the end of a page's run. Without `MemoryUploadedFileManager` and `UploadedFileRec` uploads
would stay in memory until their visitors have left. Each function says what happens otherwise.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections import deque
from contextvars import ContextVar
from functools import partial
from typing import Any, cast

from google.protobuf.message import DecodeError as DecodeError  # type: ignore[import-untyped]
from streamlit import net_util
from streamlit.proto.BackMsg_pb2 import BackMsg as BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg as ForwardMsg
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.runtime.state.session_state import Serialized, WStates
from streamlit.runtime.uploaded_file_manager import UploadedFileRec as UploadedFileRec

from kdexplorer.app.server.turns import later


def ask_no_host() -> None:
    """Lets Streamlit not ask another host for this server's address, which it would do for each unknown `Origin`."""
    net_util.get_external_ip = lambda: None


begins_nothing = ContextVar("begins_nothing", default=False)
"""Whether a connection's last message asked for a fragment that does not exist, so that nothing runs."""


def notice_missing_fragments() -> None:
    """Sets `begins_nothing` while a message is handled, so that who asks for such fragments holds no turns."""
    has_fragment = AppSession.has_fragment

    def has_and_notice(self: AppSession, fragment_id: str) -> bool:
        found = has_fragment(self, fragment_id)
        begins_nothing.set(not found)
        return found

    AppSession.has_fragment = has_and_notice  # type: ignore[method-assign]


def expect_no_page() -> None:
    """Lets Streamlit not warn, at each start, of a spinner that no page shows while something is loaded ahead."""
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel(logging.ERROR)


def goes_back() -> bool:
    """Whether the page runs because of the browser's Back or Forward, which takes back what was chosen since."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def ignore_other_kinds() -> None:
    """A widget's value of another kind than the widget has, text for a slider, counts as not sent.

    It would end its visitor's page with an error.
    """
    get = WStates.__getitem__

    def get_own_kind(self: WStates, key: str) -> Any:
        sent, widget = self.states.get(key), self.widget_metadata.get(key)
        if isinstance(sent, Serialized) and widget:
            kinds = (None, widget.value_type, *(("int_value",) if widget.value_type == "double_value" else ()))
            if sent.value.WhichOneof("value") not in kinds:  # a browser sends whole numbers of a number field as such
                raise KeyError(key)
        return get(self, key)

    WStates.__getitem__ = get_own_kind  # type: ignore[method-assign]


def read_state_again() -> None:
    """All of a visitor's state is read once more where it was changed meanwhile.

    A click begins a run before the one that it interrupts has ended, which would end with a traceback in the log.
    """
    get: Any = SafeSessionState.filtered_state.fget  # type: ignore[attr-defined]

    def get_again(self: SafeSessionState) -> dict[str, Any]:
        for _ in range(3):
            with contextlib.suppress(RuntimeError, KeyError):
                return cast(dict[str, Any], get(self))
        return cast(dict[str, Any], get(self))

    SafeSessionState.filtered_state = property(get_again)  # type: ignore[method-assign, assignment]


def remove_upload(file_id: str) -> None:
    """Frees an upload of the visitor for whom a page runs, which each run would decode; its widget then has no file."""
    context = get_script_run_ctx()
    if context is not None:
        cast(MemoryUploadedFileManager, context.uploaded_file_mgr).remove_file(context.session_id, file_id)


def keep_sessions(runtime: Runtime, most: int) -> None:
    """Lets so many visitors whose connection broke come back to what they had chosen, instead of 128."""
    manager: Any = runtime._session_mgr
    manager._session_storage = MemorySessionStorage(most, manager._session_storage._cache.ttl)


def add_media(data: bytes, mime_type: str, place: str) -> str:
    """The path of these bytes, which contains their hash, or "" outside a server.

    It is valid as long as a page that uses it is open. `place` is the element that uses it, which has one at a time.
    """
    return Runtime.instance().media_file_mgr.add(data, mime_type, place) if Runtime.exists() else ""


def keep_downloads(manager: MediaFileManager, seconds: float = 30.0, most: int = 8) -> None:
    """Keeps what a download button has made for so long, the latest `most` files.

    Streamlit counts such a file as nobody's: it is deleted when any two visitors' pages have been drawn since, which in
    a full room may be before the browser asks for it.
    """
    execute, holders = manager.execute_deferred, deque[str]()

    def execute_and_keep(file_id: str) -> str:
        url, holder = execute(file_id), f"download {uuid.uuid4().hex}"
        with manager._lock:
            files = manager._files_by_session_and_coord
            files[holder]["file"] = url.rpartition("/")[2].partition(".")[0]
            holders.append(holder)
            while len(holders) > most:
                files.pop(holders.popleft(), None)
        later(seconds, partial(manager.clear_session_refs, holder))
        return url

    manager.execute_deferred = execute_and_keep  # type: ignore[method-assign]


def server_settings(receive: Any) -> Any | None:
    """uvicorn's (0.54) `Config`, or None where the server is another one or has changed: connections are not watched.

    Streamlit starts the server and passes no settings on. While the application's lifespan begins, the server reads its
    protocol's class and the length of its queue only afterwards, and the lifespan's `receive` is a method of an object
    that has the settings.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    return config if isinstance(getattr(config, "http_protocol_class", None), type) else None
