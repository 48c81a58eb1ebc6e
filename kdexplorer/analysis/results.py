"""Results of trained networks: which images they were evaluated on, and one typed row for each network.

Cross-entropy and accuracy can be compared between networks that were evaluated on the same images. The objective
cannot: it is a different sum for each method. Networks evaluated on different images do not belong in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.statistics import mcnemar, paired_interval, wilson_interval
from kdexplorer.analysis.tables import PairedDifference, ResultRow
from kdexplorer.analysis.temperature_scaling import Scaled, scale_known
from kdexplorer.config import objective_label
from kdexplorer.datasets import Dataset, all_datasets, get_dataset
from kdexplorer.datasets.cifar10 import Cifar10
from kdexplorer.networks.cost import count_multiply_adds
from kdexplorer.runs import lineage
from kdexplorer.runs.card import EpochFigures
from kdexplorer.runs.checkpoints import WEIGHTS, Checkpoint
from kdexplorer.runs.records import TeacherFigures

Logits = Mapping[str, "np.ndarray | None"]
"""Logits `[N, classes]` of the evaluation split by network; None where they are missing."""


def describe_evaluation(checkpoint: Checkpoint) -> str:
    """The images on which a card's figures were computed, in words that are equal where the images are."""
    data, dataset = checkpoint.card.data, _named_dataset(checkpoint)
    name = f"other data ({', '.join(checkpoint.classes[:3])}, …)" if dataset is None else dataset.label
    split = {"test": "test", "holdout": "held-out training"}[data.evaluation_split]
    return f"{data.evaluation_images:,} {split} images of {name}"


def group_by_evaluation(entries: Mapping[str, Checkpoint]) -> dict[str, list[str]]:
    """Names by the images that the networks were evaluated on, see `describe_evaluation`."""
    groups: dict[str, list[str]] = {}
    for name, checkpoint in entries.items():
        groups.setdefault(describe_evaluation(checkpoint), []).append(name)
    return groups


def dataset_of(checkpoint: Checkpoint) -> str:
    """The key of the data set that fits a network: its card's where the classes agree, else the first one."""
    dataset = known_dataset(checkpoint)
    return dataset.key if dataset is not None else all_datasets()[0].key


def evaluation_dataset(checkpoint: Checkpoint) -> Dataset | None:
    """The data set on whose test split a card was computed; None for held-out images and for other classes."""
    return known_dataset(checkpoint) if checkpoint.card.data.evaluation_split == "test" else None


def known_dataset(checkpoint: Checkpoint) -> Dataset | None:
    """The data set that a card names; None where it is not known or has other classes."""
    dataset = _named_dataset(checkpoint)
    return dataset if dataset is not None and dataset.classes == checkpoint.classes else None


def evaluation_labels(checkpoint: Checkpoint) -> np.ndarray | None:
    """The labels `[N]` of the test split that a card was computed on, or None where they are missing."""
    dataset = evaluation_dataset(checkpoint)
    return dataset.test_labels() if dataset is not None else None


def is_evaluated_on(checkpoint: Checkpoint, other: Checkpoint) -> bool:
    """Whether a network's stored logits contain those of the images that another one was evaluated on."""
    own, wanted = evaluation_dataset(checkpoint), evaluation_dataset(other)
    if own is None or wanted is None:
        return describe_evaluation(checkpoint) == describe_evaluation(other)
    return own.key in (wanted.key, wanted.first_test_images_of)


def whole_split_logits(checkpoint: Checkpoint, logits: np.ndarray | None, dataset: str) -> np.ndarray | None:
    """A network's stored logits of this data set's whole test split in its order, or None where they are missing."""
    evaluated, wanted = evaluation_dataset(checkpoint), get_dataset(dataset)
    if logits is None or evaluated is None or len(logits) != evaluated.sizes["test"]:
        return None
    return logits[: wanted.sizes["test"]] if evaluated.key in (wanted.key, wanted.first_test_images_of) else None


def _named_dataset(checkpoint: Checkpoint) -> Dataset | None:
    return next((dataset for dataset in all_datasets() if dataset.key == checkpoint.card.data.dataset), None)


def build_rows(
    entries: Mapping[str, Checkpoint],
    logits: Logits,
    labels: np.ndarray | None,
    teacher: str | None = None,
    baseline: str | None = None,
    latency: Mapping[str, float] | None = None,
    human_labels: np.ndarray | None = None,
) -> list[ResultRow]:
    """One row a network; what cannot be known is None. Scratch baselines and teachers are those among the entries.

    Args:
        entries: networks by their shown name, all evaluated on the same images.
        logits: of each, and of the teacher where it is none of the entries.
        labels: `[N]` of the evaluation images.
        teacher, baseline: what `teacher_agreement` and `teacher_kl`, and `difference` and `p` refer to.
        latency: seconds for one image by architecture.
        human_labels: `[10000, 10]` as `load_human_labels` gives them.
    """
    relatives = {"scratch_baseline": lineage.scratch_baselines(entries), "teacher": lineage.teachers_of(entries)}
    scaled = scale_known({name: logits.get(name) for name in entries}, labels)
    rows = []
    for name, checkpoint in entries.items():
        mine, theirs = logits.get(name), logits.get(teacher) if teacher and teacher != name else None
        facts: dict[str, Any] = {}
        if mine is not None and labels is not None and name in scaled:
            facts |= _measure_calibration(mine, labels, name, relatives["scratch_baseline"].get(name), scaled)
        whole = whole_split_logits(checkpoint, mine, Cifar10.key)
        if human_labels is not None and whole is not None:
            facts["human_cross_entropy"] = float(metrics.cross_entropy_to_humans(human_labels, whole).mean())
        if mine is not None and theirs is not None and mine.shape == theirs.shape:
            facts["teacher_agreement"] = metrics.agreement(mine, theirs)
            facts["teacher_kl"] = metrics.kl_divergence(theirs, mine)
        to_baseline = _compare(name, baseline, entries, logits, labels)
        if to_baseline is not None:
            facts |= {key: getattr(to_baseline, key) for key in ("difference", "p", "gained", "lost")}
        for kind, found in relatives.items():
            facts |= {kind: found.get(name), f"to_{kind}": _compare(name, found.get(name), entries, logits, labels)}
        rows.append(_describe(name, checkpoint, (latency or {}).get(checkpoint.architecture), facts))
    return rows


def read_rows(entries: Mapping[str, Checkpoint]) -> list[ResultRow]:
    """The rows of networks that were evaluated on the same images, from their cards and stored logits."""
    logits = {name: checkpoint.logits_or_none() for name, checkpoint in entries.items()}
    labels = evaluation_labels(next(iter(entries.values()))) if entries else None
    return build_rows(entries, logits, labels)


def _measure_calibration(
    logits: np.ndarray, labels: np.ndarray, name: str, baseline: str | None, scaled: Scaled
) -> dict[str, Any]:
    """Calibration as trained and after temperature scaling, and the scaled cross-entropy minus the baseline's."""
    own, temperature = scaled[name]
    facts: dict[str, Any] = {
        "calibration_error": metrics.expected_calibration_error(logits, labels),
        "scaled_calibration_error": metrics.expected_calibration_error(own, labels),
        "scaled_cross_entropy": metrics.cross_entropy(own, labels),
        "fitted_temperature": temperature,
    }
    if baseline is not None and baseline in scaled:
        costs, others = (metrics.cross_entropies(one, labels) for one in (own, scaled[baseline][0]))
        facts["scaled_to_scratch_baseline"] = paired_interval(costs - others)
    return facts


def _compare(
    name: str, other: str | None, entries: Mapping[str, Checkpoint], logits: Logits, labels: np.ndarray | None
) -> PairedDifference | None:
    """A network minus another one; None where that is missing, the same, or was evaluated on other images."""
    if other is None or other == name or other not in entries:
        return None
    first, second = entries[name], entries[other]
    if describe_evaluation(first) != describe_evaluation(second):
        return None
    difference = first.card.test_accuracy - second.card.test_accuracy
    mine, theirs = logits.get(name), logits.get(other)
    if labels is None or mine is None or theirs is None or not len(labels) == len(mine) == len(theirs):
        return PairedDifference(other, difference)
    test = mcnemar(mine, theirs, labels)
    return PairedDifference(other, difference, test["p"], int(test["gained"]), int(test["lost"]))


def _describe(name: str, checkpoint: Checkpoint, latency: float | None, facts: dict[str, Any]) -> ResultRow:
    """A row from the card and what was computed besides."""
    card, images = checkpoint.card, checkpoint.card.data.evaluation_images
    low, high = wilson_interval(round(card.test_accuracy * images), images)
    seconds = [leg.seconds for leg in card.legs if leg.seconds is not None]
    weights = checkpoint.path / WEIGHTS
    return ResultRow(
        name=name, architecture=card.architecture, objective_key=card.objective_key,
        method=objective_label(card.objective_key) if card.objective else "",
        objective=card.test_objective, objective_terms=card.objective, terms=card.test_terms,
        cross_entropy=card.test_cross_entropy, accuracy=card.test_accuracy, accuracy_low=low, accuracy_high=high,
        images=images, evaluated_on=describe_evaluation(checkpoint),
        parameters=card.parameters,
        multiply_adds=card.multiply_adds or count_multiply_adds(card.architecture, len(card.classes)),
        latency=latency,
        size=weights.stat().st_size if weights.is_file() else None,
        train_images=card.data.train_images, epochs=card.epochs, seed=card.seed, run=card.run,
        epochs_by_run=tuple(leg.epochs for leg in card.legs), continued_in_view=card.continued_in_view,
        seconds=sum(seconds) if seconds and len(seconds) == len(card.legs) else None,
        device=card.legs[-1].device if card.legs else None,
        **facts,
    )  # fmt: skip


def describe_training_difference(entries: Mapping[str, Checkpoint]) -> str | None:
    """A sentence when students were trained on different numbers of images, so that more than the method differs."""
    teachers = {h for checkpoint in entries.values() if checkpoint.card.teacher for h in checkpoint.card.teacher.hashes}
    sizes: dict[int, list[str]] = {}
    for name, checkpoint in entries.items():
        count = checkpoint.card.data.train_images
        if count and checkpoint.sha256 not in teachers:
            sizes.setdefault(count, []).append(name)
    if len(sizes) < 2:
        return None
    parts = []
    for count, names in sorted(sizes.items()):
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        parts.append(f"{count:,} images ({', '.join(names[:4])}{more})")
    return f"Not only the method differs: these were trained on different numbers of images. {'; '.join(parts)}."


def disagreements(first: np.ndarray, second: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Positions of the images for which two networks predict different classes, the most confident pair first.

    Returns:
        `all`; with labels also `first` (only the first network is right), `second` and `neither`.
    """
    predicted, other = first.argmax(axis=1), second.argmax(axis=1)
    confidence = np.minimum(metrics.softmax(first).max(axis=1), metrics.softmax(second).max(axis=1))
    order = np.argsort(-confidence, kind="stable")
    order = order[(predicted != other)[order]]
    if labels is None:
        return {"all": order}
    right, other_right = (predicted == labels)[order], (other == labels)[order]
    return {"all": order, "first": order[right], "second": order[other_right], "neither": order[~right & ~other_right]}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Names for tables and legends: `STUDENT` where that is unique, else with the end of its run's id."""
    students, named = [key.rpartition("/")[2] for key in keys], {}
    for key, student in zip(keys, students, strict=True):
        run_id = key.rpartition("/")[0]
        end = run_id.split("-", 2)[2] if run_id.count("-") > 2 else run_id
        named[key] = f"{student} ({end})" if run_id and students.count(student) > 1 else student
    return named if len(set(named.values())) == len(keys) else {key: key for key in keys}


def learning_curves(
    entries: Mapping[str, Checkpoint], teacher: Checkpoint | None
) -> tuple[dict[str, list[EpochFigures]], TeacherFigures | None]:
    """Learning curves from the cards, by network, and the teacher's figures if it is the only teacher of these.

    Its figures say on which images they were computed where those are not the students'.
    """
    curves = {name: checkpoint.card.history for name, checkpoint in entries.items()}
    teachers = {checkpoint.card.teacher.sha256 for checkpoint in entries.values() if checkpoint.card.teacher}
    if teacher is None or teachers != {teacher.sha256}:
        return curves, None
    card, images = teacher.card, describe_evaluation(teacher)
    same = all(describe_evaluation(checkpoint) == images for checkpoint in entries.values())
    figures = {"accuracy": card.test_accuracy, "cross_entropy": card.test_cross_entropy}
    return curves, TeacherFigures(name=teacher.name, note="" if same else f"on the {images}", **figures)
