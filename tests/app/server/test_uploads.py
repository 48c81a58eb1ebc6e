"""Pictures of many visitors: two are decoded at a time, each file once, and refusals are remembered."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from streamlit.runtime.uploaded_file_manager import DeletedFile

from kdexplorer.app.parts import picture
from kdexplorer.app.server import uploads
from kdexplorer.app.server.streamlit_internals import MemoryUploadedFileManager, UploadedFileRec
from kdexplorer.errors import ImageError, ImageMemoryError


@pytest.fixture
def decoded(monkeypatch):
    """Stands in for the decoder, which fails where more than two use it at a time: the files that it was given."""
    uploads._decode.clear()
    calls, places = [], threading.BoundedSemaphore(2)

    def decode_sizes(data, sizes):
        calls.append(data)
        assert places.acquire(blocking=False)
        threading.Event().wait(0.02)
        places.release()
        if data.startswith(b"large") and calls.count(data) == 1:
            raise ImageMemoryError("There is too little memory.")
        if data.startswith(b"bad"):
            raise ImageError("This is not a readable image.")
        return {"crop": [np.full((size, size, 3), len(data), np.uint8) for size in sizes]}

    monkeypatch.setattr(uploads.decode, "decode_sizes", decode_sizes)
    return calls


def in_threads(files):
    """The first value of each file's picture, all decoded at once."""
    with ThreadPoolExecutor(len(files)) as pool:
        return list(pool.map(lambda data: uploads.decode_once(data)["crop"].pixels[0, 0, 0], files))


def test_two_pictures_are_decoded_at_a_time_and_the_same_file_once(decoded):
    files = [b"x" * count for count in range(1, 13)]
    assert in_threads(files) == list(range(1, 13))  # each visitor gets the right one
    assert sorted(decoded) == files
    decoded.clear()
    assert set(in_threads([b"same"] * 12)) == {4}
    assert len(decoded) <= uploads.AT_A_TIME  # those that began together
    decoded.clear()
    assert uploads.decode_once(b"same")["crop"].pixels.shape == (32, 32, 3)
    assert decoded == []


def test_a_refusal_is_remembered_with_its_reason_but_no_lack_of_memory(decoded):
    for _ in range(3):
        with pytest.raises(ImageError, match="not a readable image"):
            uploads.decode_once(b"bad")
    assert decoded == [b"bad"]
    with pytest.raises(ImageError, match="too little memory"):
        uploads.decode_once(b"large")
    assert uploads.decode_once(b"large")["crop"].pixels.shape == (32, 32, 3)


def test_old_uploads_are_forgotten_of_each_visitor_and_of_all(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UPLOADED_BYTES", 50)
    manager = MemoryUploadedFileManager("/upload")
    uploads.limit_uploads(manager)

    def send(session, name, size):
        manager.add_file(session, UploadedFileRec(name, name, "image/png", b"x" * size))

    def kept():
        return {session: sorted(files) for session, files in manager.file_storage.items() if files}

    for number in range(60):
        send("greedy", f"g{number:02}", 5)
    assert kept() == {"greedy": ["g57", "g58", "g59"]}
    for number in range(6):
        send(f"v{number}", "photo", 10)
    assert kept() == {f"v{number}": ["photo"] for number in range(1, 6)}
    send("large", "photo", 60)  # the latest stays, whatever its size
    assert kept() == {"large": ["photo"]}


def test_a_file_that_the_server_has_removed_changes_nothing_and_is_explained(monkeypatch):
    state = {"file": DeletedFile("an id")}
    monkeypatch.setattr(picture.st, "session_state", state)
    picture._take("file")
    assert state.keys() == {"file", picture._REFUSED}
    assert "Choose it again" in str(state[picture._REFUSED][1])


def test_who_waits_is_told_so_and_gives_the_place_back_also_by_a_click(decoded, monkeypatch):
    said = []

    @contextlib.contextmanager
    def spinner(text):
        said.append(text)
        uploads._slots.release()  # one of the others has finished
        yield
        raise InterruptedError  # Streamlit ends the run where the spinner does

    monkeypatch.setattr(uploads.st, "spinner", spinner)
    uploads.decode_once(b"first")
    assert said == []
    for _ in range(uploads.AT_A_TIME):
        uploads._slots.acquire()
    with pytest.raises(InterruptedError):
        uploads.decode_once(b"second")
    for _ in range(uploads.AT_A_TIME - 1):
        uploads._slots.release()
    assert len(said) == 1
    assert uploads._slots._value == uploads.AT_A_TIME
