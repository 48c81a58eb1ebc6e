"""The comparison's table as files: CSV and JSON with full precision, Markdown for a report."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from kdexplorer.comparison import COLUMNS, p_text


def as_csv(table: list[dict[str, Any]]) -> str:
    """All columns with full precision, shares from 0 to 1."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS.values())
    writer.writerows([["" if row[key] is None else row[key] for key in COLUMNS] for row in table])
    return buffer.getvalue()


def as_json(table: list[dict[str, Any]]) -> str:
    """All rows with full precision, a list of objects; what is not known is null."""
    return json.dumps(table, indent=1, allow_nan=False, default=float) + "\n"


def readable(table: list[dict[str, Any]], baseline: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Headings and cells for a reader: rounded, shares in per cent; the first two columns are words."""
    heads = ["Network", "Method", "Objective", "Cross-entropy", "Accuracy (95 % interval)"]
    heads += [f"To {baseline}" if baseline else "To baseline", "McNemar p", "Calibration error"]
    heads += ["Agrees with teacher", "KL from teacher", "Parameters", "Multiply-adds"]
    with_people = any(row["people"] is not None for row in table)
    heads += ["Cross-entropy against people"] if with_people else []

    def number(value: float | None, form: str, scale: float = 1) -> str:
        return "" if value is None else form.format(value * scale)

    lines = []
    for row in table:
        interval = f"{100 * row['accuracy_low']:.2f} – {100 * row['accuracy_high']:.2f}"
        cells = [
            row["name"], row["method"] or "", number(row["objective"], "{:.3f}"), f"{row['cross_entropy']:.3f}",
            f"{100 * row['accuracy']:.2f} % ({interval})", number(row["difference"], "{:+.2f}", 100),
            "" if row["p"] is None else p_text(row["p"]).removeprefix("p = ").removeprefix("p "),
            number(row["calibration_error"], "{:.2f} %", 100), number(row["teacher_agreement"], "{:.2f} %", 100),
            number(row["teacher_kl"], "{:.3f}"), f"{row['parameters']:,}",
            number(row["multiply_adds"], "{:.1f} M", 1e-6),
        ]  # fmt: skip
        lines.append(cells + ([number(row["people"], "{:.3f}")] if with_people else []))
    return heads, lines


def as_markdown(table: list[dict[str, Any]], baseline: str | None = None) -> str:
    """For a report: `readable` as a table."""
    heads, lines = readable(table, baseline)
    rule = "|---|---|" + "---:|" * (len(heads) - 2)
    text = ["| " + " | ".join(heads) + " |", rule, *("| " + " | ".join(cells) + " |" for cells in lines)]
    measured = sorted({row["measured_on"] for row in table})
    return (
        "\n".join(text)
        + f"\n\nMeasured on {'; '.join(measured)}. Each network was trained once; last epoch's weights.\n"
    )
