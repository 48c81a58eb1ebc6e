"""The background download, with small programs in the place of the real one."""

from __future__ import annotations

import sys
import time

import pytest

from kdexplorer import download
from kdexplorer.errors import DataError


@pytest.fixture
def program(monkeypatch, tmp_path):
    """Replaces the download by Python code that finds its folder in `root`."""
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))

    def replace(code):
        text = f"import pathlib, sys, time; root = pathlib.Path({str(tmp_path)!r}); {code}"
        monkeypatch.setattr(download, "COMMAND", (sys.executable, "-c", text))
        return tmp_path

    return replace


def settled():
    for _ in range(6000):
        now = download.progress()
        if now.state != "running":
            return now
        time.sleep(0.05)
    raise AssertionError("it never ended")


def test_nothing_was_started(program):
    program("pass")
    assert download.progress().state == "absent"


def test_the_data_come_without_a_restart(program):
    program("(root / 'cifar-10-batches-py').mkdir()")
    download.start()
    assert settled().state == "ready"
    download.start()  # nothing to do


def test_a_failure_is_told_by_its_last_line_and_can_be_tried_again(program):
    program("print('10 %'); sys.exit('error: the network is down')")
    download.start()
    assert settled() == download.Progress("failed", 0.0, "the network is down")
    program("(root / 'cifar-10-batches-py').mkdir()")
    download.start()
    assert settled().state == "ready"


def test_progress_is_the_size_of_the_archive_and_cancel_cleans_up(program):
    size = download.ARCHIVE_BYTES // 4
    root = program(
        "d = root / '.download-x'; d.mkdir(); f = open(d / 'cifar-10-python.tar.gz', 'wb'); "
        f"f.truncate({size}); f.close(); time.sleep(60)"
    )
    download.start()
    for _ in range(6000):
        if download.progress().share:
            break
        time.sleep(0.05)
    assert download.progress().share == pytest.approx(0.25, abs=0.01)
    download.cancel()
    assert download.progress().state == "absent"
    assert not list(root.glob(".download-*/"))


def test_a_folder_that_cannot_be_made_is_an_error_with_advice(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="KDEXPLORER_DATA"):
        download.start(tmp_path / "file")
