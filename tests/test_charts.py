"""Charts as specifications: each says what it shows, and what is computed in Python is checked against numbers."""

from __future__ import annotations

import base64
import io
import math
from types import SimpleNamespace

import altair as alt
import numpy as np
import pytest
from PIL import Image

from kdexplorer import attention_study, drawing, gallery, metrics
from kdexplorer.data import CIFAR10_CLASSES as CLASSES
from kdexplorer.ui import charts, charts_attention, charts_soft

GENERATOR = np.random.default_rng(0)
TEACHER = charts_soft.Series("big", "teacher", GENERATOR.normal(0, 3, 10))
STUDENTS = [
    charts_soft.Series("alone", "scratch", GENERATOR.normal(0, 3, 10)),
    charts_soft.Series("told", "response", GENERATOR.normal(0, 3, 10)),
]
PHOTO = GENERATOR.integers(0, 256, (32, 32, 3), np.uint8)


def maps(sizes=(32, 16, 8), seed=0):
    return [np.abs(np.random.default_rng(seed + size).normal(size=(size, size))) for size in sizes]


def rows():
    other = attention_study.pair([m[None] for m in maps(seed=1)], [m[None] for m in maps()])
    return [
        charts_attention.Row("big", "teacher", maps()),
        charts_attention.Row("alone", "scratch", maps(seed=1), *(part[0] for part in other)),
        charts_attention.Row("foreign", "feature", maps((32, 32, 16, 8))),
    ]


STAGES = [
    {
        "network": "told",
        "role": "feature",
        "stage": k,
        "cosine": 0.9,
        "low": 0.8,
        "high": 0.95,
        "mse": 1e-3,
        "share": 0.5,
    }
    for k in (1, 2)
]
ACCURACIES = [
    {"name": "big", "role": "teacher", "accuracy": 0.93, "accuracy_low": 0.92, "accuracy_high": 0.94},
    {"name": "alone", "role": "scratch", "accuracy": 0.90, "accuracy_low": 0.89, "accuracy_high": 0.91},
]
ALL = {
    "mirrored": lambda: charts_soft.mirrored(TEACHER, STUDENTS, CLASSES, 3, 4.0),
    "mirrored, photo": lambda: charts_soft.mirrored(TEACHER, [], CLASSES, None, 4.0),
    "told": lambda: charts_soft.told(TEACHER, STUDENTS[0], CLASSES, 3, 4.0, 0.7),
    "told, photo": lambda: charts_soft.told(TEACHER, STUDENTS[0], CLASSES, None, 4.0, 0.7),
    "entropy": lambda: charts_soft.over_temperature(TEACHER, STUDENTS, "entropy", 4.0),
    "top": lambda: charts_soft.over_temperature(TEACHER, STUDENTS, "top", 4.0),
    "kl": lambda: charts_soft.over_temperature(TEACHER, STUDENTS, "kl", 4.0),
    "similarity": lambda: charts_soft.similarity(np.full((10, 10), 0.1), CLASSES, "big", 0.2, False),
    "grid": lambda: charts_attention.grid(rows(), PHOTO, "map", True, 0.6, "viridis", 1000.0),
    "difference": lambda: charts_attention.grid(rows(), PHOTO, "difference", False, 0.6, "viridis", 1000.0),
    "scale": lambda: charts_attention.scale_bar(0, 3, "viridis", "map", True),
    "own scales": lambda: charts_attention.scale_bar(-1, 1, "difference", "difference", False),
    "stages": lambda: charts_attention.similarity_by_stage(STAGES, 1000),
    "answer": lambda: charts.answer(np.full(10, 0.1), CLASSES, 3, "teacher", "Answer", "T = 1"),
    "accuracies": lambda: charts.accuracies(ACCURACIES),
}


def encodings(spec):
    for layer in [spec, *spec.get("layer", [])]:
        yield from layer.get("encoding", {}).items()


@pytest.mark.parametrize("name", ALL)
def test_says_what_it_shows(name):
    spec = ALL[name]()
    alt.Chart.from_dict(spec)  # against Vega-Lite's schema
    assert spec["title"]["text"]
    assert len(spec["description"]) > 20
    for channel, encoding in encodings(spec):
        if channel in ("x", "y") and "field" in encoding and encoding.get("axis", "drawn") is not None:
            assert "title" in encoding or "title" in (encoding.get("axis") or {}), (channel, encoding)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0, 20.0])
def test_the_slider_is_logarithmic_and_starts_at_the_pinned_temperature(temperature):
    params = {p["name"]: p for p in charts_soft.mirrored(TEACHER, STUDENTS, CLASSES, 3, temperature)["params"]}
    slider = params["logT"]
    assert 2 ** slider["value"] == pytest.approx(temperature, rel=1e-3)
    assert (2 ** slider["bind"]["min"], 2 ** slider["bind"]["max"]) == pytest.approx((0.5, 20))
    assert params["T"]["expr"] == "pow(2, logT)"


def test_a_shape_is_built_once_and_keeps_nothing_of_what_was_put_in():
    first = charts_soft.mirrored(TEACHER, STUDENTS, CLASSES, 3, 4.0)
    again = charts_soft.mirrored(STUDENTS[0], [TEACHER, STUDENTS[1]], CLASSES, None, 20.0)
    assert first["layer"] is again["layer"]
    assert (first["title"]["subtitle"], again["title"]["subtitle"]) == (
        "★ and shading: the hard label, cat",
        "A photo has no hard label",
    )
    assert {row["network"] for row in again["datasets"]["rows"] if row["side"] < 0} == {"alone"}
    assert charts_soft.mirrored(TEACHER, STUDENTS, CLASSES, 3, 4.0) == first


def test_alpha_has_a_slider_of_its_own():
    params = {p["name"]: p for p in ALL["told"]()["params"]}
    assert params["alpha"]["value"] == 0.7
    assert params["alpha"]["bind"]["max"] == 1


def values_of(spec):
    return max(spec["datasets"].values(), key=len) if "datasets" in spec else spec["data"]["values"]


def test_curves_hold_the_numbers_of_the_metrics():
    found = [row for row in values_of(ALL["kl"]()) if row["network"] == "told"]
    row = found[len(found) // 2]
    expected = metrics.kl_divergence(TEACHER.logits[None], STUDENTS[1].logits[None], row["T"])
    assert row["value"] == pytest.approx(expected)
    entropies = [row["value"] for row in values_of(ALL["entropy"]()) if row["network"] == "big"]
    assert entropies == sorted(entropies)
    assert entropies[-1] < math.log(10)


def test_similarity_without_its_diagonal():
    assert len(values_of(ALL["similarity"]())) == 90
    assert len(values_of(charts_soft.similarity(np.eye(10), CLASSES, "big", 1.0, True))) == 100


def test_a_network_of_other_stages_is_drawn_but_not_compared():
    found = values_of(ALL["grid"]())
    assert len([row for row in found if row["network"] == "foreign"]) == 4
    assert {row["first"] for row in found if row["network"] == "foreign"} == {"other stages than"}
    assert not [row for row in values_of(ALL["difference"]()) if row["network"] == "foreign"]


def test_numbers_under_a_map_add_up():
    row = rows()[1]
    shares = [int(charts_attention.numbers_under(row, k, 1000.0)["third"].split("(")[1].rstrip("%)")) for k in range(3)]
    assert abs(sum(shares) - 100) <= 2
    height = np.array([32 * 32, 16 * 16, 8 * 8])
    np.testing.assert_allclose(row.mse, 2 * (1 - row.cosine) / height, rtol=1e-4)


def test_an_even_map_is_one_everywhere():
    np.testing.assert_allclose(drawing.relative(np.full((8, 8), 7.0)), 1)
    np.testing.assert_allclose(drawing.difference(np.full((8, 8), 7.0), np.full((16, 16), 2.0)), 0, atol=1e-7)


def test_a_silent_map_does_not_divide_by_zero():
    assert not drawing.relative(np.zeros((4, 4))).any()


def test_map_png_keeps_pixels_hard_and_colours_in_order():
    png = drawing.map_png(np.array([[0.0, 1.0], [0.5, 2.0]]), 0, 1, "viridis", side=64)
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (64, 64, 3)
    assert pixels[0, 0].tolist() == [0x44, 0x01, 0x54]
    assert pixels[0, 63].tolist() == pixels[63, 63].tolist() == [0xFD, 0xE7, 0x25]
    assert (pixels[:32, :32] == pixels[0, 0]).all()
    assert base64.b64decode(drawing.data_url(png).split(",")[1]) == png


@pytest.mark.parametrize("name", ["cividis", "viridis"])
def test_perceptual_palettes_grow_lighter(name):
    light = drawing.palette(name) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > -0.5).all()


def network(name, method, sha="a"):
    return SimpleNamespace(name=name, sha256=sha, card={"method": method})


def test_a_role_has_its_colour_everywhere():
    teacher = network("resnet56", "scratch", "t")
    assert charts.role(teacher) == charts.role(network("x", None)) == "teacher"
    assert charts.role(network("resnet20-scratch", "scratch")) == "scratch"
    assert charts.role(network("resnet20-response", "response")) == "response"
    assert charts.role(network("anything", "scratch"), teacher) == "scratch"
    assert charts.role(network("odd", "unheard of"), teacher) == "scratch"
    assert charts.role(teacher, teacher) == "teacher"
    assert len(set(charts.COLOURS.values())) == len(set(charts.SHAPES.values())) == 5
    assert len({tuple(dash) for dash in charts.DASHES.values()}) == 5


def logits(answers, sure=5.0):
    return sure * np.eye(3)[np.array(answers)]


ANSWERS = gallery.Answers(np.array([0, 1, 2, 0]), logits([0, 1, 0, 0]), logits([1, 1, 2, 0]), logits([0, 2, 2, 0]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("All images", [0, 1, 2, 3]),
        ("Teacher right", [0, 1, 3]),
        ("Teacher wrong", [2]),
        ("Distillation fixed it", [0]),
        ("Distillation broke it", [1]),
    ],
)
def test_gallery_filters(name, expected):
    assert gallery.positions(name, ANSWERS).tolist() == expected


def test_gallery_orders():
    teacher = np.array([[9.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    answers = gallery.Answers(np.zeros(3, int), teacher, None, np.array([[0.0, 9, 0], [1, 0, 0], [0, 0, 0]]))
    assert gallery.positions("Most uncertain teacher", answers).tolist() == [2, 1, 0]
    assert gallery.positions("Largest disagreement", answers).tolist()[0] == 0


def test_gallery_by_class_and_without_students():
    assert gallery.positions("All images", ANSWERS, label=0).tolist() == [0, 3]
    alone = gallery.Answers(ANSWERS.labels, ANSWERS.teacher)
    assert "Distillation fixed it" not in gallery.available(alone)
    assert "Teacher wrong" in gallery.available(alone)
    assert set(gallery.available(ANSWERS)) == set(gallery.FILTERS) == set(gallery.EXPLAINED)


def test_class_similarity_by_hand():
    answers = np.log(np.array([[0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    found = metrics.class_similarity(answers, np.array([0, 0, 1]), 1.0, classes=3)
    np.testing.assert_allclose(found[0], [0.6, 0.225, 0.175])
    np.testing.assert_allclose(found[1], [0.1, 0.8, 0.1])
    assert np.isnan(found[2]).all()


def test_the_gallery_pairs_a_distilled_student_with_its_own_twin(tmp_path, make_checkpoint):
    told = {"method": "response", "run": "r"}
    stranger, twin, student = (
        make_checkpoint(tmp_path / name, seed=seed, **facts)
        for seed, (name, facts) in enumerate({"stranger": {"run": "x"}, "twin": {"run": "r"}, "student": told}.items())
    )
    known = {c.path: np.full((2, 10), float(seed)) for seed, c in enumerate((stranger, twin, student))}
    found = gallery.answers(stranger, [stranger, twin, student], lambda c: known[c.path], np.zeros(2, int))
    assert (found.scratch[0, 0], found.distilled[0, 0]) == (1.0, 2.0)
    assert gallery.answers(stranger, [stranger, student], lambda c: known[c.path], np.zeros(2, int)).scratch is None
