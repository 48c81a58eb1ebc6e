"""The room's votes beside the teacher: bars and KL as Vega draws them, and a specification that does not change."""

from functools import partial

import numpy as np
import pytest

from kdexplorer.analysis.metrics import softmax
from kdexplorer.charts import soft_labels, style
from kdexplorer.charts.common import NetworkLogits
from tests.charts.drawing import draw, marks, number, texts

CLASSES = ["cat", "dog", "ship"]
TEACHER = NetworkLogits("big", style.TEACHER, np.array([2.0, 1.0, -1.0]))
HUMAN = np.array([0.5, 0.25, 0.25])

projector_bars = partial(soft_labels.vote_bars, projector=True)


def bars(svg, source):
    """Each class's share as drawn."""
    found = [mark for mark in marks(svg, "whose") if mark["whose"] == source]
    return {mark["class"].removeprefix("★ "): number(mark["share"]) for mark in found}


@pytest.mark.parametrize("chart", [soft_labels.vote_bars, projector_bars])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_every_source_is_drawn_with_its_shares(temperature, chart):
    svg = draw(chart([3, 1, 0], CLASSES, 0, TEACHER, HUMAN, temperature))
    soft = softmax(TEACHER.logits, temperature)
    assert bars(svg, "audience") == {"cat": 0.75, "dog": 0.25, "ship": 0}
    assert bars(svg, "big") == pytest.approx(dict(zip(CLASSES, soft, strict=True)), abs=1e-3)
    assert bars(svg, "human labels") == dict(zip(CLASSES, HUMAN, strict=True))
    assert {"75%", "25%", f"{soft[0]:.0%}", "★ cat"} <= set(texts(svg))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_distance_at_the_sliders_temperature_is_written_above(temperature):
    svg = draw(soft_labels.vote_bars([3, 1, 0], CLASSES, 0, TEACHER, HUMAN, temperature))
    soft = softmax(TEACHER.logits, temperature)
    kl = 0.75 * np.log(0.75 / soft[0]) + 0.25 * np.log(0.25 / soft[1])
    assert f"big at T = {temperature:.2f}" in " ".join(texts(svg))
    assert f"teacher, KL {kl:.2f}" in texts(svg)


@pytest.mark.parametrize("chart", [soft_labels.vote_bars, projector_bars])
def test_the_votes_alone_give_nothing_away(chart):
    spec = chart([3, 1, 0], CLASSES)
    svg = draw(spec)
    assert bars(svg, "audience") == {"cat": 0.75, "dog": 0.25, "ship": 0}
    assert not [text for text in texts(svg) if "★" in text or "big" in text]
    assert not [param for param in spec["params"] if "bind" in param]


def test_nobody_has_voted():
    assert "teacher" in texts(draw(soft_labels.vote_bars([0, 0, 0], CLASSES, 0, TEACHER)))


@pytest.mark.parametrize("chart", [soft_labels.vote_bars, projector_bars])
def test_only_the_rows_change_with_a_vote(chart):
    """So the browser keeps the slider where it is."""
    first, second = (chart(counts, CLASSES, 1, TEACHER, HUMAN, 4.0) for counts in ([0, 0, 0], [5, 2, 9]))
    assert first["datasets"].keys() == second["datasets"].keys() == {"votes"}
    assert first | {"datasets": {}} == second | {"datasets": {}}
    assert first["datasets"] != second["datasets"]


@pytest.mark.parametrize("chart", [soft_labels.vote_bars, projector_bars])
@pytest.mark.parametrize("name", ["o'brien", 'a"b', "x' + format(now(), '.0f') + '", "back\\slash"])
def test_a_networks_name_is_text_in_every_expression(name, chart):
    teacher = NetworkLogits(name, style.TEACHER, TEACHER.logits)
    svg = draw(chart([3, 1, 0], CLASSES, 0, teacher, HUMAN, 2.0))
    assert bars(svg, name) == pytest.approx(dict(zip(CLASSES, softmax(TEACHER.logits, 2.0), strict=True)), abs=1e-3)
    assert any(name in text for text in texts(svg))
