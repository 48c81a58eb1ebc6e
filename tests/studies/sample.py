"""Studies' tables whose outcome is chosen."""

import numpy as np

from kdexplorer.schema import RECORDED
from kdexplorer.studies.experiments.base import NETWORKS, Results
from kdexplorer.studies.experiments.omitted_class import ACCURACY, BIASES, COUNT, RECALL
from kdexplorer.studies.study import Study, make_grid_study
from kdexplorer.studies.table import Entry, Row, StudyRun, Table, pack_bits

NOISE = (0.001, -0.001, 0.002, -0.002, 0.0005)
"""Of a student by seed, small beside the differences that tests choose."""

ACCURACIES = {
    "scratch": [0.700, 0.712, 0.695, 0.705, 0.708],
    "kd": [0.722, 0.731, 0.714, 0.726, 0.727],
    "at": [0.703, 0.709, 0.699, 0.711, 0.704],
}
STEPS = {"scratch": 0.010, "kd": 0.015, "at": 0.020}

MEASURES = {
    "cross_entropy": 0.9, "calibration_error": 0.1, "scaled_cross_entropy": 0.8, "scaled_calibration_error": 0.02,
    "scaling_temperature": 1.5, "teacher_agreement": 0.75,
}  # fmt: skip

GRID = ["resnet8-scratch", "resnet8-T1-w0.7", "resnet8-T2-w0.7", "resnet8-T4-w0.7"]
"""The entries of the sample's grid by place; the last is the default."""


def table_of(study, rows, images=400, **facts):
    """A table of these rows; a run for each seed."""
    names = tuple(study.entries)
    seeds = sorted({row.seed for row in rows})
    values = {
        "study": study, "sha256": study.sha256, "teacher": "0" * 64, "images": images,
        "evaluated_on": f"{images:,} test images",
        "rows": [row.model_copy(update={"run": f"r-{row.seed}"}) for row in rows],
        "entries": [
            Entry(name=one.name, key=one.key, objective=one.objective, state_bytes=10**6, kept_bytes=10**7)
            for one in study.students.values()
        ],
        "runs": [
            StudyRun(run=f"r-{seed}", seed=seed, entries=names, seconds=60, batch_seconds=(1 + seed) * 0.03, device="a")
            for seed in seeds
        ],
    }  # fmt: skip
    return Table.model_validate(values | facts, context=RECORDED)


def make_table(accuracies=None, seeds=5):
    """Three entries, the first so many of five seeds; machines become slower from seed to seed."""
    study = Study(
        seeds=[0, 1, 2, 3, 4], references=["scratch", "kd"], recipe={"teacher": "resnet56", "epochs": 12},
        entries={name: f"resnet8:{name}" for name in ACCURACIES},
    )  # fmt: skip
    rows = []
    for seed in range(seeds):
        for entry, values in (accuracies or ACCURACIES).items():
            own = {"accuracy": values[seed], "step_seconds": (1 + seed) * STEPS[entry]}
            rows.append(Row(entry=entry, seed=seed, measures=MEASURES | own))
    return table_of(study, rows)


def make_grid(chances, seeds=3, images=400, **recipe):
    """A grid of two cells, the default and the scratch baseline, right on each image with the given chance, by place.

    Returns the table and which images are right, by entry and seed.
    """
    generator = np.random.default_rng(1)
    study = make_grid_study("resnet8", {"teacher": "resnet56"} | recipe, 5, temperatures=[1.0, 2.0], weights=[0.7])
    right = {
        (name, seed): generator.random(images) < chance
        for name, chance in zip(GRID, chances, strict=True)
        for seed in range(seeds)
    }
    known = {"cross_entropy": 0.5, "calibration_error": 0.5}
    rows = [
        Row(entry=entry, seed=seed, right=pack_bits(bits), measures=known | {"accuracy": float(bits.mean())})
        for (entry, seed), bits in right.items()
    ]
    return table_of(study, rows, images), right


def make_results(experiment, accuracy, seeds=5, more=None, skip=(), small=False):
    """Tables of all studies; `accuracy(study, entry)` is a student's mean, `more(study, entry)` what it has besides."""
    tables = {}
    for place, (name, study) in enumerate(experiment.studies(small).items()):
        if name in skip:
            continue
        rows = []
        for number, entry in enumerate(study.entries):
            known = MEASURES | (more(name, entry) if more else {})
            for seed in study.seeds[:seeds]:
                noisy = accuracy(name, entry) + NOISE[(seed * (1 + place) + number) % 5]
                rows.append(Row(entry=entry, seed=seed, measures=known | {"accuracy": noisy}))
        tables[name] = table_of(study, rows)
    return Results(tables)


def make_recalls(distilled):
    """What the experiment on the omitted class measures of 1,000 images: shares that grow with the bias."""

    def more(study, entry):
        start = distilled if entry == "kd" else 0.0
        recall = [min(1.0, start + bias / 10) for bias in BIASES]
        accuracies = [0.6 + bias / 100 for bias in BIASES]
        return dict(zip((*RECALL, *ACCURACY), (*recall, *accuracies), strict=True)) | {COUNT: 1000.0}

    return more


def make_measured(rows):
    """Results of measured networks: `(part, entry, key, right, agrees)`, bool arrays."""
    found = [
        Row(
            part=part, entry=entry, right=pack_bits(right), agrees=pack_bits(agrees),
            measures=MEASURES | {"accuracy": float(np.mean(right)), "teacher_agreement": float(np.mean(agrees))},
        )
        for part, entry, _, right, agrees in rows
    ]  # fmt: skip
    keys = {entry: key for _, entry, key, *_ in rows}
    entries = [Entry(name=name, key=key) for name, key in keys.items()]
    images = len(rows[0][3]) if rows else None
    return Results({NETWORKS: Table(images=images, entries=entries, rows=found)})


def change(table, measures):
    """The table whose rows also have what `measures(row)` gives."""
    rows = [row.model_copy(update={"measures": row.measures | measures(row)}) for row in table.rows]
    return table.model_copy(update={"rows": rows})


def first(count, of=1000):
    """Bool `[of]`, the first so many set."""
    return np.arange(of) < count
