"""The registry of measures: every number of a trained network that a table, a chart or a file shows, said once.

A measure that is computed of logits needs no more than its entry: results, studies and Compare's table have it then.
Beside the registry are the ways of writing a table: text cells by heading, Markdown, CSV and JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.difference import Difference, format_p
from kdexplorer.notation import describe_objective

TextTable = list[dict[str, str]]
"""Rows of cells by heading."""


@dataclass(frozen=True)
class Evaluation:
    """What measures are computed of: a network's logits on the evaluation split; None is unknown."""

    logits: np.ndarray  # [N, K]
    labels: np.ndarray | None = None  # int [N]
    teacher: np.ndarray | None = None  # its logits of the same images, [N, K]
    human_labels: np.ndarray | None = None  # of the first images, as `Dataset.human_labels` gives them

    @cached_property
    def scaled(self) -> tuple[np.ndarray, float]:
        """The logits after temperature scaling, see `metrics.scale_logits`; labels have to be known."""
        assert self.labels is not None
        return metrics.scale_logits(self.logits, self.labels)


@dataclass(frozen=True)
class Measure:
    """What is computed or known of a network, over the images that its row names.

    Rows hold values by key: as attributes, in a mapping, or in their mapping `measures`; None is unknown. Shares are 0
    to 1, losses in nats, times in seconds, sizes in bytes.
    """

    key: str
    label: str
    unit: str = ""  # in which it is shown
    format: str = ""  # of the shown number, as in `format(value, ".3f")`; empty for texts
    scale: float = 1  # the value times this is in the unit
    direction: Literal["higher", "lower", ""] = ""  # which is better, if either
    help: str = ""  # what it is and where it comes from
    axis: str = ""  # its title in a chart, where that is not the heading
    text: Callable[[Any], str] | None = None  # composes the cell from a row where it is not one value
    compute: Callable[[Any], float] | None = None  # of an `Evaluation` that has what it needs
    needs: str = "labels"  # the field of `Evaluation`

    @property
    def heading(self) -> str:
        """The label, with the unit where that is not the value's own."""
        return f"{self.label} ({self.unit})" if self.unit and self.scale != 1 else self.label

    @property
    def axis_title(self) -> str:
        """What a chart's axis or legend says."""
        return (self.axis or self.heading) + (", lower is better" if self.direction == "lower" else "")

    def value(self, row: Any) -> Any:
        """The number in the unit, or the text; None where it is unknown."""
        if self.text is not None:
            return self.text(row) or None
        value = row.get(self.key) if isinstance(row, Mapping) else getattr(row, self.key, None)
        value = getattr(row, "measures", {}).get(self.key) if value is None else value
        value = value.estimate if isinstance(value, Difference) else value
        return value * self.scale if value is not None and self.format else value

    def cell(self, row: Any) -> str:
        """The value as text; empty where it is unknown."""
        value = self.value(row)
        return "" if value is None else format(value, self.format) if self.format else str(value)


def _interval(row: Any) -> str:
    return f"{100 * row.accuracy_low:.2f} – {100 * row.accuracy_high:.2f}"


def _p(row: Any) -> str:
    p = row.to_baseline and row.to_baseline.p
    return "" if p is None else format_p(p).removeprefix("p ").removeprefix("= ")


_SCALED = "after temperature scaling: one temperature per network, fitted on other images than those it scales"
_PAIRED = "Difference of the accuracies in percentage points, with McNemar's p, which is not corrected for other rows"
MEASURES = {measure.key: measure for measure in (
    Measure("name", "Network"),
    Measure("method", "Method", help="The distillation methods of its objective"),
    Measure("weights", "Method with its weights", help="The terms of the sum that training minimized",
            text=lambda row: row.objective_terms and describe_objective(row.objective_terms)),
    Measure("training", "Epochs by run",
            help="Passes over the training images in each run; test seen: continued after test accuracy was known",
            text=lambda row: " + ".join(map(str, row.epochs_by_run)) + ", test seen" * row.continued_in_view),
    Measure("objective", "Objective", "", ".3f",
            help="The sum that training minimized: not comparable between methods"),
    Measure("cross_entropy", "Cross-entropy", "nats", ".3f", 1, "lower",
            "To the labels of the evaluation images, in nats: comparable", "Cross-entropy (nats)",
            compute=lambda one: metrics.cross_entropy(one.logits, one.labels)),
    Measure("scaled_cross_entropy", "Scaled cross-entropy", "nats", ".3f", 1, "lower", f"Cross-entropy {_SCALED}",
            "Cross-entropy after temperature scaling (nats)",
            compute=lambda one: metrics.cross_entropy(one.scaled[0], one.labels)),
    Measure("human_cross_entropy", "Cross-entropy to human labels", "nats", ".3f", 1, "lower",
            "To CIFAR-10H at T = 1, in nats", needs="human_labels",
            compute=lambda one: metrics.cross_entropy_to_humans(
                one.human_labels, one.logits[: len(one.human_labels)]).mean().item()),
    Measure("accuracy", "Accuracy", "%", ".2f", 100, "higher",
            "Share of the evaluation images that are classified correctly",
            compute=lambda one: metrics.accuracy(one.logits, one.labels)),
    Measure("interval", "95 % interval", help="Wilson's interval of the accuracy", text=_interval),
    Measure("accuracy_interval", "Accuracy, 95 % interval", help="With Wilson's interval",
            text=lambda row: f"{100 * row.accuracy:.2f} % ({_interval(row)})"),
    Measure("to_scratch_baseline", "To its scratch baseline", help=_PAIRED,
            text=lambda row: row.to_scratch_baseline and row.to_scratch_baseline.points),
    Measure("to_teacher", "To its teacher", help=_PAIRED, text=lambda row: row.to_teacher and row.to_teacher.points),
    Measure("to_baseline", "vs. baseline (points)", "", "+.2f", 100, help="Difference of the accuracies"),
    Measure("p", "McNemar p",
            help="Of the images that only one of the two networks classifies correctly: the probability of a split at "
                 "least this uneven if both were equally good; exact, two-sided",
            text=_p),
    Measure("calibration_error", "Calibration error", "%", ".2f", 100, "lower",
            "Expected calibration error in 15 bins", "Expected calibration error (%)",
            compute=lambda one: metrics.expected_calibration_error(one.logits, one.labels)),
    Measure("scaled_calibration_error", "Scaled calibration error", "%", ".2f", 100, "lower",
            f"Calibration error {_SCALED}", "Calibration error after temperature scaling (%)",
            compute=lambda one: metrics.expected_calibration_error(one.scaled[0], one.labels)),
    Measure("calibration_noise", "Scaled calibration error by sampling", "%", ".2f", 100, "",
            "What a calibrated network with these confidences has on average on so many images",
            compute=lambda one: metrics.calibration_noise(one.scaled[0], one.labels)),
    Measure("scaling_temperature", "Temperature of the scaling", "", ".2f", help=f"Mean of the temperatures {_SCALED}",
            compute=lambda one: one.scaled[1]),
    Measure("teacher_agreement", "Agrees with teacher", "%", ".2f", 100, "",
            "Images with the same predicted class", "Same prediction as the teacher (% of images)",
            needs="teacher", compute=lambda one: metrics.accuracy(one.logits, one.teacher.argmax(axis=1))),
    Measure("teacher_kl", "KL from teacher", "nats", ".3f", help="Mean KL(teacher ‖ network) at T = 1, in nats",
            needs="teacher", compute=lambda one: metrics.kl_divergence(one.teacher, one.logits)),
    Measure("parameters", "Parameters", "", ",", 1, "", "Trained weights and biases"),
    Measure("multiply_adds", "Multiply-adds", "M", ".1f", 1e-6, "", "Millions for one image",
            "Multiply-adds of one image (millions)"),
    Measure("latency", "Latency", "ms", ".2f", 1e3, "", "One image on this machine's processor, median",
            "Time for one image on this machine (ms)"),
    Measure("size", "Size", "kB", ".0f", 1e-3, "", "Weights on disk, float16", "Weights on disk (kB)"),
    Measure("step_seconds", "Step", "ms", ".1f", 1e3, "",
            "A student's own forward pass, loss, backward pass and update"),
    Measure("memory", "Memory", "MB", ".1f", 1e-6, "", "What training a student takes beside the data and the teacher"),
    Measure("train_images", "Training images", "", ",", help="Images that it was trained on"),
    Measure("epochs", "Epochs", "", "d", help="Passes over them, in all runs of its training"),
)}  # fmt: skip
"""Every measure by key, in the order of a table's columns."""


def measure(evaluation: Evaluation, keys: Iterable[str] = MEASURES) -> dict[str, float]:
    """Every measure that can be computed, or those of these keys, by key."""
    known = [(key, MEASURES[key]) for key in keys if getattr(evaluation, MEASURES[key].needs) is not None]
    return {key: one.compute(evaluation) for key, one in known if one.compute is not None}


def tabulate(rows: Sequence[Any], keys: Sequence[str], headings: Mapping[str, str] | None = None) -> TextTable:
    """The measures of these keys as text; `headings` are others than the registry's, by key."""
    named = {(headings or {}).get(key, MEASURES[key].heading): MEASURES[key] for key in keys}
    return [{heading: measure.cell(row) for heading, measure in named.items()} for row in rows]


def to_markdown(table: Sequence[Mapping[str, str]], text_columns: int = 1) -> str:
    """A table with at least one row as Markdown, without a final line break; empty without one.

    All but the first `text_columns` are aligned to the right.
    """
    if not table:
        return ""
    rule = "".join("---|" if column < text_columns else "---:|" for column in range(len(table[0])))
    cells = [list(table[0]), *(list(row.values()) for row in table)]
    lines = [" | ".join(cell.replace("|", r"\|") for cell in line) for line in cells]
    return "\n".join([f"| {lines[0]} |", f"|{rule}", *(f"| {line} |" for line in lines[1:])])


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A line for each record under the names of all; numbers with full precision, empty where unknown."""
    names = list(dict.fromkeys(name for record in records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return buffer.getvalue()


def to_json(rows: Sequence[Any]) -> str:
    """Rows of any dataclass with full precision as a list of objects, null where unknown; `measures` have no level."""
    values = []
    for row in rows:
        record = asdict(row)
        computed = record.pop("measures", {})
        record |= {key: value for key, value in computed.items() if key not in record}
        values.append({key: None if value != value else value for key, value in record.items()})  # NaN
    return json.dumps(values, indent=1, allow_nan=False, default=lambda model: model.model_dump(mode="json"))
