"""Compare's section on the league: methods over several seeds, from the bundled tables."""

from __future__ import annotations

import json

import streamlit as st

from kdexplorer.app.parts import chart_view, downloads
from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.state import choices
from kdexplorer.charts import league as chart
from kdexplorer.sweeps.league_report import NOTES, describe_protocol, format_league, to_csv, to_markdown
from kdexplorer.sweeps.league_summary import describe_league, summarize_entries
from kdexplorer.sweeps.league_table import LeagueTable, bundled_leagues, find_conflicts


def show_section() -> None:
    """The choice of a league, where there are several, and its results."""
    found = bundled_leagues()
    if not found:
        st.info("There is no league's table yet. Train one with `python -m kdexplorer league`.")
        return
    name = next(iter(found))
    if len(found) > 1:
        name = choices.pick_one("league", "League", list(found), name, kind="league")
    show_league(found[name], name)


def show_league(table: LeagueTable, name: str) -> None:
    """The conclusion, the differences to a reference, every entry, and the files."""
    for problem in find_conflicts(table, table.declaration):
        st.warning(as_text(problem))
    st.markdown(as_text(describe_league(table)))
    references = table.declaration.references
    reference = choices.pick_option("reference", "Compared with", references)
    spec = chart.differences(summarize_entries(table), reference)
    if spec is not None:
        chart_view.draw(spec, f"League {name}", (), key="league_chart")
    headings, cells = format_league(table)
    st.dataframe([dict(zip(headings, row, strict=True)) for row in cells], hide_index=True, key="league_table")
    st.caption(f"{as_text(describe_protocol(table))} {NOTES}")
    texts = {
        "csv": to_csv(table),
        "json": json.dumps(table.model_dump(mode="json"), indent=1),
        "md": to_markdown(table),
    }
    downloads.show_files(name, texts)
