"""Writes that are there whole or not at all, whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_UMASK = os.umask(0o077)  # which can only be read by setting it: here, before there are threads
os.umask(_UMASK)


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces a file atomically and syncs it. On OSError the old file is untouched, nothing temporary is left."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Removes what a killed writer of `path` left beside it. Only for the one process that writes there."""
    import shutil

    for temporary in path.parent.glob(f".{path.name}.*"):
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def keep_old(path: Path, old: Path) -> None:
    """Gives a file a second name, under which it stays when the first is replaced. No copy where the disk can link."""
    if old.exists() and old.samefile(path):  # so a kill left it; a rename between two names of one file does nothing
        return
    temporary = old.with_name(f".{old.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(path, temporary)
        except OSError:
            import shutil

            shutil.copyfile(path, temporary)
        os.replace(temporary, old)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file atomically. Not-a-number has no place in JSON: ValueError."""
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def parse_json(text: bytes) -> Any:
    """JSON as it may be found on a disk: a whole number of more than 15 digits becomes a float, so that none overflows.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 16 else float(digits))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is missing, truncated, or holds something else."""
    try:
        value = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def sync_folder(folder: Path) -> None:
    """Makes a rename in the folder durable, where the platform can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which takes its place at the end and replaces what was there."""
    import shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        temporary.chmod(0o777 & ~_UMASK)
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, old)
        os.replace(temporary, path)
    except BaseException:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)
