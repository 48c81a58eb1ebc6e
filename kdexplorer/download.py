"""CIFAR-10 fetched in the background, for the application: a process of its own, and a status that any page reads.

The process is the command line's `python -m kdexplorer data download`; its output goes to `.download.log` beside the
data, its identity to `.download.json`. Progress is the size of the archive so far, so nothing has to be parsed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from kdexplorer import data, processes
from kdexplorer.errors import DataError
from kdexplorer.files import read_json, write_json

ARCHIVE_BYTES = 170_498_071
"""The size of the official cifar-10-python.tar.gz."""

COMMAND = (sys.executable, "-m", "kdexplorer", "data", "download")
STATUS, LOG = ".download.json", ".download.log"


@dataclass(frozen=True)
class Progress:
    """Where a download stands: `share` is 0 to 1; `message` says what happens or what went wrong."""

    state: Literal["absent", "running", "failed", "ready"]
    share: float = 0.0
    message: str = ""


def start(root: Path | None = None) -> None:
    """Starts the download, unless one runs or the data are there. Raises DataError when the folder refuses."""
    root = root or data.data_root()
    if progress(root).state in ("running", "ready"):
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        with open(root / LOG, "wb") as log:
            process = subprocess.Popen(
                COMMAND, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=Path.cwd()
            )
        processes.adopt(process)
        write_json(root / STATUS, processes.identity(process.pid))
    except OSError as error:
        raise DataError(
            f"CIFAR-10 cannot be put into {root} ({error.strerror}): set KDEXPLORER_DATA to a folder that can be "
            "written."
        ) from error


def progress(root: Path | None = None) -> Progress:
    """Where the download stands; `absent` when none was started."""
    root = root or data.data_root()
    if data.find_cifar10(root) is not None:
        return Progress("ready", 1.0, "CIFAR-10 is here")
    status = read_json(root / STATUS)
    if status is None:
        return Progress("absent")
    if processes.live(status) is None:
        lines = [line.strip() for line in _log(root).splitlines() if line.strip()] or ["it ended without a word"]
        return Progress("failed", 0.0, lines[-1].removeprefix("error: ")[:500])
    size = _archive_size(root)
    if size >= ARCHIVE_BYTES:
        return Progress("running", 1.0, "unpacking and checking")
    if not size:
        return Progress("running", 0.0, "connecting")
    return Progress("running", size / ARCHIVE_BYTES, f"{size / 1e6:.0f} of {ARCHIVE_BYTES / 1e6:.0f} MB")


def cancel(root: Path | None = None) -> None:
    """Ends a download that runs and removes what it had fetched."""
    root = root or data.data_root()
    process = processes.live(read_json(root / STATUS) or {})
    if process is not None:
        with contextlib.suppress(psutil.Error):
            process.kill()
            process.wait(5)
        for scrap in root.glob(".download-*/"):
            shutil.rmtree(scrap, ignore_errors=True)
    (root / STATUS).unlink(missing_ok=True)


def _log(root: Path) -> str:
    with contextlib.suppress(OSError):
        return (root / LOG).read_text(errors="replace").replace("\r", "\n")
    return ""


def _archive_size(root: Path) -> int:
    sizes = [0]
    for path in root.glob(".download-*/cifar-10-python.tar.gz*"):
        with contextlib.suppress(OSError):
            sizes.append(path.stat().st_size)
    return max(sizes)
