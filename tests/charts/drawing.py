"""What a chart's specification contains, and what Vega makes of it."""

import functools
import html
import json
import re

import vl_convert
from altair.vegalite.v6.schema.core import load_schema
from jsonschema import Draft7Validator


def rows_of(spec, field=""):
    """All rows of a chart, or those that have a field."""
    return [row for rows in spec["datasets"].values() for row in rows if not field or field in row]


@functools.cache
def schema():
    return Draft7Validator(load_schema())


def validate(spec):
    """Asserts that a chart is valid Vega-Lite and JSON, and has alternative text."""
    schema().validate(spec | {"title": spec["title"] | {"subtitle": ""}})  # no expression there
    json.dumps(spec, allow_nan=False)
    assert len(spec["description"]) > 20


def draw(spec, width=700, **values):
    """Renders a chart as SVG of a width in pixels, its sliders at these values."""
    params = [{**one, "value": values[one["name"]]} if one["name"] in values else one for one in spec["params"]]
    return vl_convert.vegalite_to_svg(spec | {"width": width, "params": params})


def compile_vega(spec):
    """The Vega specification that a chart's becomes."""
    return vl_convert.vegalite_to_vega(spec)


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


def heading(spec, part="heading"):
    """A chart's title or, with `subtitle`, what is below it: text or a Vega expression."""
    param = next(param for param in spec["params"] if param["name"] == part)
    return param.get("value", param.get("expr"))
