"""A run's course: the figures that go in are drawn, and a replay shows those of the slider's epoch."""

import json

import numpy as np
import pytest

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import learning_curves, style
from kdexplorer.charts.learning_curves import Curves
from kdexplorer.charts.learning_curves import learning_curves as draw_curves
from kdexplorer.methods import all_methods
from kdexplorer.runs.card import EpochMeasures
from kdexplorer.runs.run_folder import BatchMetrics, TeacherMeasures
from tests.charts.drawing import draw, heading, marks, number, rows_of, texts

LOOKS = style.series({"plain": "scratch", "distilled": "kd+at"})


def points(epochs=3):
    def measure(epoch, number):
        test = {"accuracy": 0.1 * (epoch + number + 1), "objective": 3.0}
        return EpochMeasures(epoch=epoch, train={"accuracy": 0.1}, test=test)

    names = enumerate(("plain", "distilled"))
    return {name: [measure(epoch, number) for epoch in range(epochs)] for number, name in names}


def without_test(keep=()):
    """The points, evaluated after these epochs only."""
    return {
        name: [row if row.epoch in keep else row.model_copy(update={"test": {}}) for row in own]
        for name, own in points().items()
    }


def domains(spec):
    """The ends of the horizontal axis of each layer that has one."""
    return [tuple(layer["encoding"]["x"]["scale"]["domain"]) for layer in spec["layer"] if "x" in layer["encoding"]]


@pytest.mark.parametrize("note", ["", "on the 10,000 test images of X"])
def test_learning_curves_draw_the_metrics_and_the_teacher_with_the_images_that_it_alone_was_evaluated_on(note):
    spec = draw_curves(Curves(points(), LOOKS, 10, TeacherMeasures(accuracy=0.9, note=note)))
    drawn = {(row["network"], row["epoch"]): row["value"] for row in rows_of(spec, "epoch")}
    assert len(drawn) == 6
    assert drawn["distilled", 3] == pytest.approx(40)
    assert {"value": 90} in rows_of(spec, "value")
    assert domains(spec) == [(1, 10)] * 2  # the axis keeps its length while curves grow
    assert heading(spec, "subtitle") == f"Blue line: the teacher, 90 % {note}".rstrip()
    assert spec["description"].endswith(f"; teacher 90 % {note}".rstrip())


def test_a_network_that_is_seldom_evaluated_has_few_points_and_was_not_continued():
    spec = draw_curves(Curves(without_test(keep=[2]), LOOKS))
    assert {row["epoch"] for row in rows_of(spec, "epoch")} == {3}
    assert "continued" not in str(spec["params"])


def test_training_batches_are_shown_before_an_evaluation_or_on_request_and_the_teacher_has_no_line_there():
    teacher = TeacherMeasures(accuracy=0.9, cross_entropy=0.4)
    for known, split in ((without_test(), None), (points(), "train")):
        spec = draw_curves(Curves(known, LOOKS, teacher=teacher), split=split)
        assert heading(spec) == "Accuracy on the training batches, by epoch"
        assert {row["value"] for row in rows_of(spec, "value")} == {10}
    objective = draw_curves(Curves(points(), LOOKS, teacher=teacher), "objective")
    assert all("network" in row for row in rows_of(objective, "value"))


def test_thin_lines_show_the_training_batches_within_epochs_before_and_after_the_first_evaluation():
    batches = [
        BatchMetrics(epoch=at, student="plain", train={"accuracy": at / 10, "cross_entropy": 2.0})
        for at in (0.25, 0.5, 1.2)
    ]
    for shown, count, measures in (({}, 0, ["accuracy", "cross_entropy"]), (points(1), 2, ["accuracy", "objective"])):
        source = Curves(shown, LOOKS, 4, batches=batches)
        assert learning_curves.list_measures(source) == measures
        spec = draw_curves(source)
        drawn = [(row["network"], row["epoch"], row["value"]) for row in rows_of(spec, "epoch")]
        assert drawn[:3] == [("plain", 0.25, 2.5), ("plain", 0.5, 5), ("plain", 1.2, 12)]
        assert len(drawn) == 3 + count
        assert set(domains(spec)) == {(0, 4)}
        assert "training batches" in json.dumps(spec["params"])


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.key)
def test_every_method_has_a_measure(method):
    assert learning_curves.get_measure(method.key).label == f"{method.label} term"
    assert learning_curves.get_measure(f"{method.key}.2").label == f"{method.label} term 2"
    assert learning_curves.get_measure(f"{method.key}_2").label == f"{method.label} term, stage 2"
    assert method.label in learning_curves.get_measure(method.key).axis
    assert draw_curves(Curves(points(), LOOKS), method.key) is None  # where no network has it


def test_measures_are_listed_in_a_fixed_order_where_they_have_values():
    keys = [method.key for method in all_methods()]
    test = {"objective": 1.0, "accuracy": 0.5, "other": 1.0, f"{keys[0]}.2": 0.1, keys[0]: 0.2}
    found = {"a": [EpochMeasures(epoch=0, test=test)], "b": [EpochMeasures(epoch=0, test={"cross_entropy": 1.0})]}
    expected = ["accuracy", "cross_entropy", keys[0], f"{keys[0]}.2", "other", "objective"]
    assert learning_curves.list_measures(Curves(found, LOOKS)) == expected


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_curves_end_at_the_sliders_epoch_and_axes_stay(epoch):
    spec = draw_curves(Curves(points(4), LOOKS, 4, TeacherMeasures(accuracy=0.9)), replay=True)
    assert {param["name"]: param["value"] for param in spec["params"] if "bind" in param} == {"epoch": 4}
    drawn = draw(spec, epoch=epoch)
    assert {"20", "40", "60", "80", "4"} <= set(texts(drawn))  # to the teacher's, and to the last epoch
    found = {(mark["Network"], number(mark["Epoch"])) for mark in marks(drawn, "Network")}
    assert found == {(name, at) for name in ("plain", "distilled") for at in range(1, epoch + 1)}


def test_soft_labels_are_those_of_the_latest_evaluation_before_the_sliders_epoch():
    generator = np.random.default_rng(0)
    by_epoch = {epoch: {"plain": generator.normal(size=10)} for epoch in (0, 1, 3)}
    by_epoch[2] = by_epoch[1]
    evaluated = {epoch: found for epoch, found in by_epoch.items() if epoch != 2}
    spec = learning_curves.soft_labels_by_epoch(None, evaluated, LOOKS, [*"abcdefghij"], 2.0, 4)
    for epoch in range(4):
        found = marks(draw(spec, epoch=epoch + 1), "Probability")
        drawn = [float(mark["Probability"].rstrip("%")) / 100 for mark in found]
        assert drawn == pytest.approx(softmax(by_epoch[epoch]["plain"], 2.0), abs=6e-4)
