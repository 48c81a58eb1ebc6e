"""Charts of one image and over T: what Vega computes in the browser are the numbers of the metrics."""

import math

import numpy as np
import pytest

from kdexplorer.analysis.human_agreement import closeness, cross_entropy_to_humans
from kdexplorer.analysis.metrics import entropy, gradient_on_logits, kl_divergence, softmax
from kdexplorer.charts import common, gradients, soft_labels, style, temperature
from kdexplorer.charts.common import NetworkLogits, Source
from kdexplorer.figures import all_figures
from tests.charts.drawing import draw, heading, marks, number, rows_of, texts

COUNTS = [10, 12]


def networks(count):
    """A teacher and two students with random logits, the names of the classes, and a label the teacher ranks last."""
    generator = np.random.default_rng(count)
    teacher = NetworkLogits("big", style.TEACHER, generator.normal(0, 3, count))
    students = [NetworkLogits(key, key, generator.normal(0, 3, count)) for key in ("scratch", "kd")]
    return teacher, students, [f"class {index}" for index in range(count)], int(teacher.logits.argmin())


def test_of_more_the_teachers_ten_and_the_label_are_selected():
    logits, top = np.arange(11.0), list(range(10, 0, -1))
    assert common.select_classes(logits, None) == common.select_classes(logits, 8) == top
    assert common.select_classes(logits, 0) == [*top, 0]


@pytest.mark.parametrize(("count", "t"), [(10, 4.0), (12, 0.5), (12, 4.0), (12, 20.0)])
def test_bars_and_numbers_are_those_over_all_classes_at_the_temperature_where_the_slider_begins(count, t):
    teacher, students, classes, label = networks(count)
    spec = soft_labels.columns(Source([teacher, *students], classes, label, t))
    (slider,) = (param["bind"] for param in spec["params"] if "bind" in param)
    assert (2 ** slider["min"], 2 ** slider["max"]) == pytest.approx((0.5, 20))
    svg = draw(spec)
    found = {(mark["network"], mark["class"]): number(mark["probability at T"]) for mark in marks(svg, "class")}
    shown = common.select_classes(teacher.logits, label)
    assert len(found) == 3 * min(count, len(shown) + 1)
    assert len(marks(svg, "logit")) == 3 * len(shown) == 3 * min(count, 11)
    for one in [teacher, *students]:
        expected = softmax(one.logits, t)
        assert [found[one.name, classes[k]] for k in shown] == pytest.approx(expected[shown], abs=6e-5)
        if count > len(shown):
            rest = found[one.name, f"the other {count - len(shown)}"]
            assert rest == pytest.approx(1 - expected[shown].sum(), abs=6e-5)
    words = texts(svg)
    for one in [teacher, *students]:
        own = float(entropy(softmax(one.logits, t)))
        assert f"{own:.2f}" in words
        assert f"{math.exp(own):.2f}" in words
    for one in students:
        kl = kl_divergence(teacher.logits[None], one.logits[None], t)
        assert f"{kl:.3f}" in words
        assert f"{t**2 * kl:.3f}" in words


def test_long_names_have_lines_and_long_classes_an_end_and_the_plot_keeps_its_width():
    names = "my_resnet56_pretrained_elsewhere", "averyveryveryverylongnamewithoutanybreak"
    known = [NetworkLogits(name, "kd", np.arange(10.0)) for name in names]
    svg = draw(soft_labels.columns(Source(known, [f"class {k}, a very long description" for k in range(10)], 1, 4.0)))
    assert len([text for text in texts(svg) if text.endswith("…")]) == 10
    assert {"my_resnet56_pretrained_", "elsewhere", "averyveryveryverylongnamew"} <= {*texts(svg)}
    assert "M0.5,0.5h696" in svg  # of 700


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("with_label", [True, False])
def test_pushes_are_the_gradient_over_all_classes(count, with_label):
    teacher, (student, _), classes, label = networks(count)
    label = label if with_label else None
    svg = draw(gradients.gradient_push(Source([teacher], classes, label, 4.0, 0.7), student))
    parts = gradient_on_logits(student.logits, teacher.logits, label, 4.0, 0.7)
    shown = common.select_classes(teacher.logits, label)
    found = {(mark["source"], mark["class"]): mark for mark in marks(svg, "push by")}
    assert len(found) == 2 * len(shown)
    for k in shown:
        for source, key in (("teacher", "teacher"), ("hard label", "label")):
            mark = found[source, classes[k]]
            assert number(mark["push"]) == pytest.approx(-parts[key][k], abs=6e-5)
            assert number(mark["total"]) == pytest.approx(-parts["total"][k], abs=6e-5)
    words = " ".join(texts(svg))
    sizes = {key: f"{np.abs(parts[key]).sum():.2f}" for key in parts}
    assert f"label {sizes['label']}, teacher {sizes['teacher']}, sum {sizes['total']}" in words
    assert f"opposite on {int((parts['teacher'] * parts['label'] < 0).sum())} of {count} classes" in words


@pytest.mark.parametrize("count", COUNTS)
def test_probability_bars_show_the_probabilities_and_say_which_classes(count):
    teacher, _, classes, label = networks(count)
    probabilities = softmax(teacher.logits, 4.0)
    spec = soft_labels.probability_bars(probabilities, classes, label, style.HUMAN, "Labels", "50 annotators")
    found = {row["class"]: row["p"] for row in rows_of(spec)}
    shown = common.select_classes(teacher.logits, label)
    expected = {("★ " if k == label else "") + classes[k]: probabilities[k] for k in shown}
    if count > len(shown):
        expected[f"the other {count - len(shown)}"] = 1 - sum(expected.values())
    assert found == pytest.approx(expected)
    assert (f"{len(shown)} of {count} classes" in heading(spec, "subtitle")) == (count > 10)
    assert spec["layer"][0]["mark"]["color"] == style.look_of(style.HUMAN).color


@pytest.mark.parametrize("label", [None, 29])
def test_two_students_of_many_classes_show_their_own_predictions_too(label):
    logits = {style.TEACHER: np.arange(30.0), "scratch": np.zeros(30), "kd": np.zeros(30)}
    logits["scratch"][3], logits["kd"][5] = 9.0, 9.0
    teacher, *students = (NetworkLogits(key, key, values) for key, values in logits.items())
    source = Source([teacher, *students], tuple(str(k) for k in range(30)), label, 1.0, student=students[1])
    charts, _ = all_figures()["students"].parts(source)
    for spec, top in zip(charts, ("3", "5"), strict=True):
        assert max(rows_of(spec), key=lambda row: row["p"])["class"] == top
        assert "10 of 30 classes: the teacher's most probable, these" in heading(spec, "subtitle")


CLASSES = ["cat", "dog", "ship"]
TEACHER = NetworkLogits("big", style.TEACHER, np.array([2.0, 1.0, -1.0]))
HUMAN = np.array([0.5, 0.25, 0.25])


def bars(svg, source):
    """Each class's share as drawn."""
    found = [mark for mark in marks(svg, "whose") if mark["whose"] == source]
    return {mark["class"].removeprefix("★ "): number(mark["share"]) for mark in found}


@pytest.mark.parametrize(
    ("name", "temperature"),
    [("big", 1.0), ("o'brien", 4.0), ('a"b', 2.0), ("x' + format(now(), '.0f') + '", 4.0), ("back\\slash", 1.0)],
)
def test_every_source_is_drawn_with_its_shares_its_name_and_the_teachers_distance(name, temperature):
    teacher = NetworkLogits(name, style.TEACHER, TEACHER.logits)
    svg = draw(soft_labels.vote_bars([3, 1, 0], CLASSES, 0, teacher, HUMAN, temperature))
    soft = softmax(TEACHER.logits, temperature)
    assert bars(svg, "audience") == {"cat": 0.75, "dog": 0.25, "ship": 0}
    assert bars(svg, name) == pytest.approx(dict(zip(CLASSES, soft, strict=True)), abs=1e-3)
    assert bars(svg, "human labels") == dict(zip(CLASSES, HUMAN, strict=True))
    kl = 0.75 * np.log(0.75 / soft[0]) + 0.25 * np.log(0.25 / soft[1])
    assert {"75%", "25%", f"{soft[0]:.0%}", "★ cat", f"teacher, KL {kl:.2f}"} <= set(texts(svg))
    assert f"{name} at T = {temperature:.2f}" in " ".join(texts(svg))


def test_the_votes_alone_give_nothing_away():
    spec = soft_labels.vote_bars([3, 1, 0], CLASSES)
    svg = draw(spec)
    assert bars(svg, "audience") == {"cat": 0.75, "dog": 0.25, "ship": 0}
    assert not [text for text in texts(svg) if "★" in text or "big" in text]
    assert not [param for param in spec["params"] if "bind" in param]


def test_only_the_rows_change_with_a_vote():
    """So the browser keeps the slider where it is."""
    known = CLASSES, 1, TEACHER, HUMAN, 4.0
    first, second = (soft_labels.vote_bars(counts, *known) for counts in ([0, 0, 0], [5, 2, 9]))
    assert first["datasets"].keys() == second["datasets"].keys() == {"votes"}
    assert first | {"datasets": {}} == second | {"datasets": {}}
    assert first["datasets"] != second["datasets"]
    assert "teacher" in texts(draw(first))  # without a distance, for nobody has voted


def test_the_curve_is_lowest_at_the_marker_and_never_below_the_annotators_entropy():
    logits, roles = np.random.default_rng(0).normal(0, 2, (50, 10)), {"small": "scratch"}
    labels = softmax(logits, 3.0)
    spec = temperature.closeness_curves({"small": closeness(labels, logits)}, roles, labels, "50 images")
    marker = next(row for row in rows_of(spec, "T") if row["T"] == pytest.approx(3, abs=0.01))
    floor = next(row["value"] for row in rows_of(spec, "value") if "T" not in row)
    assert floor == pytest.approx(np.mean(entropy(labels)))
    assert marker["value"] == pytest.approx(floor, abs=1e-4)
    assert min(row["value"] for row in rows_of(spec, "T")) >= floor - 1e-5
    for row in rows_of(spec, "T"):
        assert row["value"] == pytest.approx(cross_entropy_to_humans(labels, logits, row["T"]).mean(), rel=1e-4)
    certain = np.eye(10)[logits.argmax(axis=1)]
    spec = temperature.closeness_curves({"small": closeness(certain, logits)}, roles, certain, "50 images")
    assert len(spec["layer"]) == 2
    assert "at no T" in spec["description"]  # and no marker


def test_curves_over_temperature_are_the_metrics():
    teacher, students, classes, label = networks(10)
    source = Source([teacher, *students], classes, label, 4.0)
    rows = {key: rows_of(temperature.over_temperature(source, key), "value") for key in temperature.CURVES}
    shown = {key: {row["network"] for row in found} for key, found in rows.items()}
    students_alone, everyone = {"scratch", "kd"}, {"big", "scratch", "kd"}
    assert shown == {"kl": students_alone, "push": students_alone | {style.FRESH}, "entropy": everyone, "top": everyone}
    logits = {one.name: one.logits for one in [teacher, *students]} | {style.FRESH: np.zeros(10)}
    measures = {
        "kl": lambda z, t: kl_divergence(teacher.logits[None], z[None], t),
        "push": lambda z, t: np.abs(gradient_on_logits(z, teacher.logits, None, t, 1.0)["total"]).sum(),
        "entropy": lambda z, t: entropy(softmax(z, t)),
        "top": lambda z, t: softmax(z, t).max(),
    }
    for key, measure in measures.items():
        for row in rows[key]:
            assert row["value"] == pytest.approx(measure(logits[row["network"]], row["T"]))
