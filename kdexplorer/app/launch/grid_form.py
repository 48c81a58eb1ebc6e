"""The grid of a sweep in the launch form."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from kdexplorer.networks import all_architectures
from kdexplorer.studies.study import MAX_VALUES, Study

OPTIONS = {
    "temperatures": ("Temperatures", (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)),
    "weights": ("Weights of the teacher's term (α)", (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)),
}
START = {
    "student": "resnet8",
    "temperatures": [1.0, 2.0, 4.0, 8.0],
    "weights": [0.5, 0.7, 0.9],
    "seeds": 3,
    "hold": "weight",
}

HOLD = {"weight": "the weight", "gradient": "the gradient's size"}
HOLD_HELP = (
    "T² balances the gradient's 1/T² only in the limit of large T, so at one weight another temperature is also "
    "another size of the gradient. If that size is constant, each temperature's weight is rescaled so that the "
    "gradient at the start of training is as large as at T = 4."
)


def pick_grid() -> dict[str, Any]:
    """Draws the grid's widgets in the launch form; returns the arguments of `make_grid_study` beside the recipe."""
    grid = st.session_state.setdefault("sweep_grid", dict(START))
    for name, value in grid.items():
        st.session_state.setdefault(f"form_sweep_{name}", value)
    for name in OPTIONS:  # a browser that was tampered with may send more than the widget allows
        st.session_state[f"form_sweep_{name}"] = st.session_state[f"form_sweep_{name}"][:MAX_VALUES]
    st.markdown("**A grid of students**: each with its own temperature and weight, on the same batches")
    left, right = st.columns([2, 1])
    architectures, often = all_architectures(), "How many times each cell is trained; Seed is the first seed"
    grid["student"] = left.selectbox("Student", [one.key for one in architectures], key="form_sweep_student")
    grid["seeds"] = right.number_input("Seeds", value=None, step=1, key="form_sweep_seeds", help=often)
    for name, (label, options) in OPTIONS.items():
        chosen = st.multiselect(
            label, sorted({*options, *(value for value in grid[name] if isinstance(value, float))}),
            key=f"form_sweep_{name}", accept_new_options=True, max_selections=MAX_VALUES,
            placeholder="Choose or type numbers",
            format_func=lambda value: f"{value:g}" if isinstance(value, float) else str(value),
        )  # fmt: skip
        grid[name] = [_parse(value) for value in chosen]
    grid["hold"] = st.segmented_control(
        "Constant over temperatures", list(HOLD), format_func=HOLD.__getitem__, key="form_sweep_hold", required=True,
        help=HOLD_HELP,
    )  # fmt: skip
    return dict(grid)


def _parse(value: Any) -> Any:
    """A typed option as a number; other text stays as it is, and validation reports it."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else value


def describe(study: Study) -> str:
    """The size of a study in one line."""
    entries, seeds = len(study.entries), len(study.seeds)
    beside = ": the grid, the lab's default and the scratch baseline" if study.grid else ""
    held = "; the gradient's size is constant over temperatures" if study.grid and study.grid.hold == "gradient" else ""
    return (
        f"{entries} students ({study.architecture} distilled from {study.shared.teacher}{beside}) × {seeds} "
        f"seed{'s' if seeds > 1 else ''} = {entries * seeds} trained networks{held}"
    )
