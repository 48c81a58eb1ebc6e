"""Each experiment's verdict for every outcome, from made-up results; and its chart.

The claims and tables of the bundled networks are those of the documents, see tests/test_docs.py.
"""

import json

import numpy as np
import pytest

from kdexplorer.analysis.metrics import fresh_push
from kdexplorer.charts.studies import figure_chart
from kdexplorer.studies.experiments import all_experiments, get_experiment, lab_claims, read
from kdexplorer.studies.experiments.base import AGAIN, Results, judge_differences
from kdexplorer.studies.experiments.base import NETWORKS as NETWORKS_TABLE
from kdexplorer.studies.experiments.better_teacher import ALONG
from kdexplorer.studies.experiments.gradient_size import MATCHED
from kdexplorer.studies.experiments.shifted_images import CLEAN, NETWORKS, PAIRS, SHIFTS, STRONG
from kdexplorer.studies.table import Entry, Row, Table, pack_bits
from tests.charts.drawing import draw, texts, validate
from tests.studies.sample import ACCURACIES, NOISE, change, first, make_measured, make_recalls, make_results, make_table

OPEN, YES, NO = "cannot be decided", "supported", "not supported"


def by_entry(**values):
    return lambda part, entry: values.get(entry.replace("-", "_").replace(".", "_"), 0.7)


def few(gain_few, gain_many):
    gains = {"few": gain_few, "more": 0.02, "many": gain_many, "lab-pair": 0.04}
    return lambda part, entry: 0.75 if entry == "kd-alone" else 0.6 + gains[part.removesuffix(AGAIN)] * (entry == "kd")


def views(same, others):
    def accuracy(part, entry):
        view, _, length = part.removesuffix(AGAIN).partition("-")
        return 0.70 if length == "short" else same if view == "same" else others

    return accuracy


def along(slope):
    return lambda part, entry: 0.7 + slope * list(ALONG).index(part) if part in ALONG else 0.75


def taught(part, entry):
    return {"teacher_accuracy": 0.8 + 0.02 * list(ALONG).index(part) if part in ALONG else 0.93}


def verdict_of(key, results):
    """The claim of an experiment that has one."""
    (claim,) = get_experiment(key).judge(results)
    return claim


def make(key, accuracy, **options):
    return make_results(get_experiment(key), accuracy, **options)


OUTCOMES = [
    ("dark-knowledge", by_entry(kd=0.75), None, YES),
    ("dark-knowledge", by_entry(kd=0.72, permuted=0.75), None, NO),
    ("dark-knowledge", by_entry(kd=0.75, permuted=0.75), None, OPEN),
    ("gradient-size", by_entry(T4_w0_9=0.75, T4_matched=0.73), None, YES),
    ("gradient-size", by_entry(T4_w0_9=0.75, T4_matched=0.68), None, NO),
    ("few-labels", few(0.05, 0.01), None, YES),
    ("few-labels", few(0.01, 0.05), None, NO),
    ("better-teacher", along(0.01), taught, YES),
    ("better-teacher", along(-0.01), taught, NO),
    ("consistency", views(0.75, 0.72), None, YES),
    ("consistency", views(0.75, 0.78), None, NO),
    ("omitted-class", by_entry(), make_recalls(0.2), YES),
    ("omitted-class", by_entry(), make_recalls(0.0), NO),
]


@pytest.mark.parametrize(("key", "accuracy", "more", "verdict"), OUTCOMES)
def test_the_verdict_follows_from_the_results(key, accuracy, more, verdict):
    claim = verdict_of(key, make(key, accuracy, more=more))
    assert claim.verdict == verdict
    assert claim.evidence.endswith(".")
    assert "nan" not in claim.evidence
    assert ("Dunnett's test) p is" in claim.evidence) == (key in ("dark-knowledge", "consistency"))
    assert verdict_of(key, Results()).verdict == OPEN


@pytest.mark.parametrize("key", ["dark-knowledge", "gradient-size", "few-labels", "better-teacher", "consistency"])
def test_four_seeds_decide_nothing_and_neither_does_a_missing_part(key):
    accuracy, more = next((a, m) for k, a, m, v in OUTCOMES if k == key and v == YES)
    found = verdict_of(key, make(key, accuracy, seeds=4, more=more))
    assert found.verdict == OPEN
    assert "4 seeds" in found.evidence
    single = verdict_of(key, make(key, accuracy, seeds=1, more=more)).evidence
    assert "With one seed it is not decided" in single
    assert ("points (one seed)" in single) == (key != "consistency")  # what stands beside
    parts = [part for part in get_experiment(key).studies(False) if not part.endswith(AGAIN)]
    skip = [*parts[:2], *(part + AGAIN for part in parts[:2])]
    missing = verdict_of(key, make(key, accuracy, more=more, skip=skip))
    assert missing.verdict == OPEN
    assert "nan" not in missing.evidence
    assert "not all parts" in missing.evidence.lower() or len(parts) == 1


def test_the_second_version_decides_once_it_is_complete_and_the_first_stays_visible():
    key, yes, undecided = "dark-knowledge", by_entry(kd=0.75), by_entry(kd=0.75, permuted=0.75)
    results = make(key, lambda part, entry: (yes if part.endswith(AGAIN) else undecided)(part, entry))
    claim = verdict_of(key, results)
    assert claim.verdict == YES
    assert f"The first version, with ResNet-56, ResNet-8, 20,480 images and 4 epochs: {OPEN}. KD to" in claim.evidence
    table = results.tables["students" + AGAIN]
    rows = [row for row in table.rows if row.seed < 4]
    partial = Results(results.tables | {"students" + AGAIN: table.model_copy(update={"rows": rows})})
    assert verdict_of(key, partial).verdict == OPEN
    assert "first version" not in verdict_of(key, partial).evidence
    assert get_experiment(key).figure(partial) != get_experiment(key).figure(results)


def test_teachers_that_are_worse_than_none_are_named():
    accuracies = {"epoch-2": 0.65, "assistant": 0.6999}  # clearly worse, and by no more than seeds differ
    key, kd = "better-teacher", lambda part, entry: accuracies.get(part, 0.71) if entry == "kd" else 0.7
    results = make(key, kd, more=taught)
    assert verdict_of(key, results).evidence.endswith("Worse than no teacher: ResNet-20 after epoch 2.")
    figure = get_experiment(key).figure(results)
    spec = figure_chart(figure)
    assert f"student without a teacher: {figure.rule:.1f}." in spec["description"]
    assert "student without a teacher" in texts(draw(spec))
    assert "Worse than no teacher" not in verdict_of(key, make(key, by_entry(kd=0.71), more=taught)).evidence


def test_seeds_that_disagree_about_the_omitted_class_decide_nothing():
    key = "omitted-class"
    results = make(key, by_entry(), more=make_recalls(0.2))
    table, none = results.tables["students"], make_recalls(0.0)("students", "kd")
    mixed = Results({"students": change(table, lambda row: none if (row.entry, row.seed) == ("kd", 1) else {})})
    assert verdict_of(key, mixed).verdict == OPEN
    assert "20.0 %, 0.0 %, 20.0 %" in verdict_of(key, mixed).evidence
    assert "at 1 %: 2" in verdict_of(key, mixed).evidence
    alone = Results({"students": table.model_copy(update={"rows": table.rows_of("kd")})})
    assert verdict_of(key, alone).verdict == OPEN  # there is nothing to compare with


def test_what_a_bias_does_to_the_omitted_class_is_counted_from_logits():
    experiment = get_experiment("omitted-class")
    logits = np.zeros((3, 10))
    logits[0, 3] = -1.1  # a cat that needs more than 1.1
    logits[1, 5], logits[1, 3] = 1, -2.9  # a dog, right until 3.9
    logits[2, 4] = 5  # a cat that stays a deer until 5
    found = experiment.more(logits, np.array([3, 5, 3]), None)
    assert found["images_of_the_class"] == 2
    assert [found[f"recall_at_bias_{bias}"] for bias in (0, 1, 1.25, 5, 5.25)] == [0, 0, 0.5, 0.5, 1]
    accuracies = [found[f"accuracy_at_bias_{bias}"] for bias in (0, 1.25, 4)]
    assert accuracies == pytest.approx([1 / 3, 2 / 3, 1 / 3])


def pair(agreement, accuracy):
    """Two students: the first is right and agrees on so many images of 1,000, the second on 800."""
    return [
        ("bundled, teacher t", "resnet8-a", "kd", first(accuracy), first(agreement)),
        ("bundled, teacher t", "resnet8-b", "at", first(800), first(800)),
        ("bundled, teacher t", "resnet8-scratch", "scratch", first(700), first(700)),
    ]


@pytest.mark.parametrize(
    ("agreement", "accuracy", "verdict"), [(850, 750, NO), (850, 850, YES), (850, 801, OPEN), (801, 801, OPEN)]
)
def test_fidelity(agreement, accuracy, verdict):
    claim = verdict_of("fidelity", make_measured(pair(agreement, accuracy)))
    assert claim.verdict == verdict
    assert "Of 1 pairs" in claim.evidence
    assert ("resnet8-a and resnet8-b" in claim.evidence) == (verdict == NO)
    assert ("and 1 are undecided" in claim.evidence) == (verdict == OPEN)
    assert "The closest of 2 distilled" in claim.evidence
    virtual = [(part, name, "tf_kd" if key == "at" else key, *bits) for part, name, key, *bits in pair(850, 850)]
    assert verdict_of("fidelity", make_measured(virtual)).verdict == OPEN  # one student that a teacher taught


def shifted(student_loses, baseline_loses):
    rows = []
    for name in NETWORKS:
        loses = student_loses if name in PAIRS else baseline_loses
        for shift in SHIFTS:
            right = first(900 if shift == CLEAN else 900 - loses)
            rows.append((shift, name, "kd" if name in PAIRS else "scratch", right, right))
    return rows


@pytest.mark.parametrize(("student", "baseline", "verdict"), [(100, 200, YES), (200, 100, NO), (100, 100, OPEN)])
def test_shifts(student, baseline, verdict):
    claim = verdict_of("shifted-images", make_measured(shifted(student, baseline)))
    assert claim.verdict == verdict
    assert ("resnet8-combined, blur, 1.2 pixels +10.00 (" in claim.evidence) == (verdict == YES)
    assert ("Of 9, 0 are clearly above zero and 9 below" in claim.evidence) == (verdict == NO)
    assert ("80 % power, alone, at" in claim.evidence) == (verdict == OPEN)
    apart = [
        row if SHIFTS[row[0]][0] not in ("adversarial", "transferred") else before
        for row, before in zip(shifted(100, 100), shifted(student, baseline), strict=True)
    ]
    assert verdict_of("shifted-images", make_measured(apart)).verdict == OPEN  # steps on a gradient decide nothing
    assert verdict_of("shifted-images", make_measured(shifted(100, 200)[:-1])).verdict == OPEN


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (dict.fromkeys(PAIRS, 0.1), "better for all: expected calibration error resnet20-response 10.0 %, its base"),
        (dict.fromkeys(PAIRS, 0.3), "worse for all"),
        ({name: 0.1 + 0.2 * (name == "resnet8-combined") for name in PAIRS}, "better for 2 of 3"),
    ],
)
def test_calibration_under_shifts(errors, said):
    measured = make_measured(shifted(100, 200)).measured
    table = change(
        measured, lambda row: {"calibration_error": errors.get(row.entry, 0.2) if row.part in STRONG else 0.9}
    )
    claim = verdict_of("shifted-images", Results({NETWORKS_TABLE: table}))
    assert said in claim.evidence
    assert claim.verdict == YES


def test_the_declared_weight_gives_both_temperatures_the_same_gradient(bundled):
    logits = bundled.logits["resnet56"]
    assert pytest.approx(0.9 * fresh_push(logits, 1) / fresh_push(logits, 4), rel=1e-4) == MATCHED
    assert 0.9 * fresh_push(logits, 4) == pytest.approx(2.7 * fresh_push(logits, 1), rel=0.03)


def test_a_verdict_states_intervals_and_the_correction():
    steady = {seed: 0.02 + 0.001 * seed for seed in range(5)}
    claim = judge_differences("It helps", {"a to b": steady, "a to c": steady})
    assert claim.verdict == YES
    assert "+2.20 points (+2.00 to +2.40)" in judge_differences("It helps", {"a to b": steady}).evidence
    assert "+2.20 points (+1.95 to +2.45)" in claim.evidence  # wider together
    assert "Holm" in claim.evidence
    near = {seed: 0.0003 * (-1) ** seed for seed in range(5)}
    undecided = judge_differences("It helps", {"a to b": steady, "a to c": near}).evidence
    assert "1 of 2 differences may be chance: 80 % power, alone, at 0.05 points. Shown to be within 0.5 p" in undecided
    assert "(two one-sided tests): a to c. Normality is assumed: an exact sign-flip test of 5 seeds gives" in undecided
    far = {seed: 0.03 * (-1) ** seed for seed in range(5)}
    assert "(two one-sided tests): none. Normality" in judge_differences("It helps", {"a to b": far}).evidence
    assert "Holm" not in judge_differences("It helps", {"a to b": steady}).evidence


def known(experiment):
    """Results of every part, or rows of every network."""
    measured = {"fidelity": pair(850, 750), "shifted-images": shifted(100, 200)}
    if experiment.key in measured:
        return make_measured(measured[experiment.key])
    found = [
        make_results(experiment, accuracy, more=more) for key, accuracy, more, _ in OUTCOMES if key == experiment.key
    ]
    return found[0] if found else read(experiment)


@pytest.mark.parametrize("experiment", all_experiments(), ids=lambda experiment: experiment.key)
def test_each_has_a_chart_that_can_be_drawn(experiment):
    figure = experiment.figure(known(experiment))
    chart = figure_chart(figure)
    validate(chart)
    words = texts(draw(chart))
    assert {point.series for point in figure.points} <= set(figure.roles)
    assert any(figure.x_title[:20] in word for word in words)
    assert ("yOffset" in json.dumps(chart)) == (experiment.key in ("shifted-images", "lab-claims"))  # several in a row
    assert figure_chart(experiment.figure(Results())) is None


# --- The lab report's claims ---


@pytest.mark.parametrize(
    ("means", "seeds", "verdict"),
    [
        ({1: 0.5, 4: 0.6, 8: 0.5}, 5, YES),
        ({1: 0.5, 4: 0.6, 8: 0.7}, 5, NO),
        ({1: 0.5, 4: 0.6, 8: 0.6}, 5, OPEN),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 4, OPEN),
        ({1: 0.5, 4: 0.6, 8: 0.5}, 1, OPEN),
        ({1: 0.5, 8: 0.6}, 5, OPEN),
        ({}, 5, OPEN),
    ],
)
def test_a_setting_is_judged_by_seeds(means, seeds, verdict):
    values = {value: (mean + np.roll(NOISE, n))[:seeds].tolist() for n, (value, mean) in enumerate(means.items())}
    judged = lab_claims.judge_setting("c", "T", values, (3, 5))
    assert judged.verdict == verdict
    assert all(f"T = {value}: {100 * np.mean(v):.2f} %" in judged.evidence for value, v in values.items())
    assert ("fewer than 5" in judged.evidence) == (seeds < 5)
    assert ("80 % power" in judged.evidence) == (verdict == OPEN and len(means) == 3 and seeds > 1)


def test_the_example_is_computed_and_channels_can_differ_where_maps_have_equal_sizes(monkeypatch):
    assert lab_claims.judge_channels(("resnet8", "resnet50")).verdict == NO
    judged = lab_claims.judge_example()
    assert "0.536 / 0.258 / 0.205" in judged.evidence  # the fourth roots of 0.93, 0.05 and 0.02, divided by their sum
    assert judged.verdict == NO
    monkeypatch.setattr(lab_claims, "LAB_SOFTENED", (0.54, 0.26, 0.21))
    assert lab_claims.judge_example().verdict == YES


def make_networks(*rows):
    """A table of 1,000 images with rows `(part, name, measures)`, and which images are right where that is known."""
    always = {"accuracy": 0.9, "cross_entropy": 0.3}
    found = [
        Row(part=part, entry=name, measures=always | measures, right="".join(map(pack_bits, bits)))
        for part, name, measures, *bits in rows
    ]
    return Table(images=1000, rows=found, entries=[Entry(name=row.entry, key="kd") for row in found])


@pytest.mark.parametrize(("terms", "verdict"), [([5e-4, 2e-3], YES), ([5e-4, 0.5], OPEN), ([0.5], NO), ([], OPEN)])
def test_the_size_of_the_attention_term(terms, verdict):
    table = make_networks(*(("", f"s{n}", {"attention_term": value}) for n, value in enumerate(terms)))
    assert lab_claims.judge_beta(table).verdict == verdict


@pytest.mark.parametrize(("right", "verdict"), [(950, YES), (850, NO), (901, OPEN), (None, OPEN)])
def test_whether_students_beat_their_teacher(right, verdict):
    own = [{}] if right is None else [{"accuracy": right / 1000}, first(right)]
    table = make_networks(("", "t", {}, first(900)), ("", "s", *own), ("teacher t", "s", {}))
    (judged,) = lab_claims.judge_beating(table)
    assert judged.verdict == verdict
    assert ("+0.45 (p = 0.26) and +0.61 (p = 0.13)" in judged.evidence) == (right is None)  # `t` is not the lab's
    assert ("80 % power" in judged.evidence) == (right == 901)
    assert "None of the lab's" in lab_claims.describe_lab(table)


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.1, 0.1], YES),
        ([0.1, -0.1], OPEN),
        ([-0.1, 0.001], NO),
        ([0.001, 0.001], OPEN),
        ([-0.012], NO),
        ([-0.012] * 10, OPEN),  # each alone is clearly below zero, of ten together none is
        ([], OPEN),
    ],
)
def test_whether_the_loss_is_larger(differences, verdict):
    rows = [("", "b", {"objective": 0.2})]
    for number, difference in enumerate(differences):
        scaled = {"scaled_difference": difference, "half_interval": 0.01}
        rows += [("", f"s{number}", {"objective": 0.4}), ("scratch baseline b", f"s{number}", scaled)]
    judged = lab_claims.judge_larger_loss(make_networks(*rows))
    assert judged.verdict == verdict
    assert (f"larger for {len(differences)} of" in judged.evidence) == bool(differences)


def test_a_study_is_judged_by_seeds(bundled):
    """Both distilled students are better than the one from labels; none reaches the bundled teacher, ResNet-56."""
    accuracies = ACCURACIES | {"at": [value + 0.001 for value in ACCURACIES["kd"]]}
    scratch, kd, at = (np.mean(values) for values in accuracies.values())
    teacher = bundled.entries["resnet56"].card.test_accuracy
    judged = lab_claims.judge_study(make_table(accuracies))
    for claim, other, verdict in zip(judged, (scratch, teacher), (YES, NO), strict=True):
        assert claim.verdict == verdict
        assert f"Kd: {100 * (kd - other):+.2f} points" in claim.evidence
        assert f"at: {100 * (at - other):+.2f} points" in claim.evidence
    assert "resnet56" in judged[1].claim
    assert [one.verdict for one in lab_claims.judge_study(make_table(accuracies, seeds=4))] == [OPEN, OPEN]
    assert lab_claims.judge_study(None) == []
