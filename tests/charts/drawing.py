"""What a chart's specification contains, and what Vega makes of it."""

import html
import re

import altair
import vl_convert

RELEASE = ".".join(altair.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def rows_of(spec, field=""):
    """All rows of a chart, or those that have a field."""
    parts = [spec, *spec.get("layer", [])]
    found = [*spec.get("datasets", {}).values(), *(part["data"].get("values", []) for part in parts if "data" in part)]
    return [row for rows in found for row in rows if not field or field in row]


def draw(spec):
    """Renders a chart as SVG, 700 pixels wide."""
    return vl_convert.vegalite_to_svg(spec | {"width": 700}, vl_version=RELEASE)


def texts(svg):
    """The texts in an SVG."""
    return [html.unescape(text) for text in re.findall(r">([^<>]+)</(?:text|tspan)>", svg)]


def marks(svg, field):
    """The marks whose description has a field, as dicts of texts."""
    labels = (html.unescape(label) for label in re.findall(r'aria-label="([^"]*)"', svg))
    found = (dict(part.split(": ", 1) for part in label.split("; ") if ": " in part) for label in labels)
    return [mark for mark in found if field in mark]


def number(text):
    """A number as Vega writes it."""
    return float(text.replace("−", "-"))
