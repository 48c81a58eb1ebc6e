"""Draws charts as SVG and PNG in a process of its own.

vl-convert's JavaScript engine takes 100 MB, which return with the process, and it ends its process where a text cannot
be part of XML: neither must happen to the application. No request leaves this machine.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from kdexplorer.charts.common import vega_lite_version
from kdexplorer.errors import KDError
from kdexplorer.processes import lower_priority

LIMIT = 60.0
"""Seconds after which the process is killed; it needs about one, on a busy machine several."""
_SCRIPT = Path(__file__).with_name("vega_process.py")


class DrawingError(KDError):
    """Vega could not draw a chart."""


class Vega:
    """The process, from `with Vega() as vega:` to the end of the block; it is killed after `limit` seconds."""

    def __init__(self, limit: float = LIMIT) -> None:
        """Not started."""
        self._limit = limit

    def __enter__(self) -> Vega:
        """Starts it."""
        command = [sys.executable, "-I", str(_SCRIPT)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="utf-8")
        lower_priority(self._process.pid)
        self._timer = threading.Timer(self._limit, self._process.kill)
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()

    def draw(self, spec: str) -> str:
        """A Vega-Lite specification as SVG. Raises DrawingError."""
        return self._ask({"spec": spec, "version": vega_lite_version()})["svg"]

    def rasterize(self, svg: str, scale: float) -> bytes:
        """An SVG as PNG with `scale` pixels for one of its own. Raises DrawingError."""
        return base64.b64decode(self._ask({"svg": svg, "scale": scale})["png"])

    def _ask(self, request: dict[str, Any]) -> dict[str, str]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except (OSError, ValueError):
            line = ""
        found = json.loads(line) if line.endswith("\n") else {"error": "Vega has stopped."}
        if "error" in found:
            raise DrawingError(f"This chart cannot be drawn as a file: {found['error'][:200]}")
        return found
