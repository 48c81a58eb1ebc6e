"""Charts on the pages, each with a button that saves it: as SVG, PNG or CSV, for a document or a slide.

A file is computed when its button is pressed, as a job of the visitor. It says what the chart is of, and the page's
link.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import streamlit as st

from kdexplorer.app.parts.plain import as_text
from kdexplorer.app.server import access, turns
from kdexplorer.app.state import share_link
from kdexplorer.charts import export
from kdexplorer.charts.common import Spec
from kdexplorer.charts.export import Figure
from kdexplorer.charts.vega import Vega

MIME = {"svg": "image/svg+xml", "png": "image/png", "csv": "text/csv"}
STYLE = """<style>
[class*=st-key-drawn_] { position: relative }
[class*=st-key-drawn_] > :has(> [class*=st-key-save_]), [class*=st-key-drawn_] > [class*=st-key-save_] {
  position: absolute; top: 0; right: 0; width: auto; z-index: 1 }
[class*=st-key-save_] [data-testid=stPopoverButton] { min-height: 2rem; padding: .2rem .35rem; border: 0;
  background: none; opacity: .75 }
[class*=st-key-save_] [data-testid=stPopoverButton]:is(:hover, :focus-visible) { opacity: 1 }
[class*=st-key-save_] [data-testid=stPopoverButton] p { position: absolute; opacity: 0; width: 1px; overflow: hidden }
[class*=st-key-save_] [data-testid=stPopoverButton] div[aria-hidden=true] { display: none }
[class*=st-key-drawn_]:has(.vega-bindings) > :has(> [class*=st-key-save_]) { top: .5rem }
[class*=st-key-drawn_]:has([class*=st-key-save_]) .vega-bindings { padding-right: 2.75rem }
</style>"""
"""The button takes no room: it stands in the chart's upper right corner, beside the slider if there is one."""

OF_IMAGE = ("image", "networks")
"""What a chart of the page's image is about."""
_FACTS = "figure_facts"


def begin(page: str) -> None:
    """Forgets what the charts of the page before were of; `page` is this one's title."""
    st.session_state[_FACTS] = {"page": page}


def mention(**facts: str) -> None:
    """Notes what the page's charts are of, for their source lines: `networks`, `image`."""
    st.session_state.setdefault(_FACTS, {}).update(facts)


def draw(
    spec: Spec | None,
    name: str,
    about: tuple[str, ...] = ("networks",),
    place: Any = st,
    values: Mapping[str, float] | None = None,
    scale: Spec | None = None,
    savable: bool = True,
    key: str | None = None,
) -> None:
    """Draws a chart, and the button that saves it.

    Args:
        spec: the chart; None where there is nothing to draw.
        name: what it shows, in a few words; no other chart on the page has the same.
        about: which of the facts that the page has mentioned it depends on; they are in its source and file name.
        place: where it is drawn.
        values: what its sliders are set to, by parameter, where that is known.
        scale: the chart that explains its colors, for the file; it is not drawn here.
        savable: whether it has the button: not while it is drawn again every second.
        key: the chart's.
    """
    if spec is None:
        return
    slug = f"{export.file_name(name)[12:52]}_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    with place.container(key=f"drawn_{slug}", gap=None):
        st.vega_lite_chart(spec, width="stretch", key=key)
        if not savable:
            return
        with st.container(key=f"save_{slug}", width="content"):
            popover = st.popover(
                f"Save: {as_text(name)}", icon=":material/download:", width="content", key=f"save_open_{slug}",
                on_change="rerun",
            )  # fmt: skip
        if popover.open:
            with popover:
                _offer(Figure(spec, "", values=values or {}, scale=scale), name, about, slug)


def _offer(figure: Figure, name: str, about: tuple[str, ...], slug: str) -> None:
    """What the open button shows: where the sliders are, the kind of figure, and the files."""
    facts = st.session_state.get(_FACTS, {})
    known = {fact: facts[fact] for fact in ("image", "networks") if fact in about and fact in facts}
    page = facts.get("page", "")
    source = ": ".join(
        filter(None, [f"KD Explorer, {page}" if page else "KD Explorer", ", ".join(known.values()) or name])
    )
    values = dict(figure.values)
    for param in figure.spec["params"]:
        bind = param.get("bind")
        if bind and param["name"] not in values:
            values[param["name"]] = _pick(bind, param["value"], f"save_{param['name']}_{slug}")
    slide = st.toggle("For slides", key=f"save_slide_{slug}", help="16 to 9, in large type")
    figure = replace(figure, source=source, link=share_link.page_url(), values=values, slide=slide)
    file = export.file_name(name, known.get("image", ""), "slide" if slide else "")
    visitor = access.visitor()

    def build(kind: str) -> Callable[[], bytes]:
        return lambda: _build_file(kind, figure, visitor)

    with st.container(horizontal=True):
        for kind, mime in MIME.items():
            name_of_file = f"{file.removesuffix('-slide') if kind == 'csv' else file}.{kind}"
            st.download_button(
                kind.upper(), build(kind), name_of_file, mime, key=f"save_{kind}_{slug}", on_click="ignore"
            )
    st.caption("On white, with source and link. CSV: the data behind the chart.")


def _pick(bind: dict[str, Any], start: float, key: str) -> float:
    """Draws a slider like the chart's own, whose value the server does not know."""
    number = int if isinstance(bind["step"], int) else float
    low, high = number(bind["min"]), number(bind["max"])
    value = st.slider(bind["name"], low, high, number(start), number(bind["step"]), key=key)
    return min(max(value, low), high)


def _build_file(kind: str, figure: Figure, visitor: turns.Visitor) -> bytes:
    """A figure's file, computed in this visitor's turn. Raises KDError."""
    with turns.compute(visitor):
        return _build(kind, figure)


@st.cache_data(max_entries=16, show_spinner=False, hash_funcs={Figure: vars})
def _build(kind: str, figure: Figure) -> bytes:
    if kind == "csv":
        return export.to_csv(figure.spec).encode()
    with Vega() as vega:
        return export.to_png(figure, vega) if kind == "png" else export.to_svg(figure, vega).encode()
