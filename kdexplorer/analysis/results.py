"""Results of trained networks: which images they were evaluated on, and one typed row for each network.

Cross-entropy and accuracy can be compared between networks that were evaluated on the same images. The objective
cannot: it is a different sum for each method. Networks evaluated on different images do not belong in one table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from kdexplorer.analysis import measures, metrics
from kdexplorer.analysis.difference import Difference, over_images, over_mean, wilson_interval
from kdexplorer.analysis.measures import MEASURES, Evaluation, TextTable
from kdexplorer.config import SCRATCH, Objective, objective_label
from kdexplorer.datasets import Dataset, find_dataset, get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.datasets.folder import label_folder
from kdexplorer.errors import ConfigError, RunError
from kdexplorer.networks import count_multiply_adds
from kdexplorer.plugins import leave_out
from kdexplorer.runs import checkpoints, lineage
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.checkpoints import WEIGHTS, Checkpoint, bundled_checkpoints, find_checkpoint, open_checkpoint
from kdexplorer.runs.run_folder import Run, TeacherMeasures, find_run, finished_students

Logits = Mapping[str, "np.ndarray | None"]
"""Logits `[N, classes]` of the evaluation split by network; None where they are missing."""


def describe_evaluation(checkpoint: Checkpoint) -> str:
    """The images on which a card's measures were computed, in words that are equal where the images are."""
    data, dataset = checkpoint.card.data, find_dataset(checkpoint.card.data.dataset)
    name = label_folder(data.dataset, data.sha256) if data.sha256 else dataset.label
    if dataset.first_test_images_of:
        name = f"the included part of {get_dataset(dataset.first_test_images_of).label}"
    split = {"test": "test", "holdout": "held-out training"}[data.evaluation_split]
    orders = [leg.recipe.get("image_order", "source") for leg in checkpoint.card.legs[-1:]]  # the first versions' order
    order = " in the order of their source" if data.evaluation_split == "holdout" and orders == ["source"] else ""
    return f"{data.evaluation_images:,} {split} images of {name}{order}"


def group_by_evaluation(entries: Mapping[str, Checkpoint]) -> dict[str, list[str]]:
    """Names by the images that the networks were evaluated on, see `describe_evaluation`."""
    groups: dict[str, list[str]] = {}
    for name, checkpoint in entries.items():
        groups.setdefault(describe_evaluation(checkpoint), []).append(name)
    return groups


def evaluation_labels(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels `[N]` of the test split that a card was computed on, or None where they are missing."""
    dataset = checkpoint.card.evaluation_dataset
    return dataset.test_labels() if dataset is not None else None


def is_evaluated_on(checkpoint: Checkpoint, other: Checkpoint) -> bool:
    """Whether a network's stored logits contain those of the images that another one was evaluated on."""
    own, wanted = checkpoint.card.evaluation_dataset, other.card.evaluation_dataset
    if own is None or wanted is None:
        return describe_evaluation(checkpoint) == describe_evaluation(other)
    return own.begins_with(wanted)


def on_same_images(entries: Mapping[str, Checkpoint]) -> dict[str, Checkpoint]:
    """Networks of a test split as if they had been evaluated on the first images of it alone, where others were.

    Their accuracy and cross-entropy are then those on these images; the objective is unknown.
    """
    evaluated = [one.card.evaluation_dataset for one in entries.values()]
    part = next((one for one in evaluated if one is not None and one.first_test_images_of), None)
    if part is None or len(group_by_evaluation(entries)) < 2:
        return dict(entries)
    return {name: on_part(one, part) for name, one in entries.items()}


def on_part(checkpoint: Checkpoint, part: Dataset) -> Checkpoint:
    """A network as `on_same_images` has it; as it is where it has no stored logits of all of the part's images."""
    dataset, labels = checkpoint.card.evaluation_dataset, part.test_labels()
    logits = checkpoint.card.split_logits(checkpoint.logits_or_none(), part.key)
    if dataset is None or dataset.key == part.key or logits is None or labels is None:
        return checkpoint
    own: dict[str, Any] = {"test_accuracy": metrics.accuracy(logits, labels), "test_objective": None}
    own |= {"test_cross_entropy": metrics.cross_entropy(logits, labels), "test_terms": {}}
    own["data"] = checkpoint.card.data.model_copy(update={"dataset": part.key, "evaluation_images": len(labels)})
    return replace(checkpoint, card=checkpoint.card.model_copy(update=own))


@dataclass(frozen=True)
class ResultRow:
    """What is known of a network, by the keys of `MEASURES`; None is unknown."""

    name: str
    architecture: str
    objective_key: str
    method: str  # the objective's label, or `teacher`; empty for weights of unknown origin
    objective: float | None  # the value that training minimized, on the evaluation split
    objective_terms: Objective | None
    terms: dict[str, float]  # cross-entropy and each term's unweighted loss on the evaluation split, by name
    cross_entropy: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float  # Wilson's 95 % interval
    images: int
    evaluated_on: str  # the evaluation images; equal where the images are
    parameters: int | None
    multiply_adds: int | None
    latency: float | None
    size: int | None  # of the weights' file
    train_images: int | None
    epochs: int | None  # over all runs of its training
    seed: int | None
    run: str | None
    seconds: float | None  # of training, over all runs
    device: str | None
    epochs_by_run: tuple[int, ...] = ()  # empty where its training is unknown
    continued_in_view: bool = False  # training was continued after the test accuracy was known
    measures: Mapping[str, float] = field(default_factory=dict)  # that were computed of the logits
    to_baseline: Difference | None = None  # its accuracy minus that of the table's baseline
    to_scratch_baseline: Difference | None = None  # minus its own
    to_teacher: Difference | None = None
    scaled_to_scratch_baseline: Difference | None = None  # of the scaled cross-entropies

    @property
    def is_distilled(self) -> bool:
        """Whether the network was trained with a distillation method, see `lineage.is_distilled`."""
        return self.objective_key != SCRATCH


SUMMARY = (
    "name", "weights", "training", "objective", "cross_entropy", "scaled_cross_entropy", "calibration_error",
    "scaled_calibration_error", "accuracy_interval", "to_scratch_baseline", "to_teacher",
)  # fmt: skip
"""Keys of `MEASURES`: each network with the paired tests against its own scratch baseline and teacher."""

COMPARISON = (
    *SUMMARY[:9], "to_baseline", "p", "teacher_agreement", "teacher_kl", "human_cross_entropy", "parameters",
    "multiply_adds",
)  # fmt: skip
"""Each network with the paired test against one baseline."""


def tabulate(rows: Sequence[ResultRow], baseline: str | None = None) -> TextTable:
    """The `SUMMARY`, or with a baseline's name the measures of `COMPARISON` that are known of any row."""
    if baseline is None:
        return measures.tabulate(rows, SUMMARY)
    known = [key for key in COMPARISON if any(MEASURES[key].cell(row) for row in rows)]
    return measures.tabulate(rows, known, {"to_baseline": f"To {baseline}"})


def to_markdown(rows: Sequence[ResultRow], baseline: str | None = None) -> str:
    """`tabulate` as Markdown."""
    return measures.to_markdown(tabulate(rows, baseline), text_columns=2)


def to_records(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """The numbers of `ResultRow` with full precision, and its differences with the names of what they are to."""
    names = [one.name for one in fields(ResultRow) if one.name not in ("objective_terms", "terms", "measures")]
    records = []
    for row in rows:
        record = {name: getattr(row, name) for name in names if not name.startswith(("to_", "scaled_to_"))}
        record = dict(row.measures) | record
        for key in ("baseline", "scratch_baseline", "teacher"):
            pair: Difference | None = getattr(row, f"to_{key}")
            record |= {key: pair and pair.other, f"to_{key}": pair and pair.estimate, f"p_to_{key}": pair and pair.p}
            record |= {f"gained_to_{key}": pair and pair.gained, f"lost_to_{key}": pair and pair.lost}
        records.append(record)
    return records


def build_rows(
    entries: Mapping[str, Checkpoint],
    logits: Logits,
    labels: np.ndarray | None,
    teacher: str | None = None,
    baseline: str | None = None,
    latency: Mapping[str, float] | None = None,
    human_labels: np.ndarray | None = None,
    others: Mapping[str, Checkpoint] | None = None,
) -> list[ResultRow]:
    """One row a network; what cannot be known is None. Scratch baselines are those among the entries.

    Args:
        entries: networks by their shown name, all evaluated on the same images.
        logits: of each, and of the teacher where it is none of the entries.
        labels: `[N]` of the evaluation images.
        teacher, baseline: what `teacher_agreement` and `teacher_kl`, and `to_baseline` refer to.
        latency: seconds for one image by architecture.
        human_labels: `[10000, 10]` as `Dataset.human_labels` gives them.
        others: further networks, such as teachers that have no row.
    """
    known_networks = {**(others or {}), **entries}
    baselines = lineage.name_relatives(entries, lineage.scratch_baseline_of)
    teachers = {  # of several teachers none is the one
        name: other
        for name, other in lineage.name_relatives(known_networks, lineage.teacher_of).items()
        if (facts := known_networks[name].card.teacher) is None or not facts.members
    }
    evaluations, costs, theirs = {}, dict[str, np.ndarray](), logits.get(teacher) if teacher else None
    for name, checkpoint in entries.items():
        if (own := logits.get(name)) is not None:
            known_labels = labels if labels is not None and len(own) == len(labels) else None
            is_comparable = theirs is not None and name != teacher and theirs.shape == own.shape  # not with itself
            if teacher in known_networks:
                is_comparable &= is_evaluated_on(known_networks[teacher], checkpoint)
            humans = None if checkpoint.card.split_logits(own, Cifar10.key) is None else human_labels
            evaluations[name] = Evaluation(own, known_labels, theirs if is_comparable else None, humans)
            if known_labels is not None:
                costs[name] = metrics.cross_entropies(evaluations[name].scaled[0], known_labels)
    rows = []
    for name, checkpoint in entries.items():
        pairs = {"to_baseline": baseline, "to_scratch_baseline": baselines.get(name), "to_teacher": teachers.get(name)}
        known: dict[str, Any] = {key: _compare(name, one, known_networks, logits, labels) for key, one in pairs.items()}
        if name in evaluations:
            known["measures"] = measures.measure(evaluations[name])
        if name in costs and (other := baselines.get(name)) in costs:
            known["scaled_to_scratch_baseline"] = over_mean(costs[name] - costs[other], other)
        if name in {teacher, *teachers.values()} and checkpoint.card.objective_key == SCRATCH:
            known["method"] = "teacher"
        rows.append(_describe(name, checkpoint, (latency or {}).get(checkpoint.architecture), known))
    return rows


def read_rows(entries: Mapping[str, Checkpoint]) -> list[ResultRow]:
    """The rows of networks that were evaluated on the same images, from their cards and stored logits."""
    labels = evaluation_labels(next(iter(entries.values()))) if entries else None
    known = entries.values()
    teachers = [lineage.find_teacher(one) for one in known if not lineage.teacher_of(one, known)]
    others = dict[str, Checkpoint]()
    for one in {teacher.sha256: teacher for teacher in teachers if teacher is not None}.values():
        name = f"{one.name} (teacher)" if one.name in entries else one.name
        others[f"{name} {one.sha256[:8]}" if name in others else name] = one
    logits = {name: checkpoint.logits_or_none() for name, checkpoint in {**entries, **others}.items()}
    return build_rows(entries, logits, labels, others=others)


def read_run(run: Run) -> list[ResultRow]:
    """The rows of a run's finished students."""
    return read_rows({checkpoint.name: checkpoint for checkpoint in checkpoints.run_checkpoints(run)})


def find_entries(names: Sequence[str]) -> dict[str, Checkpoint]:
    """Networks by the names of a table's rows: those of runs, RUN/STUDENT, or checkpoints; the bundled ones by default.

    Raises KDError when there is none of a name, or they were evaluated on different images.
    """
    found = {} if names else {checkpoint.name: checkpoint for checkpoint in bundled_checkpoints()}
    for name in (one.rstrip("/") for one in names):
        try:
            run = find_run(name)
        except ConfigError:
            found[name] = find_checkpoint(name)
            continue
        students = {f"{run.run_id}/{path.name}": path for path in finished_students(run)}
        for student, path in students.items():
            with leave_out(student):
                found[student] = open_checkpoint(path)
        if not students.keys() & found.keys():
            raise RunError(f"{run.run_id} has no finished student: see 'python -m kdexplorer runs show {run.run_id}'.")
    short = lineage.short_names(list(found))
    entries = on_same_images({short[name]: checkpoint for name, checkpoint in found.items()})
    groups = group_by_evaluation(entries)
    if len(groups) > 1:
        parts = "; ".join(f"{images}: {', '.join(those)}" for images, those in groups.items())
        raise ConfigError(f"networks that were evaluated on different images cannot share a table. {parts}")
    return entries


def _compare(
    name: str, other: str | None, entries: Mapping[str, Checkpoint], logits: Logits, labels: np.ndarray | None
) -> Difference | None:
    """A network's accuracy minus another's; None where that is missing, the same, or of other images."""
    if other is None or other == name or other not in entries:
        return None
    first, second = entries[name], entries[other]
    if not is_evaluated_on(second, first):
        return None
    mine, theirs = logits.get(name), logits.get(other)
    if theirs is not None and labels is not None:  # its first images may be those of a part
        theirs = theirs[: len(labels)]
    if labels is None or mine is None or theirs is None or not len(labels) == len(mine) == len(theirs):
        if describe_evaluation(first) != describe_evaluation(second):
            return None
        return Difference(first.card.test_accuracy - second.card.test_accuracy, other=other)
    return over_images(mine.argmax(axis=1) == labels, theirs.argmax(axis=1) == labels, other)


def _describe(name: str, checkpoint: Checkpoint, latency: float | None, known: dict[str, Any]) -> ResultRow:
    card, images = checkpoint.card, checkpoint.card.data.evaluation_images
    low, high = wilson_interval(card.test_accuracy, images)
    seconds = [leg.seconds for leg in card.legs if leg.seconds is not None]
    weights = checkpoint.path / WEIGHTS
    known.setdefault("method", objective_label(card.objective_key) if card.objective else "")
    multiply_adds = card.multiply_adds
    with contextlib.suppress(ConfigError):  # its architecture is not installed
        multiply_adds = multiply_adds or count_multiply_adds(card.architecture, len(card.classes)) or None
    return ResultRow(
        name=name, architecture=card.architecture, objective_key=card.objective_key,
        objective=card.test_objective, objective_terms=card.objective, terms=card.test_terms,
        accuracy=card.test_accuracy, accuracy_low=low, accuracy_high=high, cross_entropy=card.test_cross_entropy,
        images=images, evaluated_on=describe_evaluation(checkpoint),
        parameters=card.parameters or None, multiply_adds=multiply_adds,
        latency=latency, size=weights.stat().st_size if checkpoint.computes and weights.is_file() else None,
        train_images=card.data.train_images, epochs=card.epochs, run=card.run,
        epochs_by_run=tuple(leg.epochs for leg in card.legs), continued_in_view=card.continued_in_view,
        seconds=sum(seconds) if seconds and len(seconds) == len(card.legs) else None,
        device=card.legs[-1].device if card.legs else None, seed=card.legs[-1].seed if card.legs else None,
        **known,
    )  # fmt: skip


def disagreements(first: np.ndarray, second: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Positions of the images for which two networks predict different classes, the most confident pair first.

    By key: `all`; with labels also `first` (only the first network is right), `second` and `neither`.
    """
    predicted, other = first.argmax(axis=1), second.argmax(axis=1)
    confidence = np.minimum(metrics.softmax(first).max(axis=1), metrics.softmax(second).max(axis=1))
    order = np.argsort(-confidence, kind="stable")
    order = order[(predicted != other)[order]]
    if labels is None:
        return {"all": order}
    right, other_right = (predicted == labels)[order], (other == labels)[order]
    return {"all": order, "first": order[right], "second": order[other_right], "neither": order[~right & ~other_right]}


def learning_curves(
    entries: Mapping[str, Checkpoint], teacher: Checkpoint | None
) -> tuple[dict[str, list[EpochMeasures]], TeacherMeasures | None]:
    """Learning curves from the cards, by network, and the teacher's measures if it is the only teacher of these.

    Its measures say on which images they were computed where those are not the students'.
    """
    curves = {name: checkpoint.card.history for name, checkpoint in entries.items()}
    teachers = {checkpoint.card.teacher.sha256 for checkpoint in entries.values() if checkpoint.card.teacher}
    if teacher is None or teachers != {teacher.sha256}:
        return curves, None
    card, images = teacher.card, describe_evaluation(teacher)
    same = all(describe_evaluation(checkpoint) == images for checkpoint in entries.values())
    own = {"accuracy": card.test_accuracy, "cross_entropy": card.test_cross_entropy}
    return curves, TeacherMeasures(name=teacher.name, note="" if same else f"on the {images}", **own)
