"""Any set of networks in one table, what may stand in it, and the two puzzles of the lab answered from its rows.

Cross-entropy and accuracy can be compared between rows that were measured on the same images. The objective cannot:
each method minimises another sum. Rows measured on different images are refused; nothing is averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer import checkpoints, data, metrics, people, relatives
from kdexplorer.checkpoints import Checkpoint

COLUMNS = {
    "name": "Network",
    "method": "Method",
    "objective": "Objective",
    "cross_entropy": "Cross-entropy (nats)",
    "people": "Cross-entropy against people (nats)",
    "accuracy": "Accuracy",
    "accuracy_low": "95 % from",
    "accuracy_high": "95 % to",
    "difference": "Difference to baseline",
    "p": "McNemar p",
    "calibration_error": "Calibration error",
    "teacher_agreement": "Agreement with teacher",
    "teacher_kl": "KL from teacher (nats)",
    "parameters": "Parameters",
    "multiply_adds": "Multiply-adds",
    "latency": "Latency (s)",
    "size": "Size on disk (bytes)",
    "train_images": "Training images",
    "epochs": "Epochs",
    "seed": "Seed",
}
"""The table's columns: key and heading."""

Logits = dict[str, "np.ndarray | None"]


def measured_on(checkpoint: Checkpoint) -> str:
    """The images on which a card's figures were measured, in words that are equal where the images are."""
    facts = checkpoint.card.get("data") or {}
    dataset = {"cifar10": "CIFAR-10", "synthetic": "synthetic shapes"}.get(
        facts.get("dataset", "cifar10"), "other data"
    )
    known = "" if dataset != "other data" else f" ({', '.join(checkpoint.classes[:3])}, …)"
    return (
        f"{int(facts.get('measured_images', 10_000)):,} {facts.get('measured_on', 'test')} images of {dataset}{known}"
    )


def groups(entries: dict[str, Checkpoint]) -> dict[str, list[str]]:
    """Names by the images they were measured on. More than one group must not stand in one table."""
    found: dict[str, list[str]] = {}
    for name, checkpoint in entries.items():
        found.setdefault(measured_on(checkpoint), []).append(name)
    return found


def training_differs(entries: dict[str, Checkpoint]) -> str | None:
    """A sentence when students saw different amounts of data, so that more than the method differs."""
    sizes: dict[int, list[str]] = {}
    taught = {(checkpoint.card.get("teacher") or {}).get("sha256") for checkpoint in entries.values()}
    for name, checkpoint in entries.items():
        count = (checkpoint.card.get("data") or {}).get("train_images")
        if count and checkpoint.sha256 not in taught:
            sizes.setdefault(count, []).append(name)
    if len(sizes) < 2:
        return None
    parts = [f"{count:,} images ({_some(names)})" for count, names in sorted(sizes.items())]
    return "These were trained on different numbers of images, so more than the method differs: " + "; ".join(parts)


def dataset_of(checkpoint: Checkpoint) -> str:
    """The data set whose images a network knows: its card's, where the classes agree, else CIFAR-10."""
    named = (checkpoint.card.get("data") or {}).get("dataset")
    return named if isinstance(named, str) and data.CLASSES.get(named) == checkpoint.classes else "cifar10"


def stored_logits(checkpoint: Checkpoint) -> np.ndarray | None:
    """The logits beside a checkpoint, or None where they cannot be read."""
    try:
        return checkpoint.logits()
    except checkpoints.CheckpointError:
        return None


def on_whole_split(checkpoint: Checkpoint, logits: np.ndarray | None, dataset: str) -> np.ndarray | None:
    """A network's stored logits where they are those of this data set's whole test split in its order, else None."""
    facts = checkpoint.card.get("data") or {}
    sizes = {"cifar10": data.SIZES["test"], "synthetic": data.SYNTHETIC_SIZES["test"]}
    whole = facts.get("measured_on", "test") == "test" and facts.get("dataset", "cifar10") == dataset
    return logits if logits is not None and whole and len(logits) == sizes[dataset] else None


def rows(
    entries: dict[str, Checkpoint],
    logits: Logits,
    labels: np.ndarray | None,
    teacher: str | None = None,
    baseline: str | None = None,
    latency: dict[str, float] | None = None,
    answers: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """One row a network; what cannot be known is None. `twin` and `taught_by` name rows (see `relatives`).

    Args:
        entries: networks by the name they are shown under, all measured on the same images.
        logits: `[N, classes]` of each (or None), of the teacher too when it is none of the entries.
        labels: `[N]`, or None where they are not at hand: then what needs them stays None.
        teacher: whose answers `teacher_agreement` and `teacher_kl` are about.
        baseline: to whom `difference` and `p` refer.
        latency: seconds for one image by architecture, where it was measured.
        answers: people's to CIFAR-10's test split, as `people.load` gives them, where they are at hand.
    """
    table = []
    twins, guides = relatives.twins(entries), relatives.guides(entries)
    for name, checkpoint in entries.items():
        card, facts = checkpoint.card, checkpoint.card.get("data") or {}
        count = int(facts.get("measured_images", 10_000))
        low, high = metrics.wilson_interval(round(card["test_accuracy"] * count), count)
        mine = logits.get(name)
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | {
            "name": name,
            "architecture": checkpoint.architecture,
            "method": card.get("method"),
            "objective": card.get("test_objective"),
            "weights": card.get("objective"),
            "terms": card.get("test_terms"),
            "cross_entropy": card["test_cross_entropy"],
            "accuracy": card["test_accuracy"],
            "accuracy_low": low,
            "accuracy_high": high,
            "parameters": card["parameters"],
            "multiply_adds": metrics.MULTIPLY_ADDS.get(checkpoint.architecture),
            "latency": (latency or {}).get(checkpoint.architecture),
            "size": _size(checkpoint),
            "train_images": facts.get("train_images"),
            "epochs": card.get("epochs"),
            "seed": card.get("seed"),
            "run": card.get("run"),
            "twin": twins.get(name),
            "taught_by": guides.get(name),
            "measured_on": measured_on(checkpoint),
            "images": count,
        }
        if labels is not None and _fits(mine, labels):
            row["calibration_error"] = metrics.expected_calibration_error(mine, labels)
        whole = on_whole_split(checkpoint, mine, "cifar10")
        if answers is not None and whole is not None and checkpoint.classes == data.CIFAR10_CLASSES:
            row["people"] = float(people.cross_entropy(answers, whole).mean())
        theirs = logits.get(teacher) if teacher and teacher != name else None
        if mine is not None and theirs is not None and mine.shape == theirs.shape:
            row["teacher_agreement"] = metrics.agreement(mine, theirs)
            row["teacher_kl"] = metrics.kl_divergence(theirs, mine)
        if baseline in entries and name != baseline:
            row["difference"] = card["test_accuracy"] - entries[baseline].card["test_accuracy"]
            row |= _test(mine, logits.get(baseline), labels)
        table.append(row)
    return table


def _test(mine: np.ndarray | None, theirs: np.ndarray | None, labels: np.ndarray | None) -> dict[str, Any]:
    if labels is None or not _fits(mine, labels) or not _fits(theirs, labels):
        return {}
    facts = metrics.mcnemar(mine, theirs, labels)
    return {key: facts[key] for key in ("p", "gained", "lost")}


def _fits(logits: np.ndarray | None, labels: np.ndarray) -> bool:
    return logits is not None and len(logits) == len(labels)


def _size(checkpoint: Checkpoint) -> int | None:
    try:
        return (checkpoint.path / checkpoints.WEIGHTS).stat().st_size
    except OSError:
        return None


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# --- The lab's two puzzles --------------------------------------------------------------------------------


def why_the_loss_is_larger(table: list[dict[str, Any]]) -> str:
    """Why a distilled student's "loss" is above its scratch twin's: the sum that it minimises, in numbers."""
    distilled = [row for row in distilled_of(table) if row["objective"] is not None]
    if not distilled:
        return "Choose a distilled student as well: then its loss is taken apart here."
    row = max(distilled, key=lambda r: r["objective"] - r["cross_entropy"])
    twin = twin_of(row, table)
    sum_ = _sum_in_words(row)
    text = f"The loss that {row['name']} minimised, {row['objective']:.3f}, is another sum than cross-entropy" + (
        f": {sum_}. " if sum_ else ". "
    )
    if twin is None:
        return text + f"Its cross-entropy, which can be compared between rows, is {row['cross_entropy']:.3f}."
    if row["objective"] <= twin["cross_entropy"]:
        text = text.rstrip() + " Here that sum happens to be the smaller number, which says as little. "
    than = "lower than" if row["cross_entropy"] < twin["cross_entropy"] else "higher than"
    return text + (
        f"In cross-entropy, which can be compared, it has {row['cross_entropy']:.3f}: {than} the "
        f"{twin['cross_entropy']:.3f} of {twin['name']}, which learnt from labels alone."
    )


def _sum_in_words(row: dict[str, Any]) -> str:
    """The terms that add up to the objective; nothing with smoothed labels, whose term no card holds."""
    weights, terms = row.get("weights") or {}, row.get("terms") or {}
    if weights.get("label_smoothing"):
        return ""
    parts = []
    for weight, term, words in (
        ("ce_weight", "cross_entropy", "cross-entropy {:.3f}"),
        ("response_weight", "response", "T²·KL {:.3f}"),
        ("attention_weight", "attention", "attention {:.5f}"),
    ):
        factor, value = weights.get(weight), terms.get(term)
        if isinstance(factor, (int, float)) and isinstance(value, (int, float)) and factor:
            parts.append(f"{factor:g} × {words.format(value)}")
    return " + ".join(parts)


def really_better(table: list[dict[str, Any]], logits: Logits, labels: np.ndarray | None) -> str:
    """Whether the best distilled student beat its scratch twin and its teacher by more than chance.

    It is the best of many looks, so p has Holm's correction for all distilled students that could be tested.
    """
    by_name = {row["name"]: row for row in table}
    distilled = distilled_of(table)
    if not distilled:
        return "Choose a distilled student and its twin from scratch: then the two are tested here."
    best = max(distilled, key=lambda row: row["accuracy"])
    sentences = []
    for relative, words in (("twin", "its scratch twin"), ("taught_by", "its teacher")):
        if best[relative] is None:
            continue
        pairs = {row["name"]: row[relative] for row in distilled if row[relative] is not None}
        found = {name: _test(logits.get(name), logits.get(other), labels) for name, other in pairs.items()}
        tested = {name: facts for name, facts in found.items() if facts}
        corrected = dict(zip(tested, metrics.holm([facts["p"] for facts in tested.values()]), strict=True))
        facts = found[best["name"]] | {"p_holm": corrected.get(best["name"]), "looks": len(tested)}
        sentences.append(_verdict(best, by_name[best[relative]], words, facts))
    if not sentences:
        return f"Choose the scratch twin of {best['name']} or its teacher as well: then the two are tested here."
    return " ".join(sentences) + " Each network was trained once: what another seed would change is not in these tests."


def _verdict(row: dict[str, Any], other: dict[str, Any], words: str, facts: dict[str, Any]) -> str:
    points = 100 * (row["accuracy"] - other["accuracy"])
    side = "above" if points > 0 else "below"
    text = f"{row['name']} is {abs(points):.2f} points {side} {words} {other['name']}"
    text = text if round(points, 2) else f"{row['name']} has the accuracy of {words} {other['name']}"
    if "p" not in facts:
        apart = row["accuracy_low"] > other["accuracy_high"] or row["accuracy_high"] < other["accuracy_low"]
        return (
            f"{text}; their 95 % intervals {'do not overlap' if apart else 'overlap'}, and the paired test needs "
            + ("the labels of the test images, which come with CIFAR-10.")
        )
    chance = "more than chance on these images" if facts["p_holm"] < 0.05 else "this could well be chance"
    looks = f", {p_text(facts['p_holm'])} for the best of {facts['looks']} looks" if facts["looks"] > 1 else ""
    return (
        f"{text}: only it is right on {facts['gained']:,} images, only the other on {facts['lost']:,} "
        f"(McNemar {p_text(facts['p'])}{looks}), {chance}."
    )


def distilled_of(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of students that heard a teacher."""
    return [row for row in table if row["method"] in ("response", "feature", "combined")]


def twin_of(row: dict[str, Any], table: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row that differs from this one in the method only, from scratch; see `relatives.twin_of`."""
    return next((other for other in table if other["name"] == row["twin"]), None)


def p_text(p: float) -> str:
    """`p = 0.031`, or `p < 0.0001`."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


# --- Images -------------------------------------------------------------------------------------------------


def disagreements(first: np.ndarray, second: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """Indices of the images that two networks answer differently, the most confident disagreement first.

    Args:
        first, second: logits `[N, classes]`.
        labels: `[N]`, or None: then all stand under one heading.

    Returns:
        `first`: only the first is right; `second`: only the second; `neither`; and `all`.
    """
    differ = first.argmax(axis=1) != second.argmax(axis=1)
    sure = np.minimum(np.exp(metrics.log_softmax(first)).max(axis=1), np.exp(metrics.log_softmax(second)).max(axis=1))
    order = np.argsort(-sure, kind="stable")
    order = order[differ[order]]
    found = {"all": order}
    if labels is not None:
        right, other = first.argmax(axis=1) == labels, second.argmax(axis=1) == labels
        found |= {
            "first": order[right[order]],
            "second": order[other[order]],
            "neither": order[~right[order] & ~other[order]],
        }
    return found


def short_names(keys: list[str]) -> dict[str, str]:
    """Names for tables and legends: `STUDENT` where that is unique, else with the end of its run's id."""
    bare = {key: key.rpartition("/")[2] for key in keys}
    taken = list(bare.values())

    def name(key: str) -> str:
        run_id, _, student = key.rpartition("/")
        if not run_id or taken.count(student) == 1:
            return student
        label = run_id.split("-", 2)[2] if run_id.count("-") > 2 else run_id
        return f"{student} ({label})"

    named = {key: name(key) for key in keys}
    return named if len(set(named.values())) == len(keys) else {key: key for key in keys}


def learning_curves(
    entries: dict[str, Checkpoint], teacher: Checkpoint | None
) -> tuple[list[dict[str, Any]], dict[str, float] | None]:
    """Networks' learning curves from their cards, and what the teacher reached where all distilled ones had this one.

    Returns:
        Rows with `network`, `epoch` (from 0), `train` and `test`; and the teacher's `accuracy` (0 to 1) and
        `cross_entropy` (nats), or None.
    """
    rows = [row | {"network": name} for name, checkpoint in entries.items() for row in checkpoint.history]
    taught = {(checkpoint.card.get("teacher") or {}).get("sha256") for checkpoint in entries.values()} - {None}
    if teacher is None or taught != {teacher.sha256}:
        return rows, None
    return rows, {"accuracy": teacher.card["test_accuracy"], "cross_entropy": teacher.card["test_cross_entropy"]}
