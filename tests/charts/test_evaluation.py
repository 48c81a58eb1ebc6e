"""Networks side by side: accuracies, costs, error inheritance, and classes, of which ten are shown at the most."""

import numpy as np
import pytest

from kdexplorer.analysis.metrics import class_similarity, per_class_accuracy, softmax, sum_classes
from kdexplorer.analysis.metrics import confusion as count_confusion
from kdexplorer.analysis.verdicts import OWN, REPEATED, RIGHT
from kdexplorer.charts import class_maps, evaluation, style
from tests.charts.drawing import draw, heading, make_row, marks, rows_of, texts

LOOKS = style.series({"plain": "scratch", "distilled": "kd+at"})


def predictions(count):
    generator = np.random.default_rng(0)
    labels = np.arange(20 * count) % count
    eye = 2.0 * np.eye(count)[labels]
    logits = {name: generator.normal(size=(len(labels), count)) + eye for name in ("plain", "distilled")}
    return logits, labels, [f"class {index}" for index in range(count)]


@pytest.mark.parametrize(("count", "limit"), [(10, 10), (12, 10), (12, 12)])
def test_the_confusion_is_the_whole_matrix_of_the_most_confused_classes(count, limit):
    logits, labels, classes = predictions(count)
    expected = count_confusion(logits["plain"], labels)
    spec = class_maps.confusion_map([logits["plain"]], labels, classes, ["plain"], limit)
    cells = {(row["of"], row["as"]): row["value"] for row in rows_of(spec, "value")}
    assert len(cells) == limit**2
    for (true, predicted), share in cells.items():
        assert share == pytest.approx(expected[classes.index(true), classes.index(predicted)], abs=1e-4)
    off = expected * ~np.eye(count, dtype=bool)
    sums = off.sum(axis=0) + off.sum(axis=1)
    shown = [classes.index(name) for name, _ in list(cells)[::limit]]
    assert shown == sorted(shown)
    assert sums[shown].min() >= np.sort(sums)[-limit] - 1e-12
    assert (f"{limit} of {count} classes" in heading(spec, "subtitle")) == (count > limit)


def test_superclasses_have_the_probability_of_their_classes():
    logits, labels, _ = predictions(60)
    members = np.arange(60) // 5
    probabilities = softmax(logits["plain"])
    summed = sum_classes(probabilities, members)
    assert summed == pytest.approx(probabilities.reshape(-1, 12, 5).sum(axis=2))
    similar = class_similarity(logits["plain"], labels, 1.0, superclasses=members)
    assert similar[3] == pytest.approx(summed[members[labels] == 3].mean(axis=0))


def test_the_difference_is_in_points_of_the_first_minus_the_second():
    labels, classes = np.array([0, 0, 1, 1]), ["a", "b"]
    right, wrong = np.eye(2)[labels], np.eye(2)[[0, 1, 1, 1]]
    spec = class_maps.confusion_map([right, wrong], labels, classes, ["right", "wrong"])
    cells = {(row["of"], row["as"]): row["value"] for row in rows_of(spec, "value")}
    assert cells == {("a", "a"): 50, ("a", "b"): -50, ("b", "a"): 0, ("b", "b"): 0}
    assert "a predicted as" in spec["description"]


def test_of_many_classes_the_most_similar_are_shown_with_or_without_the_diagonal():
    count = 12
    matrix = np.full((count, count), 1e-4)
    pair = (count - 1, count - 4)
    matrix[pair], matrix[1] = 0.5, np.nan
    classes = [f"class {index}" for index in range(count)]
    spec = class_maps.similarities({"big": matrix[None]}, classes, [4.0])["big"]
    cells = {(row["of"], row["as"]): row["value"] for row in rows_of(spec)}
    assert cells[classes[pair[0]], classes[pair[1]]] == 0.5
    assert len(cells) == 90
    assert f"10 of {count} classes" in heading(spec, "subtitle")
    whole = class_maps.similarities({"big": matrix[None]}, classes, [4.0], diagonal=True, limit=count)["big"]
    assert len(rows_of(whole)) == count * (count - 1)  # a class without images has no row


@pytest.mark.parametrize("name", ["big", "o'brien", 'a"b', "x' + format(now(), '.0f') + '\\"])
def test_a_stack_of_matrices_has_a_value_for_each_temperature_and_its_networks_name_is_text(name):
    stack = np.stack([np.full((10, 10), value) for value in (0.1, 0.2, 0.3)])
    spec = class_maps.similarities({name: stack}, [*"abcdefghij"], [2**0, 2**0.25, 2**0.5], diagonal=True)[name]
    assert rows_of(spec)[0]["values"] == [0.1, 0.2, 0.3]
    svg = draw(spec, logT=0.375)
    assert "25%" in texts(svg)  # half-way between two matrices
    assert f"{name} at T = {2**0.375:.2f}" in texts(svg)


def test_each_bar_adds_up_and_wrong_images_come_first():
    counts = {
        "student": {"wrong": {RIGHT: 20, REPEATED: 70, OWN: 10}, "right": {RIGHT: 880, OWN: 20}},
        "baseline": {"wrong": {RIGHT: 30, REPEATED: 60, OWN: 10}, "right": {RIGHT: 870, OWN: 30}},
    }
    spec = evaluation.inheritance(counts, "teacher")
    bars = [
        "student, teacher wrong", "baseline, teacher wrong", "student, teacher right", "baseline, teacher right",
    ]  # fmt: skip
    assert spec["layer"][0]["encoding"]["y"]["sort"] == bars
    for bar in bars:
        parts = [row for row in rows_of(spec, "images") if row["bar"] == bar]
        name, where = bar.split(", teacher ")
        assert {row["outcome"]: row["images"] for row in parts} == counts[name][where]
        assert sum(row["share"] for row in parts) == pytest.approx(1)
    assert "where teacher is wrong, right on 20.0% and the same wrong class on 70.0%" in spec["description"]
    words = texts(draw(evaluation.inheritance({"resnet20-response (demo-1a2b)": counts["student"]}, 80 * "t")))
    assert {"resnet20-re…(demo-1a2b), teacher wrong", "resnet20-re…(demo-1a2b), teacher right"} <= {*words}
    assert max(map(len, words)) < 70  # the title, too


def test_networks_of_equal_cost_are_side_by_side():
    costs = {"plain": 10, "distilled": 10, "large": 90}
    rows = [make_row(name, parameters=cost) for name, cost in costs.items()]
    spec = evaluation.accuracy_cost(rows, style.series(dict.fromkeys(costs, "scratch")), "parameters")
    aside = {row["network"]: row["aside"] for row in rows_of(spec, "aside")}
    assert aside == {"plain": -evaluation.ASIDE / 2, "distilled": evaluation.ASIDE / 2, "large": 0}
    assert all("datum.aside" in layer["mark"]["xOffset"]["expr"] for layer in spec["layer"])


def test_accuracies_have_their_intervals_in_percent():
    rows = [make_row("plain", accuracy=0.93, accuracy_low=0.92, accuracy_high=0.94), make_row("distilled")]
    spec = evaluation.accuracies(rows, {"plain": "scratch", "distilled": "kd"})
    found = {row["label"]: (row["low"], row["x"], row["high"]) for row in rows_of(spec, "low")}
    assert found["plain"] == pytest.approx((92, 93, 94))
    assert found["distilled"] == pytest.approx((40, 50, 60))
    assert not [mark for mark in marks(draw(spec), "student") if mark["student"] == "plain"]


@pytest.mark.parametrize("count", [10, 12])
def test_accuracy_by_class_is_the_metric_of_the_least_accurate_classes(count):
    logits, labels, classes = predictions(count)
    spec = evaluation.per_class(logits, labels, LOOKS, classes)
    expected = {name: per_class_accuracy(values, labels) for name, values in logits.items()}
    mean = np.mean(list(expected.values()), axis=0)
    shown = {row["class"] for row in rows_of(spec, "accuracy")}
    assert len(shown) == 10
    assert max(mean[classes.index(name)] for name in shown) <= np.sort(mean)[9]
    for row in rows_of(spec, "accuracy"):
        assert row["accuracy"] == pytest.approx(expected[row["network"]][classes.index(row["class"])], abs=1e-5)
