"""After a choice on held-out images: the best cell of a grid is measured on the test split, once."""

from __future__ import annotations

from kdexplorer.analysis.evaluate import measure_after_choice
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.studies.folder import StudyFolder
from kdexplorer.studies.report import to_markdown
from kdexplorer.studies.summary import find_best, summarize
from kdexplorer.studies.table import Table, write_table


def measure_choice(folder: StudyFolder, show: bool = False) -> Table:
    """Measures the best cell and the default of a finished study on the test split, with every seed.

    The figures are kept in the students' cards and in the study's table. No other cell is ever measured: a finished
    study has one best cell.

    Raises:
        ConfigError: when the study has no grid, or was not evaluated on held-out images.
        RunError: when it has not finished.
        KDError: when a student or the data cannot be used.
    """
    study, table = folder.config().study, folder.table()
    if study.grid is None:
        raise ConfigError(f"{folder.run_id} has no grid of which a cell was chosen.")
    if not study.shared.holdout:
        raise ConfigError(f"{folder.run_id} chose on the test split: train the sweep with --holdout instead.")
    if table is None or table.missing():
        raise RunError(f"{folder.run_id} has not finished, so its best cell is not final: resume it first.")
    best, rows = find_best(summarize(table)), []
    chosen = {study.references[0], *([best.name] if best else [])}
    for row in table.rows:
        if row.entry in chosen:
            path = folder.path.parent.parent / row.run / row.entry
            fresh = measure_after_choice(open_checkpoint(path), show)
            row = row.model_copy(update={"measures": row.measures | {"test_accuracy": fresh.accuracy}})
        rows.append(row)
    table = table.model_copy(update={"rows": rows})
    write_table(table, folder.config().table_path, to_markdown(table))
    return table
