"""The replay of a run: what its slider shows at each epoch."""

import numpy as np
import pytest

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import learning_curves, style
from kdexplorer.charts.learning_curves import CurvePoint
from tests.charts.drawing import draw, marks, number

LOOKS = style.series({"plain": "scratch", "distilled": "kd"})
POINTS = [
    CurvePoint(name, epoch, {}, {"accuracy": 0.1 * (epoch + 1) + 0.05 * place})
    for epoch in range(4)
    for place, name in enumerate(("plain", "distilled"))
]


def at_epoch(spec, epoch):
    """The chart as the slider draws it."""
    moved = [param | {"value": epoch} if param["name"] == learning_curves.SLIDER else param for param in spec["params"]]
    return draw(spec | {"params": moved})


@pytest.mark.parametrize("epoch", [1, 3, 4])
def test_curves_end_at_the_sliders_epoch_and_axes_stay(epoch):
    chart = learning_curves.learning_curves(POINTS, LOOKS, "accuracy", 4)
    spec = learning_curves.replay_curves(chart, 1, 4)
    assert {param["name"]: param["value"] for param in spec["params"] if "bind" in param} == {"epoch": 4}
    drawn, last = at_epoch(spec, epoch), at_epoch(spec, 4)
    assert drawn.count("role-axis-label") == last.count("role-axis-label")
    found = {(mark["Network"], number(mark["Epoch"])) for mark in marks(drawn, "Network")}
    assert found == {(name, at) for name in ("plain", "distilled") for at in range(1, epoch + 1)}


def test_soft_labels_are_those_of_the_sliders_epoch():
    generator = np.random.default_rng(0)
    by_epoch = {epoch: {"plain": generator.normal(size=10)} for epoch in range(3)}
    spec = learning_curves.soft_labels_by_epoch(None, by_epoch, LOOKS, [*"abcdefghij"], 2.0, 4)
    for epoch in range(3):
        found = marks(at_epoch(spec, epoch + 1), "Probability")
        drawn = [float(mark["Probability"].rstrip("%")) / 100 for mark in found]
        assert drawn == pytest.approx(softmax(by_epoch[epoch]["plain"], 2.0), abs=6e-4)
