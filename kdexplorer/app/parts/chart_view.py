"""Charts on the pages: each with a button that saves it, and some with sliders that all pages share.

A file (SVG, PNG or CSV, for a document or a slide) is made in the browser, from the chart as it stands there, see
`web/save_chart.js`. It says what the chart is of, and the page's link. Sliders for temperature and α work in the
browser. Once one rests, its value becomes the pinned number: for the next picture, the link and other pages. The chart
is then not drawn again, so that its slider keeps the keyboard's focus.
"""

import contextlib
import hashlib
import re
from collections.abc import Hashable, Iterator
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa
import streamlit as st

from kdexplorer import web
from kdexplorer.app import layout
from kdexplorer.app.layout import as_text
from kdexplorer.app.state import choices
from kdexplorer.charts.common import Spec
from kdexplorer.charts.style import fill
from kdexplorer.figures import Words, all_figures

OF_IMAGE = ("image", "networks")
"""What a chart of the page's image is about."""

_OFFER = """<section><label title="16 to 9, in large type"><input type="checkbox"> For slides</label><div>
<button value="svg">SVG</button> <button value="png">PNG</button> <button value="csv">CSV</button></div>
<p>On white, with source and link. CSV: the data behind the chart.</p></section>"""
_offer = st.components.v2.component(
    "kdexplorer_save_chart", html=_OFFER,
    js=web.read("save_chart.js", "save_button.js"), css=web.read("save_button.css"),
)  # fmt: skip
_page_controls = st.components.v2.component(
    "kdexplorer_page_controls", isolate_styles=False, css=web.read("page_controls.css"),
    js=web.read("explain_refusal.js", "shrink_upload.js", "page_controls.js"),
)  # fmt: skip


def draw(
    spec: Spec | None,
    name: str,
    about: tuple[str, ...] = ("networks",),
    place: Any = st,
    savable: bool = True,
    key: str | None = None,
    untitled: bool = False,
) -> None:
    """Draws a chart, if there is one, and the button that saves it, unless it is drawn again every second.

    `name` says in a few words what it shows, as no other on the page; `about` are those of the page's facts that its
    source and file name have. It is `untitled` where a lecture's step says what its title says.
    """
    if spec is None:
        return
    slug, height = _slug(name), chart_height()
    if layout.is_alone():
        sliders = [param["name"] for param in spec["params"] if "bind" in param]
        seen = [one for one in sliders if one != "logT" or "alpha" not in sliders]
        spec = fill(spec, seen, untitled and layout.STORY in st.query_params)
    with place.container(key=f"drawn_{slug}", gap=None, height=height):
        tables = {table: _as_table(rows) for table, rows in spec.get("datasets", {}).items()}
        st.vega_lite_chart(spec | {"datasets": tables}, width="stretch", height=height, key=key)
        if not savable:
            return

        def offer() -> None:  # its rows are sent once more, for the table
            _offer(key=f"save_files_{slug}", data=_describe(spec, name, about, slug))

        with st.container(key=f"save_{slug}", width="content"):
            layout.draw_popover(f"Save: {as_text(name)}", f"save_open_{slug}", offer)


def _as_table(rows: list[dict[str, Any]]) -> pa.Table | list[dict[str, Any]]:
    """Rows as Arrow's table, which Streamlit would make by way of pandas, in ten times the time."""
    columns = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    try:
        return pa.table(columns)
    except pa.ArrowException:  # a column of several types, which pandas can read
        return rows


def chart_height() -> Literal["content", "stretch"]:
    """A chart's own, or all that a figure alone leaves."""
    return "stretch" if layout.is_alone() else "content"


def _slug(name: str) -> str:
    plain = re.sub("[^a-z0-9]+", "-", name.lower())[:40].strip("-")
    return f"{plain}_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def _describe(spec: Spec, name: str, about: tuple[str, ...], slug: str) -> dict[str, Any]:
    """What the files say and contain beside the chart, as `web/save_chart.js` takes it."""
    facts = st.session_state.get(layout.FACTS, {})
    known = {fact: facts[fact] for fact in OF_IMAGE if fact in about and fact in facts}
    page = "KD Explorer" + (f", {facts['page']}" if facts.get("page") else "")
    return {
        "chart": slug,
        "name": name,
        "of": known.get("image", ""),
        "source": f"{page}: {', '.join(known.values()) or name}",
        "description": spec["description"],
        "tables": list(spec["datasets"].values()),
    }


_STARTS, _MOVED = "slider_starts", "slider_moved"


@contextlib.contextmanager
def follow_sliders() -> Iterator[None]:
    """Pins what a visitor moves in a chart of the page that is drawn within: T or α, once the slider rests."""
    _page_controls(key="page_controls", height=0, on_moved_change=_keep)
    yield
    st.session_state.pop(_MOVED, None)


def _keep() -> None:
    moved = st.session_state["page_controls"].get("moved")
    if isinstance(moved, dict) and choices.pin(moved.get("name"), moved.get("value")):
        st.session_state[_MOVED] = moved.get("chart")


def start_sliders(chart: str, shown: Hashable, pinned: tuple[float, ...]) -> tuple[float, ...]:
    """Where a chart's sliders start: at the pinned numbers, or where they started while the visitor moves them.

    `chart` is its key, which begins with `chart_`, and `shown` what it shows apart from these numbers.
    """
    starts = st.session_state.setdefault(_STARTS, {})
    if st.session_state.get(_MOVED) != chart or starts.get(chart, (None,))[0] != shown:
        starts[chart] = shown, pinned
    return starts[chart][1]


def show_figure(
    key: str, source: Any = None, name: str = "", about: tuple[str, ...] = OF_IMAGE, choices_in: Any = None
) -> None:
    """Draws a figure of the registry from its source (see `Figure.parts`), with what its viewer may choose above it.

    `choices_in` is another place for these choices. The source of a figure with sliders says in `shown` what it shows
    apart from their numbers. `name` and `about` are those of `draw`.
    """
    figure = all_figures()[key]
    offered, slid = [choose(source) for choose in figure.choose], figure.slid
    known: dict[str, Any] = {}
    columns: list[Any] = [choices_in or contextlib.nullcontext()] * len(offered)
    if len(offered) > 1 and not layout.is_alone():
        columns = st.columns(len(offered))
    for column, choice in zip(columns, offered, strict=True):
        with column:
            known[choice.name] = choices.pick_option(
                choice.name, choice.label, choice.options, choice.options.__getitem__, choice.default,
                label_visibility="collapsed" if layout.is_alone() else "visible",
            )  # fmt: skip
    name = name or " ".join((figure.title, *known.values()))
    if slid:
        begin = start_sliders(f"chart_{key}", source.shown, tuple(getattr(source, one) for one in slid))
        source = replace(source, **dict(zip(slid, begin, strict=True)))
    with st.container(key=f"chart_{key}", height=chart_height()) if slid else contextlib.nullcontext():
        for part in figure.parts(source, **known):
            if isinstance(part, Words):
                strong = f"**{as_text(part.strong)}**" if part.strong else ""
                (st.info if part.is_hint else st.markdown)(strong + as_text(part.text))
                continue
            charts = part if isinstance(part, tuple) else (part,)
            row: Any = st
            if len(charts) > 1:
                options: dict[str, Any] = {"horizontal": True, "wrap": False, "height": chart_height()}
                row = st.container(key="figure_charts", gap="medium", **options)
            for number, spec in enumerate(charts, start=1):
                own = name if number == 1 else f"{name} {number}"
                draw(spec, own, about, row, untitled=not figure.is_titled)
