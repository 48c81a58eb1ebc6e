"""Charts of classes: maps, confusion, accuracy by class; with more than ten classes, ten are shown."""

import numpy as np
import pytest

from kdexplorer.analysis.metrics import class_similarity, softmax, sum_classes
from kdexplorer.analysis.metrics import confusion as count_confusion
from kdexplorer.charts import class_maps, style
from tests.charts.drawing import draw, heading, rows_of, texts

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
