"""A sweep's results, on grids whose outcome is known, and what they say."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from kdexplorer.analysis import statistics
from kdexplorer.errors import ConfigError
from kdexplorer.files import write_json
from kdexplorer.sweeps import results as results_module
from kdexplorer.sweeps.grid import GridPoint
from kdexplorer.sweeps.report import summarize, to_markdown
from kdexplorer.sweeps.results import SweepResults, bundled_sweeps, read_results
from tests.sweeps.sample import POINTS, make_results

CLEAR, CHANCE, DEFAULT_BEST = (0.5, 0.6, 0.9, 0.6), (0.5, 0.6, 0.61, 0.6), (0.5, 0.6, 0.6, 0.9)


def test_a_cell_is_the_mean_of_its_seeds_and_is_tested_against_the_default():
    results, right = make_results(CLEAR)
    cell = results.cells[1]
    values = [right[POINTS[2], seed].mean() for seed in range(3)]
    assert cell.accuracy_values == pytest.approx(values)
    assert cell.accuracy == pytest.approx(np.mean(values))
    assert (cell.accuracy_low, cell.accuracy_high) == statistics.seed_interval(cell.accuracy_values)
    own, default = (np.stack([right[point, seed] for seed in range(3)]) for point in (POINTS[2], POINTS[3]))
    tested = statistics.paired_test(own, default)
    assert (cell.p, cell.difference) == (tested["p"], pytest.approx(tested["difference"]))
    assert (cell.ahead, len(cell.differences)) == (3, 3)
    compared = results.all_cells()[:3]
    assert [one.p_holm for one in compared] == statistics.holm([one.p for one in compared])
    assert results.cells[2].p is None  # the default itself
    assert cell.teacher_agreement is None


def test_the_summary_states_the_best_its_interval_and_the_test():
    results, _ = make_results(CLEAR)
    text = summarize(results)
    best = results.cells[1]
    for part in (
        "T = 2 with weight 0.7", f"{100 * best.accuracy:.2f} %", f"{100 * best.accuracy_low:.2f}", "3 of 3 seeds",
        f"{100 * best.difference:.2f} points", "3 comparisons p < 0.0001", f"{100 * results.scratch.accuracy:.2f} %",
        "more than chance on these images", "inflated",
    ):  # fmt: skip
        assert part in text
    assert "could be chance" not in text


def test_the_summary_does_not_call_chance_a_difference():
    text = summarize(make_results(CHANCE)[0])
    assert "could be chance" in text
    assert "more than chance" not in text


@pytest.mark.parametrize(
    ("chances", "seeds", "verdict"),
    [
        (CLEAR, 1, "one seed does not show how much seeds vary, so it cannot be decided"),
        (CLEAR, 4, "with fewer than 5 seeds it cannot be decided"),
        (CLEAR, 5, "the setting is better than the default"),
        (CHANCE, 5, "cannot be distinguished from the default"),
    ],
)
def test_the_verdict_on_settings_uses_seeds(chances, seeds, verdict):
    text = summarize(make_results(chances, seeds=seeds)[0])
    assert verdict in text.split("Seeds: ")[1]
    verdicts = ("cannot be decided", "is better than the default", "is worse", "cannot be distinguished")
    assert sum(text.count(one) for one in verdicts) == 1
    assert ("standard deviation" in text) == (seeds > 1)


def test_a_best_cell_that_is_behind_over_the_shared_seeds_is_called_worse():
    results, _ = make_results(CLEAR, seeds=5)
    behind = results.cells[1].model_copy(update={"differences": [-0.1, -0.11, -0.1, -0.09, -0.1]})
    text = summarize(results.model_copy(update={"cells": [results.cells[0], behind, results.cells[2]]}))
    assert "the setting is worse than the default" in text


def test_the_tests_over_seeds_are_paired_and_corrected():
    results, right = make_results(CLEAR)
    tests = results.seed_tests()
    compared = [cell for cell in results.all_cells() if cell.point != results.default]
    assert list(tests) == [cell.point for cell in compared]
    for cell in compared:
        own, default = ([right[point, seed].mean() for seed in range(3)] for point in (cell.point, POINTS[3]))
        expected = ttest_rel(own, default)
        assert tests[cell.point].p == pytest.approx(expected.pvalue)
        assert tests[cell.point].difference == pytest.approx(np.mean(own) - np.mean(default))
    assert [test.p_holm for test in tests.values()] == statistics.holm([test.p for test in tests.values()])


def test_the_bundled_sweep_by_seed():
    """By its students' accuracies: over images p < 0.0001 for both cells, over three seeds 0.039 and 0.043."""
    (stored,) = bundled_sweeps().values()
    default = [one.accuracy for one in stored.students if one.point == stored.default]
    tests = stored.seed_tests()
    for temperature, weight, p in ((4, 0.9, 0.039), (2, 0.7, 0.043)):
        point = GridPoint(temperature=temperature, weight=weight)
        own = [one.accuracy for one in stored.students if one.point == point]
        assert tests[point].p == pytest.approx(ttest_rel(own, default).pvalue)
        assert tests[point].p == pytest.approx(p, abs=5e-4)
        assert stored.cell_at(point).p < 1e-4
    assert tests[stored.best].p_holm == pytest.approx(0.2046, abs=1e-4)
    by_cell = pd.DataFrame([(str(one.point), one.accuracy) for one in stored.students]).groupby(0)[1]
    assert stored.seed_deviation() == pytest.approx(by_cell.var().mean() ** 0.5)
    assert stored.seed_deviation() == pytest.approx(0.0042, abs=5e-5)


@pytest.mark.parametrize(
    ("gain", "seeds", "words"),
    [
        (0.02, 5, "the setting is better than the default"),
        (-0.02, 5, "the setting is worse than the default"),
        (0.0, 5, "cannot be distinguished from the default"),
        (0.02, 3, "with fewer than 5 seeds it cannot be decided"),
    ],
)
def test_a_fresh_measurement_of_the_choice_is_told_apart_from_the_choice(gain, seeds, words):
    results = make_results(CLEAR, seeds=seeds)[0].model_copy(update={"recipe": {"holdout": 100}})
    assert "evaluate --after-choice" in summarize(results)
    assert "selected on these held-out images" in summarize(results)
    noise = {results.default: [0.0] * 5, results.best: [0.001, -0.001, 0.002, -0.002, 0.0]}
    base = {results.default: 0.6, results.best: 0.6 + gain}
    students = [
        one.model_copy(update={"test_accuracy": base[one.point] + noise[one.point][one.seed]})
        if one.point in base
        else one
        for one in results.students
    ]
    text = summarize(results.model_copy(update={"students": students})).split("Measured once after the choice")[1]
    mean = 100 * (0.6 + gain + np.mean(noise[results.best][:seeds]))
    assert f"{mean:.2f} % (mean of {seeds} seeds)" in text
    assert words in text
    assert "--after-choice" not in text


def test_the_summary_of_the_default_of_missing_labels_and_of_nothing():
    assert "lab's default itself" in summarize(make_results(DEFAULT_BEST)[0])
    results, _ = make_results(CLEAR)
    untested = results.cells[1].model_copy(update={"p": None, "p_holm": None, "difference": None})
    unlabeled = results.model_copy(update={"cells": [results.cells[0], untested, results.cells[2]]})
    assert "needs the labels" in summarize(unlabeled)
    assert "more than chance" not in summarize(unlabeled)
    assert "nothing is tested" in summarize(results.model_copy(update={"cells": results.cells[:2]}))
    empty = results.model_copy(update={"cells": [], "best": None, "scratch": None, "evaluated_on": None})
    assert "No student" in summarize(empty)
    assert "None" not in to_markdown(empty)


def test_the_markdown_has_a_row_for_each_cell():
    rows = [line for line in to_markdown(make_results(CLEAR)[0]).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + 4
    assert rows[1].startswith("|  | 0 | 3 |")
    assert "| < 0.0001 | < 0.0001 |" in rows[3]
    assert rows[4].endswith("|  |  |  |  |  |  |")
    assert len({row.count("|") for row in rows}) == 1


def test_results_read_back_to_the_same(tmp_path):
    results, _ = make_results(CLEAR)
    write_json(tmp_path / "table.json", results.model_dump(mode="json"))
    assert read_results(tmp_path / "table.json") == results


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: [],
        lambda values: {},
        lambda values: {"cells": 3},
        lambda values: values | {"cells": [{}]},
        lambda values: values | {"version": 3},
        lambda values: values | {"cells": [values["cells"][0] | {"accuracy": 2}]},
        lambda values: values | {"cells": [values["cells"][0] | {"accuracy_values": []}]},
        lambda values: {name: value for name, value in values.items() if name != "best"},
    ],
)
def test_a_damaged_table_is_refused_with_the_reason(tmp_path, damage):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(damage(make_results(CLEAR)[0].model_dump(mode="json"))))
    with pytest.raises(ConfigError, match=r"table\.json"):
        read_results(path)
    assert read_results(tmp_path / "missing.json") is None


def test_a_table_of_version_1_is_upgraded(tmp_path):
    results, _ = make_results(CLEAR)
    values = results.model_dump(mode="json")
    del values["version"]
    text = json.dumps(values)
    for new, old in (("weight", "response_weight"), ("weights", "response_weights"), ("evaluated_on", "measured_on")):
        text = text.replace(f'"{new}":', f'"{old}":')
    (tmp_path / "table.json").write_text(text)
    assert read_results(tmp_path / "table.json") == results


def test_the_bundled_table_is_read_and_its_figures_follow_from_its_students():
    (stored,) = bundled_sweeps().values()
    assert isinstance(stored, SweepResults)
    assert stored.cell_at(stored.best).accuracy == max(cell.accuracy for cell in stored.cells)
    for cell in stored.all_cells():
        values = [one.accuracy for one in stored.students if one.point == cell.point]
        assert (cell.accuracy_values, cell.accuracy) == (values, pytest.approx(np.mean(values)))
        assert (cell.accuracy_low, cell.accuracy_high) == pytest.approx(statistics.seed_interval(values))
    compared = [cell for cell in stored.all_cells() if cell.p is not None]
    assert [cell.p_holm for cell in compared] == pytest.approx(statistics.holm([cell.p for cell in compared]))


def test_bundled_tables_that_are_damaged_are_skipped(tmp_path, monkeypatch):
    (tmp_path / "sweeps").mkdir()
    write_json(tmp_path / "sweeps" / "good.json", make_results(CLEAR)[0].model_dump(mode="json"))
    (tmp_path / "sweeps" / "bad.json").write_text("{")
    monkeypatch.setattr(results_module, "bundled_root", lambda: tmp_path / "checkpoints")
    assert list(bundled_sweeps()) == ["good"]
