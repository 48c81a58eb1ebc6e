"""Memory that the server gives back."""

import pytest
import torch

from kdexplorer import processes
from kdexplorer.app.server import memory, turns
from kdexplorer.errors import DataError


@pytest.mark.anyio
@pytest.mark.parametrize("is_empty", [True, False])
async def test_when_nobody_has_been_there_for_a_while_what_can_be_loaded_again_is_forgotten(monkeypatch, is_empty):
    calls, waits = [], iter([None] * 5)

    async def sleep(seconds):
        if next(waits, "over") == "over":
            raise InterruptedError

    monkeypatch.setattr(memory.asyncio, "sleep", sleep)
    monkeypatch.setattr(memory, "call_libc", lambda *call: calls.append(call))
    monkeypatch.setattr(turns, "visitors", {} if is_empty else {"one": turns.Visitor()})
    with pytest.raises(InterruptedError):
        await memory.tidy(lambda: calls.append("forget"))
    assert calls.count(("malloc_trim", 0)) == 5
    assert calls.count("forget") == (2 if is_empty else 0)  # after 120 and 150 seconds


def test_a_system_without_these_functions_is_left_alone(monkeypatch):
    memory.call_libc("no_such_function", 0)
    monkeypatch.setattr(processes.ctypes, "CDLL", lambda name: None)
    memory.call_libc("mallopt", -8, 2)


@pytest.mark.anyio
async def test_a_server_whose_images_are_damaged_starts_and_its_pages_compute_with_one_thread(monkeypatch):
    def read_images():
        raise DataError("damaged")

    threads, waited = [], []

    async def sleep(seconds):
        waited.append((seconds, list(threads)))

    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(memory.asyncio, "sleep", sleep)
    await memory.load_ahead(read_images)
    assert (waited, threads) == ([(memory.FIRST, [])], [1])
