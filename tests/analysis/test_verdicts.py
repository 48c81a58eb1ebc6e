"""Generated sentences, for every outcome."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kdexplorer.analysis import results, verdicts
from kdexplorer.analysis.difference import Difference
from kdexplorer.config import Objective
from tests.analysis.conftest import KD_OBJECTIVE
from tests.charts.records import make_row


def test_the_objective_is_written_as_its_sum(family):
    assert "0.3 × cross-entropy 1.500 + 0.7 × KD 2.000 = 1.850" in verdicts.explain_larger_loss(family.rows())
    assert "Select a distilled student" in verdicts.explain_larger_loss(family.rows()[:2])
    terms = [{"method": "kd", "weight": 2, "temperature": 1}, {"method": "kd", "weight": 0.5, "temperature": 8}]
    twice = {"objective_terms": Objective(ce_weight=0, terms=terms), "terms": {"kd": 0.2, "kd.2": 0.03}}
    assert "2 × KD 0.200 + 0.5 × KD 0.03 = 1.850" in verdicts.explain_larger_loss(family.changed(student=twice))


def test_a_sum_with_an_unknown_term_is_not_shown(family):
    smoothed = Objective.model_validate(KD_OBJECTIVE | {"label_smoothing": 0.1})
    for change in ({"objective_terms": smoothed}, {"terms": {"cross_entropy": 1.5}}, {"objective_terms": None}):
        text = verdicts.explain_larger_loss(family.changed(student=change))
        assert "×" not in text
        assert "1.850" in text


@pytest.mark.parametrize(("cross_entropy", "words"), [(0.5, "lower than"), (1.0, "equal to"), (1.5, "higher than")])
def test_the_cross_entropy_is_compared_with_the_baselines(family, cross_entropy, words):
    plain, student = {"cross_entropy": 1.0}, {"cross_entropy": cross_entropy}
    text = verdicts.explain_larger_loss(family.changed(plain=plain, student=student))
    assert f"is {cross_entropy:.3f}: {words} the 1.000 of plain" in text
    assert "smaller number" not in text
    rows = family.changed(plain=plain, student=student | {"objective": 0.9})
    assert "smaller number" in verdicts.explain_larger_loss(rows)


def differ(difference):
    return {"scaled_to_scratch_baseline": Difference(difference, (difference - 0.01, difference + 0.01))}


@pytest.mark.parametrize(
    ("difference", "cross_entropy", "words"),
    [
        (-0.07, 1.1, "it is lower, so the excess was the level of confidence"),
        (-0.07, 0.9, "(95 %): it is lower."),
        (0.07, 1.1, "it is higher"),
        (0.005, 1.1, "no clear difference"),
    ],
)
def test_what_is_left_of_the_cross_entropy_after_temperature_scaling(family, difference, cross_entropy, words):
    student = {"cross_entropy": cross_entropy} | differ(difference)
    text = verdicts.explain_larger_loss(family.changed(plain={"cross_entropy": 1.0}, student=student))
    assert words in text
    assert f"{difference:+.3f} ± 0.010" in text
    unknown = family.changed(student={"scaled_to_scratch_baseline": None})
    assert "scaling" not in verdicts.explain_larger_loss(unknown)


@pytest.mark.parametrize(("after", "words", "near"), [(0.01, "explains most", 3), (0.06, "explains less than half", 0)])
def test_how_much_of_calibration_one_number_explains(family, after, words, near):
    measures = {"calibration_error": 0.08, "scaled_calibration_error": after, "calibration_noise": 0.02}
    text = verdicts.explain_calibration([replace(row, measures=measures) for row in family.rows()])
    assert words in text
    assert f"{100 * after:.2f} % after" in text
    assert "gives a calibrated network 2.00 to 2.00 %" in text
    assert f"less than about 1.4 times that: so have {near} of 3" in text
    assert verdicts.explain_calibration(family.rows(labels=False)) is None


@pytest.mark.parametrize(
    ("difference", "words"), [(-0.07, "lower than"), (0.07, "higher than"), (0.005, "not clearly different from")]
)
def test_the_scaled_cross_entropy_is_compared_with_the_baselines(family, difference, words):
    text = verdicts.explain_calibration(family.changed(student=differ(difference)))
    assert f"Scaled cross-entropy is {words} the scratch baseline's for student" in text
    kinds = ("lower than", "higher than", "not clearly different from")
    assert [kind in text for kind in kinds] == [kind == words for kind in kinds]


def test_the_training_of_each_network_is_told_from_its_card(family):
    assert "Each network was trained in one run" in verdicts.describe_training(family.rows())
    seen = {"epochs_by_run": (8, 10), "continued_in_view": True}
    text = verdicts.describe_training(family.changed(teacher=seen, plain={"epochs_by_run": (4, 2)}))
    assert "after the test accuracy was known for teacher (8 + 10 epochs)." in text
    assert "after the accuracy on held-out images was known for plain (4 + 2 epochs)." in text
    assert "student: each trained in one run" in text
    text = verdicts.describe_training(family.changed(teacher={"epochs_by_run": ()})[:1])
    assert "How teacher was trained is unknown." in text
    assert "was known" not in text


def test_a_difference_beyond_chance_is_called_so(family):
    text = verdicts.compare_with_teacher_and_baseline(family.rows())
    assert "student is 10.00 percentage points above its scratch baseline plain" in text
    assert "student is 15.00 percentage points below its teacher teacher" in text
    assert text.count("more than chance explains") == 2
    assert "chance alone" not in text
    assert "overestimated" not in text  # there is one distilled student only


def test_a_difference_within_chance_is_called_so(family):
    logits = family.logits()
    near = {name: logits["student"].copy() for name in logits}
    near["plain"][0] = np.roll(near["plain"][0], 1)
    text = verdicts.compare_with_teacher_and_baseline(results.build_rows(family.entries, near, family.labels))
    assert text.count("chance alone can explain") == 2
    assert "more than chance" not in text


@pytest.mark.parametrize(("high", "words"), [(0.4, "do not overlap"), (0.9, "intervals overlap")])
def test_without_a_test_the_intervals_are_compared(family, high, words):
    rows = family.rows(labels=False)[1:]
    rows[0] = replace(rows[0], accuracy_low=0.3, accuracy_high=high)
    text = verdicts.compare_with_teacher_and_baseline([rows[0], replace(rows[1], to_teacher=None)])
    assert words in text
    assert "needs the labels" in text


def test_it_says_which_networks_to_select(family):
    teacher, plain, student = family.rows()
    assert "Select a distilled student" in verdicts.compare_with_teacher_and_baseline([teacher, plain])
    alone = replace(student, to_scratch_baseline=None, to_teacher=None)
    assert "Select the scratch baseline of student" in verdicts.compare_with_teacher_and_baseline([alone])


@pytest.mark.parametrize("count", [1, 5])
def test_the_best_of_several_is_corrected_for_all_of_them(family, tmp_path, make_checkpoint, count):
    """Students with the baseline's predictions on all images but six: p = 2 / 2^6 = 0.031, of five tests 0.16."""
    card, baseline = family.entries["student"].card, family.logits()["plain"]
    del family.entries["student"]
    for number in range(count):
        logits = baseline.copy()
        for image in range(60 + 6 * number, 66 + 6 * number):
            logits[image] = 3 * np.eye(10)[family.labels[image]]
        facts = {key: getattr(card, key) for key in ("objective", "teacher", "run", "test_terms", "test_objective")}
        facts |= {"test_accuracy": 66 / 120, "test_cross_entropy": 1.0}
        family.entries[f"s{number}"] = make_checkpoint(
            tmp_path / f"s{number}", seed=10 + number, logits=logits, **facts
        )
    text = verdicts.compare_with_teacher_and_baseline(family.rows())
    assert "s0 is 5.00 percentage points above its scratch baseline plain" in text
    corrected = "(McNemar p = 0.031, p = 0.16 for the best of 5 comparisons), which chance alone can explain"
    assert (corrected in text) == ("overestimated" in text) == (count == 5)
    assert ("(McNemar p = 0.031), more than chance explains" in text) == (count == 1)


def test_a_student_is_compared_with_its_own_teacher(family, tmp_path, make_checkpoint):
    other = make_checkpoint(tmp_path / "other", seed=7, logits=family.logits()["plain"], run="x")
    family.entries = {"other": other} | family.entries
    assert "below its teacher teacher" in verdicts.compare_with_teacher_and_baseline(family.rows(teacher="other"))


def test_students_trained_on_fewer_images_are_named_and_their_teacher_is_not(tmp_path, make_checkpoint):
    def data(count):
        return {"dataset": "synthetic", "evaluation_images": 120, "train_images": count}

    teacher = make_checkpoint(tmp_path / "t", data=data(1000))
    student = make_checkpoint(tmp_path / "s", seed=1, data=data(300), teacher={"name": "t", "sha256": teacher.sha256})
    assert verdicts.describe_training_difference({"t": teacher, "s": student}) is None
    other = make_checkpoint(tmp_path / "o", seed=2, data=data(500))
    sentence = verdicts.describe_training_difference({"t": teacher, "s": student, "o": other})
    assert "300 images (s); 500 images (o)" in sentence


BASELINE = make_row("plain", accuracy=0.599)


def gaining(name, accuracy, p):
    pair = Difference(accuracy - BASELINE.accuracy, p=p, p_alone=p, other="plain", gained=1, lost=1)
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
def test_what_a_student_gained_is_compared_with_its_baseline(accuracy, p, words):
    (sentence,) = verdicts.describe_gains([BASELINE, gaining("distilled", accuracy, p)])
    assert words in sentence


def test_several_gains_are_corrected_and_networks_without_a_baseline_stand_alone():
    rows = [BASELINE, gaining("a", 0.62, 0.04), gaining("b", 0.63, 0.03), replace(BASELINE, name="other")]
    first, second, last = verdicts.describe_gains(rows)
    assert first.startswith("b: +3.1 points")
    assert "not significant (p = 0.06, McNemar, corrected for 2 comparisons)" in first
    assert second.startswith("a: ")
    assert last == "other: 59.9 %, 100 test images."
