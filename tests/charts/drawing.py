"""Rows of results to draw, what a chart's specification contains, and what Vega makes of it."""

import functools
import html
import json
import re

import vl_convert
from altair.vegalite.v6.schema.core import load_schema
from jsonschema import Draft7Validator

from kdexplorer.analysis.results import ResultRow


def make_row(name, **values):
    """A row of 100 images with an accuracy of a half."""
    unknown = ("latency", "size", "train_images", "run", "seconds", "device", "objective_terms")
    known = dict.fromkeys(unknown) | {
        "architecture": "resnet8", "objective_key": "scratch", "method": "scratch", "objective": 1.0, "terms": {},
        "cross_entropy": 1.0, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6, "images": 100,
        "evaluated_on": "100 test images", "parameters": 1000, "multiply_adds": 10**7, "epochs": 1, "seed": 0,
    }  # fmt: skip
    return ResultRow(name=name, **known | values)


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
