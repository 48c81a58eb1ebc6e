"""What a study's rows say about its entries: means and intervals over seeds, differences to the references.

Over seeds (is one method or setting better?) entries of one seed saw the same batches from the same initial weights, so
differences are taken seed by seed, with the correction for all entries that are compared with the same reference. Over
images (do these trained networks differ?) an image counts once, whatever the number of seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kdexplorer.analysis.difference import Difference, compare_seeds, correct, over_images, t_interval
from kdexplorer.studies.study import Place
from kdexplorer.studies.table import Entry, Row, Table


@dataclass(frozen=True)
class Summary:
    """One entry over its seeds; what is unknown is missing or None."""

    entry: Entry
    place: Place | None  # in a grid
    rows: list[Row]
    means: dict[str, float]  # of the measures that all its rows have
    interval: tuple[float, float] | None  # 95 % of the mean accuracy, over seeds
    differences: dict[str, Difference]  # in accuracy over seeds, by reference; a reference has none to itself
    over_images: Difference | None  # in accuracy to the first reference
    own_step: float | None  # its part of a step relative to the first reference's in the same run: mean over seeds
    whole_step: float | None  # with the batch and the teacher, relative to the last reference's

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def accuracy(self) -> float:
        return self.means["accuracy"]

    def values(self, measure: str = "accuracy") -> list[float]:
        """By seed; empty where one is unknown."""
        return [row.measures[measure] for row in self.rows] if measure in self.means else []


def summarize(table: Table) -> list[Summary]:
    """Every entry that has rows: of a grid by place, else in the declared order."""
    study, found = table.declared, []
    references, places = study.references, study.places()
    accuracies = {entry.name: values for entry in table.entries if (values := table.values(entry.name))}
    by_reference = {
        reference: compare_seeds(
            {name: values for name, values in accuracies.items() if name != reference}, accuracies.get(reference, {})
        )
        for reference in references
    }
    images = _compare_images(table, by_reference[references[0]])
    batches = {run.run: run.batch_seconds for run in table.runs}
    for entry in table.entries:
        rows = table.rows_of(entry.name)
        if not rows:
            continue
        known = set.intersection(*({*row.measures} for row in rows))
        needs_teacher = entry.objective is not None and entry.objective.needs_teacher
        whole = _relative_step(table, rows, references[-1], lambda run: batches.get(run)) if needs_teacher else None
        summary = Summary(
            entry=entry, place=places.get(entry.name), rows=rows,
            means={name: float(np.mean([row.measures[name] for row in rows])) for name in rows[0].measures
                   if name in known},
            interval=t_interval([row.accuracy for row in rows]),
            differences={ref: one[entry.name] for ref, one in by_reference.items() if entry.name in one},
            over_images=images.get(entry.name),
            own_step=_relative_step(table, rows, references[0], lambda run: 0.0), whole_step=whole,
        )  # fmt: skip
        found.append(summary)
    return sorted(found, key=lambda one: (one.place.temperature or 0, one.place.weight) if one.place else (0, 0))


def _compare_images(table: Table, over_seeds: dict[str, Difference]) -> dict[str, Difference]:
    """Each entry to the first reference over the seeds whose right images are known of both: one family."""
    reference = table.declared.references[0]
    if table.image_p:
        kept = {
            name: replace(over_seeds[name], interval=None, p=p, unit="images", count=table.images or 0, p_alone=p)
            for name, p in table.image_p.items()
            if name in over_seeds
        }
        return correct(kept)
    right = {(row.entry, row.seed): bits for row in table.rows if (bits := table.right(row)) is not None}
    found = {}
    for entry in table.entries:
        seeds = [seed for name, seed in right if name == entry.name and (reference, seed) in right]
        if entry.name != reference and seeds:
            own, other = (np.stack([right[name, seed] for seed in seeds]) for name in (entry.name, reference))
            found[entry.name] = over_images(own, other, reference)
    return correct(found)


def _relative_step(
    table: Table, rows: list[Row], reference: str, shared: Callable[[str], float | None]
) -> float | None:
    """The mean over seeds of a step's seconds divided by the reference's in the same run."""
    other = {row.run: row.measures.get("step_seconds") for row in table.rows_of(reference)}
    ratios = []
    for row in rows:
        own, theirs, both = row.measures.get("step_seconds"), other.get(row.run), shared(row.run)
        if own is not None and theirs and both is not None:
            ratios.append((both + own) / (both + theirs))
    return float(np.mean(ratios)) if ratios else None


def find_best(summaries: list[Summary]) -> Summary | None:
    """The most accurate cell of a grid; None where there is none."""
    cells = [one for one in summaries if one.place is not None and one.place.temperature is not None]
    return max(cells, key=lambda one: one.accuracy, default=None)


def seed_deviation(summaries: list[Summary]) -> float | None:
    """The standard deviation of accuracy between seeds of one entry, pooled over all; None with one seed."""
    values = [np.array(one.values()) for one in summaries if len(one.rows) > 1]
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in values)
    return (squares / sum(len(one) - 1 for one in values)) ** 0.5 if values else None


def accuracies_by(table: Table, axis: int) -> dict[float, list[float]]:
    """Accuracies by seed for each value of a grid's axis (0 temperature, 1 weight).

    Each is a mean over the values of the other axis that all have, of seeds that have all these students; empty where
    there is none.
    """
    other, places = 1 - axis, table.declared.places()
    by_seed: dict[int, dict[tuple[float, float], float]] = {}
    for row in table.rows:
        place = places.get(row.entry)
        if place is not None and place.temperature is not None:
            point = place.temperature, place.weight
            by_seed.setdefault(row.seed, {})[point[axis], point[other]] = row.accuracy
    points = {point for found in by_seed.values() for point in found}
    values = sorted({value for value, _ in points})
    shared = [two for two in sorted({two for _, two in points}) if all((value, two) in points for value in values)]
    complete = [found for found in by_seed.values() if all((v, two) in found for v in values for two in shared)]
    if not shared or not complete:
        return {}
    return {value: [float(np.mean([found[value, two] for two in shared])) for found in complete] for value in values}
