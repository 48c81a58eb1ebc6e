"""What a sweep found: every cell of its grid with its spread over seeds, the best one, and whether that is luck.

All from stored logits and cards. The best cell is the best of many looks, so its difference to the lab's default is
tested on the same images with Holm's correction over all cells that were looked at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kdexplorer import checkpoints, comparison, data, metrics
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import CheckpointError, ConfigError, DataError
from kdexplorer.files import read_json
from kdexplorer.sweep import Sweep, references

MEASURES = ("accuracy", "cross_entropy", "calibration_error", "teacher_agreement", "teacher_kl")
"""What a student's row holds beside where it stands; None where it cannot be known."""


def results(sweep: Sweep) -> dict[str, Any]:
    """The results of the students that have finished, as they are stored in `table.json` (JSON types only).

    Returns:
        `student`, `teacher`, `measured_on`, `temperatures`, `response_weights`, `seeds`, `recipe`; `students` (a row
        per student and seed: `temperature` and `response_weight`, None and 0 for the twin from scratch, and
        `MEASURES`); `cells` (see `cells`), `scratch` (the twin's cell or None), `default` and `best` (a cell's
        temperature and weight, or None).

    Raises:
        ConfigError: when the sweep's configuration cannot be read.
    """
    config = sweep.config()
    labels, teacher = _labels(config), _teacher(config)
    rows, right, where = [], {}, None
    for experiment, run in zip(sweep.experiments(), sweep.runs(), strict=True):
        for student in config.students():
            if student.name not in experiment["students"]:
                continue
            try:
                found = checkpoints.open_checkpoint(run.path / student.name)
                logits = found.logits()
            except CheckpointError:
                continue
            key = (student.temperature if student.response_weight else None, student.response_weight)
            row = {"seed": experiment["seed"], "temperature": key[0], "response_weight": key[1], "run": run.run_id}
            rows.append(row | _measured(found, logits, labels, teacher))
            if labels is not None and len(labels) == len(logits):
                right[*key, experiment["seed"]] = logits.argmax(axis=1) == labels
            where = comparison.measured_on(found)
    default = references(config.student)[1]
    made = {
        "sweep": sweep.run_id,
        "student": config.student,
        "teacher": config.recipe.teacher,
        "measured_on": where,
        "temperatures": sorted({*config.temperatures, default.temperature}),
        "response_weights": sorted({*config.response_weights, default.response_weight}),
        "seeds": [config.recipe.seed + number for number in range(config.seeds)],
        "recipe": config.recipe.model_dump(mode="json", exclude={"students", "seed"}),
        "students": rows,
        "default": {"temperature": default.temperature, "response_weight": default.response_weight},
    }
    every = cells(rows, right, made["default"])
    grid = [one for one in every if one["temperature"] is not None]
    best = max(grid, key=lambda one: one["accuracy"], default=None)
    return made | {
        "cells": grid,
        "scratch": next((one for one in every if one["temperature"] is None), None),
        "best": {key: best[key] for key in ("temperature", "response_weight")} if best else None,
    }


def cells(
    rows: list[dict[str, Any]], right: dict[tuple[Any, Any, int], np.ndarray], default: dict[str, float]
) -> list[dict[str, Any]]:
    """One row a cell, means over its seeds.

    Args:
        rows: one a student and seed.
        right: `[images]` bool by (temperature, weight, seed), where labels are at hand.
        default: the cell that the others are tested against.

    Returns:
        `temperature`, `response_weight`, `seeds` (how many), the means of `MEASURES`, for each also `…_values` (by
        seed); `accuracy_low` and `accuracy_high` (95 % t interval over seeds; None with one seed); and where labels
        are at hand, for each cell but the default `difference`, `ahead` (in how many seeds), `p` and `p_holm`.
    """
    places = sorted(
        {(row["temperature"], row["response_weight"]) for row in rows}, key=lambda place: (place[0] or 0, place[1])
    )
    made = []
    for place in places:
        mine = [row for row in rows if (row["temperature"], row["response_weight"]) == place]
        cell: dict[str, Any] = {"temperature": place[0], "response_weight": place[1], "seeds": len(mine)}
        for measure in MEASURES:
            values = [row[measure] for row in mine]
            known = all(value is not None for value in values)
            cell |= {measure: float(np.mean(values)) if known else None, f"{measure}_values": values if known else None}
        interval = metrics.seed_interval(cell["accuracy_values"])
        cell["accuracy_low"], cell["accuracy_high"] = interval or (None, None)
        made.append(cell | _against(place, (default["temperature"], default["response_weight"]), right))
    tested = [cell for cell in made if "p" in cell]
    for cell, p in zip(tested, metrics.holm([cell["p"] for cell in tested]), strict=True):
        cell["p_holm"] = p
    return made


def _against(place: tuple[Any, Any], default: tuple[Any, Any], right: dict[tuple[Any, Any, int], np.ndarray]) -> dict:
    seeds = [seed for *at, seed in right if tuple(at) == place and (*default, seed) in right]
    if place == default or not seeds:
        return {}
    mine = np.stack([right[*place, seed] for seed in seeds])
    theirs = np.stack([right[*default, seed] for seed in seeds])
    by_seed = mine.mean(axis=1) - theirs.mean(axis=1)
    facts = metrics.paired_test(mine, theirs)
    return {
        "difference": facts["difference"],
        "differences": by_seed.tolist(),
        "ahead": int((by_seed > 0).sum()),
        "p": facts["p"],
    }


def _measured(
    found: Checkpoint, logits: np.ndarray, labels: np.ndarray | None, teacher: np.ndarray | None
) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(MEASURES) | {
        "accuracy": found.card["test_accuracy"],
        "cross_entropy": found.card["test_cross_entropy"],
    }
    if labels is not None and len(labels) == len(logits):
        row["calibration_error"] = metrics.expected_calibration_error(logits, labels)
    if teacher is not None and teacher.shape == logits.shape:
        row["teacher_agreement"] = metrics.agreement(logits, teacher)
        row["teacher_kl"] = metrics.kl_divergence(teacher, logits)
    return row


def _labels(config: Any) -> np.ndarray | None:
    """The labels of the images that the sweep's students were measured on, or None where they are not at hand."""
    try:
        if not config.recipe.holdout:
            return data.load_split(config.recipe.dataset, "test").labels
        labels = data.load_split(config.recipe.dataset, "train").labels
        return labels[data.held_out(labels, config.recipe.holdout)]
    except DataError:
        return None


def _teacher(config: Any) -> np.ndarray | None:
    """The teacher's stored logits on the test split; None where the sweep was measured elsewhere."""
    from kdexplorer import train

    if config.recipe.holdout:
        return None
    try:
        found = train.find_checkpoint(config.recipe.teacher)
        whole = (found.card.get("data") or {}).get("measured_on", "test") == "test"
        return found.logits() if whole else None
    except (CheckpointError, ConfigError):
        return None


# --- For readers --------------------------------------------------------------------------------------------


def at(made: dict[str, Any], place: dict[str, float] | None) -> dict[str, Any] | None:
    """The cell at a place of the grid, or None."""
    if place is None:
        return None
    keys = ("temperature", "response_weight")
    return next((cell for cell in made["cells"] if all(cell[key] == place[key] for key in keys)), None)


def answer(made: dict[str, Any]) -> str:
    """Whether the best cell is really better than the default, in sentences with every doubt that there is."""
    best, default = at(made, made["best"]), at(made, made["default"])
    if best is None:
        return "No student has finished yet."
    text = f"The best of {len(made['cells'])} cells is {_place(best)}: {_accuracy(best)}."
    if best is default:
        text += " That is the lab's default itself."
    elif default is None:
        text += " The lab's default has not finished yet, so nothing is tested."
    else:
        text += f" The lab's default, {_place(default)}, has {_accuracy(default)}."
        text += _tested(best, made) if "p_holm" in best else (
            " The paired test needs the labels of the measured images, which come with CIFAR-10."
        )  # fmt: skip
    scratch = made["scratch"]
    if scratch is not None:
        text += f" Labels alone give {_accuracy(scratch)}."
    if best["seeds"] == 1:
        return text + " One seed a cell: what another seed would change is not known."
    return text + " The intervals are over seeds; the test is over images, and another seed is not in it."


def _tested(best: dict[str, Any], made: dict[str, Any]) -> str:
    looks = sum("p" in cell for cell in [*made["cells"], *([made["scratch"]] if made["scratch"] else [])])
    verdict = "more than chance on these images" if best["p_holm"] < 0.05 else "this could well be chance"
    return (
        f" The best is ahead by {100 * best['difference']:.2f} points, in {best['ahead']} of "
        f"{len(best['differences'])} seeds; the paired test on the same images gives {comparison.p_text(best['p'])}, "
        f"after Holm's correction for {looks} looks {comparison.p_text(best['p_holm'])}: {verdict}."
    )


def _place(cell: dict[str, Any]) -> str:
    return f"T = {cell['temperature']:g} with weight {cell['response_weight']:g}"


def _accuracy(cell: dict[str, Any]) -> str:
    text = f"{100 * cell['accuracy']:.2f} %"
    if cell["accuracy_low"] is None:
        return text
    low, high = 100 * cell["accuracy_low"], 100 * cell["accuracy_high"]
    return f"{text} (mean of {cell['seeds']} seeds, 95 % {low:.2f} – {high:.2f})"


def markdown(made: dict[str, Any]) -> str:
    """The cells as a Markdown table, numbers rounded for reading, and the answer below it."""
    lines = [
        f"{made['student']} taught by {made['teacher']}, measured on the {made['measured_on']}.",
        "",
        "| T | Weight | Seeds | Accuracy % (lowest – highest) | Cross-entropy | Calibration error % | Agrees % | "
        "To default | Paired p | Holm p |",
        "|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for cell in [*([made["scratch"]] if made["scratch"] else []), *made["cells"]]:
        low, high = 100 * min(cell["accuracy_values"]), 100 * max(cell["accuracy_values"])
        lines.append(
            f"| {'' if cell['temperature'] is None else format(cell['temperature'], 'g')} "
            f"| {cell['response_weight']:g} | {cell['seeds']} "
            f"| {100 * cell['accuracy']:.2f} ({low:.2f} – {high:.2f}) | {cell['cross_entropy']:.3f} "
            f"| {_percent(cell['calibration_error'])} | {_percent(cell['teacher_agreement'])} "
            f"| {'' if 'difference' not in cell else format(100 * cell['difference'], '+.2f')} "
            f"| {_p(cell, 'p')} | {_p(cell, 'p_holm')} |"
        )
    return "\n".join([*lines, "", answer(made), ""])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _p(cell: dict[str, Any], key: str) -> str:
    return "" if key not in cell else "< 0.0001" if cell[key] < 1e-4 else f"{cell[key]:.4f}"


def bundled_root() -> Path:
    """Where the result tables of bundled sweeps are: `sweeps/` beside the bundled networks' folder."""
    return checkpoints.bundled_root().parent / "sweeps"


def bundled() -> dict[str, dict[str, Any]]:
    """The bundled result tables that can be read, by name."""
    found = {path.stem: read_json(path) for path in sorted(bundled_root().glob("*.json"))}
    return {name: made for name, made in found.items() if readable(made)}


def readable(made: dict[str, Any] | None) -> bool:
    """Whether a table from a file is one that can be drawn."""
    if not isinstance(made, dict) or not isinstance(made.get("cells"), list):
        return False
    needed = {"student", "teacher", "measured_on", "temperatures", "response_weights", "default", "best", "scratch"}
    fields = {"temperature", "response_weight", "seeds", *MEASURES, "accuracy_values", "accuracy_low", "accuracy_high"}
    return needed <= made.keys() and all(isinstance(cell, dict) and fields <= cell.keys() for cell in made["cells"])
