"""The league's chart: the differences of the table, in the looks of the methods."""

import pytest

from kdexplorer.charts import league, style
from kdexplorer.sweeps.league_summary import summarize_entries
from tests.charts.drawing import draw, rows_of
from tests.sweeps.league_sample import ACCURACIES, make_table


def test_the_largest_difference_is_first_with_its_interval_and_its_seeds():
    entries = summarize_entries(make_table())
    spec = league.differences(entries, "scratch")
    rows = rows_of(spec, "mean")
    assert [row["entry"] for row in rows] == ["kd", "at"]
    kd = next(entry for entry in entries if entry.name == "kd").differences["scratch"]
    assert rows[0]["mean"] == pytest.approx(2)
    assert (rows[0]["low"], rows[0]["high"]) == (100 * kd.test.low, 100 * kd.test.high)
    points = [row["difference"] for row in rows_of(spec, "difference") if row["entry"] == "at"]
    expected = [100 * (a - s) for a, s in zip(ACCURACIES["at"], ACCURACIES["scratch"], strict=True)]
    assert points == pytest.approx(expected)
    assert draw(spec)


def test_colors_and_markers_are_the_methods():
    spec = league.differences(summarize_entries(make_table()), "scratch")
    marks = next(layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"])
    looks = [style.look_of(key) for key in marks["shape"]["scale"]["domain"]]
    assert [look.label for look in looks] == ["KD", "AT"]
    assert marks["shape"]["scale"]["range"] == [look.shape for look in looks]
    assert marks["color"]["scale"] == {"domain": ["response", "feature"], "range": [look.color for look in looks]}


def test_one_seed_is_a_point_without_an_interval_and_no_rows_are_no_chart():
    rows = rows_of(league.differences(summarize_entries(make_table(seeds=1)), "scratch"), "mean")
    assert all(row["low"] == row["mean"] == row["high"] for row in rows)
    assert league.differences([], "scratch") is None
