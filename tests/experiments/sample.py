"""Results whose outcome is chosen."""

import numpy as np

from kdexplorer.experiments.omitted_class import BIASES
from kdexplorer.experiments.results import MeasuredTable, Measurement, Results, pack_bits
from kdexplorer.sweeps.league_table import LeagueEntry, LeagueRow, LeagueSeed, LeagueTable

NOISE = (0.001, -0.001, 0.002, -0.002, 0.0005)
"""Of a student by seed, small beside the differences that tests choose."""


def make_results(experiment, accuracy, seeds=5, more=None, skip=(), small=False):
    """Tables of all parts; `accuracy(part, entry)` is a student's mean, `more(part, entry)` what it has besides."""
    tables = {}
    for place, part in enumerate(experiment.parts(small)):
        declaration = part.declaration
        if part.name in skip:
            continue
        used = declaration.seeds[:seeds]
        rows = [
            LeagueRow(
                entry=entry, seed=seed, accuracy=accuracy(part.name, entry) + NOISE[(seed * (1 + place) + number) % 5],
                cross_entropy=1.0, calibration_error=0.1, scaled_cross_entropy=0.9, scaled_calibration_error=0.02,
                scaling_temperature=1.5, teacher_agreement=0.8, step_seconds=0.01,
                more=more(part.name, entry) if more else {},
            )
            for number, entry in enumerate(declaration.entries)
            for seed in used
        ]  # fmt: skip
        tables[part.name] = LeagueTable(
            declaration=declaration, declaration_sha256=declaration.sha256, teacher="0" * 64,
            evaluated_on="10,000 test images of CIFAR-10",
            entries=[
                LeagueEntry(name=one.name, objective=one.objective, state_bytes=1, kept_bytes=1)
                for one in declaration.students()
            ],
            seeds=[
                LeagueSeed(seed=seed, run="r", seconds=60, batch_seconds=None, device="a", precision=None)
                for seed in used
            ],
            rows=rows,
        )  # fmt: skip
    return Results(tables)


def make_recalls(distilled, scratch=0.0):
    """What the experiment on the omitted class measures of 1,000 images: shares that grow with the bias."""

    def more(part, entry):
        start = distilled if entry == "kd" else scratch
        recall = [min(1.0, start + bias / 10) for bias in BIASES]
        return {"recall": recall, "accuracy": [0.6 + bias / 100 for bias in BIASES], "images": [1000.0]}

    return more


def make_measured(experiment, rows):
    """A table of measured networks: `(part, entry, role, right, agrees)`, bool arrays."""
    found = [
        Measurement(
            part=part, entry=entry, role=role, images=len(right), accuracy=float(np.mean(right)),
            teacher_agreement=float(np.mean(agrees)), right=pack_bits(right), agrees=pack_bits(agrees),
        )
        for part, entry, role, right, agrees in rows
    ]  # fmt: skip
    return Results(measured=MeasuredTable(experiment=experiment.key, rows=found))


def first(count, of=1000):
    """Bool `[of]`, the first so many set."""
    return np.arange(of) < count
