"""What is done to Streamlit's private parts: it still works, and does what it is for."""

from functools import partial
from types import SimpleNamespace

from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.state.safe_session_state import SafeSessionState

from kdexplorer.app.server import streamlit_internals


def test_a_state_that_is_changed_while_it_is_read_is_read_again(monkeypatch):
    class Changing:
        reads = 0

        @property
        def filtered_state(self):
            self.reads += 1
            if self.reads == 1:
                raise RuntimeError("Set changed size during iteration")
            return {"T": self.reads}

    monkeypatch.setattr(SafeSessionState, "filtered_state", SafeSessionState.filtered_state)  # restored afterwards
    streamlit_internals.read_state_again()
    assert SafeSessionState(Changing(), lambda: None).filtered_state == {"T": 2}


def test_what_a_download_button_has_made_outlives_other_visitors_pages(monkeypatch):
    manager = MediaFileManager(storage=MemoryMediaFileStorage("/media"))
    monkeypatch.setattr("streamlit.runtime.media_file_manager._get_session_id", lambda: "visitor")
    streamlit_internals.keep_downloads(manager, most=2)

    def make(content):
        deferred = manager.add_deferred(lambda: content, "text/plain", content, content)
        return manager.execute_deferred(deferred).rpartition("/")[2]

    files = [make(content) for content in ("a", "b", "c")]
    for _ in range(3):  # pages that others draw
        manager.remove_orphaned_files()
    assert [manager._storage.get_file(file).content for file in files[1:]] == [b"b", b"c"]
    for holder in [*manager._files_by_session_and_coord]:
        manager.clear_session_refs(holder)
    for _ in range(3):
        manager.remove_orphaned_files()
    assert not manager._file_metadata


def test_a_fragment_that_does_not_exist_is_noticed_and_nothing_runs(monkeypatch):
    monkeypatch.setattr(AppSession, "has_fragment", AppSession.has_fragment)
    streamlit_internals.notice_missing_fragments()
    session = SimpleNamespace(_state=None, _fragment_storage=SimpleNamespace(contains={"here"}.__contains__))
    session.has_fragment = partial(AppSession.has_fragment, session)
    AppSession.request_rerun(session, ClientState(fragment_id="gone"))  # it would need much more to run anything
    assert streamlit_internals.begins_nothing.get()
    assert session.has_fragment("here")
    assert not streamlit_internals.begins_nothing.get()
