"""A run's figures for TensorBoard, where `--log tensorboard` or `KDEXPLORER_LOG` asks for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kdexplorer.analysis import results
from kdexplorer.errors import ConfigError
from kdexplorer.runs.run_folder import EpochMetrics, Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

VARIABLE, KINDS = "KDEXPLORER_LOG", ("tensorboard",)
"""The processes that a command starts inherit it."""


class EventLog:
    """Writes events to `tensorboard/RUN/STUDENT` among the runs; nothing where no log is asked for."""

    def __init__(self, run: Run) -> None:
        """Raises ConfigError on an unknown kind, or where TensorBoard is not installed."""
        self.run, self.writers = run, dict[str, "SummaryWriter"]()
        self.kind = os.environ.get(VARIABLE, "") if run.writes else ""
        if self.kind and self.kind not in KINDS:
            raise ConfigError(f"{VARIABLE}: '{self.kind[:60]}' is none of {', '.join(KINDS)}.")
        if self.kind:
            try:
                import torch.utils.tensorboard  # noqa: F401
            except ImportError as error:
                raise ConfigError("log: TensorBoard is not installed: pip install tensorboard") from error

    def write(self, rows: list[EpochMetrics]) -> None:
        """The scalars of an epoch, of training batches and of the evaluation split."""
        for row in rows if self.kind else ():
            for split in ("train", "test"):
                for name, value in getattr(row, split).items():
                    self._writer(row.student).add_scalar(f"{name}/{split}", value, row.epoch + 1)
            self._writer(row.student).flush()

    def close(self) -> None:
        """The table of results, once the students are stored."""
        if self.kind:
            self._writer("results").add_text("results", results.to_markdown(results.read_run(self.run)))
        for writer in self.writers.values():
            writer.close()

    def _writer(self, name: str) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        if name not in self.writers:
            self.writers[name] = SummaryWriter(self.run.path.parent / "tensorboard" / self.run.run_id / name)
        return self.writers[name]
