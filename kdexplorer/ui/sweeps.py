"""A sweep on the pages: its grid in Launch's form, its progress, and its surface in Compare."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from kdexplorer import export, surface, sweep
from kdexplorer.config import ARCHITECTURES, ExperimentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.ui import charts_sweep, choice

TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)
WEIGHTS = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
START = {"student": "resnet8", "temperatures": [1.0, 2.0, 4.0, 8.0], "response_weights": [0.5, 0.7, 0.9], "seeds": 3}


# --- Launch ---------------------------------------------------------------------------------------------------


def grid() -> dict[str, Any]:
    """Draws the grid's widgets; returns the fields of a `SweepConfig` beside its recipe, kept across pages."""
    held = st.session_state.setdefault("draft_sweep", dict(START))
    for name, value in held.items():
        st.session_state.setdefault(f"form_sweep_{name}", value)
    st.markdown("**A grid of students**: each with its own temperature and weight, on the same batches")
    columns = st.columns([2, 1])
    with columns[0]:
        held["student"] = st.selectbox("Student", ARCHITECTURES, key="form_sweep_student")
    with columns[1]:
        held["seeds"] = st.number_input(
            "Seeds", value=None, step=1, key="form_sweep_seeds", help="As many trainings of every cell, from Seed on"
        )
    for name, label, options in (
        ("temperatures", "Temperatures", TEMPERATURES),
        ("response_weights", "Weights of the teacher's term (α)", WEIGHTS),
    ):
        chosen = st.multiselect(
            label,
            sorted({*options, *(value for value in held[name] if isinstance(value, float))}),
            key=f"form_sweep_{name}",
            format_func=lambda value: f"{value:g}" if isinstance(value, float) else str(value),
            accept_new_options=True,
            placeholder="Choose or type numbers",
        )
        held[name] = [_number(value) for value in chosen]
    return dict(held)


def _number(value: Any) -> Any:
    """A typed option as a number; what is none stays, and is refused with its field."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else value


def check(recipe: ExperimentConfig | None, fields: dict[str, Any]) -> tuple[sweep.SweepConfig | None, list[str]]:
    """The sweep that the form makes, or what is wrong with its grid."""
    if recipe is None:
        return None, []
    try:
        shared = recipe.model_dump(exclude={"students"})
        return sweep.configure(fields["student"], shared, **{k: v for k, v in fields.items() if k != "student"}), []
    except ConfigError as error:
        return None, str(error).split("; ")


def in_words(config: sweep.SweepConfig) -> str:
    """How much a sweep is, in one line."""
    count = len(config.students())
    return (
        f"{count} students ({config.student} taught by {config.recipe.teacher}: the grid, the lab's default and the "
        f"twin from scratch) × {config.seeds} seed{'s' if config.seeds > 1 else ''} = {count * config.seeds} trainings"
    )


def progress(status: dict[str, Any]) -> None:
    """How many experiments are done, which one is at work, and which failed."""
    total, done = status.get("experiments"), status.get("finished")
    if isinstance(total, int) and isinstance(done, int) and total:
        st.progress(min(1.0, done / total), text=f"{done} of {total} experiments finished")
    for run_id in status.get("working") or []:
        st.page_link("pages/launch.py", label=f"At work: {run_id}", query_params={"run": str(run_id)})
    for run_id, why in (status.get("failed") or {}).items():
        st.error(f"{run_id}: {why}")


# --- Compare --------------------------------------------------------------------------------------------------


def tables() -> dict[str, dict[str, Any]]:
    """The results that can be drawn, by name: own sweeps, the newest first, then bundled ones."""
    own = {one.run_id: one.table() for one in sweep.list_sweeps()}
    return {name: made for name, made in own.items() if surface.readable(made)} | surface.bundled()


def section() -> None:
    """Compare's section: which sweep, and what it says."""
    found = tables()
    if not found:
        st.info("There is no sweep yet. Start one on the page Launch: switch on 'Sweep temperature and weight'.")
        return
    name = choice.pick_one("sweep", "Sweep", list(found), next(iter(found)), "compare_sweep", what="sweep")
    show(found[name], name)


def show(made: dict[str, Any], name: str) -> None:
    """The answer, the surface, every cell, and the files."""
    if not made["cells"]:
        st.info("No student has finished yet: the surface appears with the first experiment that ends.")
        return
    st.markdown(surface.answer(made))
    known = [key for key in charts_sweep.SURFACES if any(cell[key] is not None for cell in made["cells"])]
    measure = st.segmented_control(
        "Surface", known, format_func=lambda key: charts_sweep.SURFACES[key][0], default=known[0],
        key="surface_measure", required=True, wrap=True,
    )  # fmt: skip
    left, right = st.columns([3, 2])
    with left:
        st.vega_lite_chart(charts_sweep.surface(made, measure or known[0]), key="surface_chart")
    with right:
        st.vega_lite_chart(charts_sweep.spread(made), key="spread_chart")
    st.caption(
        f"{made['student']} taught by {made['teacher']}, measured on the {made['measured_on']}, last epoch. The best "
        "cell was found on these images, so its accuracy flatters; Holm's correction is for that. Hold images out "
        "(Advanced, in Launch) to choose on other images than those of the final test."
    )
    with st.container(horizontal=True):
        for kind, text, mime in (
            ("json", export.as_json([made]), "application/json"),
            ("md", surface.markdown(made), "text/markdown"),
        ):
            st.download_button(
                f"Download {kind.upper()}", text, f"{name}.{kind}", mime, key=f"download_sweep_{kind}",
                on_click="ignore", icon=":material/download:",
            )  # fmt: skip
