"""The lab's objectives by name, starting points for experiments, and how older files are read.

The lab's presets are combinations of terms; its α is the weight of `kd`, its β that of `at`. Version 1 of
configurations and cards knew only these two methods, by fields of their own.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, Any]] = {
    "scratch": {"ce_weight": 1.0, "terms": []},
    "response": {"ce_weight": 0.3, "terms": [{"method": "kd", "weight": 0.7, "temperature": 4.0}]},
    "feature": {"ce_weight": 1.0, "terms": [{"method": "at", "weight": 1000.0, "power": 1}]},
    "combined": {
        "ce_weight": 0.3,
        "terms": [
            {"method": "kd", "weight": 0.7, "temperature": 4.0},
            {"method": "at", "weight": 1000.0, "power": 1},
        ],
    },
}
"""The lab's four objectives: name to the fields of `config.Objective`."""


def _students(architecture: str) -> list[dict[str, Any]]:
    return [
        {"name": f"{architecture}-{name}", "architecture": architecture, **preset} for name, preset in PRESETS.items()
    ]


DEMO = "One-minute demo"
"""The starting point whose length follows the machine's speed, see `training.demo`."""

STARTING_POINTS: dict[str, dict[str, Any]] = {
    DEMO: {
        "name": "one-minute-demo",
        "dataset": "cifar10-small",
        "train_images": None,
        "teacher": "resnet20-combined",
        "students": [
            {"name": "resnet8-scratch", "architecture": "resnet8", **PRESETS["scratch"]},
            {
                "name": "resnet8-combined",
                "architecture": "resnet8",
                "ce_weight": 0.1,
                "terms": [
                    {"method": "kd", "weight": 0.9, "temperature": 2.0},
                    {"method": "at", "weight": 1000.0, "power": 1},
                ],
            },
        ],
        "epochs": 9,
        "batch_size": 128,
        "learning_rate": 0.2,
        "start_resolution": 24,
        "seed": 0,
    },
    "The lab's table": {
        "name": "lab-table",
        "dataset": "cifar10",
        "train_images": None,
        "teacher": "resnet50",
        "students": _students("resnet18"),
        "epochs": 8,
        "batch_size": 128,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup": 0.15,
        "start_resolution": 24,
        "seed": 0,
    },
    "The lab's table with small networks": {
        "name": "small-lab-table",
        "dataset": "cifar10",
        "train_images": None,
        "teacher": "resnet56",
        "students": _students("resnet20"),
        "epochs": 28,
        "batch_size": 128,
        "learning_rate": 0.1,
        "schedule": "cosine",
        "warmup": 0.15,
        "seed": 0,
    },
    "A teacher from scratch": {
        "name": "teacher",
        "dataset": "synthetic",
        "train_images": 2000,
        "teacher": None,
        "students": [{"name": "resnet20", "architecture": "resnet20", **PRESETS["scratch"]}],
        "epochs": 6,
        "batch_size": 64,
        "learning_rate": 0.1,
        "seed": 0,
    },
}
"""What the form can be filled with: fields of `config.RunConfig`. The last needs neither data nor a teacher."""

LEGACY_SETTINGS = {
    "response_weight": ("kd", "weight"),
    "alpha": ("kd", "weight"),
    "temperature": ("kd", "temperature"),
    "attention_weight": ("at", "weight"),
    "beta": ("at", "weight"),
    "attention_power": ("at", "power"),
}
"""Version 1's fields and short keys: the method and the setting that each means now."""

_LEGACY_METRICS = {"response": "kd", "attention": "at"}
_LEGACY_FIELDS = ("response_weight", "temperature", "attention_weight", "attention_power")


def upgrade_objective(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of a student or an objective, of version 1 turned into today's; others come back as they are."""
    if "terms" in values or not any(name in values for name in _LEGACY_FIELDS):
        return values
    kept = {name: value for name, value in values.items() if name not in _LEGACY_FIELDS}
    terms: dict[str, dict[str, Any]] = {}
    for name in _LEGACY_FIELDS:
        method, setting = LEGACY_SETTINGS[name]
        if name in values:
            terms.setdefault(method, {"method": method})[setting] = values[name]
    return kept | {"terms": [term for term in terms.values() if term.get("weight")]}


def upgrade_experiment(values: Any) -> Any:
    """A run's configuration as it was read from JSON, its students upgraded; anything else as it is.

    One that was stored before `image_order` existed was trained on the images as the source has them.
    """
    if not isinstance(values, dict) or not isinstance(values.get("students"), list):
        return values
    students = [upgrade_objective(one) if isinstance(one, dict) else one for one in values["students"]]
    older = "image_order" not in values and ("version" in values or students != values["students"])
    return values | {"students": students} | ({"image_order": "source"} if older else {})


def upgrade_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Loss terms by name: `response` is `kd` now, `attention` is `at`, `attention_2` is `at_2`."""

    def rename(name: str) -> str:
        head, separator, number = name.partition("_")
        return _LEGACY_METRICS.get(head, head) + separator + number

    return {rename(name): value for name, value in values.items()}
