"""What stands behind the table on Compare, a section at a time: cost, learning curves, calibration, classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from kdexplorer import comparison, data, runs
from kdexplorer.checkpoints import Checkpoint
from kdexplorer.errors import KDError
from kdexplorer.ui import cached, charts, charts_compare, charts_runs, style


@dataclass(frozen=True)
class Compared:
    """What a section is about. Networks go by the table's short names."""

    networks: dict[str, Checkpoint]
    keys: dict[str, str]
    """The name by which links and the other pages know a network."""
    teacher: tuple[str, Checkpoint] | None
    """Whose answers agreement and KL are about; it need not be among the networks."""
    runs: list[str]
    """Runs whose curves are wanted though they may not have finished."""
    table: list[dict[str, Any]]
    labels: np.ndarray | None
    """Int64 `[N]`, where they are on this machine."""
    logits: dict[str, np.ndarray]
    """Stored answers `[N, classes]`; a network without them is missing here."""
    latency: dict[str, float]
    """Seconds by architecture, of those measured."""

    @property
    def looks(self) -> list[style.Series]:
        guide = self.teacher[1] if self.teacher else None
        return style.series({name: charts.role(checkpoint, guide) for name, checkpoint in self.networks.items()})

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.networks.values())).classes

    def have_labels(self) -> bool:
        """Whether a section that needs labels and stored answers can be drawn; says why not."""
        if self.labels is None:
            st.info(
                "This needs the labels of the measured images, which come with CIFAR-10: get it on the page Launch."
            )
        elif not self.logits:
            st.info("None of the chosen networks has stored answers: the file test_logits.npz is missing or damaged.")
        return self.labels is not None and bool(self.logits)


def cost(compared: Compared) -> None:
    """Accuracy against what a network costs; latency is measured when it is asked for."""
    table = compared.table
    kinds = [key for key in charts_compare.COSTS if any(row.get(key) for row in table)]
    kind = st.segmented_control(
        "Cost",
        kinds,
        format_func=lambda key: charts_compare.COSTS[key][0],
        default=kinds[0],
        key="cost",
        required=True,
        wrap=True,
    )
    st.vega_lite_chart(charts_compare.accuracy_cost(table, compared.looks, kind or kinds[0]), key="cost_chart")
    missing = sorted({row["architecture"] for row in table} - compared.latency.keys())
    if missing and st.button(f"Measure latency here ({', '.join(missing)})", key="latency", icon=":material/timer:"):
        for architecture in missing:
            with st.spinner(f"Timing {architecture} on this machine …"):
                cached.latency(architecture)
        st.session_state["latency_measured"] = st.session_state.get("latency_measured", set()) | set(missing)
        st.rerun()


def curves_of(compared: Compared) -> None:
    """The learning curves of all that is compared."""
    curves(compared.networks, compared.runs, compared.teacher[1] if compared.teacher else None)


def curves(networks: dict[str, Checkpoint], opened: list[str], teacher: Checkpoint | None) -> None:
    """Learning curves: of the chosen networks from their cards, of runs that are not finished from their folders."""
    roles = {name: charts.role(checkpoint, teacher) for name, checkpoint in networks.items()}
    rows, alike = comparison.learning_curves(networks, teacher)
    longest = max((len(checkpoint.history) for checkpoint in networks.values()), default=1)
    there = {(checkpoint.card.get("run"), checkpoint.name) for checkpoint in networks.values()}
    for run_id in opened:
        try:
            run = runs.find(run_id)
            made = run.config()
        except KDError:
            continue
        labels = {s.name: f"{s.name} ({made.name})" for s in made.students if (run_id, s.name) not in there}
        roles |= {labels[s.name]: s.method for s in made.students if s.name in labels}
        rows += [row | {"network": labels[row["student"]]} for row in run.metrics() if row["student"] in labels]
        longest = max(longest, made.epochs)
        alike = alike or (run.teacher(len(data.CLASSES[made.dataset])) if not networks else None)
    if not rows:
        st.info("These networks' cards hold no learning curves. Train some on the page Launch, and choose them above.")
        return
    measures = [m for m in charts_runs.MEASURES if any(charts_runs.value_of(row, m) is not None for row in rows)]
    left, right = st.columns(2)
    with left:
        measure = st.segmented_control(
            "Measure", measures, format_func=lambda m: charts_runs.MEASURES[m][0], default=measures[0], key="measure",
            required=True, wrap=True,
        )  # fmt: skip
    with right:
        where = st.segmented_control(
            "On", ["test", "train"], format_func={"test": "Measured images", "train": "Training batches"}.get,
            default="test", key="curves_on", required=True, wrap=True,
        )  # fmt: skip
    looks = style.series(roles)
    chart = charts_runs.learning_curves(rows, looks, measure or measures[0], longest, alike, where or "test")
    if chart is not None:
        st.vega_lite_chart(chart, key="curves_chart")


def calibration(compared: Compared) -> None:
    """How far confidence can be trusted."""
    if compared.have_labels():
        chart = charts_compare.reliability(compared.logits, compared.labels, compared.looks)
        st.vega_lite_chart(chart, key="reliability")


def classes(compared: Compared) -> None:
    """Accuracy class by class."""
    if compared.have_labels():
        chart = charts_compare.per_class(compared.logits, compared.labels, compared.looks, compared.classes)
        st.vega_lite_chart(chart, key="per_class")
