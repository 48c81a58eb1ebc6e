"""A chart as a file to take: SVG and PNG with source and link below it, or for a slide; its rows as CSV.

The file is on white whatever the page's theme.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kdexplorer.charts.common import INK, THEME, Spec
from kdexplorer.charts.vega import DrawingError, Vega

FONT = "Arial, Helvetica, sans-serif"
BLACK, GREY = "#060D14", "#4A545E"
PADDING = 0.8
"""Around a figure, in `em`."""
LINES = 3
"""Lines of the source and of the link; what is longer is cut."""
TALLER = 0.6
"""By which part of itself a plot grows at most to fill a slide."""

SYMBOLS = "DejaVu Sans, sans-serif"
"""In PNG: of texts with markers, which most fonts lack; vl-convert would draw such a text in any font that has them."""

_MARKED = re.compile(f'font-family="{FONT}"(?=[^<>]*>[^<>]*[\u2300-\u2bff])')
_WIDE = "(containerSize()[0] || width)"
_UNKNOWN_TO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Layout:
    """The size of a figure: its width, its text `em` and its height, in pixels; None is as high as the chart."""

    width: int
    em: float
    height: int | None = None


DOCUMENT, SLIDE = Layout(960, 18), Layout(1600, 36, 900)
SMALLEST = 20.0
"""`em` on a slide whose chart would otherwise be too tall; where this is too large too, the chart is scaled down."""


@dataclass(frozen=True)
class Figure:
    """A chart and what stands below it.

    Attributes:
        spec: the application's specification.
        source: a line of text that says what it is from.
        link: an address where it is found; empty leaves it out.
        values: of parameters by name, instead of the specification's own.
        slide: 16 to 9 and large type.
        scale: a chart that explains the colors of the first; it is drawn below it.
    """

    spec: Spec
    source: str
    link: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    slide: bool = False
    scale: Spec | None = None

    @property
    def layout(self) -> Layout:
        """Its size."""
        return SLIDE if self.slide else DOCUMENT


def to_svg(figure: Figure, vega: Vega) -> str:
    """A figure as SVG on white. Raises DrawingError."""
    layout = figure.layout
    text = layout.em * (0.6 if figure.slide else 0.72)
    pad = PADDING * layout.em
    width = layout.width - 2 * pad
    footer = [_clean(line) for words in (figure.source, figure.link) for line in _break(words, width, text)]
    below = (1.35 * len(footer) + 0.5) * text
    extra = None if figure.scale is None else _draw(figure.scale, figure.values, vega, width, layout.em)
    if extra is not None:
        below += extra.height
    if layout.height is None:
        drawing = _draw(figure.spec, figure.values, vega, width, layout.em)
        room = drawing.height
    else:
        room = layout.height - 2 * pad - below
        drawing = _fill(figure, vega, width, room)
    shrink = min(1.0, room / drawing.height)
    left, top = pad + (width - shrink * drawing.width) / 2, pad + (room - shrink * drawing.height) / 2
    height = round(2 * pad + room + below)
    drawn = f'<g transform="translate({left:.5g},{top:.5g}) scale({shrink:.5g})">{drawing.svg}</g>'
    if extra is not None:
        drawn += f'<g transform="translate({pad:g},{pad + room:.5g})">{extra.svg}</g>'
    last = height - pad - 0.3 * text
    rows = [last - 1.35 * text * (len(footer) - 1 - number) for number in range(len(footer))]
    lines = (f'<text x="{pad:g}" y="{y:.5g}">{html.escape(line)}</text>' for y, line in zip(rows, footer, strict=True))
    words = f'<g font-family="{FONT}" font-size="{text:g}" fill="{GREY}">{"".join(lines)}</g>'
    if figure.link.startswith(("http://", "https://")):
        words = f'<a href="{html.escape(_clean(figure.link))}">{words}</a>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1" '
        f'width="{layout.width}" height="{height}" viewBox="0 0 {layout.width} {height}" role="img">'
        f"<title>{html.escape(_clean(figure.source))}</title>"
        f"<desc>{html.escape(_clean(figure.spec.get('description', '')))}</desc>"
        f'<rect width="{layout.width}" height="{height}" fill="white"/>'
        f"{drawn}{words}</svg>"
    )


def to_png(figure: Figure, vega: Vega, scale: float = 2) -> bytes:
    """`to_svg` as PNG, with `scale` pixels for one of the SVG. Raises DrawingError."""
    return vega.rasterize(_MARKED.sub(f'font-family="{SYMBOLS}"', to_svg(figure, vega)), scale)


def _break(text: str, width: float, size: float) -> list[str]:
    """Text as lines that fit; a letter is 0.56 of the text's size wide."""
    return textwrap.wrap(text, max(20, int(width / (0.56 * size))), max_lines=LINES, placeholder=" …")


def _clean(text: str) -> str:
    """Text without the characters that cannot be part of XML."""
    return _UNKNOWN_TO_XML.sub("", text)


@dataclass(frozen=True)
class _Drawing:
    """What Vega has drawn, and its size."""

    svg: str
    width: float
    height: float


def _fill(figure: Figure, vega: Vega, width: float, room: float) -> _Drawing:
    """A chart as tall as the room: with smaller text if it is taller, else with a taller plot."""
    em = figure.layout.em
    drawing = _draw(figure.spec, figure.values, vega, width, em)
    for _ in range(3):
        if drawing.height <= room or em <= SMALLEST:
            break
        em = max(SMALLEST, em * room / drawing.height)
        drawing = _draw(figure.spec, figure.values, vega, width, em)
    more = room - drawing.height
    return _draw(figure.spec, figure.values, vega, width, em, more) if more > 0.05 * room else drawing


def _draw(spec: Spec, values: Mapping[str, float], vega: Vega, width: float, em: float, more: float = 0) -> _Drawing:
    """Draws a chart; `more` is added to the plot's height, up to `TALLER`."""
    given = dict(values) | {"em": em}
    params = []
    for param in spec["params"]:
        if param["name"] in given:
            param = {"name": param["name"], "value": given[param["name"]]}
        elif more and param["name"] == "height":
            own = f"({param['expr']})"
            param = {"name": "height", "expr": f"{own} + min({more:.5g}, {TALLER} * {own})"}
        params.append(param)
    look = THEME | {"font": FONT, "background": "white"}
    clean = _clean_all(spec | {"params": params, "width": width, "config": look})
    text = json.dumps(clean, allow_nan=False).replace(_WIDE, f"{width:g}").replace(json.dumps(INK), json.dumps(BLACK))
    svg = vega.draw(text)
    size = re.search(r'<svg [^>]*?width="([0-9.]+)" height="([0-9.]+)"', svg)
    if size is None:
        raise DrawingError("This chart cannot be drawn as a file.")
    return _Drawing(svg, float(size[1]), float(size[2]))


def _clean_all(part: Any) -> Any:
    """`_clean` for all texts of a specification."""
    if isinstance(part, str):
        return _clean(part)
    if isinstance(part, dict):
        return {_clean_all(key): _clean_all(value) for key, value in part.items()}
    return [_clean_all(one) for one in part] if isinstance(part, (list, tuple)) else part


def to_csv(spec: Spec) -> str:
    """The rows that a chart draws as one table, the largest data set first; images are left out.

    Rows of other data sets follow, with empty cells in columns that they do not have. A text that a spreadsheet would
    compute begins with an apostrophe.
    """
    tables = sorted(_tables(spec), key=len, reverse=True)
    rows = list({json.dumps(row, sort_keys=True): row for table in tables for row in table}.values())
    images = {key for row in rows for key, value in row.items() if isinstance(value, str) and value.startswith("data:")}
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in images]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(row.get(key)) for key in columns] for row in rows)
    return text.getvalue()


def _tables(part: Any) -> Iterator[list[dict[str, Any]]]:
    """The data sets of a specification and of everything in it."""
    if isinstance(part, list):
        for one in part:
            yield from _tables(one)
    elif isinstance(part, dict):
        yield from part.get("datasets", {}).values()
        data = part.get("data", {})
        if isinstance(data, dict) and data.get("values"):
            yield data["values"]
        for key in ("layer", "concat", "hconcat", "vconcat", "spec"):
            yield from _tables(part.get(key, []))


def _cell(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(value)
    if not isinstance(value, str):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}" if value.lstrip().startswith(("=", "+", "-", "@")) else value
    return value


def file_name(*words: str) -> str:
    """A file's name, without its ending, from the words that say what it shows: ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", " ".join(("kd explorer", *words))).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", plain.lower()).strip("-")[:100].rstrip("-")
