"""Studies, grids and comparisons of methods, as Compare and Launch show them."""

import json

import streamlit as st

from kdexplorer.app.layout import as_text
from kdexplorer.app.parts import chart_view, downloads
from kdexplorer.app.server import access
from kdexplorer.app.state import choices
from kdexplorer.charts import studies as charts
from kdexplorer.errors import ConfigError
from kdexplorer.studies.folder import list_sweeps
from kdexplorer.studies.report import (
    NOTES,
    count_differences,
    describe_protocol,
    describe_study,
    format_study,
    to_csv,
    to_markdown,
)
from kdexplorer.studies.table import Table, bundled_tables, find_conflicts, summarize


def show_grids() -> None:
    """The choice of a grid's study, and its results."""
    found: dict[str, Table] = {}
    for folder in list_sweeps():
        try:
            if (table := folder.table()) is not None:
                found[folder.run_id] = table
        except ConfigError as error:
            st.caption(as_text(access.hide_folders(f"{folder.run_id} is left out. {error}")))
    empty = "There is no sweep yet. Start one on the Launch page: Customize, 'Sweep temperature and weight'."
    _pick_study(found | bundled_tables(with_grid=True), "sweep", empty)


BUNDLED = {
    "league-resnet8": "Methods: ResNet-56 teaches ResNet-8",
    "league-resnet8-controls": "Larger gradients, and the papers' settings",
    "lab-resnet18": "The lab's table with seeds: ResNet-50 teaches ResNet-18",
}
"""What the bundled comparisons are called on the page, which shows the first of them first."""


def show_comparisons() -> None:
    """The choice of another bundled study that compares entries, where there are several, and its results."""
    empty = "There is no study of methods yet. Train one with `python -m kdexplorer study`."
    tables = bundled_tables(with_grid=False)
    known = [name for name in {**BUNDLED, **tables} if name in tables and len(tables[name].declared.entries) > 1]
    _pick_study({name: tables[name] for name in known}, "league", empty)


def _pick_study(found: dict[str, Table], kind: str, empty: str) -> None:
    """The choice among grids (`sweep`) or other studies (`league`), as links and labels call them."""
    if not found:
        st.info(empty)
        return
    name = next(iter(found))
    if len(found) > 1 or kind == "sweep":
        name = choices.pick_one(
            kind, "Sweep" if kind == "sweep" else "Study", list(found), name,
            kind=kind, format_func=lambda name: BUNDLED.get(name, name),
        )  # fmt: skip
    show_study(found[name], name)


def show_study(table: Table, name: str) -> None:
    """What a study decides, its charts, its entries, and the files."""
    if table.declared.grid is not None:
        _show_grid(table, name)
    else:
        _show_entries(table, name)
    if table.rows:
        values, described = table.model_dump(mode="json"), access.hide_folders(to_markdown(table))
        values["study"] = json.loads(access.hide_folders(json.dumps(values["study"])))  # not rows: bits resemble paths
        texts = {"csv": to_csv({"": table}), "json": json.dumps(values, indent=1), "md": described}
        downloads.show_files(name, texts)


def _show_grid(table: Table, name: str) -> None:
    """The conclusion, the surface and every cell."""
    summaries = summarize(table)
    if not (known := charts.known_surfaces(summaries)):
        st.info("No student has finished yet. The surface appears when the first run has finished.")
        return
    st.markdown(" ".join(filter(None, [describe_study(table, summaries), table.declared.describe_factors()])))
    measure = choices.pick_option("surface", "Surface", known, charts.SURFACES.__getitem__)
    left, right = st.columns([3, 2])
    chart_view.draw(charts.surface(table, summaries, measure), f"Sweep {name} {measure}", (), left, key="surface_chart")
    chart_view.draw(charts.spread(table, summaries), f"Sweep {name} by seed", (), right, key="spread_chart")
    st.caption(
        f"{as_text(access.hide_folders(describe_protocol(table)))} "
        "Tests over images compare these networks; tests over seeds compare settings. To select a setting without test "
        "images, hold images out (Launch, Customize, Advanced)."
    )


def _show_entries(table: Table, name: str) -> None:
    """The conclusion, the differences to a reference, and every entry."""
    for problem in find_conflicts(table, table.declared):
        st.warning(as_text(problem))
    summaries = summarize(table)
    labels = {one.name: one.entry.label for one in summaries}
    reference = choices.pick_option(
        "reference", "Compared with", table.declared.references, lambda name: labels.get(name, name)
    )
    said, counted = describe_study(table, summaries), count_differences(summaries, reference)
    st.markdown(as_text(counted or said))
    chart_view.draw(charts.differences(summaries, reference), f"Methods {name}", (), key="league_chart")
    with st.expander("Every entry, and what the tests say"):
        if counted:
            st.markdown(as_text(said))
        lines = [line | {"Entry": labels.get(line["Entry"], line["Entry"])} for line in format_study(table, summaries)]
        st.dataframe(lines, hide_index=True, key="league_table")
        st.caption(f"{as_text(access.hide_folders(describe_protocol(table)))} {NOTES}")
