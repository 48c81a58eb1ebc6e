"""What is kept on the disk: checked, bounded, complete or not there, whatever happens while it is written."""

import errno
import os
import signal
import time

import numpy as np
import pytest

from kdexplorer.runs import array_store
from tests.accidents import is_killed, refuse

FACTS, VALUES = {"number": 1}, np.arange(30, dtype=np.float32).reshape(3, 10)
SIZE = 4 * 30 + 32
"""Bytes of a file: the values, and the hash."""


def save(facts=FACTS, values=VALUES):
    array_store.save_arrays(facts, {"logits": values})


def load(facts=FACTS):
    found = array_store.load_arrays(facts, {"logits": VALUES.shape})
    return found and found["logits"]


def stored():
    return sorted(array_store.store_root().glob("*.f32"))


def test_the_oldest_are_removed_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(array_store, "MAX_BYTES", 3 * SIZE)
    for number in range(5):
        save({"number": number}, np.full_like(VALUES, number))
        for path in stored():  # on a disk with coarse times they would be equally old
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    found = [load({"number": number}) for number in range(5)]
    assert [value is None for value in found] == [True, True, False, False, False]
    assert (found[4] == 4).all()
    save({"number": 5}, np.zeros((30, 10)))  # alone larger than all may be
    assert (load({"number": 4}) == 4).all()


def during_the_write(monkeypatch, do):
    """From now on `do()` is called once, when a file's content is on the disk and before the file has its name."""
    todo = [do]
    monkeypatch.setattr(os, "fsync", lambda _: todo and todo.pop()())


def leave_half():
    """A process that SIGKILL ends in the middle of a write; returns what it left."""

    def work():
        with pytest.MonkeyPatch.context() as patch:
            during_the_write(patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
            save()

    assert is_killed(work)
    assert stored() == []
    (left,) = array_store.store_root().iterdir()
    return left


def test_what_a_kill_left_is_counted_deleted_with_everything_else_and_removed_after_an_hour():
    leave_half()
    assert load() is None
    assert [size for _, size, _ in array_store.list_files()] == [SIZE]
    array_store.delete_store()
    left = leave_half()
    save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "utime", refuse(errno.EPERM))  # another user's
        assert (load() == VALUES).all()
    assert left.exists()  # another process might be writing it
    old = time.time() - 3700
    os.utime(left, (old, old))
    os.utime(stored()[0], (old, old))
    save({"number": 2})
    assert not left.exists()
    assert (load() == VALUES).all()
    assert len(stored()) == 2


@pytest.mark.parametrize("meanwhile", [save, array_store.delete_store])
def test_another_process_in_the_middle_of_a_write_costs_at_most_the_file(monkeypatch, meanwhile):
    during_the_write(monkeypatch, meanwhile)
    save()
    assert list(array_store.store_root().iterdir()) == stored()
    assert len(stored()) == (meanwhile is save)
    save()
    assert (load() == VALUES).all()
