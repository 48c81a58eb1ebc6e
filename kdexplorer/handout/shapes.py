"""Charts for the page, compiled from Vega-Lite to Vega when the file is written: a phone would take long for it.

The same chart of twelve pictures differs in its rows, description and parameter values only. Everything else,
its shape, is compiled and stored in the file once.
"""

from __future__ import annotations

import json
from typing import Any

from kdexplorer.charts.common import THEME, Spec, vega_lite_version

EM = "file ? file.em : width < 400 ? 12 : 14"
"""The size of charts' text as `sizes.EM`: a handout is read on one's own screen or on paper, and is
not as wide as the window."""

LOOK: dict[str, Any] = THEME | {"background": "transparent", "font": "system-ui, sans-serif"}

Chart = dict[str, Any]
"""A chart as `page.js` draws it: `shape` (an index of `Shapes.compiled`), `rows` by data set, parameters' `values` by
name, `description`."""


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

        params = spec["params"]
        separate = ("$schema", "config", "datasets", "description")
        shape = {key: value for key, value in spec.items() if key not in separate} | {
            "params": [{"name": p["name"]} | ({"expr": _expression(p)} if "expr" in p else {}) for p in params],
        }
        text, rows = json.dumps(shape, sort_keys=True), {}
        for number, (name, values) in enumerate(spec.get("datasets", {}).items()):
            rows[f"rows{number}"] = values  # Altair names them by their content's hash
            text = text.replace(f'{{"name": "{name}"}}', f'{{"name": "rows{number}"}}')
        if text not in self._indices:
            vega = vl_convert.vegalite_to_vega(text, vl_version=vega_lite_version(), config=LOOK)
            self._indices[text] = len(self.compiled)
            self.compiled.append({key: value for key, value in vega.items() if key != "$schema"})
        values = {p["name"]: p["value"] for p in params if "value" in p}
        return {"shape": self._indices[text], "rows": rows, "values": values, "description": spec["description"]}


def _expression(param: dict[str, Any]) -> str:
    return EM if param["name"] == "em" else param["expr"]
