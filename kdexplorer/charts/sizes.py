"""Sizes in charts: text that grows with the window, and every other length as a multiple of it."""

from __future__ import annotations

from typing import Any

import altair as alt

EM = "file ? file.em : max(12, 0.014 * (windowSize()[0] || 1280) + 0 * width)"
"""The size of all text in a chart, in pixels, as a Vega expression: 1.4 % of the window's width, which can be read from
the last row; never below 12. A chart's other lengths are multiples of it, by the parameter `em`. It names `width` so
that it is computed again when the window changes. While a file is made of the chart, the parameter `file` gives its
text size, and by how much its plot is taller (`web/save_chart.js`)."""

PROJECTOR_EM = "file ? file.em : max(14, 0.0225 * (windowSize()[0] || 1280) + 0 * width)"
"""As `EM`, for a chart that a whole room reads: 28.8 pixels in a window of 1280."""

DESIGN_EM = 18
"""What `em` is in a window of 1280 pixels, for which lengths are written down."""

PADDING = {"left": 2, "right": 2, "top": 2, "bottom": 6}
"""Pixels around a chart; Streamlit's own are more, and the first screen is short."""

_TEXT = {"labelFontSize": {"expr": "em"}, "titleFontSize": {"expr": "em"}}
CONFIG: dict[str, Any] = {
    "axis": _TEXT | {"labelLimit": {"expr": "11 * em"}, "titlePadding": {"expr": "em / 3"}},
    "axisY": {"labelFlush": False},
    "legend": _TEXT
    | {"labelLimit": {"expr": "11 * em"}, "titleLimit": {"expr": "18 * em"}, "rowPadding": {"expr": "em / 8"}},
    "text": {"fontSize": {"expr": "em"}},
}
"""Sizes of text in every chart. Labels are aligned with their row: Streamlit's theme moves the first and the last one
inwards."""


def em(pixels: float) -> Any:
    """A length that grows with the text: its pixels in a window of 1280 pixels."""
    return alt.expr(f"{pixels / DESIGN_EM:.4g} * em")


def area(pixels: float) -> Any:
    """A marker's area that grows with the text: its square pixels in a window of 1280 pixels."""
    return alt.expr(f"{pixels / DESIGN_EM**2:.4g} * em * em")


def enlarge(spec: dict[str, Any], factor: float) -> dict[str, Any]:
    """A chart whose text and lengths are larger by a factor, in the same width; the chart itself is not modified."""
    params = [p | {"expr": f"{factor:g} * ({p['expr']})"} if p["name"] == "em" else p for p in spec["params"]]
    return spec | {"params": params}
