"""The comparison's table against independent ways of computing it, and the sentences against hand-made rows."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from kdexplorer import comparison, export, metrics
from kdexplorer.models import BUILDERS


@pytest.fixture
def family(tmp_path, make_checkpoint):
    """A teacher, a scratch student and a distilled one, 120 images: 90, 60 and 72 right."""
    labels = np.arange(120) % 10

    def logits(right, seed):
        noise = np.random.default_rng(seed).normal(0, 0.1, (120, 10))
        answer = np.where(np.arange(120) < right, labels, (labels + 1) % 10)
        return noise + 3 * np.eye(10)[answer]

    def make(name, right, seed, **changes):
        values = logits(right, seed).astype(np.float16).astype(np.float32)
        facts = {
            "test_accuracy": metrics.accuracy(values, labels),
            "test_cross_entropy": metrics.cross_entropy(values, labels),
            "test_objective": 1.0,
            "run": "r",
        }
        return make_checkpoint(tmp_path / name, seed=seed, logits=values, **facts | changes)

    teacher = make("teacher", 90, 0, run="t")
    scratch = make("plain", 60, 1)
    terms = {"cross_entropy": 1.5, "response": 2.0}
    weights = {"ce_weight": 0.3, "response_weight": 0.7, "temperature": 4.0}
    taught = make(
        "taught", 72, 2, method="response", objective=weights, test_terms=terms, test_objective=1.85,
        teacher={"name": "teacher", "sha256": teacher.sha256},
    )  # fmt: skip
    return {"teacher": teacher, "plain": scratch, "taught": taught}, labels


def rows(entries, labels, **options):
    logits = {name: comparison.stored_logits(c) for name, c in entries.items()}
    return comparison.rows(entries, logits, labels, **options), logits


def test_rows_hold_what_the_logits_say(family):
    entries, labels = family
    table, logits = rows(entries, labels, teacher="teacher", baseline="plain")
    taught = table[2]
    assert taught["accuracy"] == 72 / 120
    assert taught["difference"] == pytest.approx(12 / 120)
    assert (taught["gained"], taught["lost"]) == (12, 0)
    assert taught["p"] == pytest.approx(2 * 0.5**12)  # two-sided, all twelve on one side
    assert taught["teacher_agreement"] == pytest.approx((120 - 18) / 120)
    p, q = (np.exp(logits[n]) / np.exp(logits[n]).sum(1, keepdims=True) for n in ("teacher", "taught"))
    assert taught["teacher_kl"] == pytest.approx((p * np.log(p / q)).sum(1).mean(), rel=1e-5)
    assert table[0]["teacher_kl"] is None
    assert table[1]["p"] is None
    assert taught["size"] == (entries["taught"].path / "weights.safetensors").stat().st_size


def test_without_labels_the_cards_figures_stay_and_the_rest_is_unknown(family):
    entries, _ = family
    table, _ = rows(entries, None, teacher="teacher", baseline="plain")
    assert table[2]["accuracy"] == 72 / 120
    assert table[2]["p"] is None
    assert table[2]["calibration_error"] is None
    assert table[2]["teacher_agreement"] is not None


def test_networks_without_logits_still_have_a_row(family):
    entries, labels = family
    (entries["taught"].path / "test_logits.npz").write_bytes(b"broken")
    table, _ = rows(entries, labels, teacher="teacher", baseline="plain")
    assert table[2]["accuracy"] == 72 / 120
    assert table[2]["p"] is None


def test_the_loss_is_taken_apart_with_its_numbers(family):
    entries, labels = family
    table, _ = rows(entries, labels)
    text = comparison.why_the_loss_is_larger(table)
    assert "1.850" in text
    assert "0.3 × cross-entropy 1.500 + 0.7 × T²·KL 2.000" in text
    assert "Choose a distilled student" in comparison.why_the_loss_is_larger(table[:2])


def test_a_difference_is_called_chance_only_when_it_may_be(family):
    entries, labels = family
    table, logits = rows(entries, labels)
    text = comparison.really_better(table, logits, labels)
    assert "taught is 10.00 points above its scratch twin plain" in text
    assert "taught is 15.00 points below its teacher teacher" in text
    assert text.count("more than chance") == 2
    near = {name: logits["taught"].copy() for name in logits}
    near["plain"][0] = np.roll(near["plain"][0], 1)
    assert "could well be chance" in comparison.really_better(table, near, labels)
    assert "the paired test needs the labels" in comparison.really_better(table, logits, None)


def test_different_images_are_told_apart(family, tmp_path, make_checkpoint):
    entries, _ = family
    assert len(comparison.groups(entries)) == 1
    other = make_checkpoint(tmp_path / "other", data={"dataset": "synthetic", "measured_images": 2000})
    held = make_checkpoint(
        tmp_path / "held", data={"dataset": "synthetic", "measured_on": "holdout", "measured_images": 120}
    )
    assert len(comparison.groups(entries | {"other": other, "held": held})) == 3


def test_students_on_less_data_are_named_and_their_teacher_is_not(tmp_path, make_checkpoint):
    def data(count):
        return {"dataset": "synthetic", "measured_on": "test", "measured_images": 120, "train_images": count}

    teacher = make_checkpoint(tmp_path / "t", data=data(1000))
    student = make_checkpoint(tmp_path / "s", seed=1, data=data(300), teacher={"name": "t", "sha256": teacher.sha256})
    assert comparison.training_differs({"t": teacher, "s": student}) is None
    other = make_checkpoint(tmp_path / "o", seed=2, data=data(500))
    assert "300 images (s); 500 images (o)" in comparison.training_differs({"t": teacher, "s": student, "o": other})


def test_disagreements_are_complete_and_sorted_into_who_is_right(family):
    entries, labels = family
    first, second = (comparison.stored_logits(entries[name]) for name in ("taught", "plain"))
    found = comparison.disagreements(first, second, labels)
    assert sorted(found["first"]) == list(range(60, 72))
    assert len(found["second"]) == len(found["neither"]) == 0
    assert sorted(found["all"]) == list(range(60, 72))
    assert comparison.disagreements(first, second, None).keys() == {"all"}


def test_exports_read_back_to_the_same_numbers(family):
    entries, labels = family
    table, _ = rows(entries, labels, teacher="teacher", baseline="plain")
    read = list(csv.DictReader(io.StringIO(export.as_csv(table))))
    assert [row["Network"] for row in read] == ["teacher", "plain", "taught"]
    assert float(read[2]["Accuracy"]) == table[2]["accuracy"]
    assert read[1]["McNemar p"] == ""
    assert json.loads(export.as_json(table))[2]["p"] == table[2]["p"]
    text = export.as_markdown(table, "plain")
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    assert "60.00 %" in text
    assert "120 test images of synthetic shapes" in text


def test_short_names_are_unique():
    keys = ["a", "20260101-000000-demo-1234/a", "20260102-000000-demo-5678/a", "20260102-000000-demo-5678/b"]
    assert list(comparison.short_names(keys).values()) == ["a", "a (demo-1234)", "a (demo-5678)", "b"]
    clash = ["x/a", "x/y/a"]
    assert len(set(comparison.short_names(clash).values())) == 2


def test_multiply_adds_are_what_torch_counts():
    assert metrics.MULTIPLY_ADDS.keys() == BUILDERS.keys()
    for architecture in ("resnet8", "wrn_16_2", "mobilenet_v2", "resnet18"):
        assert metrics.MULTIPLY_ADDS[architecture] == metrics.multiply_adds(architecture)


def test_the_best_of_many_looks_is_tested_as_one_of_many(family, tmp_path, make_checkpoint):
    """Five students with the twin's answers on all images but six: alone p = 2 / 2^6 = 0.031, of five looks 0.16."""
    entries, labels = family
    alone = comparison.stored_logits(entries["plain"])
    told = dict(entries["taught"].card)
    few = {"teacher": entries["teacher"], "plain": entries["plain"]}
    for number in range(5):
        logits = alone.copy()
        for image in range(60 + 6 * number, 66 + 6 * number):
            logits[image] = 3 * np.eye(10)[labels[image]]
        facts = {key: told[key] for key in ("method", "objective", "teacher", "run", "test_terms", "test_objective")}
        facts |= {"test_accuracy": 66 / 120, "test_cross_entropy": 1.0}
        name = f"s{number}"
        few[name] = make_checkpoint(tmp_path / name, seed=10 + number, logits=logits, **facts)
        if number in (0, 4):
            table, stored = rows(few, labels)
            text = comparison.really_better(table, stored, labels)
            assert "s0 is 5.00 points above its scratch twin plain" in text
            assert ("p = 0.031, p = 0.16 for the best of 5 looks), this could well be chance" in text) == (number == 4)
            assert ("(McNemar p = 0.031), more than chance" in text) == (number == 0)


def test_a_student_is_held_against_its_own_teacher(family, tmp_path, make_checkpoint):
    entries, labels = family
    stranger = make_checkpoint(
        tmp_path / "stranger", seed=7, logits=comparison.stored_logits(entries["plain"]), run="x"
    )
    table, logits = rows({"stranger": stranger} | entries, labels, teacher="stranger")
    assert "below its teacher teacher" in comparison.really_better(table, logits, labels)
