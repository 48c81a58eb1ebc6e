"""The lab's objectives by name, recipes by name, and starting points for runs.

The lab's presets are combinations of terms; its α is the weight of `kd`, its β that of `at`.
"""

from __future__ import annotations

from typing import Any

_KD = {"method": "kd", "weight": 0.7, "temperature": 4.0}
_AT = {"method": "at", "weight": 1000.0, "power": 1}

PRESETS: dict[str, dict[str, Any]] = {
    "scratch": {"ce_weight": 1.0, "terms": []},
    "response": {"ce_weight": 0.3, "terms": [_KD]},
    "feature": {"ce_weight": 1.0, "terms": [_AT]},
    "combined": {"ce_weight": 0.3, "terms": [_KD, _AT]},
}
"""The lab's four objectives: name to the fields of `config.Objective`."""

_FAST: dict[str, Any] = {
    "batch_size": 1000, "learning_rate": 1.0, "warmup": 0.0, "optimizer": "muon", "filter_rate": 0.12, "momentum": 0.85,
    "bias_factor": 16.0, "norm_momentum": 0.4, "first_layer": "whitening", "start_filters": "dirac", "crop_padding": 2,
}  # fmt: skip

RECIPES: dict[str, dict[str, Any]] = {
    "standard": {},
    "fast": _FAST,
    "long": _FAST | {
        "batch_size": 500, "learning_rate": 0.5, "filter_rate": 0.06, "norm_momentum": 0.1, "crop_padding": 4,
        "cutout": 12,
    },
    "airbench": _FAST | {
        "batch_size": 2000, "learning_rate": 1.745, "filter_rate": 0.24, "filter_momentum": 0.6, "bias_factor": 60.0,
        "weight_decay": 0.0023,
    },
    "muon": {
        "batch_size": 1000, "learning_rate": 0.1, "warmup": 0.0, "optimizer": "muon", "filter_rate": 0.12,
        "momentum": 0.85, "norm_momentum": 0.4, "crop_padding": 2,
    },
    "adamw": {"optimizer": "adamw", "learning_rate": 0.002, "weight_decay": 0.05, "schedule": "cosine"},
    "repdistiller": {"batch_size": 64, "learning_rate": 0.05, "schedule": "step", "warmup": 0.0, "flip": "random"},
}  # fmt: skip
"""Named recipes: what each sets otherwise than the defaults of `config.RunConfig`. An entry is never changed: a better
recipe is another entry, so that a command with a name goes on to mean the same.
"""


def _student(architecture: str, preset: str, **changes: Any) -> dict[str, Any]:
    return {"name": f"{architecture}-{preset}", "architecture": architecture, **PRESETS[preset], **changes}


def _lab_table(name: str, teacher: str, student: str, **more: Any) -> dict[str, Any]:
    """A student of each of the lab's objectives."""
    students = [_student(student, preset) for preset in PRESETS]
    recipe = {"learning_rate": 0.1, "schedule": "cosine", "warmup": 0.15}
    return {"name": name, "teacher": teacher, "students": students} | recipe | more


_FAST_KD: dict[str, Any] = {"ce_weight": 0.03, "terms": [_KD | {"weight": 0.3}]}
"""For the recipe `fast`, whose rate is larger; chosen on held-out training images, see docs/performance.md."""

DEMO = "One-minute demo"
"""The starting point whose length follows the machine's speed, see `training.estimate`."""

STARTING_POINTS: dict[str, dict[str, Any]] = {
    DEMO: {
        "name": "one-minute-demo", "dataset": "cifar10-small", "teacher": "resnet20-combined",
        "students": [_student("air_16", "scratch"), _student("air_16", "response", **_FAST_KD)],
        "recipe": "fast", "epochs": 14, "batch_size": 250, "learning_rate": 0.3, "start_resolution": 24,
    },
    "The lab's table": _lab_table("lab-table", "resnet50", "resnet18", epochs=8, start_resolution=24),
    "The lab's table with small networks": _lab_table("small-lab-table", "resnet56", "resnet20", epochs=28),
    "A teacher from scratch": {
        "name": "teacher", "dataset": "synthetic", "train_images": 2000, "teacher": None,
        "students": [_student("resnet20", "scratch", name="resnet20")],
        "epochs": 6, "batch_size": 64, "learning_rate": 0.1,
    },
    "A fast teacher": {
        "name": "fast-teacher", "teacher": None, "recipe": "fast", "epochs": 10,
        "students": [_student("air_64", "scratch", name="air_64", label_smoothing=0.2)],
    },
    "Students of a fast teacher": {
        "name": "fast-students", "teacher": "air_64", "recipe": "fast", "epochs": 20,
        "students": [
            _student("air_16", "scratch"),
            _student("air_16", "response", **_FAST_KD),
            _student("air_16", "combined", ce_weight=0.03, terms=[*_FAST_KD["terms"], _AT | {"weight": 100.0}]),
        ],
    },
}  # fmt: skip
"""What the form can be filled with: fields of `config.RunConfig` that differ from their defaults, and the teacher.

The first without a teacher needs no data either.
"""
