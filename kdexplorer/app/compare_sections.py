"""The sections below the table on Compare: cost, learning curves, calibration, classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import streamlit as st

from kdexplorer.analysis import results
from kdexplorer.analysis.results import ResultRow
from kdexplorer.app import launch_curves, result_caches
from kdexplorer.charts import evaluation, learning_curves, style
from kdexplorer.charts.learning_curves import CurvePoint
from kdexplorer.datasets import get_dataset
from kdexplorer.errors import KDError
from kdexplorer.runs.checkpoints import Checkpoint
from kdexplorer.runs.run_folder import find_run


@dataclass(frozen=True)
class Comparison:
    """What the sections show. Networks have the table's short names."""

    networks: dict[str, Checkpoint]
    keys: dict[str, str]
    """The names of the networks in links and on the other pages."""
    teacher: tuple[str, Checkpoint] | None
    """The teacher for agreement and KL; it need not be one of the networks."""
    runs: list[str]
    """Runs whose curves are shown even if they have not finished."""
    rows: list[ResultRow]
    labels: np.ndarray | None
    """Int64 `[N]`, where they are available."""
    logits: dict[str, np.ndarray]
    """Stored logits `[N, K]` of the networks that have them."""
    latency: dict[str, float]
    """Seconds for one image by architecture, where measured."""

    @property
    def looks(self) -> list[style.Series]:
        return style.series(_roles(self.networks, self.teacher[1] if self.teacher else None))

    @property
    def classes(self) -> tuple[str, ...]:
        return next(iter(self.networks.values())).classes

    def require_labels(self) -> np.ndarray | None:
        """The labels for a section that needs them and stored logits; where one is missing, it says so."""
        if self.labels is None:
            dataset = get_dataset(results.dataset_of(next(iter(self.networks.values())))).label
            st.info(f"This needs the labels of the evaluation images. Download {dataset} on the Launch page.")
        elif not self.logits:
            st.info("None of these networks has stored logits: the file test_logits.npz is missing or damaged.")
        return self.labels if self.logits else None


def _roles(networks: Mapping[str, Checkpoint], teacher: Checkpoint | None) -> dict[str, str]:
    return {name: style.role_of(checkpoint, teacher) for name, checkpoint in networks.items()}


def show_cost(comparison: Comparison) -> None:
    """Accuracy against cost; latency is measured on request."""
    rows = comparison.rows
    costs = [key for key in evaluation.COSTS if any(getattr(row, key) for row in rows)]
    cost = st.segmented_control(
        "Cost",
        costs,
        format_func=lambda key: evaluation.COSTS[key].label,
        default=costs[0],
        key="cost",
        required=True,
        wrap=True,
    )
    chart = evaluation.accuracy_cost(rows, comparison.looks, cost or costs[0])
    if chart is not None:
        st.vega_lite_chart(chart, key="cost_chart")
    missing = sorted({row.architecture for row in rows} - comparison.latency.keys())
    if missing and st.button(f"Measure latency ({', '.join(missing)})", key="latency", icon=":material/timer:"):
        for architecture in missing:
            with st.spinner(f"Timing {architecture} on this machine …"):
                result_caches.latency(architecture)
        st.session_state["latency_measured"] = st.session_state.get("latency_measured", set()) | set(missing)
        st.rerun()


def show_comparison_curves(comparison: Comparison) -> None:
    """The learning curves of all compared networks."""
    show_curves(comparison.networks, comparison.runs, comparison.teacher[1] if comparison.teacher else None)


def show_curves(networks: Mapping[str, Checkpoint], runs: list[str], teacher: Checkpoint | None) -> None:
    """Learning curves: of networks from their cards, of runs that have not finished from their folders."""
    roles = _roles(networks, teacher)
    curves, figures = results.learning_curves(networks, teacher)
    points = [CurvePoint(name, row.epoch, row.train, row.test) for name, history in curves.items() for row in history]
    epochs = max((checkpoint.card.epochs or 1 for checkpoint in networks.values()), default=1)
    finished = {(checkpoint.card.run, checkpoint.name) for checkpoint in networks.values()}
    for run_id in runs:
        try:
            run = find_run(run_id)
            config = run.config()
        except KDError:
            continue
        names = {s.name: f"{s.name} ({config.name})" for s in config.students if (run_id, s.name) not in finished}
        roles |= {names[s.name]: s.key for s in config.students if s.name in names}
        points += [launch_curves.to_point(row, names[row.student]) for row in run.metrics() if row.student in names]
        epochs = max(epochs, config.epochs)
        if not networks and figures is None:
            figures = run.teacher(len(get_dataset(config.dataset).classes))
    measures = learning_curves.list_measures(points)
    if not measures:
        st.info("These networks have no stored learning curves. Train some on the Launch page and choose them above.")
        return
    left, right = st.columns(2)
    with left:
        measure = st.segmented_control(
            "Measure",
            measures,
            format_func=lambda key: learning_curves.get_measure(key).label,
            default=measures[0],
            key="measure",
            required=True,
            wrap=True,
        )
    with right:
        split = st.segmented_control(
            "On",
            ["test", "train"],
            format_func={"test": "Evaluation images", "train": "Training batches"}.__getitem__,
            default="test",
            key="curves_split",
            required=True,
            wrap=True,
        )
    looks = style.series(roles)
    chart = learning_curves.learning_curves(points, looks, measure or measures[0], epochs, figures, split or "test")
    if chart is not None:
        st.vega_lite_chart(chart, key="curves_chart")


def show_calibration(comparison: Comparison) -> None:
    """How well confidence agrees with accuracy."""
    labels = comparison.require_labels()
    if labels is not None:
        chart = evaluation.reliability(comparison.logits, labels, comparison.looks)
        st.vega_lite_chart(chart, key="reliability")


def show_classes(comparison: Comparison) -> None:
    """Accuracy class by class."""
    labels = comparison.require_labels()
    if labels is not None:
        chart = evaluation.per_class(comparison.logits, labels, comparison.looks, comparison.classes)
        st.vega_lite_chart(chart, key="per_class")
