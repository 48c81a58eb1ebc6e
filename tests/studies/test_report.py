"""A study's summary and what is said of it, on tables whose outcome is known, against independent computations."""

import json

import numpy as np
import pytest

from kdexplorer.analysis.difference import compare_pooled, correct, over_images, t_interval
from kdexplorer.errors import ConfigError
from kdexplorer.studies.report import describe_study, to_markdown
from kdexplorer.studies.table import accuracies_by, read_table, summarize
from tests.studies.sample import ACCURACIES, GRID, change, make_grid, make_table

CLEAR, CHANCE, DEFAULT_BEST = (0.5, 0.6, 0.9, 0.6), (0.5, 0.6, 0.61, 0.6), (0.5, 0.6, 0.6, 0.9)


def said(table):
    return describe_study(table, summarize(table))


def test_steps_are_compared_within_a_run():
    found = {one.name: one for one in summarize(make_table())}
    assert found["scratch"].own_step == 1
    assert found["kd"].own_step == pytest.approx(1.5)  # on machines of different speed
    assert found["at"].own_step == pytest.approx(2)
    assert found["at"].whole_step == pytest.approx((0.03 + 0.02) / (0.03 + 0.015))
    assert found["kd"].whole_step == 1
    assert found["scratch"].whole_step is None  # it needs no teacher
    assert found["kd"].entry.memory == 11 * 10**6


def test_five_seeds_decide_fewer_do_not_and_one_gives_means_alone():
    text = said(make_table())
    assert "KD (+2.00) is above it" in text
    assert "Compared with KD, AT (-1.88), scratch (-2.00) are below it by more than chance after Dunnett's" in text
    assert text.count("paired t tests with Holm's correction agree.") == 2
    assert "Dunnett's test finds 1.29 points with a probability of 80 %" in text
    near = ACCURACIES | {"at": [value + 0.006 + 1e-4 * n for n, value in enumerate(ACCURACIES["scratch"])]}
    assert "Holm's correction say: KD, AT are above it." in said(make_table(near))
    undecided = said(make_table(seeds=4))
    assert undecided.startswith("With 4 seeds it cannot be decided which method is better")
    assert "more than chance" not in undecided
    almost = [value + 1e-4 * (n % 2) for n, value in enumerate(ACCURACIES["scratch"])]
    equal = said(make_table(dict.fromkeys(ACCURACIES, almost) | {"scratch": ACCURACIES["scratch"]}))
    assert "Compared with scratch, no entry differs by more than chance" in equal
    assert "Within 0.5 points of it, by two one-sided paired tests: KD, AT." in equal
    alone = said(make_table({"kd": ACCURACIES["kd"]}))
    assert alone.endswith("over 5 seeds; there is nothing to compare it with.")
    one = make_table(seeds=1)
    assert "With one seed" in said(one)
    assert "| kd | KD | 1 | 72.20 | +2.20 |  |" in to_markdown(one)


def test_a_cell_is_the_mean_of_its_seeds_and_is_tested_against_the_default_and_the_best_is_stated():
    table, right = make_grid(CLEAR)
    summaries, default = summarize(table), GRID[3]
    assert [one.name for one in summaries] == GRID
    for one in summaries[:3]:
        own, other = (np.stack([right[name, seed] for seed in range(3)]) for name in (one.name, default))
        assert one.accuracy == pytest.approx(own.mean())
        assert one.interval == t_interval(one.values())
        expected = over_images(own, other)
        assert (one.over_images.p_alone, one.over_images.estimate) == (expected.p, pytest.approx(expected.estimate))
    tests = [one.over_images for one in summaries[:3]]
    assert tests == list(correct(dict(enumerate(tests))).values())
    accuracies = {one.name: table.values(one.name) for one in summaries}
    reference = accuracies.pop(default)
    assert {one.name: one.differences[default] for one in summaries[:3]} == compare_pooled(accuracies, reference)
    assert summaries[3].over_images is None  # the default itself
    assert "teacher_agreement" not in summaries[0].means
    text, best = said(table), summaries[2]
    numbers = best.accuracy, best.interval[0], best.over_images.estimate, summaries[0].accuracy
    words = "T 2 with weight 0.7", "3 of 3 seeds", "3 comparisons p < 0.0001", "more than chance on these images"
    assert all(part in text for part in (*words, *(f"{100 * number:.2f}" for number in numbers)))
    assert "could be chance" not in text
    chance = said(make_grid(CHANCE)[0])
    assert "could be chance" in chance
    assert "more than chance" not in chance
    five = said(make_grid(CLEAR, seeds=5)[0])
    assert "Compared with T 4 with weight 0.7, T 2 with weight 0.7 (+31.60) is above it" in five
    assert "cannot be decided" not in five


@pytest.mark.parametrize(
    ("gain", "seeds", "words"),
    [
        (-0.02, 5, "to the default -2.00 points (paired by seed, 95 % -2.20 to -1.80)"),
        (0.02, 3, "With 3 seeds it cannot be decided which setting is better"),
    ],
)
def test_a_fresh_measurement_of_the_choice_is_told_apart_from_the_choice(gain, seeds, words):
    table, _ = make_grid(CLEAR, seeds=seeds, holdout=100, without_class=3)
    assert f"evaluate --after-choice {table.study.study_id}" in said(table)
    assert "selected on these held-out images" in said(table)
    assert "all but 100 training images of cifar10 without class 3, 10 epochs" in to_markdown(table)
    best = np.array([0.001, -0.001, 0.002, -0.002, 0.0]) + 0.6 + gain
    by_entry = {GRID[2]: best, GRID[3]: [0.6] * 5}
    fresh = change(table, lambda row: {"test_accuracy": by_entry[row.entry][row.seed]} if row.entry in by_entry else {})
    text = said(fresh).split("Measured once after the choice")[1]
    assert f"{100 * best[:seeds].mean():.2f} % (mean of {seeds} seeds)" in text
    assert words in text
    assert "--after-choice" not in text
    alone = said(fresh.model_copy(update={"rows": [row for row in fresh.rows if row.entry in GRID[0::2]]}))
    assert f"{100 * best[:seeds].mean():.2f} % (mean of {seeds} seeds)" in alone
    assert "selected" not in alone


def test_the_summary_of_the_default_of_missing_labels_and_of_nothing():
    assert "lab's default itself" in said(make_grid(DEFAULT_BEST)[0])
    table, _ = make_grid(CLEAR)
    unlabeled = said(table.model_copy(update={"rows": [row.model_copy(update={"right": ""}) for row in table.rows]}))
    assert "needs the labels" in unlabeled
    assert "more than chance" not in unlabeled
    without = [row for row in table.rows if row.entry != GRID[3]]
    assert "nothing is tested" in said(table.model_copy(update={"rows": without}))
    apart = [row for row in table.rows if (row.entry == GRID[3]) == (row.seed == 0)]
    assert "no seed in common" in said(table.model_copy(update={"rows": apart}))
    empty = table.model_copy(update={"rows": [], "evaluated_on": ""})
    assert "No seed is complete" in said(empty)
    assert "None" not in to_markdown(empty)


def test_the_accuracies_of_a_setting_are_means_over_what_all_its_values_have():
    table, right = make_grid(CLEAR)
    found = accuracies_by(table, 0)
    assert found.keys() == {1.0, 2.0}
    assert found[2.0] == pytest.approx([right[GRID[2], seed].mean() for seed in range(3)])
    one_less = [row for row in table.rows if (row.entry, row.seed) != (GRID[2], 1)]
    assert [len(values) for values in accuracies_by(table.model_copy(update={"rows": one_less}), 0).values()] == [2] * 2
    assert accuracies_by(table, 1).keys() == {0.7}
    assert accuracies_by(table.model_copy(update={"rows": []}), 0) == {}


@pytest.mark.parametrize("damage", [{"measures": {"accuracy": 2}}, {"measures": {}}, {"right": "AA=="}])
def test_a_damaged_table_is_refused_with_the_reason(tmp_path, damage):
    path, values = tmp_path / "table.json", make_grid(CLEAR)[0].model_dump(mode="json")
    path.write_text(json.dumps(values | {"rows": [values["rows"][0] | damage]}))
    with pytest.raises(ConfigError, match=r"table\.json"):
        read_table(path)
