"""Attention charts: what is colored, on which scale, and the numbers under the maps."""

import numpy as np

from kdexplorer.analysis.attention_similarity import compare_maps
from kdexplorer.charts import attention, style
from tests.charts.drawing import heading, rows_of


def make_maps(name, role, seed):
    generator = np.random.default_rng(seed)
    return attention.NetworkMaps(name, role, [generator.random((size, size)) for size in (32, 16, 8)], 250.0)


TEACHER, STUDENT = make_maps("big", style.TEACHER, 0), make_maps("small", "scratch", 1)


def test_numbers_under_a_map_are_the_similarity_to_the_teachers_map():
    cosine, mse, correlation, *_ = compare_maps([m[None] for m in STUDENT.maps], [m[None] for m in TEACHER.maps])[:, 0]
    found = attention.describe_stages(STUDENT, TEACHER)
    assert [stage["first"] for stage in found] == [f"correlation {value:.2f}" for value in correlation]
    assert [stage["second"] for stage in found] == [f"cosine {value:.3f}" for value in cosine]
    assert [stage["third"].split(" (")[0] for stage in found] == [f"β·MSE {250 * value:.3f}" for value in mse]
    shares = [int(stage["third"].split("(")[1].rstrip("%)")) for stage in found]
    assert abs(sum(shares) - 100) <= 2
    assert [stage["size"] for stage in found] == ["32 × 32", "16 × 16", "8 × 8"]


def test_one_bright_pixel_does_not_decide_the_scale():
    map_ = np.ones((32, 32))
    map_[0, 0] = 100
    assert attention.color_limits([[map_], []], "map") == (0.0, 1.0)
    assert attention.color_limits([[-map_]], "difference") == (-1.0, 1.0)
    assert attention.color_limits([[np.full((4, 4), -2.0)]], "map")[0] == -2


def test_a_network_with_other_stages_says_so_where_it_has_no_map():
    two = attention.NetworkMaps("short", "kd", STUDENT.maps[:2], 250.0)
    photo = np.zeros((32, 32, 3), np.uint8)
    for mode in ("map", "difference"):
        spec = attention.grid(attention.Maps([TEACHER, two], photo), mode, "all")
        words = [row["first"] for row in rows_of(spec, "first") if row["network"] == "short"]
        assert words == ["not comparable", "not comparable", "no such stage"]
    assert heading(spec).startswith("Student minus teacher")
    assert spec["description"].startswith("Student minus teacher")
    squares = attention.grid(attention.Maps([TEACHER], photo, power=2), "map", "all")
    assert "means of squares" in heading(squares, "subtitle")
