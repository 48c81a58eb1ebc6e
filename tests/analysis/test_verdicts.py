"""Generated sentences, for every outcome; inherited errors, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from kdexplorer.analysis import verdicts
from kdexplorer.analysis.difference import Difference
from kdexplorer.analysis.verdicts import OWN, REPEATED, RIGHT, count_inheritance, explain_inheritance, share_of
from kdexplorer.config import Objective
from tests.analysis.conftest import KD_OBJECTIVE
from tests.charts.drawing import make_row


def scaled(difference):
    return {"scaled_to_scratch_baseline": Difference(difference, (difference - 0.01, difference + 0.01))}


def calibrated(after):
    measures = {"calibration_error": 0.08, "scaled_calibration_error": after, "calibration_noise": 0.02}
    return {name: {"measures": measures} for name in ("teacher", "plain", "student")}


def cross_entropies(plain, student, **changes):
    return {"plain": {"cross_entropy": plain}, "student": {"cross_entropy": student} | changes}


LOSS, CALIBRATION, TRAINING = verdicts.explain_larger_loss, verdicts.explain_calibration, verdicts.describe_training
SMOOTHED = Objective.model_validate(KD_OBJECTIVE | {"label_smoothing": 0.1})
TERMS = [{"method": "kd", "weight": 2, "temperature": 1}, {"method": "kd", "weight": 0.5, "temperature": 8}]
TWICE = {"objective_terms": Objective(ce_weight=0, terms=TERMS), "terms": {"kd": 0.2, "kd.2": 0.03}}


@pytest.mark.parametrize(
    ("describe", "changes", "words", "absent"),
    [
        (LOSS, {}, "0.3 × cross-entropy 1.500 + 0.7 × KD 2.000 = 1.850", "Select"),
        (LOSS, {"student": TWICE}, "2 × KD 0.200 + 0.5 × KD 0.03 = 1.850", "Select"),
        (LOSS, {"student": {"objective_terms": SMOOTHED}}, "1.850", "×"),  # a term of the sum is unknown
        (LOSS, {"student": {"terms": {"cross_entropy": 1.5}}}, "1.850", "×"),
        (LOSS, {"student": {"objective_terms": None}}, "1.850", "×"),
        (LOSS, cross_entropies(1, 0.5), "is 0.500: lower than the 1.000 of plain", "smaller number"),
        (LOSS, cross_entropies(1, 1), "is 1.000: equal to the 1.000 of plain", "smaller number"),
        (LOSS, cross_entropies(1, 1.5), "is 1.500: higher than the 1.000 of plain", "smaller number"),
        (LOSS, cross_entropies(1, 1.5, objective=0.9), "that sum is the smaller number", "Select"),
        (LOSS, cross_entropies(1, 1.1, **scaled(-0.07)),
         "-0.070 ± 0.010 (95 %): it is lower, so the excess was the level of confidence", "clear"),
        (LOSS, cross_entropies(1, 0.9, **scaled(-0.07)), "(95 %): it is lower.", "clear"),
        (LOSS, {"student": scaled(0.07)}, "+0.070 ± 0.010 (95 %): it is higher", "clear"),
        (LOSS, {"student": scaled(0.005)}, "no clear difference", "it is"),
        (LOSS, {"student": {"scaled_to_scratch_baseline": None}}, "Its cross-entropy", "scaling"),
        (CALIBRATION, calibrated(0.01),
         "1.00 % after temperature scaling, fitted on the other folds: one number per network explains most", "half"),
        (CALIBRATION, calibrated(0.06),
         "explains less than half of them. Sampling alone gives a calibrated network 2.00 to 2.00 %", "most"),
        (CALIBRATION, calibrated(0.027), "less than about 1.4 times that: so have 3 of 3", "0 of 3"),
        (CALIBRATION, calibrated(0.029), "less than about 1.4 times that: so have 0 of 3", "3 of 3"),
        (CALIBRATION, {"student": scaled(-0.07)}, "is lower than the scratch baseline's for student", "higher than"),
        (CALIBRATION, {"student": scaled(0.07)}, "is higher than the scratch baseline's for student", "lower than"),
        (CALIBRATION, {"student": scaled(0.005)}, "is not clearly different from the scratch baseline's", "lower than"),
        (TRAINING, {}, "Each network was trained in one run", "known"),
        (TRAINING, {"teacher": {"epochs_by_run": (8, 10), "continued_in_view": True}},
         "after the test accuracy was known for teacher (8 + 10 epochs). plain, student were each trained", "held-out"),
        (TRAINING, {"plain": {"epochs_by_run": (4, 2)}},
         "after the accuracy on held-out images was known for plain (4 + 2 epochs).", "test accuracy"),
        (TRAINING, {"teacher": {"epochs_by_run": ()}}, "How teacher was trained is unknown.", "was known"),
    ],
)  # fmt: skip
def test_every_sentence_about_a_table(family, describe, changes, words, absent):
    text = describe([replace(row, **changes.get(row.name, {})) for row in family.rows()])
    assert words in text
    assert absent not in text


def test_it_says_which_networks_to_select(family):
    teacher, plain, student = family.rows()
    for describe in (LOSS, verdicts.compare_with_teacher_and_baseline):
        assert "Select a distilled student" in describe([teacher, plain])
    assert CALIBRATION(family.rows(labels=None)) is None
    alone = replace(student, to_scratch_baseline=None, to_teacher=None)
    assert "Select the scratch baseline of student" in verdicts.compare_with_teacher_and_baseline([alone])


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
    gained = accuracy - BASELINE.accuracy
    pair = Difference(gained, p=p, p_alone=p, other="plain", gained=1, lost=1, detectable=0.03)
    return make_row(name, accuracy=accuracy, objective_key="kd", to_scratch_baseline=pair)


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


@pytest.mark.parametrize(
    ("ps", "words"),
    [
        ([0.031], ": 1 images are classified correctly only by it, 1 only by plain (McNemar p = 0.031), more than"),
        ([0.2], "(McNemar p = 0.20), which chance alone can explain (80 % power, alone, at 3.00 points)."),
        ([0.032] * 5, "(McNemar p = 0.032, p = 0.16 for the best of 5 comparisons), which chance alone can explain"),
        ([None], "baseline plain; their 95 % intervals overlap. The paired test needs the labels"),
    ],
)
def test_the_best_student_is_compared_with_its_baseline_and_its_teacher(ps, words):
    students = [gaining(f"s{place}", 0.649 - place / 1000, p) for place, p in enumerate(ps)]
    text = verdicts.compare_with_teacher_and_baseline([BASELINE, *students])
    assert text.startswith("s0 is 5.00 percentage points above its scratch baseline plain")
    assert words in text
    assert ("overestimated" in text) == (len(ps) > 1)
    apart = [replace(BASELINE, accuracy_high=0.1), *students]
    assert ("intervals do not overlap" in verdicts.compare_with_teacher_and_baseline(apart)) == (None in ps)
    below = replace(students[0], to_teacher=Difference(-0.15, p=1e-5, p_alone=1e-5, other="t", gained=0, lost=15))
    text = verdicts.compare_with_teacher_and_baseline([BASELINE, below])
    assert "s0 is 15.00 percentage points below its teacher t: 0 images" in text


def test_several_gains_are_corrected_and_networks_without_a_baseline_stand_alone():
    rows = [BASELINE, gaining("a", 0.62, 0.04), gaining("b", 0.63, 0.03), replace(BASELINE, name="other")]
    first, second, last = verdicts.describe_gains(rows)
    assert first.startswith("b: +3.1 points")
    assert "not significant (p = 0.06, McNemar, corrected for 2 comparisons)" in first
    assert second.startswith("a: ")
    assert last == "other: 59.9 %, 100 test images."


LABELS = np.zeros(200, dtype=int)


def logits_of(predictions):
    return np.eye(4)[np.asarray(predictions)]


TEACHER = logits_of([1] * 100 + [0] * 100)
"""Wrong on the first hundred images."""


def test_inherited_errors_are_counted_by_hand():
    found = count_inheritance(logits_of([1] * 60 + [0] * 30 + [2] * 10 + [0] * 95 + [3] * 5), TEACHER, LABELS)
    assert found == {"wrong": {RIGHT: 30, REPEATED: 60, OWN: 10}, "right": {RIGHT: 95, OWN: 5}}
    assert (share_of(found, "wrong", REPEATED), share_of(found, "right", RIGHT)) == (0.6, 0.95)
    assert np.isnan(share_of(count_inheritance(TEACHER, logits_of(LABELS), LABELS), "wrong", REPEATED))


def explain(student, baseline, teacher=TEACHER):
    return explain_inheritance(("s", "b", "t"), logits_of(student), logits_of(baseline), teacher, LABELS)


REST = [0] * 100


@pytest.mark.parametrize(
    ("student", "baseline", "words"),
    [
        ([1] * 80 + [2] * 20 + REST, [1] * 40 + [2] * 60 + REST, "it inherits errors"),
        ([1] * 40 + [2] * 60 + REST, [1] * 80 + [2] * 20 + REST, "it repeats fewer errors"),
        ([1] * 40 + [2] * 60 + REST, [1] * 41 + [2] * 59 + REST, "(p = 1.00 for repeating): no clear difference"),
        ([1] * 100 + REST, [1] * 100 + [0] * 70 + [2] * 30, "(+30.0 points, p < 0.0001): a gain"),
        ([1] * 100 + [0] * 70 + [2] * 30, [1] * 100 + REST, "(-30.0 points, p < 0.0001): a loss"),
        ([1] * 100 + REST, [1] * 100 + REST, "(+0.0 points, p = 1.00): no clear difference"),
        ([0] * 10 + [1] * 90 + REST, [1] * 100 + REST, "The net is +5.00 points to b. To be above"),
        ([0] * 10 + [1] * 90 + REST, [1] * 100 + REST, "(10) than it adds of its own (0): it is above by 10 images"),
        ([1] * 100 + [2] * 7 + [0] * 93, [1] * 100 + REST, "adds of its own (7): it is below by 7 images"),
        ([1] * 100 + REST, [1] * 100 + REST, "it is equal"),
    ],
)
def test_every_sentence_about_inherited_errors(student, baseline, words):
    assert words in explain(student, baseline)


def test_a_teacher_that_is_always_right_or_always_wrong():
    right, wrong = logits_of(LABELS), logits_of(LABELS + 1)
    assert "gets wrong" not in explain(LABELS, LABELS, right)
    assert "Where t is right" not in explain(LABELS, LABELS, wrong)
