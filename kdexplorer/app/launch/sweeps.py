"""A sweep on the pages: its grid in the launch form, its progress, and its results on Compare."""

from __future__ import annotations

import json
import math
from typing import Any

import streamlit as st

from kdexplorer.app.parts import chart_view, downloads
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.state import choices
from kdexplorer.charts import sweep_surface
from kdexplorer.errors import ConfigError
from kdexplorer.networks import all_architectures
from kdexplorer.sweeps.folder import list_sweeps
from kdexplorer.sweeps.grid import MAX_VALUES, SweepConfig, describe_factors
from kdexplorer.sweeps.report import summarize, to_markdown
from kdexplorer.sweeps.results import SweepResults, bundled_sweeps

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
    """Draws the grid's widgets in the launch form; returns the fields of a `SweepConfig` beside its recipe."""
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


def describe(config: SweepConfig) -> str:
    """The size of a sweep in one line."""
    count = len(config.students())
    return (
        f"{count} students ({config.student} distilled from {config.recipe.teacher}: the grid, the lab's default and "
        f"the scratch baseline) × {config.seeds} seed{'s' if config.seeds > 1 else ''} = "
        f"{count * config.seeds} trained networks"
        + ("; the gradient's size is constant over temperatures" if config.weight_factors else "")
    )


def show_section() -> None:
    """Compare's section: the choice of a sweep, and its results."""
    found: dict[str, SweepResults] = {}
    for sweep in list_sweeps():
        try:
            results = sweep.results()
        except ConfigError as error:
            st.caption(as_text(f"{sweep.run_id} is left out. {error}"))
        else:
            found |= {} if results is None else {sweep.run_id: results}
    found |= bundled_sweeps()
    if not found:
        st.info("There is no sweep yet. Start one on the Launch page with 'Sweep temperature and weight'.")
        return
    name = choices.pick_one("sweep", "Sweep", list(found), next(iter(found)), kind="sweep")
    show_results(found[name], name)


def show_results(results: SweepResults, name: str) -> None:
    """The conclusion, the surface, every cell, and the files."""
    if not results.cells:
        st.info("No student has finished yet. The surface appears when the first experiment has finished.")
        return
    st.markdown(" ".join(filter(None, [summarize(results), describe_factors(results.weight_factors)])))
    surfaces = sweep_surface.SURFACES
    known = [key for key in surfaces if any(getattr(cell, key) is not None for cell in results.cells)]
    measure = choices.pick_option("surface", "Surface", known, lambda key: surfaces[key].label)
    left, right = st.columns([3, 2])
    chart_view.draw(sweep_surface.surface(results, measure), f"Sweep {name} {measure}", (), left, key="surface_chart")
    chart_view.draw(sweep_surface.spread(results), f"Sweep {name} by seed", (), right, key="spread_chart")
    what = f"{results.student} distilled from {results.teacher}, evaluated on the {results.evaluated_on}"
    st.caption(
        f"{as_text(what)}, last epoch. "
        "Tests over images compare these networks; tests over seeds compare settings. To select a setting without test "
        "images, hold images out (Launch, Advanced)."
    )
    downloads.show_files(
        name, {"json": json.dumps(results.model_dump(mode="json"), indent=1), "md": to_markdown(results)}
    )
