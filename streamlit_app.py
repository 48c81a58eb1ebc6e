"""Starts the application: `streamlit run streamlit_app.py`, with `-- --story FILE` for a lecture of your own."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

import kdexplorer
from kdexplorer.app import audience, layout
from kdexplorer.app.server import memory, turns
from kdexplorer.app.server.access import check_token
from kdexplorer.app.server.connections import Connections
from kdexplorer.app.server.guard import Guard
from kdexplorer.app.server.headers import Gate
from kdexplorer.app.server.page_files import PageFiles
from kdexplorer.app.server.streamlit_internals import (
    MemoryUploadedFileManager,
    Runtime,
    ask_no_host,
    ignore_other_kinds,
    keep_downloads,
    keep_sessions,
    notice_missing_fragments,
    read_state_again,
)
from kdexplorer.app.server.uploads import limit_uploads
from kdexplorer.app.state import cached
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.processes import call_libc, limit_thread_spinning
from kdexplorer.story import check_file


@asynccontextmanager
async def prepare(_: st.App) -> AsyncIterator[None]:
    """What holds for the server as a whole."""
    runtime = Runtime.instance()
    limit_uploads(cast(MemoryUploadedFileManager, runtime.uploaded_file_mgr))
    keep_downloads(runtime.media_file_mgr)
    keep_sessions(runtime, 500)  # who may come back (`.streamlit/config.toml`): a room whose phones turn dark at once
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(turns.COMPUTATIONS + 16, "download"))
    ahead = memory.load_ahead(partial(cached.gallery, Cifar10.key))
    tasks = [asyncio.create_task(one) for one in (ahead, memory.tidy(cached.Network.network.clear))]
    yield
    for task in tasks:
        task.cancel()


def redirect_to_start(request: Request) -> RedirectResponse:
    """The first page has no name in its address, but people write it as they write the others."""
    return RedirectResponse(f"{layout.with_base('/')}?{request.url.query}")


check_token()
check_file()
ask_no_host()
ignore_other_kinds()
read_state_again()
notice_missing_fragments()
# M_ARENA_MAX: every thread would get a heap with holes of its own, 50 to 100 MB after a class had left.
call_libc("mallopt", -8, 2)
limit_thread_spinning()  # the server's predictions run beside trainers
app = st.App(
    Path(kdexplorer.__file__).resolve().parent / "app" / "main.py",
    routes=[*audience.routes(), Route(layout.with_base(f"/{next(iter(layout.TITLES))}"), redirect_to_start)],
    lifespan=prepare,
    middleware=[Middleware(one) for one in (Connections, Gate, Guard, PageFiles)],
)
