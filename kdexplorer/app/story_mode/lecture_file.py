"""Which lecture the server presents."""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache
from pathlib import Path

from kdexplorer.errors import ConfigError
from kdexplorer.story.lecture import DEFAULT, Lecture, read_lecture


def find_file() -> Path:
    """The lecture's file: `streamlit run streamlit_app.py -- --story FILE`, else the bundled one."""
    if Path(sys.argv[0]).name != "streamlit_app.py":  # a test or a benchmark, whose arguments are its own
        return DEFAULT
    parser = argparse.ArgumentParser(prog="streamlit run streamlit_app.py --", description="KD Explorer")
    parser.add_argument("--story", type=Path, default=DEFAULT, metavar="FILE", help="a lecture, see docs/lecture.md")
    return parser.parse_args(sys.argv[1:]).story


def check_file() -> None:
    """Ends the program with an explanation where the lecture's file is not valid. Raises SystemExit."""
    try:
        open_lecture()
    except ConfigError as error:
        raise SystemExit(str(error)) from error


def open_lecture() -> Lecture:
    """The lecture, read again when its file has changed. Raises ConfigError."""
    path = find_file()
    return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=4)
def _read(path: Path, changed: int) -> Lecture:
    return read_lecture(path)
