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
    rows = rows_of(spec, "low")
    assert [row["label"] for row in rows][::3] == ["★ T 2, weight 0.7", "scratch baseline"]
    best = summarize(table)[2]
    assert (rows[0]["low"], rows[0]["high"]) == tuple(100 * end for end in best.interval)
    points = [row["x"] for row in rows_of(spec, "x") if "low" not in row and row.get("label") == rows[0]["label"]]
    assert points == [100 * value for value in best.values()]
    assert f"★ T 2, weight 0.7, kd {100 * best.accuracy:.2f}" in spec["description"]


def test_one_seed_has_no_interval_and_no_cell_draws_nothing():
    table, _ = make_grid((0.5, 0.6, 0.9, 0.6), seeds=1)
    assert len(studies.spread(table)["layer"]) == 2
    assert studies.spread(table.model_copy(update={"rows": []})) is None


def test_the_largest_difference_is_first_with_its_interval_and_its_seeds():
    table = make_table()
    spec = studies.differences(table, "scratch")
    rows = rows_of(spec, "low")
    assert [row["label"] for row in rows] == ["kd", "at"]
    kd = next(one for one in summarize(table) if one.name == "kd").differences["scratch"]
    assert rows[0]["x"] == pytest.approx(2)
    assert (rows[0]["low"], rows[0]["high"]) == tuple(100 * end for end in kd.interval)
    points = [row["x"] for row in rows_of(spec, "x") if "low" not in row and row.get("label") == "at"]
    expected = [100 * (a - s) for a, s in zip(ACCURACIES["at"], ACCURACIES["scratch"], strict=True)]
    assert points == pytest.approx(expected)
    assert draw(spec)
    assert studies.differences(make_table(seeds=0), "scratch") is None


def test_entries_have_the_colors_of_their_families():
    for spec, domain, keys in (
        (studies.differences(make_table(), "scratch"), ["feature", "response"], ["at", "kd"]),
        (studies.spread(make_grid((0.5, 0.6, 0.9, 0.6))[0]), ["kd", "scratch"], ["kd", "scratch"]),
    ):
        marks = next(layer["encoding"] for layer in spec["layer"] if "shape" in layer["encoding"])
        looks = {name: style.look_of(key) for name, key in zip(domain, keys, strict=True)}
        found = dict(zip(marks["color"]["scale"]["domain"], marks["color"]["scale"]["range"], strict=True))
        assert found == {name: look.color for name, look in looks.items()}
