"""Charts for the page, compiled from Vega-Lite to Vega when the file is written: a phone would take long for it.

The same chart of twelve pictures differs in its rows, subtitle, description and parameter values only. Everything else,
its shape, is compiled and stored in the file once.
"""

from __future__ import annotations

import json
from typing import Any

from kdexplorer.charts.common import INK, Spec

THEME: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "axis": dict.fromkeys(("labelColor", "titleColor", "tickColor", "domainColor", "gridColor"), INK)
    | {"labelFontSize": 13, "titleFontSize": 13, "titleFontWeight": "normal"}
    | {"domainOpacity": 0.4, "tickOpacity": 0.4, "gridOpacity": 0.12},
    "legend": {"labelColor": INK, "titleColor": INK, "labelFontSize": 13, "titleFontSize": 13},
    "title": {"color": INK, "subtitleColor": INK},
    "view": {"stroke": None},
}
"""What the application's theme does to a chart."""

Chart = dict[str, Any]
"""A chart as `page.js` draws it: `shape` (an index of `Shapes.compiled`), `rows` by data set, parameters' `values` by
name, `subtitle`, `description`."""


class Shapes:
    """The shapes of one file's charts.

    Attributes:
        compiled: Vega specifications with empty data sets, as wide as their frame, without sliders of their own.
    """

    def __init__(self) -> None:
        self.compiled: list[dict[str, Any]] = []
        self._indices: dict[str, int] = {}

    def add(self, spec: Spec) -> Chart:
        """Splits one of the application's Vega-Lite specifications into its shape and the rest."""
        import vl_convert

        title, params = spec["title"], spec.get("params", [])
        separate = ("$schema", "config", "datasets", "description")
        shape = {key: value for key, value in spec.items() if key not in separate} | {
            "title": {key: value for key, value in title.items() if key != "subtitle"},
            "params": [{key: p[key] for key in ("name", "expr") if key in p} for p in params],
        }
        text, rows = json.dumps(shape, sort_keys=True), {}
        for number, (name, values) in enumerate(spec.get("datasets", {}).items()):
            rows[f"rows{number}"] = values  # Altair names them by their content's hash
            text = text.replace(f'{{"name": "{name}"}}', f'{{"name": "rows{number}"}}')
        if text not in self._indices:
            vega = vl_convert.vegalite_to_vega(text, vl_version=vega_lite_version(), config=THEME)
            self._indices[text] = len(self.compiled)
            self.compiled.append({key: value for key, value in vega.items() if key != "$schema"})
        values = {p["name"]: p["value"] for p in params if "value" in p}
        words = {"subtitle": title.get("subtitle", ""), "description": spec["description"]}
        return {"shape": self._indices[text], "rows": rows, "values": values} | words


def vega_lite_version() -> str:
    """The version of Vega-Lite that Altair writes, as `vl_convert` takes it."""
    import altair

    return ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
