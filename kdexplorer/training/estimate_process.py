"""An estimate that is measured in a process of its own: whoever waits for it loads no torch, and can stop waiting."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kdexplorer import processes
from kdexplorer.config import RunConfig
from kdexplorer.errors import RunError
from kdexplorer.files import write_json
from kdexplorer.training.estimate import BUDGET, Estimate


class Measurement:
    """An estimate that is being measured. `poll` it; `cancel` it when the configuration has changed."""

    def __init__(self, config: RunConfig, budget: float = BUDGET) -> None:
        self.config = config
        self.started = time.time()
        self._folder = tempfile.TemporaryDirectory(prefix="kdexplorer-estimate-")
        folder = Path(self._folder.name)
        write_json(folder / "config.json", config.model_dump(mode="json"))
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kdexplorer.training.estimate", str(folder / "config.json"), str(budget)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        processes.lower_priority(self._process.pid)  # as a trainer's
        self._result: Estimate | None = None

    def poll(self) -> Estimate | None:
        """The estimate, or None while it is being measured. Raises RunError when it failed."""
        code = self._process.poll()
        if code is None:
            return None
        if self._result is None:
            folder = Path(self._folder.name)
            if code:
                lines = (folder / "err").read_text(errors="replace").strip().splitlines() or ["no message"]
                raise RunError(f"The time could not be estimated: {lines[-1].removeprefix('error: ')[:300]}")
            self._result = Estimate.model_validate_json((folder / "out").read_text())
        return self._result

    def describe(self) -> str:
        """How far it is."""
        return f"Timing a few batches … {time.time() - self.started:.0f} s"

    def cancel(self) -> None:
        """Ends the process, if it still measures."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


def measure_apart(config: RunConfig) -> Estimate:
    """Waits for a measurement in a process of its own, whose memory is free afterwards. Raises RunError."""
    measurement = Measurement(config)
    try:
        while (estimate := measurement.poll()) is None:
            time.sleep(0.2)
        return estimate
    finally:
        measurement.cancel()
