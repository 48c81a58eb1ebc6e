"""What the start of the application sets for the whole server, beyond what a page can see."""

import asyncio
import resource
import runpy
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.memory_session_storage import MemorySessionStorage

from kdexplorer import processes
from kdexplorer.app.server import turns, uploads
from kdexplorer.app.server.streamlit_internals import MemoryUploadedFileManager, Runtime, UploadedFileRec

START = Path(__file__).resolve().parents[2] / "streamlit_app.py"


@pytest.mark.anyio
async def test_the_server_forgets_uploads_keeps_more_sessions_than_128_and_has_threads(monkeypatch):
    manager = MemoryUploadedFileManager("/upload")
    media = MediaFileManager(storage=MemoryMediaFileStorage("/media"))
    sessions = SimpleNamespace(_session_storage=MemorySessionStorage(ttl_seconds=77))
    runtime = SimpleNamespace(uploaded_file_mgr=manager, media_file_mgr=media, _session_mgr=sessions)
    monkeypatch.setattr(Runtime, "instance", lambda: runtime)
    monkeypatch.setattr(sys, "argv", [str(START)])
    prepare = runpy.run_path(str(START))["prepare"]
    async with prepare(None):
        for number in range(uploads.FILES_OF_A_VISITOR + 2):
            manager.add_file("visitor", UploadedFileRec(f"f{number}", "x.png", "image/png", b"x"))
        together = threading.Barrier(turns.COMPUTATIONS)
        await asyncio.gather(*(asyncio.to_thread(together.wait, 60) for _ in range(turns.COMPUTATIONS)))
    assert sorted(manager.file_storage["visitor"]) == ["f2", "f3", "f4"]
    kept = sessions._session_storage
    for number in range(501):  # who may come back
        kept.save(SimpleNamespace(session=SimpleNamespace(id=str(number))))
    assert [number for number in range(501) if kept.get(str(number)) is None] == [0]
    assert kept._cache.ttl == 77


@pytest.mark.parametrize(
    ("hard", "most", "limit"),
    [(4096, 4096, 4096), (4096, 0, 256), (resource.RLIM_INFINITY, 10_240, 10_240)],
    ids=["raised", "refused", "as macOS"],
)
def test_the_limit_of_open_files_is_raised_as_far_as_the_system_allows(monkeypatch, hard, most, limit):
    limits = []

    def set_limit(kind, pair):
        if pair[0] == resource.RLIM_INFINITY or pair[0] > most:
            raise ValueError
        limits.append((kind, pair))

    monkeypatch.setattr(resource, "getrlimit", lambda kind: (256, hard))
    monkeypatch.setattr(resource, "setrlimit", set_limit)
    assert processes.raise_file_limit() == limit
    assert limits == [(resource.RLIMIT_NOFILE, (limit, hard))] * (limit > 256)
