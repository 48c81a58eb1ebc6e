"""A data set downloaded in the background by a process of its own, with a status that any page can read.

The process is the command line's `python -m kdexplorer data download`; its output goes to `.download.log` beside the
data, its identity to `.download.json`. Progress is the size of the archive so far, so nothing has to be parsed.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Literal

import psutil

from kdexplorer import processes
from kdexplorer.datasets.base import data_root
from kdexplorer.datasets.cifar10 import Cifar, remove_scraps
from kdexplorer.errors import DataError
from kdexplorer.files import read_json, write_json

DOWNLOADED = 0.9
"""The share of the work that is done when the archive is complete but not unpacked."""

COMMAND = (sys.executable, "-m", "kdexplorer", "data", "download")
STATUS, LOG = ".download.json", ".download.log"


@dataclass(frozen=True)
class DownloadStatus:
    """How far a download is: `share` is 0 to 1; `message` says what it is doing or why it failed."""

    state: Literal["absent", "running", "failed", "ready"]
    share: float = 0.0
    message: str = ""


def start_download(dataset: Cifar) -> None:
    """Starts the download unless one is running or the data are available. Raises DataError for a read-only folder."""
    root = data_root()
    if download_status(dataset).state in ("running", "ready"):
        return
    if processes.live(read_json(root / STATUS) or {}):
        raise DataError("another data set is being downloaded: wait for it.")
    try:
        root.mkdir(parents=True, exist_ok=True)
        remove_scraps(root)  # whose size would be taken for its own
        with open(root / LOG, "wb") as log:
            pid = processes.start((*COMMAND, dataset.key), log)
        write_json(root / STATUS, {"dataset": dataset.key} | processes.identity(pid))
    except OSError as error:
        raise DataError(
            f"{dataset.label} cannot be saved in {root} ({error.strerror}): set KDEXPLORER_DATA to a writable folder."
        ) from error


def download_status(dataset: Cifar) -> DownloadStatus:
    """How far the download is; `absent` when none was started. There is one at a time."""
    root = data_root()
    if dataset.is_available():
        return DownloadStatus("ready", 1.0, f"{dataset.label} is available")
    status = read_json(root / STATUS)
    if status is None or status.get("dataset") != dataset.key:
        return DownloadStatus("absent")
    if processes.live(status) is None:
        remove_scraps(root)  # of one that was killed
        lines = ["the download ended without a message"]
        with contextlib.suppress(OSError):
            lines += (root / LOG).read_text(errors="replace").splitlines()
        last = next(line.strip() for line in reversed(lines) if line.strip())
        return DownloadStatus("failed", 0.0, last.removeprefix("error: ")[:500])
    size, complete = 0, dataset.archive_bytes
    with contextlib.suppress(OSError):  # it is moved meanwhile
        size = max((path.stat().st_size for path in root.glob(".download-*/cifar-*-python.tar.gz*")), default=0)
    if size >= complete:
        return DownloadStatus("running", DOWNLOADED, "unpacking and checking")
    if not size:
        return DownloadStatus("running", 0.0, "connecting")
    return DownloadStatus("running", DOWNLOADED * size / complete, f"{size / 1e6:.0f} of {complete / 1e6:.0f} MB")


def cancel_download() -> None:
    """Stops a running download and removes what it has downloaded."""
    root = data_root()
    if process := processes.live(read_json(root / STATUS) or {}):
        with contextlib.suppress(psutil.Error):
            process.kill()
            process.wait(5)
    remove_scraps(root)
    (root / STATUS).unlink(missing_ok=True)
