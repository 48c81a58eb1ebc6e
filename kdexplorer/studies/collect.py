"""From finished runs to the rows of a study's table, the measurement of what was chosen, and what a driver reports."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter

import numpy as np

from kdexplorer.analysis.evaluate import measure_after_choice
from kdexplorer.analysis.measures import Evaluation, measure
from kdexplorer.analysis.metrics import average_logits
from kdexplorer.analysis.results import describe_evaluation
from kdexplorer.config import RunConfig
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.base import load_evaluation
from kdexplorer.errors import CheckpointError, ConfigError, DataError, KDError, RunError
from kdexplorer.runs.checkpoints import Checkpoint, find_teachers, open_checkpoint
from kdexplorer.runs.launch import Work
from kdexplorer.runs.run_folder import Run, RunStatus, State
from kdexplorer.studies import table as tables
from kdexplorer.studies.experiments import get_experiment
from kdexplorer.studies.experiments.base import More
from kdexplorer.studies.folder import StudyFolder
from kdexplorer.studies.report import to_markdown
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import Entry, Row, StudyRun, Table
from kdexplorer.training.estimate import format_duration


def collect(folder: StudyFolder) -> None:
    """Adds the runs that have finished to the study's table and writes it, with `.md` beside it.

    Raises KDError when the table belongs to something else or a finished student cannot be read (the other runs are
    added), and OSError.
    """
    config, path = folder.config(), folder.config().table_path
    more = get_experiment(config.experiment).more if config.experiment else None
    table = known = tables.begin_table(config.study, path)
    missing, faults = table.missing(), list[KDError]()
    for planned in config.runs():
        lacking = {*planned.entries} & {*missing.get(planned.seed, ())}
        if lacking and folder.run(planned).status().state == "finished":
            try:
                table = add_run(table, planned, folder.run(planned), more)
            except KDError as error:
                faults.append(error)
    if table is not known or (table.rows and not path.with_suffix(".md").exists()):
        tables.write_table(table, path, to_markdown(table))
    for fault in faults:
        raise fault


def add_run(table: Table, planned: StudyRun, run: Run, more: More | None = None) -> Table:
    """The table with the rows of a finished run, in place of what it had of these students and this seed.

    So rows of one run are compared with each other, whatever another packing had trained. Raises KDError when a student
    cannot be read.
    """
    config, history = run.config(), run.metrics()
    labels, teacher = load_labels(config), load_teacher_logits(config)
    checkpoints = {name: open_checkpoint(run.path / name) for name in planned.entries}
    first = next(iter(checkpoints.values()))
    evaluated_on = describe_evaluation(first)
    if table.rows and table.evaluated_on != evaluated_on:
        was = f"{run.run_id} was evaluated on {evaluated_on}, the rows so far on {table.evaluated_on}"
        raise ConfigError(f"{was}: start a new study, or train all of it again.")
    if first.card.data.sha256 != get_dataset(config.dataset).sha256:  # images were replaced since
        labels = teacher = None
    if labels is None and more is not None:
        raise ConfigError(f"the labels of {config.dataset} are missing: the students cannot be evaluated.")
    rows = []
    for name, checkpoint in checkpoints.items():
        row = _measure(checkpoint, labels, teacher, more)
        measures = row.measures | _mean("step_seconds", [one.step_seconds for one in history if one.student == name])
        rows.append(row.model_copy(update={"seed": planned.seed, "run": run.run_id, "measures": measures}))
    shared = [one.batch_seconds for one in history if one.student == planned.entries[0]]
    facts = first.card.legs[-1].model_dump(include={"seconds", "device", "precision", "versions"})
    trained = planned.model_copy(update=facts | _mean("batch_seconds", shared))
    kept = [row for row in table.rows if row.entry not in checkpoints or row.seed != planned.seed]
    earlier = [one for one in table.runs if one.run in {row.run for row in kept} - {trained.run}]
    return table.model_copy(update={
        "evaluated_on": evaluated_on,
        "images": first.card.data.evaluation_images,
        "entries": table.entries or _describe_entries(table.declared),
        "runs": sorted([*earlier, trained], key=lambda one: one.seed),
        "rows": sorted([*kept, *rows], key=lambda row: row.seed),
    })  # fmt: skip


def _measure(checkpoint: Checkpoint, labels: np.ndarray | None, teacher: np.ndarray | None, more: More | None) -> Row:
    """A student's row; from its card alone where the labels are missing."""
    card, logits = checkpoint.card, checkpoint.logits()
    known = teacher if teacher is not None and teacher.shape == logits.shape else None
    if labels is not None and len(logits) != len(labels):
        raise CheckpointError(f"{checkpoint.path} has logits of {len(logits)} images, not of {len(labels)}.")
    measures = {"accuracy": card.test_accuracy, "cross_entropy": card.test_cross_entropy}
    measures |= {} if card.test_objective is None else {"objective": card.test_objective}
    measures |= measure(Evaluation(logits, labels, known))
    if labels is None:
        return Row(entry=checkpoint.name, measures=measures)
    measures |= more(logits, labels, teacher) if more is not None else {}
    return Row(entry=checkpoint.name, measures=measures, right=tables.pack_bits(logits.argmax(axis=1) == labels))


def _mean(name: str, values: list[float | None]) -> dict[str, float]:
    """The mean by its name; empty where no value is known."""
    known = [value for value in values if value is not None]
    return {name: round(float(np.mean(known)), 7)} if known else {}


def _describe_entries(study: Study) -> list[Entry]:
    """The entries; except of a grid with their memory, which is counted in a step of each. Raises KDError."""
    from kdexplorer.training.objective import count_student_memory

    memory = {} if study.grid else count_student_memory(study.shared)
    return [
        Entry(name=name, key=student.key, objective=student.objective).model_copy(update=memory.get(name))
        for name, student in study.students.items()
    ]


def load_labels(config: RunConfig) -> np.ndarray | None:
    """The labels of the images that the students are evaluated on, or None where they are missing."""
    with contextlib.suppress(DataError):
        return load_evaluation(get_dataset(config.dataset), config.holdout, config.image_order).labels
    return None


def load_teacher_logits(config: RunConfig) -> np.ndarray | None:
    """The teacher's stored logits of the test split; None where it, or the students, were evaluated on other images.

    Those of several teachers are the logarithm of the mean of their probabilities.
    """
    with contextlib.suppress(CheckpointError, ConfigError):
        teachers = [] if config.holdout else find_teachers(config.teacher)
        return average_logits([one.card.split_logits(one.logits_or_none(), config.dataset) for one in teachers])
    return None


def measure_choice(folder: StudyFolder, show: bool = False) -> Table:
    """Measures the best cell and the default of a finished study on the test split, with every seed.

    The measures are kept in the students' cards and in the study's table. No other cell is ever measured: a finished
    study has one best cell. Raises ConfigError when it has no grid or was not evaluated on held-out images, RunError
    when it has not finished, and KDError when a student or the data cannot be used.
    """
    study, table = folder.config().study, folder.table()
    if study.grid is None:
        raise ConfigError(f"{folder.run_id} has no grid of which a cell was chosen.")
    if not study.shared.holdout:
        raise ConfigError(f"{folder.run_id} chose on the test split: train the sweep with --holdout instead.")
    if table is None or table.missing():
        raise RunError(f"{folder.run_id} has not finished, so its best cell is not final: resume it first.")
    best, rows = tables.find_best(tables.summarize(table)), []
    chosen = {study.references[0], *([best.name] if best else [])}
    for row in table.rows:
        if row.entry in chosen:
            fresh = measure_after_choice(open_checkpoint(folder.path.parent.parent / row.run / row.entry), show)
            row = row.model_copy(update={"measures": row.measures | {"test_accuracy": fresh.accuracy}})
        rows.append(row)
    table = table.model_copy(update={"rows": rows})
    tables.write_table(table, folder.config().table_path, to_markdown(table))
    return table


ATTEMPTS = 3  # how often a run is started from the same place before it counts as failed

SAY = 30.0  # seconds between two lines about how far the runs are


def say(line: str) -> None:
    """Prints a line to stderr, also where nobody reads it any longer: the work goes on."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def describe_progress(run: Run) -> str:
    """How far a run is: `RUN: epoch 2 of 4, 3 min 10 s left`."""
    status = run.status()
    if status.epoch is None or status.epochs is None:
        return f"{run.run_id}: {status.message or status.state}"
    left = "" if status.seconds_left is None else f", {format_duration(status.seconds_left)} left"
    return f"{run.run_id}: epoch {status.epoch + 1} of {status.epochs}{left}"


class StudyProgress:
    """The state of a study while its driver works: status, log, a line for each run, and the table so far."""

    def __init__(self, folder: StudyFolder, work: Work, show: bool) -> None:
        self.folder, self.work, self.show = folder, work, show
        self.working: list[str] = []
        self.failed: dict[str, str] = {}
        self._starts: Counter[tuple[str, int | None, int | None]] = Counter()
        self._written, self._said = 0.0, time.monotonic()

    def may_start(self, run: Run, status: RunStatus) -> bool:
        """Counts a run's start from this status; False when it is one too many from the same place."""
        place = run.run_id, status.epoch, status.step
        self._starts[place] += 1
        return self._starts[place] <= ATTEMPTS

    def begin(self, run: Run, where: str = "on this machine") -> None:
        """A run starts, unless it has begun already."""
        if run.run_id not in self.working:
            self.working.append(run.run_id)
            self.log(f"{run.run_id} begins {where}")
            self.refresh(every=0)

    def end(self, run: Run, state: State, message: str) -> None:
        """A run is over: the results so far are written anew."""
        self.working.remove(run.run_id)
        if state == "failed":
            self.failed[run.run_id] = message
        self.log(f"{run.run_id} {state}" + (f": {message}" if message else ""))
        try:
            collect(self.folder)
        except (KDError, OSError) as error:
            self.log(f"the results so far could not be written: {error}")
        self.refresh(every=0)

    def log(self, line: str) -> None:
        """Writes a line to the log, and to stderr where lines are shown."""
        self.work.logger.info("%s", line)
        if self.show:
            say(line)

    def refresh(self, every: float = 2.0) -> None:
        """Writes the status again when it is `every` seconds old."""
        if time.monotonic() - self._written >= every:
            with contextlib.suppress(OSError):  # a full disk must not end a study
                self.write("training")
        if self.show and time.monotonic() - self._said >= SAY:
            self._said = time.monotonic()
            for run in self.folder.runs():
                if run.run_id in self.working:
                    say(describe_progress(run))

    def write(self, message: str) -> None:
        """Replaces the study's status. Raises ConfigError and OSError."""
        self._written = time.monotonic()
        states = [run.status().state for run in self.folder.runs()]
        counts = {"runs": len(states), "finished": states.count("finished")}
        self.work.facts = counts | {"working": self.working, "failed": self.failed}
        self.work.write("running", message)
