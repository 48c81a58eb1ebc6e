"""The background download, with small programs in the place of the real one."""

import shutil
import sys

import pytest
from filelock import FileLock

from kdexplorer import processes
from kdexplorer.datasets import download, get_dataset
from kdexplorer.errors import DataError
from kdexplorer.files import read_json
from tests.training.configs import wait_for

CIFAR10 = get_dataset("cifar10")
DOWNLOADED = (
    "import pathlib, time; d = pathlib.Path(%r) / '.download-x'; d.mkdir(); "
    "f = open(d / 'cifar-10-python.tar.gz', 'wb'); f.truncate(%d); f.close(); time.sleep(60)"
)
"""A download in this folder that has come so far, in bytes."""


def test_progress_is_the_archives_size_and_a_killed_or_cancelled_download_leaves_nothing(monkeypatch, data_folder):
    def start(count):
        monkeypatch.setattr(download, "COMMAND", (sys.executable, "-c", DOWNLOADED % (str(data_folder), count)))
        download.start_download(CIFAR10)

    start(CIFAR10.archive_bytes)
    wait_for(lambda: download.download_status(CIFAR10).message.startswith("unpacking"))
    assert download.download_status(CIFAR10) == download.DownloadStatus("running", 0.9, "unpacking and checking")
    process = processes.live(read_json(data_folder / download.STATUS))
    process.kill()
    process.wait(30)
    scraps = shutil.copytree(next(data_folder.glob(".download-*/")), data_folder / "scraps")
    assert download.download_status(CIFAR10).state == "failed"
    assert not list(data_folder.glob(".download-*/"))
    scraps.rename(data_folder / ".download-older")
    start(CIFAR10.archive_bytes // 4)  # which need not have looked before
    wait_for(lambda: download.download_status(CIFAR10).message != "connecting")
    assert download.download_status(CIFAR10).share == pytest.approx(download.DOWNLOADED / 4, abs=0.01)
    download.cancel_download()
    assert download.download_status(CIFAR10).state == "absent"
    assert not list(data_folder.glob(".download-*/"))


def test_a_download_is_alone_and_needs_a_folder(data_folder, monkeypatch):
    with FileLock(data_folder / ".download.lock"), pytest.raises(DataError, match="another process"):
        CIFAR10.download()
    (data_folder / "file").write_text("")
    monkeypatch.setenv("KDEXPLORER_DATA", str(data_folder / "file"))
    with pytest.raises(DataError, match="KDEXPLORER_DATA"):
        download.start_download(CIFAR10)
