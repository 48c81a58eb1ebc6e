"""The chart of error inheritance: its bars add up to the counts."""

from kdexplorer.analysis.error_inheritance import OWN, RIGHT
from kdexplorer.charts.evaluation import OUTCOMES, inheritance
from tests.charts.drawing import rows_of


def outcomes(*counts):
    """Where the teacher is wrong: right, its class, another; where it is right: right, wrong."""
    return {
        "wrong": dict(zip(OUTCOMES, counts, strict=False)),
        "right": dict(zip((RIGHT, OWN), counts[3:], strict=True)),
    }


def test_each_bar_adds_up_and_wrong_images_come_first():
    counts = {"student": outcomes(20, 70, 10, 880, 20), "baseline": outcomes(30, 60, 10, 870, 30)}
    spec = inheritance(counts, "teacher")
    rows = rows_of(spec, "images")
    bars = list(dict.fromkeys(row["bar"] for row in rows))
    assert spec["layer"][0]["encoding"]["y"]["sort"] == [
        "student, teacher wrong", "baseline, teacher wrong", "student, teacher right", "baseline, teacher right",
    ]  # fmt: skip
    for bar in bars:
        parts = [row for row in rows if row["bar"] == bar]
        assert sum(row["images"] for row in parts) == (100 if "wrong" in bar else 900)
        assert parts[-1]["to"] == 1 or abs(parts[-1]["to"] - 1) < 1e-9
    images = {(row["bar"], row["outcome"]): row["images"] for row in rows}
    right, repeated, own = OUTCOMES
    assert images["student, teacher wrong", repeated] == 70
    assert images["student, teacher wrong", own] == 10
    assert images["baseline, teacher right", right] == 870
    assert "where teacher is wrong, right on 20.0% and the same wrong class on 70.0%" in spec["description"]


def test_a_teacher_without_errors_draws_an_empty_bar():
    rows = rows_of(inheritance({"student": outcomes(0, 0, 0, 40, 10)}, "teacher"), "images")
    assert [row["share"] for row in rows if "wrong" in row["bar"]] == [0, 0, 0]
