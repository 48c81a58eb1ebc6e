"""What is done to Streamlit's private parts: it still works, and does what it is for."""

from functools import partial
from types import SimpleNamespace

import pytest
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.state.safe_session_state import SafeSessionState
from streamlit.testing.v1 import AppTest

from kdexplorer.app.server import streamlit_internals
from kdexplorer.app.server.streamlit_internals import WStates


def script():
    import streamlit as st

    values = [
        st.slider("slider", 0, 9, 3), st.slider("range", 0, 9, (3, 5)), st.number_input("number", 0, 9, 4),
        st.number_input("decimal", 0.0, 9.0, 0.5), st.text_input("text", "words"), st.text_area("area", "more"),
        st.checkbox("box", True), st.toggle("toggle"), st.selectbox("one", ["a", "b"], 1),
        st.multiselect("many", ["a", "b"], ["b"]), st.segmented_control("segments", ["a", "b"], default="a"),
        st.pills("pills", ["a", "b"], selection_mode="multi"), st.select_slider("steps", ["a", "b"], "b"),
        st.button("button"), st.radio("radio", ["a", "b"]), st.data_editor([{"a": 1}]),
        st.date_input("date", "2026-01-02").isoformat(),
    ]  # fmt: skip
    st.json([str(value) for value in values])


def test_more_visitors_than_streamlits_128_may_come_back():
    manager = SimpleNamespace(_session_storage=MemorySessionStorage(ttl_seconds=77))
    streamlit_internals.keep_sessions(SimpleNamespace(_session_mgr=manager), 300)
    for number in range(301):
        manager._session_storage.save(SimpleNamespace(session=SimpleNamespace(id=str(number))))
    assert manager._session_storage.get("0") is None
    assert all(manager._session_storage.get(str(number)) for number in range(1, 301))
    assert manager._session_storage._cache.ttl == 77


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


KINDS = {
    "string_value": "x", "double_value": 0.5, "int_value": 7, "bool_value": True, "trigger_value": True,
    "json_value": "[{]", "string_trigger_value": {"data": "x"}, "string_array_value": {"data": ["x"]},
    "double_array_value": {"data": [0.5, 9.0]}, "int_array_value": {"data": [1, 2, 3]},
    "file_uploader_state_value": {"uploaded_file_info": [{"file_id": "x"}]}, "json_trigger_value": "{}",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_kind_counts_as_not_sent(monkeypatch, kind):
    monkeypatch.setattr(WStates, "__getitem__", WStates.__getitem__)  # restored afterwards
    streamlit_internals.ignore_other_kinds()
    at = AppTest.from_function(script, default_timeout=60).run()
    begin, states = at.json[0].value, at._tree.get_widget_states()
    kinds = {one.id: one.WhichOneof("value") for one in states.widgets}
    states.ClearField("widgets")
    whole = ("double_value", "int_value")  # as a browser sends numbers that are typed
    for name in [name for name, own in kinds.items() if own != kind and (own, kind) != whole]:
        states.widgets.add(id=name, **{kind: KINDS[kind]})
    assert len(states.widgets) > 8
    at._run(states)
    assert not at.exception
    assert at.json[0].value == begin


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
