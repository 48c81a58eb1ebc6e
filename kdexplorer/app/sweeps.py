"""A sweep on the pages: its grid in the launch form, its progress, and its results on Compare."""

from __future__ import annotations

import json
import math
from typing import Any

import streamlit as st

from kdexplorer.app import navigation, pickers
from kdexplorer.charts import sweep_surface
from kdexplorer.config import ExperimentConfig
from kdexplorer.errors import ConfigError
from kdexplorer.networks import all_architectures
from kdexplorer.runs.records import RunStatus
from kdexplorer.sweeps.folder import list_sweeps
from kdexplorer.sweeps.grid import SweepConfig, configure, references
from kdexplorer.sweeps.results import SweepResults, bundled_sweeps, summarize, to_markdown

OPTIONS = {
    "temperatures": ("Temperatures", (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)),
    "weights": ("Weights of the teacher's term (α)", (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)),
}
START = {"student": "resnet8", "temperatures": [1.0, 2.0, 4.0, 8.0], "weights": [0.5, 0.7, 0.9], "seeds": 3}


# --- Launch -------------------------------------------------------------------------------------------------


def pick_grid() -> dict[str, Any]:
    """Draws the grid's widgets; returns the fields of a `SweepConfig` beside its recipe, not validated."""
    grid = st.session_state.setdefault("sweep_grid", dict(START))
    for name, value in grid.items():
        st.session_state.setdefault(f"form_sweep_{name}", value)
    st.markdown("**A grid of students**: each with its own temperature and weight, on the same batches")
    columns = st.columns([2, 1])
    with columns[0]:
        architectures = [architecture.key for architecture in all_architectures()]
        grid["student"] = st.selectbox("Student", architectures, key="form_sweep_student")
    with columns[1]:
        grid["seeds"] = st.number_input(
            "Seeds", value=None, step=1, key="form_sweep_seeds", help="How often each cell is trained, from Seed on"
        )
    for name, (label, options) in OPTIONS.items():
        chosen = st.multiselect(
            label,
            sorted({*options, *(value for value in grid[name] if isinstance(value, float))}),
            key=f"form_sweep_{name}",
            format_func=lambda value: f"{value:g}" if isinstance(value, float) else str(value),
            accept_new_options=True,
            placeholder="Choose or type numbers",
        )
        grid[name] = [_parse(value) for value in chosen]
    return dict(grid)


def _parse(value: Any) -> Any:
    """A typed option as a number; other text stays as it is, and validation reports it."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    return number if math.isfinite(number) else value


def reference_rows(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The students that are trained beside the grid, as fields of `ExperimentConfig`."""
    return [student.model_dump() for student in references(grid["student"])]


def find_problems(recipe: ExperimentConfig | None, grid: dict[str, Any]) -> tuple[SweepConfig | None, list[str]]:
    """The sweep that the form describes, or the problems of its grid."""
    if recipe is None:
        return None, []
    try:
        values = {name: value for name, value in grid.items() if name != "student"}
        return configure(grid["student"], recipe.model_dump(exclude={"students"}), **values), []
    except ConfigError as error:
        return None, str(error).split("; ")


def describe(config: SweepConfig) -> str:
    """The size of a sweep in one line."""
    count = len(config.students())
    return (
        f"{count} students ({config.student} distilled from {config.recipe.teacher}: the grid, the lab's default and "
        f"the scratch baseline) × {config.seeds} seed{'s' if config.seeds > 1 else ''} = "
        f"{count * config.seeds} trained networks"
    )


def show_progress(status: RunStatus) -> None:
    """How many experiments have finished, which are being trained, and which have failed."""
    if status.experiments and status.finished is not None:
        share = min(1.0, status.finished / status.experiments)
        st.progress(share, text=f"{status.finished} of {status.experiments} experiments finished")
    for run_id in status.working:
        navigation.link_to("launch", f"Training: {run_id}", {"run": run_id})
    for run_id, reason in status.failed.items():
        st.error(f"{run_id}: {reason}")


# --- Compare ------------------------------------------------------------------------------------------------


def show_section() -> None:
    """Compare's section: the choice of a sweep, and its results."""
    own = {sweep.run_id: results for sweep in list_sweeps() if (results := sweep.results()) is not None}
    found = own | bundled_sweeps()
    if not found:
        st.info("There is no sweep yet. Start one on the Launch page with 'Sweep temperature and weight'.")
        return
    name = pickers.pick_one("sweep", "Sweep", list(found), next(iter(found)), kind="sweep")
    show_results(found[name], name)


def show_results(results: SweepResults, name: str) -> None:
    """The conclusion, the surface, every cell, and the files."""
    if not results.cells:
        st.info("No student has finished yet. The surface appears when the first experiment has finished.")
        return
    st.markdown(summarize(results))
    measures = {
        key: surface
        for key, surface in sweep_surface.SURFACES.items()
        if any(getattr(cell, key) is not None for cell in results.cells)
    }
    measure = st.segmented_control(
        "Surface",
        list(measures),
        format_func=lambda key: measures[key].label,
        default=next(iter(measures)),
        key="surface_measure",
        required=True,
        wrap=True,
    )
    left, right = st.columns([3, 2])
    with left:
        st.vega_lite_chart(sweep_surface.surface(results, measure or next(iter(measures))), key="surface_chart")
    with right:
        st.vega_lite_chart(sweep_surface.spread(results), key="spread_chart")
    st.caption(
        f"{results.student} distilled from {results.teacher}, evaluated on the {results.evaluated_on}, last epoch. The "
        "best cell was selected on these images, so its accuracy is overestimated; Holm's correction accounts for the "
        "number of comparisons. To select on other images than the test images, hold images out (Advanced, on Launch)."
    )
    with st.container(horizontal=True):
        for ending, text, mime in (
            ("json", json.dumps(results.model_dump(mode="json"), indent=1), "application/json"),
            ("md", to_markdown(results), "text/markdown"),
        ):
            st.download_button(
                f"Download {ending.upper()}",
                text,
                f"{name}.{ending}",
                mime,
                key=f"download_sweep_{ending}",
                on_click="ignore",
                icon=":material/download:",
            )
