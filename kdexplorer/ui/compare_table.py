"""The results table on Compare, in the units that the eye wants, and its files."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import comparison, export, relatives
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.ui import choice, handouts

PER_CENT = {"accuracy", "calibration_error", "teacher_agreement"}


def show(table: list[dict[str, Any]], baseline: str, teacher: str | None, labels: np.ndarray | None) -> None:
    """The rows for the eye, what is missing, and the files."""
    column = st.column_config

    def number(label: str, form: str, text: str) -> Any:
        return column.NumberColumn(label, format=form, help=text)

    shown = [_display(row, teacher) for row in table]
    empty = {key for key in shown[0] if all(row[key] is None for row in shown)}
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        key="compare_table",
        column_order=[key for key in shown[0] if key not in empty],
        column_config={
            "name": column.TextColumn("Network", pinned=True),
            "method": column.TextColumn("Method"),
            "objective": number("Objective", "%.3f", "What this network minimised: not comparable between methods"),
            "cross_entropy": number("Cross-entropy", "%.3f", "Nats, on the measured images: comparable"),
            "people": number("Cross-entropy to people", "%.3f", "Nats at T = 1, against CIFAR-10H's answers"),
            "accuracy": number("Accuracy %", "%.2f", "Share of the measured images that are right"),
            "interval": column.TextColumn("95 % interval", help="Wilson's interval for the accuracy"),
            "difference": number("To baseline", "%+.2f", f"Points of accuracy above {baseline}"),
            "p": column.TextColumn("McNemar p", help="Chance of so uneven a split of the images that only one of "
                                   "the two gets right, were both equally good; exact, two-sided"),
            "calibration_error": number("Calibration error %", "%.2f", "Expected calibration error in 15 bins"),
            "teacher_agreement": number("Agrees with teacher %", "%.2f", "Same answer as the teacher"),
            "teacher_kl": number("KL from teacher", "%.3f", "Mean KL(teacher ‖ network) at T = 1, in nats"),
            "parameters": number("Parameters", "localized", "Learned numbers"),
            "multiply_adds": number("Multiply-adds (M)", "%.1f", "Millions for one image"),
            "latency": number("Latency (ms)", "%.2f", "One image on this machine's processor, median"),
            "size": number("Size (kB)", "%.0f", "Weights on disk, float16"),
            "train_images": number("Training images", "localized", "Images that it was trained on"),
            "epochs": number("Epochs", "%d", "Passes over them"),
        },
        alt="Results table: one row a network with objective, cross-entropy, accuracy, tests, likeness and cost",
    )  # fmt: skip
    st.caption(
        f"Measured on {table[0]['measured_on']}. Objective and cross-entropy are two columns because each "
        "method minimises another sum. Each network was trained once; the last epoch's weights, nothing chosen on the "
        "test images."
    )
    if labels is None:
        st.info(
            "The labels of these images are not here, so calibration, McNemar's p, confusion and classes are missing: "
            "objective, cross-entropy and accuracy come from each network's card. Get CIFAR-10 on the page Launch."
        )
    with st.container(horizontal=True):
        for name, text, kind in (
            ("CSV", export.as_csv(table), "text/csv"),
            ("JSON", export.as_json(table), "application/json"),
            ("Markdown", export.as_markdown(table, baseline), "text/markdown"),
        ):
            ending = {"Markdown": "md"}.get(name, name.lower())
            st.download_button(
                f"Download {name}", text, f"kdexplorer-table.{ending}", kind, key=f"download_{ending}",
                on_click="ignore", icon=":material/download:",
            )  # fmt: skip


def take_home(guide: tuple[str, Checkpoint] | None, shown: dict[str, Checkpoint]) -> None:
    """The handout's button: the teacher, four students here (its own first), and all rows of the table."""
    if guide is None:
        return
    teacher = guide[1]
    students = [(n, c) for n, c in shown.items() if c.sha256 != teacher.sha256 and c.classes == teacher.classes]
    own = set(relatives.pupils(shown, teacher))
    students.sort(key=lambda named: named[0] not in own)
    handouts.button(dict([guide, *students[:4]]), [], choice.temperature(), choice.alpha(), compared=shown)


def _display(row: dict[str, Any], teacher: str | None = None) -> dict[str, Any]:
    """A row in the units that the eye wants."""
    factors = {"multiply_adds": 1e-6, "latency": 1e3, "size": 1e-3, "difference": 100} | dict.fromkeys(PER_CENT, 100)
    shown = {}
    for key in comparison.COLUMNS:
        if key == "accuracy_low":
            shown["interval"] = f"{100 * row['accuracy_low']:.2f} – {100 * row['accuracy_high']:.2f}"
        elif key == "p":
            shown["p"] = (
                None if row["p"] is None else comparison.p_text(row["p"]).removeprefix("p = ").removeprefix("p ")
            )
        elif key not in ("accuracy_high", "seed"):
            value = row[key]
            shown[key] = value * factors[key] if key in factors and value is not None else value
    if row["name"] == teacher and row["method"] == "scratch":
        shown["method"] = "teacher"
    return shown
