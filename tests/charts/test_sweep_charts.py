"""Charts of a sweep: every cell with its marks, its spread and its seeds."""

import numpy as np

from kdexplorer.charts import style, sweep_surface
from tests.charts.drawing import rows_of
from tests.sweeps.sample import make_results


def test_the_surface_has_every_cell_with_its_mean_spread_and_marks():
    results, _ = make_results((0.5, 0.6, 0.9, 0.6))
    spec = sweep_surface.surface(results, "accuracy")
    rows = rows_of(spec)
    assert [row["T"] for row in rows] == ["1", "2", "4"]
    assert rows[1]["text"] == f"★ {100 * results.cells[1].accuracy:.1f}"
    assert rows[2]["text"].startswith("◆ ")
    deviation = np.std([100 * value for value in results.cells[0].accuracy_values], ddof=1)
    assert rows[0]["spread"] == f"± {deviation:.1f}"
    assert "the most accurate cell has T 2, weight 0.7" in spec["description"]


def test_a_measure_that_no_cell_has_draws_no_surface():
    assert sweep_surface.surface(make_results((0.5, 0.6, 0.9, 0.6))[0], "teacher_agreement") is None


def test_every_seed_is_a_point_the_best_cell_first_and_the_baseline_last():
    results, _ = make_results((0.5, 0.6, 0.9, 0.6))
    spec = sweep_surface.spread(results)
    assert len(spec["layer"]) == 3
    points = rows_of(spec, "accuracy")
    names = list(dict.fromkeys(row["cell"] for row in points))
    assert (len(points), len(names)) == (12, 4)
    assert names[0] == "★ T 2, weight 0.7"
    assert names[-1] == "scratch baseline"
    intervals = {row["cell"]: (row["low"], row["high"]) for row in rows_of(spec, "low")}
    best = results.cell_at(results.best)
    assert intervals[names[0]] == (best.accuracy_low, best.accuracy_high)


def test_the_points_have_the_looks_of_their_objectives():
    results, _ = make_results((0.5, 0.6, 0.9, 0.6))
    points = next(layer for layer in sweep_surface.spread(results)["layer"] if "shape" in layer["encoding"])
    looks = [style.look_of(role) for role in points["encoding"]["color"]["scale"]["domain"]]
    assert points["encoding"]["color"]["scale"]["range"] == [look.color for look in looks]
    assert points["encoding"]["shape"]["scale"]["range"] == [look.shape for look in looks]


def test_one_seed_has_no_interval_and_no_cell_draws_nothing():
    results, _ = make_results((0.5, 0.6, 0.9, 0.6), seeds=1)
    spec = sweep_surface.spread(results)
    assert len(spec["layer"]) == 1
    assert spec["description"].startswith("Accuracy by cell, the best first: ★ T 2, weight 0.7")
    assert sweep_surface.spread(results.model_copy(update={"cells": []})) is None
