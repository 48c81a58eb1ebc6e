"""A prepared experiment's chart, as Vega draws it."""

from dataclasses import replace

import pytest

from kdexplorer.charts import style
from kdexplorer.charts.experiments import figure_chart
from kdexplorer.studies.experiments.base import Figure, Point
from tests.charts.drawing import compile_vega, draw, texts

ROLES = {"first": "kd", "second": style.TEACHER}


def lines(slider="", values=(0.0, 0.5, 1.0)):
    points = tuple(Point(name, x, y + 10 * x, name) for name, y in (("first", 60.0), ("second", 61.0)) for x in values)
    return Figure("lines", "Two lines", "", "added to a logit", points, ROLES, y_title="recognized", slider=slider)


@pytest.mark.parametrize(("chosen", "shown"), [(0.0, {"60.0", "61.0"}), (0.5, {"65.0", "66.0"})])
def test_the_lines_values_at_the_slider_are_written(chosen, shown):
    spec = figure_chart(lines("bias"))
    (slider,) = [param for param in spec["params"] if param["name"] == "bias"]
    assert (slider["bind"]["min"], slider["bind"]["max"], slider["bind"]["step"]) == (0.0, 1.0, 0.5)
    assert slider["bind"]["name"] == "Bias added to a logit"
    slider["value"] = chosen
    drawn = draw(spec)
    written = texts(drawn)
    assert shown <= set(written)
    assert {"60.0", "61.0", "65.0", "66.0", "70.0", "71.0"} & set(written) == shown
    assert (written.count("first"), written.count("second")) == (1, 1)  # in the legend
    assert drawn.count('stroke-dasharray="6,4"') == 2  # the second line, also in the legend
    assert "first from 60.0 at 0 to 70.0 at 1; second from 61.0 at 0 to 71.0 at 1" in spec["description"]


@pytest.mark.parametrize("places", [(1024.0, 5120.0, 20480.0), (6.0, 18.0), (0.5, 1.0, 4.0)])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_without_a_slider_the_numbers_of_a_few_places_are_written_in_full(places, logarithmic):
    figure = replace(lines(values=places), logarithmic=logarithmic, y_title="y")
    spec = figure_chart(figure)
    written = texts(draw(spec, 2000))
    assert {f"{place:,g}" for place in places} <= set(written)
    assert written.count("first") == 1
    (across,) = [scale for scale in compile_vega(spec)["scales"] if scale["name"] == "x"]
    assert not across.get("zero")  # the axis begins where the values do


def test_a_long_label_of_a_row_is_not_cut():
    label = "largest probability, uniform rest"
    points = (Point("first", 1.0, label=label, low=0.5, high=1.5, seeds=(0.9, 1.1)),)
    written = texts(draw(figure_chart(Figure("dots", "Rows", "", "points", points, ROLES, rule=0))))
    assert label in written


def test_a_figure_without_points_has_no_chart():
    assert figure_chart(Figure("lines", "", "", "", (), ROLES)) is None
