"""Results as tables: typed rows, the columns with their headings and formats; Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from kdexplorer.analysis.statistics import MeanDifference, format_p
from kdexplorer.config import SCRATCH, Objective


@dataclass(frozen=True)
class PairedDifference:
    """A network's accuracy minus another's on the same images, with McNemar's test where their logits are available."""

    name: str  # the other network
    difference: float
    p: float | None = None
    gained: int | None = None  # images that only the first network gets right
    lost: int | None = None  # images that only the other gets right

    def __str__(self) -> str:
        return f"{100 * self.difference:+.2f}" + ("" if self.p is None else f" ({format_p(self.p)})")


@dataclass(frozen=True)
class ResultRow:
    """What is known of a network; None is unknown. Shares are 0 to 1, cross-entropies and KL in nats."""

    name: str
    architecture: str
    objective_key: str
    method: str  # the objective's label; empty for weights of unknown origin
    objective: float | None  # the value that training minimized, on the evaluation split
    objective_terms: Objective | None
    terms: dict[str, float]  # cross-entropy and each term's unweighted loss on the evaluation split, by name
    cross_entropy: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float  # Wilson's 95 % interval
    images: int
    evaluated_on: str  # the evaluation images; equal where the images are
    parameters: int
    multiply_adds: int
    latency: float | None  # seconds for one image
    size: int | None  # bytes of the weights' file
    train_images: int | None
    epochs: int | None  # over all runs of its training
    seed: int | None
    run: str | None
    seconds: float | None  # of training, over all runs
    device: str | None
    epochs_by_run: tuple[int, ...] = ()  # empty where its training is unknown
    continued_in_view: bool = False  # training was continued after the test accuracy was known
    calibration_error: float | None = None
    scaled_calibration_error: float | None = None  # after temperature scaling, see `temperature_scaling`
    scaled_cross_entropy: float | None = None
    fitted_temperature: float | None = None
    human_cross_entropy: float | None = None  # cross-entropy to the human labels at T = 1
    teacher_agreement: float | None = None
    teacher_kl: float | None = None  # KL(teacher ‖ network) at T = 1
    difference: float | None = None  # accuracy minus the table's baseline's; with McNemar's `p`, `gained` and `lost`
    p: float | None = None
    gained: int | None = None
    lost: int | None = None
    scratch_baseline: str | None = None
    teacher: str | None = None
    to_scratch_baseline: PairedDifference | None = None
    to_teacher: PairedDifference | None = None
    scaled_to_scratch_baseline: MeanDifference | None = None  # of the scaled cross-entropies

    @property
    def is_distilled(self) -> bool:
        """Whether the network was trained with a distillation method, see `lineage.is_distilled`."""
        return self.objective_key != SCRATCH


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table without a final line break; all but the first `text_columns` are aligned to the right."""
    rule = "".join("---|" if column < text_columns else "---:|" for column in range(len(headings)))
    lines = [" | ".join(cell.replace("|", r"\|") for cell in cells) for cells in (headings, *rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}", *(f"| {line} |" for line in lines[1:])])


@dataclass(frozen=True)
class Column:
    """A column for a reader; its heading names the unit."""

    key: str  # a field of `ResultRow`, or a name of its own where `text` composes the cell
    heading: str
    format: str = ""  # a format of numbers, as in `format(value, ".3f")`
    help: str = ""
    scale: float = 1  # the field's value times this is in the heading's unit
    text: Callable[[ResultRow], str] | None = None

    def value(self, row: ResultRow) -> float | str | None:
        """The cell as a number in the heading's unit, or as text; None where it is unknown."""
        if self.text is not None:
            return self.text(row) or None
        value = getattr(row, self.key)
        return value * self.scale if value is not None and self.format else value

    def cell(self, row: ResultRow) -> str:
        """The cell as text; empty where it is unknown."""
        value = self.value(row)
        return "" if value is None else format(value, self.format) if self.format else str(value)


def _interval(row: ResultRow) -> str:
    return f"{100 * row.accuracy_low:.2f} – {100 * row.accuracy_high:.2f}"


def _training(row: ResultRow) -> str:
    return " + ".join(map(str, row.epochs_by_run)) + (", test seen" if row.continued_in_view else "")


_SCALED = "after temperature scaling: one temperature per network, fitted on other images than those it scales"
_PAIRED = "Difference of the accuracies in percentage points, with McNemar's p"
_COLUMNS = (
    Column("name", "Network"),
    Column("method", "Method", help="The distillation methods of its objective"),
    Column("training", "Epochs by run", text=_training,
           help="Passes over the training images in each run; test seen: continued after test accuracy was known"),
    Column("objective", "Objective", ".3f", "The sum that training minimized: not comparable between methods"),
    Column("cross_entropy", "Cross-entropy", ".3f", "To the labels of the evaluation images, in nats: comparable"),
    Column("scaled_cross_entropy", "Scaled cross-entropy", ".3f", f"Cross-entropy {_SCALED}"),
    Column("human_cross_entropy", "Cross-entropy to human labels", ".3f", "To CIFAR-10H at T = 1, in nats"),
    Column("accuracy", "Accuracy (%)", ".2f", "Share of the evaluation images that are classified correctly", 100),
    Column("interval", "95 % interval", help="Wilson's interval of the accuracy", text=_interval),
    Column("accuracy_interval", "Accuracy, 95 % interval", help="With Wilson's interval",
           text=lambda row: f"{100 * row.accuracy:.2f} % ({_interval(row)})"),
    Column("to_scratch_baseline", "To its scratch baseline", help=_PAIRED,
           text=lambda row: str(row.to_scratch_baseline or "")),
    Column("to_teacher", "To its teacher", help=_PAIRED, text=lambda row: str(row.to_teacher or "")),
    Column("difference", "To baseline", "+.2f", "Difference of the accuracies in percentage points", 100),
    Column("p", "McNemar p",
           help="Of the images that only one of the two networks classifies correctly: the probability of a split at "
                "least this uneven if both were equally good; exact, two-sided",
           text=lambda row: "" if row.p is None else format_p(row.p).removeprefix("p ").removeprefix("= ")),
    Column("calibration_error", "Calibration error (%)", ".2f", "Expected calibration error in 15 bins", 100),
    Column("scaled_calibration_error", "Scaled calibration error (%)", ".2f", f"Calibration error {_SCALED}", 100),
    Column("teacher_agreement", "Agrees with teacher (%)", ".2f", "Images with the same predicted class", 100),
    Column("teacher_kl", "KL from teacher", ".3f", "Mean KL(teacher ‖ network) at T = 1, in nats"),
    Column("parameters", "Parameters", ",", "Trained weights and biases"),
    Column("multiply_adds", "Multiply-adds (M)", ".1f", "Millions for one image", 1e-6),
    Column("latency", "Latency (ms)", ".2f", "One image on this machine's processor, median", 1e3),
    Column("size", "Size (kB)", ".0f", "Weights on disk, float16", 1e-3),
    Column("train_images", "Training images", ",", "Images that it was trained on"),
    Column("epochs", "Epochs", "d", "Passes over them, in all runs of its training"),
    Column("seed", "Seed", "d"),
)  # fmt: skip
COLUMNS = {column.key: column for column in _COLUMNS}
"""Every column for readers by key, in their order."""

SUMMARY_COLUMNS = (
    "name", "method", "training", "objective", "cross_entropy", "scaled_cross_entropy", "calibration_error",
    "scaled_calibration_error", "accuracy_interval", "to_scratch_baseline", "to_teacher",
)  # fmt: skip
"""Each network with the paired tests against its own scratch baseline and teacher."""

COMPARISON_COLUMNS = (
    *SUMMARY_COLUMNS[:9], "difference", "p", "teacher_agreement", "teacher_kl",
    "human_cross_entropy", "parameters", "multiply_adds",
)  # fmt: skip
"""Each network with the paired test against one baseline."""


def format_table(
    rows: Sequence[ResultRow], baseline: str | None = None, columns: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Headings and cells as text.

    Args:
        rows: the networks.
        baseline: the network that `difference` refers to; it names that column.
        columns: keys of `COLUMNS`; by default `SUMMARY_COLUMNS`, with a baseline the `COMPARISON_COLUMNS` with values.
    """
    if columns is None and baseline is not None:
        columns = [key for key in COMPARISON_COLUMNS if any(COLUMNS[key].cell(row) for row in rows)]
    chosen = [COLUMNS[key] for key in columns or SUMMARY_COLUMNS]
    headings = [f"To {baseline}" if baseline and c.key == "difference" else c.heading for c in chosen]
    return headings, [[column.cell(row) for column in chosen] for row in rows]


def to_markdown(rows: Sequence[ResultRow], baseline: str | None = None) -> str:
    """`format_table` as Markdown, without a final line break."""
    return markdown_table(*format_table(rows, baseline), text_columns=2)


def to_csv(rows: Sequence[ResultRow]) -> str:
    """All numbers with full precision under the names of `ResultRow`'s fields; empty where unknown."""
    nested = ("objective_terms", "terms", "to_scratch_baseline", "to_teacher", "scaled_to_scratch_baseline")
    keys = [field.name for field in fields(ResultRow) if field.name not in nested]
    buffer = io.StringIO()
    lines = [keys, *([getattr(row, key) for key in keys] for row in rows)]
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def to_json(rows: Sequence[Any]) -> str:
    """Rows of any dataclass with full precision as a list of objects; null where unknown."""
    values = [asdict(row) for row in rows]
    return json.dumps(values, indent=1, allow_nan=False, default=lambda model: model.model_dump(mode="json"))
