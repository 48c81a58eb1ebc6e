"""What a run's students gained, for every outcome."""

from dataclasses import replace

import pytest

from kdexplorer.analysis.gains import describe_gains
from kdexplorer.analysis.tables import PairedDifference
from tests.charts.records import make_row

BASELINE = make_row("plain", accuracy=0.599)


def student(name, accuracy, p):
    pair = PairedDifference("plain", accuracy - BASELINE.accuracy, p, 1, 1)
    return make_row(name, accuracy=accuracy, to_scratch_baseline=pair)


@pytest.mark.parametrize(
    ("accuracy", "p", "words"),
    [
        (0.631, 0.003, "+3.2 points over its scratch baseline (63.1 against 59.9 %), 100 test images, significant"),
        (0.631, 0.2, ", not significant (p = 0.20, McNemar)."),
        (0.590, 0.5, "0.9 points below its scratch baseline (59.0 against 59.9 %)"),
        (0.599, None, "+0.0 points over its scratch baseline (59.9 against 59.9 %), 100 test images."),
    ],
)  # fmt: skip
def test_a_student_is_compared_with_its_baseline(accuracy, p, words):
    (sentence,) = describe_gains([BASELINE, student("distilled", accuracy, p)])
    assert words in sentence


def test_several_students_are_corrected_and_networks_without_a_baseline_stand_alone():
    rows = [BASELINE, student("a", 0.62, 0.04), student("b", 0.63, 0.03), replace(BASELINE, name="other")]
    first, second, last = describe_gains(rows)
    assert first.startswith("b: +3.1 points")
    assert "not significant (p = 0.06, McNemar, corrected for 2 comparisons)" in first
    assert second.startswith("a: ")
    assert last == "other: 59.9 %, 100 test images."
