"""Charts of studies and experiments, as Vega draws them: cells and entries, and lines with and without a slider."""

from dataclasses import replace

import numpy as np
import pytest
import vl_convert

from kdexplorer.charts import studies, style
from kdexplorer.charts.studies import figure_chart
from kdexplorer.studies.experiments.base import Plot, Point
from kdexplorer.studies.table import summarize
from tests.charts.drawing import draw, rows_of, texts
from tests.studies.sample import ACCURACIES, make_grid, make_table

ROLES = {"first": "kd", "second": style.TEACHER}


def lines(slider="", values=(0.0, 0.5, 1.0)):
    points = tuple(Point(name, x, y + 10 * x, name) for name, y in (("first", 60.0), ("second", 61.0)) for x in values)
    return Plot("lines", "Two lines", "", "added to a logit", points, ROLES, y_title="recognized", slider=slider)


@pytest.mark.parametrize(("chosen", "shown"), [(0.0, {"60.0", "61.0"}), (0.5, {"65.0", "66.0"})])
def test_the_lines_values_at_the_slider_are_written(chosen, shown):
    spec = figure_chart(lines("bias"))
    (slider,) = [param for param in spec["params"] if param["name"] == "bias"]
    assert slider["bind"] == {"input": "range", "min": 0.0, "max": 1.0, "step": 0.5, "name": "Bias added to a logit"}
    drawn = draw(spec, bias=chosen)
    written = texts(drawn)
    values = {one.partition("  ")[0] for one in written}
    assert {"60.0", "61.0", "65.0", "66.0", "70.0", "71.0"} & values == shown
    assert sorted(one.partition("  ")[2] for one in written if "  " in one) == ["first", "second"]
    assert drawn.count('stroke-dasharray="6,4"') == 2  # the second line, also beside its value
    assert "first from 60.0 at 0 to 70.0 at 1; second from 61.0 at 0 to 71.0 at 1" in spec["description"]


@pytest.mark.parametrize(
    ("places", "logarithmic"), [((1024.0, 5120.0, 20480.0), True), ((6.0, 18.0), False), ((0.5, 1.0, 4.0), True)]
)
def test_without_a_slider_the_numbers_of_a_few_places_are_written_in_full(places, logarithmic):
    spec = figure_chart(replace(lines(values=places), logarithmic=logarithmic))
    written = texts(draw(spec, 2000))
    assert {f"{place:,g}" for place in places} <= set(written)
    assert written.count("first") == 1
    (across,) = [scale for scale in vl_convert.vegalite_to_vega(spec)["scales"] if scale["name"] == "x"]
    assert not across.get("zero")  # the axis begins where the values do


GRID = make_grid((0.5, 0.6, 0.9, 0.6))[0]


def test_the_surface_has_every_cell_with_its_mean_spread_and_marks():
    spec = studies.surface(GRID, summarize(GRID), "accuracy")
    rows = rows_of(spec)
    assert [row["T"] for row in rows] == ["1", "2", "4"]
    assert rows[1]["text"] == f"★ {100 * summarize(GRID)[2].accuracy:.1f}"
    assert rows[2]["text"].startswith("◆ ")
    deviation = np.std([100 * value for value in summarize(GRID)[1].values()], ddof=1)
    assert rows[0]["spread"] == f"± {deviation:.1f}"
    assert "the most accurate cell has T 2, weight 0.7" in spec["description"]


def test_every_seed_is_a_point_the_best_cell_first_and_the_baseline_last():
    spec = studies.spread(GRID, summarize(GRID))
    rows = rows_of(spec, "low")
    assert [row["label"] for row in rows][::3] == ["★ T 2 with weight 0.7", "scratch baseline"]
    best = summarize(GRID)[2]
    assert (rows[0]["low"], rows[0]["high"]) == tuple(100 * end for end in best.interval)
    points = [row["x"] for row in rows_of(spec, "x") if "low" not in row and row.get("label") == rows[0]["label"]]
    assert points == [100 * value for value in best.values()]
    assert f"★ T 2 with weight 0.7, kd {100 * best.accuracy:.2f}" in spec["description"]
    one_seed, _ = make_grid((0.5, 0.6, 0.9, 0.6), seeds=1)
    assert len(studies.spread(one_seed, summarize(one_seed))["layer"]) == 2  # without intervals
    assert studies.spread(GRID, []) is None


def test_the_largest_difference_is_first_with_its_interval_and_its_seeds():
    table = make_table()
    spec = studies.differences(summarize(table), "scratch")
    rows = rows_of(spec, "low")
    assert [row["label"] for row in rows] == ["KD", "AT"]
    kd = next(one for one in summarize(table) if one.name == "kd").differences["scratch"]
    assert rows[0]["x"] == pytest.approx(2)
    assert (rows[0]["low"], rows[0]["high"]) == tuple(100 * end for end in kd.interval)
    points = [row["x"] for row in rows_of(spec, "x") if "low" not in row and row.get("label") == "AT"]
    expected = [100 * (a - s) for a, s in zip(ACCURACIES["at"], ACCURACIES["scratch"], strict=True)]
    assert points == pytest.approx(expected)
    *_, last = next(layer["encoding"]["tooltip"] for layer in spec["layer"] if "tooltip" in layer["encoding"])
    assert last["format"] == "+.2f"
    assert studies.differences(summarize(make_table(seeds=0)), "scratch") is None


def test_entries_have_the_colors_of_their_families():
    for spec, domain, keys in (
        (studies.differences(summarize(make_table()), "scratch"), ["feature", "response"], ["at", "kd"]),
        (studies.spread(GRID, summarize(GRID)), ["kd", "scratch"], ["kd", "scratch"]),
    ):
        marks = next(layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"])
        looks = {name: style.look_of(key) for name, key in zip(domain, keys, strict=True)}
        found = dict(zip(marks["color"]["scale"]["domain"], marks["color"]["scale"]["range"], strict=True))
        assert found == {name: look.color for name, look in looks.items()}
