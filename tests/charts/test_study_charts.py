"""Charts of studies: every cell with its marks, its spread and its seeds; entries' differences to a reference."""

import numpy as np
import pytest

from kdexplorer.charts import studies, style
from kdexplorer.studies.summary import summarize
from tests.charts.drawing import draw, rows_of
from tests.studies.sample import ACCURACIES, make_grid, make_table


def test_the_surface_has_every_cell_with_its_mean_spread_and_marks():
    table, _ = make_grid((0.5, 0.6, 0.9, 0.6))
    spec = studies.surface(table, "accuracy")
    rows = rows_of(spec)
    assert [row["T"] for row in rows] == ["1", "2", "4"]
    assert rows[1]["text"] == f"★ {100 * summarize(table)[2].accuracy:.1f}"
    assert rows[2]["text"].startswith("◆ ")
    deviation = np.std([100 * value for value in summarize(table)[1].values()], ddof=1)
    assert rows[0]["spread"] == f"± {deviation:.1f}"
    assert "the most accurate cell has T 2, weight 0.7" in spec["description"]


def test_a_measure_that_no_cell_has_draws_no_surface():
    assert studies.surface(make_grid((0.5, 0.6, 0.9, 0.6))[0], "teacher_agreement") is None


def test_every_seed_is_a_point_the_best_cell_first_and_the_baseline_last():
    table, _ = make_grid((0.5, 0.6, 0.9, 0.6))
    spec = studies.spread(table)
    assert len(spec["layer"]) == 3
    points = rows_of(spec, "accuracy")
    names = list(dict.fromkeys(row["cell"] for row in points))
    assert (len(points), len(names)) == (12, 4)
    assert names[0] == "★ T 2, weight 0.7"
    assert names[-1] == "scratch baseline"
    intervals = {row["cell"]: (row["low"], row["high"]) for row in rows_of(spec, "low")}
    assert intervals[names[0]] == summarize(table)[2].interval


def test_the_points_have_the_looks_of_their_objectives():
    table, _ = make_grid((0.5, 0.6, 0.9, 0.6))
    points = next(layer for layer in studies.spread(table)["layer"] if "shape" in layer["encoding"])
    looks = [style.look_of(role) for role in points["encoding"]["color"]["scale"]["domain"]]
    assert points["encoding"]["color"]["scale"]["range"] == [look.color for look in looks]
    assert points["encoding"]["shape"]["scale"]["range"] == [look.shape for look in looks]


def test_one_seed_has_no_interval_and_no_cell_draws_nothing():
    table, _ = make_grid((0.5, 0.6, 0.9, 0.6), seeds=1)
    spec = studies.spread(table)
    assert len(spec["layer"]) == 1
    assert spec["description"].startswith("Accuracy by cell, the best first: ★ T 2, weight 0.7")
    assert studies.spread(table.model_copy(update={"rows": []})) is None


def test_the_largest_difference_is_first_with_its_interval_and_its_seeds():
    table = make_table()
    spec = studies.differences(table, "scratch")
    rows = rows_of(spec, "mean")
    assert [row["entry"] for row in rows] == ["kd", "at"]
    kd = next(one for one in summarize(table) if one.name == "kd").differences["scratch"]
    assert rows[0]["mean"] == pytest.approx(2)
    assert (rows[0]["low"], rows[0]["high"]) == tuple(100 * end for end in kd.interval)
    points = [row["difference"] for row in rows_of(spec, "difference") if row["entry"] == "at"]
    expected = [100 * (a - s) for a, s in zip(ACCURACIES["at"], ACCURACIES["scratch"], strict=True)]
    assert points == pytest.approx(expected)
    assert draw(spec)


def test_colors_and_markers_are_the_methods():
    spec = studies.differences(make_table(), "scratch")
    marks = next(layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"])
    looks = [style.look_of(key) for key in marks["shape"]["scale"]["domain"]]
    assert [look.label for look in looks] == ["KD", "AT"]
    assert marks["shape"]["scale"]["range"] == [look.shape for look in looks]
    assert marks["color"]["scale"] == {"domain": ["response", "feature"], "range": [look.color for look in looks]}


def test_one_seed_is_a_point_without_an_interval_and_no_rows_are_no_chart():
    rows = rows_of(studies.differences(make_table(seeds=1), "scratch"), "mean")
    assert all(row["low"] == row["mean"] == row["high"] for row in rows)
    assert studies.differences(make_table(seeds=0), "scratch") is None
