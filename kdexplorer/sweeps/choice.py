"""After a choice on held-out images: the chosen cell is measured on the test split, once."""

from __future__ import annotations

from kdexplorer.analysis.evaluate import measure_after_choice
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.files import write_bytes, write_json
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.sweeps.aggregate import build_results
from kdexplorer.sweeps.folder import Sweep
from kdexplorer.sweeps.grid import point_of
from kdexplorer.sweeps.report import to_markdown
from kdexplorer.sweeps.results import SweepResults


def measure_choice(sweep: Sweep, show: bool = False) -> SweepResults:
    """Measures the best cell and the default of a finished sweep on the test split, with every seed.

    The figures are kept in the students' cards and in the sweep's table. No other cell is ever measured: a finished
    sweep has one best cell.

    Raises:
        ConfigError: when the sweep was not evaluated on held-out images.
        RunError: when it has not finished.
        KDError: when a student or the data cannot be used.
    """
    config = sweep.config()
    if not config.recipe.holdout:
        raise ConfigError(f"{sweep.run_id} chose on the test split: train the sweep with --holdout instead.")
    if sweep.status().state != "finished":
        raise RunError(f"{sweep.run_id} has not finished, so its best cell is not final: resume it first.")
    results = build_results(sweep)
    chosen = {student.name for student in config.students() if point_of(student) in (results.best, results.default)}
    for experiment, run in zip(sweep.experiments(), sweep.runs(), strict=True):
        for name in experiment.students:
            if name in chosen:
                measure_after_choice(open_checkpoint(run.path / name), show)
    return write_results(sweep)


def write_results(sweep: Sweep) -> SweepResults:
    """Writes a sweep's results so far into its folder. Raises KDError and OSError."""
    results = build_results(sweep)
    write_json(sweep.path / "table.json", results.model_dump(mode="json"))
    write_bytes(sweep.path / "table.md", to_markdown(results).encode())
    return results
