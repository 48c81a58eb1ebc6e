"""What is kept on the disk: checked, bounded, complete or not there, whatever happens while it is written."""

import contextlib
import os
import signal
import time

import numpy as np
import pytest

from kdexplorer.runs import disk_cache

FACTS, VALUES = {"number": 1}, np.arange(30, dtype=np.float32).reshape(3, 10)
SIZE = 128 + 4 * 30 + 32
"""Bytes of a file: NumPy's header, the values, and the hash."""


def save(facts=FACTS, values=VALUES):
    disk_cache.save("predictions", facts, values)


def load(facts=FACTS):
    return disk_cache.load("predictions", facts)


def stored():
    return sorted(disk_cache.cache_folder().glob("*.npy"))


def test_an_array_is_read_as_it_was_saved_by_its_facts_and_kind():
    assert load() is None
    assert disk_cache.measure("predictions") == (0, 0)
    save()
    assert np.array_equal(load(), VALUES)
    assert load().dtype == np.float32
    assert load({"number": 2}) is None
    assert disk_cache.contains("predictions", FACTS)
    assert disk_cache.load("attention", FACTS) is None
    assert not disk_cache.contains("attention", FACTS)
    disk_cache.save("attention", FACTS, VALUES)
    assert disk_cache.measure("predictions") == disk_cache.measure("attention") == (1, SIZE)
    disk_cache.delete("predictions")
    assert load() is None
    assert np.array_equal(disk_cache.load("attention", FACTS), VALUES)


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-1], lambda c: c[:150] + bytes([c[150] ^ 1]) + c[151:]])
def test_a_damaged_file_counts_as_missing(damage):
    save()
    (path,) = stored()
    path.write_bytes(damage(path.read_bytes()))
    assert load() is None


def test_the_oldest_are_removed_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(disk_cache, "MAX_BYTES", 3 * SIZE)
    for number in range(5):
        disk_cache.save("attention" if number == 3 else "predictions", {"number": number}, np.full_like(VALUES, number))
        for path in stored():  # on a disk with coarse times they would be equally old
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    found = [load({"number": number}) for number in (0, 1, 2, 4)]
    assert [value is None for value in found] == [True, True, False, False]
    assert (found[3] == 4).all()


# --- Kills and several writers ----------------------------------------------------------------------------


def during_the_write(monkeypatch, do):
    """From now on `do()` is called once, when a file's content is on the disk and before the file has its name."""
    todo, sync = [do], os.fsync

    def synced(handle):
        sync(handle)
        if todo:
            todo.pop()()

    monkeypatch.setattr(os, "fsync", synced)


def leave_half():
    """A process that SIGKILL ends in the middle of a write; returns what it left."""
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                during_the_write(patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
                save()
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert stored() == []
    (left,) = disk_cache.cache_folder().iterdir()
    return left


def test_what_a_kill_left_is_counted_and_removed_after_an_hour():
    left = leave_half()
    assert load() is None
    assert disk_cache.measure("predictions") == (1, SIZE)
    save()
    assert left.exists()  # another process might be writing it
    old = time.time() - 3700
    os.utime(left, (old, old))
    os.utime(stored()[0], (old, old))
    save({"number": 2})
    assert not left.exists()
    assert (load() == VALUES).all()
    assert len(stored()) == 2


def test_what_a_kill_left_is_deleted_with_everything_else():
    leave_half()
    disk_cache.delete("predictions")
    assert list(disk_cache.cache_folder().iterdir()) == []


@pytest.mark.parametrize("meanwhile", [save, lambda: disk_cache.delete("predictions")])
def test_another_process_in_the_middle_of_a_write_costs_at_most_the_file(monkeypatch, meanwhile):
    during_the_write(monkeypatch, meanwhile)
    with contextlib.suppress(FileNotFoundError):
        save()
    assert list(disk_cache.cache_folder().iterdir()) == stored()
    assert len(stored()) == (meanwhile is save)
    save()
    assert (load() == VALUES).all()
