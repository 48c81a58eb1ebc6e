"""Every chart is valid, says what it shows, and has alternative text, with ten classes of more; those of methods."""

import json
import re

import altair as alt
import numpy as np
import pytest
import vl_convert

from kdexplorer.analysis.attention_similarity import StageSimilarity
from kdexplorer.analysis.human_agreement import closeness
from kdexplorer.analysis.verdicts import count_inheritance
from kdexplorer.charts import attention, class_maps, evaluation, gradients, learning_curves, methods, soft_labels, style
from kdexplorer.charts.attention import Maps
from kdexplorer.charts.common import NetworkLogits, Source
from kdexplorer.charts.common import spec as make_spec
from kdexplorer.charts.learning_curves import Curves
from kdexplorer.charts.studies import spread, surface
from kdexplorer.charts.temperature import CURVES, closeness_curves, over_temperature
from kdexplorer.methods import all_methods
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.run_folder import TeacherMeasures
from kdexplorer.studies.table import summarize
from tests.charts.drawing import draw, heading, make_row, rows_of, texts, validate
from tests.studies.sample import make_grid

ROLES = {"big": style.TEACHER, "small": "scratch", "distilled": "kd+at"}
LOOKS = style.series(ROLES)


@pytest.fixture(scope="module")
def charts():
    """Every chart of twelve classes, of which ten are shown; those of votes have ten."""
    generator, count = np.random.default_rng(0), 12
    classes = [f"class {index}" for index in range(count)]
    teacher, *students = (NetworkLogits(name, role, generator.normal(0, 3, count)) for name, role in ROLES.items())
    photo = generator.integers(0, 256, (32, 32, 3), np.uint8)
    maps = [
        attention.NetworkMaps(name, role, [generator.random((side, side)) for side in (32, 16, 8)], 1000.0)
        for name, role in ROLES.items()
    ]
    shown = Source([teacher, *students], classes, 3, 4.0, 0.7)
    some = {student.name: student.logits for student in students}
    even = np.full(count, 1 / count)
    one_image = {
        "soft labels": soft_labels.columns(shown),
        "push": gradients.gradient_push(shown, students[0]),
        **{key: over_temperature(shown, key) for key in CURVES},
        "bars": soft_labels.probability_bars(even, classes, 3, "kd", "Soft label", "T = 1"),
        "grid": attention.grid(Maps(maps, photo), "map", "all"),
        "difference": attention.grid(Maps(maps, photo, shared=False), "difference", "all"),
        "one stage": attention.grid(Maps(maps, photo), "map", "2"),
        "method push": gradients.push_bars(generator.normal(size=count), teacher.logits, classes, 3, "KD", "small"),
        "method changes": gradients.change_maps([None, maps[0].maps[1], maps[0].maps[2]], photo, "AT", "small"),
        "method relations": gradients.relation_maps(
            generator.random((4, 4)), np.stack([photo.transpose(2, 0, 1)] * 4), "SP", "big", style.TEACHER, (0.0, 1.0)
        ),
        "soft labels by epoch": learning_curves.soft_labels_by_epoch(
            teacher.logits, {0: some, 1: some}, LOOKS, classes, 2.0, 3
        ),
    }
    of_ten = (3, NetworkLogits("big", style.TEACHER, teacher.logits[:10]), even[:10])
    one_image["votes"] = soft_labels.vote_bars(range(10), classes[:10], *of_ten, projector=True)
    one_image["votes alone"] = soft_labels.vote_bars(range(10), classes[:10])
    labels = np.arange(200) % count
    logits = {name: generator.normal(size=(200, count)) + 2.0 * np.eye(count)[labels] for name in ROLES}
    shares = generator.dirichlet(np.ones(count), 200)
    similar = class_maps.similarities({"big": np.full((3, count, count), 1 / count)}, classes, [1, 2, 4])
    near = {name: closeness(shares, values) for name, values in logits.items()}
    compared = [
        StageSimilarity(stage, 0.9, 0.8, 0.95, chance, 0.99, 1e-3, 0.5, name=name)
        for name in ("small", "distilled")
        for stage, chance in ((1, 0.3), (2, float("nan")))  # unknown, which JSON cannot say
    ]
    outcomes = {name: count_inheritance(logits[name], logits["big"], labels) for name in ("small", "distilled")}
    test = {"accuracy": 0.2, "objective": 3.0, "kd": 0.4}
    points = {
        name: [EpochMeasures(epoch=epoch, train={"accuracy": 0.1}, test=test) for epoch in range(3)] for name in ROLES
    }
    rows = [make_row(name) for name in ROLES]
    results, _ = make_grid((0.5, 0.6, 0.9, 0.6))
    curves = Curves(points, LOOKS, teacher=TeacherMeasures(accuracy=0.9))
    return one_image | {
        "similarity": similar["big"],
        "stages": attention.similarity_by_stage(compared, ROLES, 1000),
        "accuracies": evaluation.accuracies(rows, ROLES),
        "losses": evaluation.losses(rows, ROLES),
        "curves": learning_curves.learning_curves(curves, replay=True),
        "curves of a term": learning_curves.learning_curves(curves, "kd"),
        "cost": evaluation.accuracy_cost(rows, LOOKS, "multiply_adds"),
        "reliability": evaluation.reliability(logits, labels, LOOKS, scaled=True),
        "inheritance": evaluation.inheritance(outcomes, "big"),
        "classes": evaluation.per_class(logits, labels, LOOKS, classes),
        "confusion": class_maps.confusion_map([logits["big"]], labels, classes, ["big"]),
        "confusion difference": class_maps.confusion_map(
            [logits["big"], logits["small"]], labels, classes, ["big", "small"]
        ),
        "closeness": closeness_curves(near, ROLES, shares, "200 images"),
        "surface": surface(results, summarize(results), "accuracy"),
        "taxonomy": methods.taxonomy("dkd"),
        "forward and reverse KL": methods.mode_figure(),
        "spread": spread(results, summarize(results)),
    }  # fmt: skip


def test_each_is_valid_can_be_drawn_says_what_it_shows_and_lists_ten_classes_and_the_label_at_the_most(charts):
    for name, spec in charts.items():
        validate(spec)
        assert heading(spec), name
        words = texts(draw(spec))
        assert words, name
        listed = {word.removeprefix("★ ").removesuffix(" (label)") for word in words}
        assert len(listed & {f"class {index}" for index in range(12)}) <= 11, name
        for channel, encoding in (pair for layer in spec["layer"] for pair in layer.get("encoding", {}).items()):
            if channel in ("x", "y") and "field" in encoding and encoding.get("axis", "drawn") is not None:
                assert "title" in encoding or "title" in (encoding.get("axis") or {}), (name, channel, encoding)


def test_text_is_as_large_as_the_window_asks_and_titles_break_where_the_chart_ends():
    rows = alt.Chart(alt.InlineData(values=[{"x": 1}])).mark_point().encode(x="x:Q")
    words = "a title of several words, on one line of a wide chart"
    drawn = make_spec([rows], words, "", "", 100)
    assert words in texts(draw(drawn))
    lines = [text for text in texts(draw(drawn, 200)) if text in words]
    assert " ".join(lines) == words
    assert len(lines) > 2
    sizes = {float(size) for size in re.findall(r'font-size="([0-9.]+)px"', draw(drawn))}
    assert min(sizes) == pytest.approx(0.014 * 1280)  # without a window: that of a projector


def test_no_marker_in_a_legend_has_the_dashes_of_a_line(charts):
    marked = 0
    for name, chart in charts.items():
        for legend in vl_convert.vegalite_to_vega(chart).get("legends", []):
            marked += "shape" in legend
            assert not {"shape", "strokeDash"} <= legend.keys(), name
    assert marked > 3


def test_a_network_has_the_same_color_in_every_chart(charts):
    color = style.look_of(ROLES["small"]).color
    for name in ("soft labels", "kl", "grid", "stages", "curves", "cost", "reliability", "classes", "closeness"):
        assert color in json.dumps(charts[name]), name


def test_every_method_stands_where_it_connects_the_networks():
    spec = methods.taxonomy("rkd")
    names = {row["name"]: row for row in rows_of(spec, "summary")}
    assert set(names) == {method.label for method in all_methods()}
    places = {"AT": "stages", "RKD": "embedding", "KD": "logits", "Tf-KD": "label"}
    assert {name: methods.BLOCKS[names[name]["x"]] for name in places} == places
    assert {name for name, row in names.items() if row["chosen"]} == {"RKD"}
    places = [(row["x"], row["y"]) for row in names.values()]
    assert len(set(places)) == len(places)
    assert {"teacher", "student", *methods.BLOCKS[1:]} <= set(texts(draw(spec)))


def test_forward_kl_covers_both_modes_and_reverse_kl_seeks_the_larger():
    def describe(density):
        mean = (methods.GRID * density).sum()
        return mean, np.sqrt(((methods.GRID - mean) ** 2 * density).sum())

    covering, seeking = (describe(methods.fitted_students()[position]) for position in (0, -1))
    teacher = describe(methods.teacher_density())
    assert covering == pytest.approx(teacher, abs=0.06)  # forward KL matches both moments
    assert seeking == pytest.approx((-1.8, 0.7), abs=0.06)
