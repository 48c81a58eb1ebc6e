"""What a sweep found, on grids whose answer is known, and its charts."""

import numpy as np
import pytest

from kdexplorer import metrics, surface
from kdexplorer.ui import charts_sweep

DEFAULT = {"temperature": 4.0, "response_weight": 0.7}
PLACES = [(None, 0.0), (1.0, 0.7), (2.0, 0.7), (4.0, 0.7)]


def grid(chances, seeds=3, images=400):
    """Results of a grid in which each cell's students get each image right with the given chance."""
    generator = np.random.default_rng(1)
    right = {
        (*place, seed): generator.random(images) < chance
        for place, chance in zip(PLACES, chances, strict=True)
        for seed in range(seeds)
    }
    rows = [
        dict.fromkeys(surface.MEASURES, 0.5) | {"teacher_agreement": None, "accuracy": float(answers.mean())}
        | {"temperature": key[0], "response_weight": key[1], "seed": key[2]}
        for key, answers in right.items()
    ]  # fmt: skip
    every = surface.cells(rows, right, DEFAULT)
    best = max(every[1:], key=lambda cell: cell["accuracy"])
    made = {
        "student": "resnet8", "teacher": "resnet56", "measured_on": "400 test images", "temperatures": [1.0, 2.0, 4.0],
        "response_weights": [0.7], "default": DEFAULT, "scratch": every[0], "cells": every[1:],
        "best": {key: best[key] for key in DEFAULT},
    }  # fmt: skip
    return made, right


def test_a_cell_is_the_mean_of_its_seeds_and_is_tested_against_the_default():
    made, right = grid((0.5, 0.6, 0.9, 0.6))
    cell = made["cells"][1]
    values = [right[2.0, 0.7, seed].mean() for seed in range(3)]
    assert cell["accuracy_values"] == pytest.approx(values)
    assert cell["accuracy"] == pytest.approx(np.mean(values))
    assert (cell["accuracy_low"], cell["accuracy_high"]) == metrics.seed_interval(cell["accuracy_values"])
    facts = metrics.paired_test(
        *(np.stack([right[t, 0.7, seed] for seed in range(3)]) for t in (2.0, 4.0))
    )  # fmt: skip
    assert (cell["p"], cell["difference"]) == (facts["p"], pytest.approx(facts["difference"]))
    assert cell["ahead"] == 3
    tested = [made["scratch"], *made["cells"][:2]]
    assert [one["p_holm"] for one in tested] == metrics.holm([one["p"] for one in tested])
    assert "p" not in made["cells"][2]  # the default itself
    assert cell["teacher_agreement"] is None


def test_the_answer_names_the_best_its_interval_and_every_doubt():
    clear = surface.answer(grid((0.5, 0.6, 0.9, 0.6))[0])
    assert "The best of 3 cells is T = 2 with weight 0.7" in clear
    assert "in 3 of 3 seeds" in clear
    assert "Holm's correction for 3 looks p < 0.0001: more than chance on these images" in clear
    assert "another seed is not in it" in clear
    assert "Labels alone give" in clear
    chance = surface.answer(grid((0.5, 0.6, 0.61, 0.6))[0])
    assert "this could well be chance" in chance
    alone = surface.answer(grid((0.5, 0.6, 0.9, 0.6), seeds=1)[0])
    assert "One seed a cell" in alone
    assert "lab's default itself" in surface.answer(grid((0.5, 0.6, 0.6, 0.9))[0])
    assert surface.answer(grid((0.5, 0.6, 0.9, 0.6))[0] | {"cells": [], "best": None}) == "No student has finished yet."


def test_the_markdown_has_a_line_a_cell():
    made, _ = grid((0.5, 0.6, 0.9, 0.6))
    lines = [line for line in surface.markdown(made).splitlines() if line.startswith("| ")]
    assert len(lines) == 1 + 4
    assert lines[1].startswith("|  | 0 | 3 |")
    assert "| < 0.0001 | < 0.0001 |" in lines[3]


def test_a_table_from_a_file_is_checked_before_it_is_drawn():
    made, _ = grid((0.5, 0.6, 0.9, 0.6))
    assert surface.readable(made)
    for broken in (None, [], {}, {"cells": 3}, made | {"cells": [{}]}, {k: v for k, v in made.items() if k != "best"}):
        assert not surface.readable(broken)


def test_the_surface_says_what_it_shows():
    made, _ = grid((0.5, 0.6, 0.9, 0.6))
    spec = charts_sweep.surface(made, "accuracy")
    rows = spec["layer"][0]["data"]["values"] if "data" in spec["layer"][0] else spec["data"]["values"]
    assert [row["T"] for row in rows] == ["1", "2", "4"]
    assert rows[1]["text"] == f"★ {100 * made['cells'][1]['accuracy']:.1f}"
    assert rows[2]["text"].startswith("◆ ")
    deviation = np.std([100 * value for value in made["cells"][0]["accuracy_values"]], ddof=1)
    assert rows[0]["spread"] == f"± {deviation:.1f}"
    assert "the most accurate cell has T 2, weight 0.7" in spec["description"]
    assert charts_sweep.surface(made, "teacher_agreement") is None


def test_every_seed_is_a_point_and_one_seed_has_no_interval():
    made, _ = grid((0.5, 0.6, 0.9, 0.6))
    assert len(charts_sweep.spread(made)["layer"]) == 3
    alone, _ = grid((0.5, 0.6, 0.9, 0.6), seeds=1)
    chart = charts_sweep.spread(alone)
    assert len(chart["layer"]) == 1
    assert chart["description"].startswith("Accuracy by cell, the best first: ★ T 2, weight 0.7")
    assert charts_sweep.spread(made | {"cells": []}) is None
