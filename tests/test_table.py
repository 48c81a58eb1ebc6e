"""The results table: paired with the scratch twin and with the teacher, where these are there."""

import json

import numpy as np
import pytest

from kdexplorer import checkpoints, cli, data, metrics, table


@pytest.fixture
def family(tmp_path, make_checkpoint, tiny):
    labels = data.load_split("synthetic", "test").labels

    def make(name, wrong, **facts):
        logits = np.eye(10)[np.where(np.isin(np.arange(120), wrong), (labels + 1) % 10, labels)]
        card = {"test_accuracy": metrics.accuracy(logits, labels), "test_objective": 1.5} | facts
        return make_checkpoint(tmp_path / name, seed=len(wrong), logits=logits, **card)

    teacher = make("teacher", range(20))
    told = {"method": "response", "run": "r", "teacher": {"name": "teacher", "sha256": teacher.sha256}}
    return [teacher, make("alone", range(30), run="r"), make("told", range(10, 22), **told)]


def test_a_row_is_tested_against_its_twin_and_its_teacher(family):
    teacher, alone, told = table.rows(family)
    assert {"to_twin", "to_teacher"}.isdisjoint(teacher)
    assert {"to_twin", "to_teacher"}.isdisjoint(alone)
    assert told["to_twin"] == {"name": "alone", "difference": pytest.approx(18 / 120), "p": pytest.approx(2**-17)}
    # 10 images gained, 2 lost: twice the binomial tail of 2 or fewer of 12
    assert told["to_teacher"]["p"] == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert "| +15.00 (p < 0.0001) | +6.67 (p = 0.039) |" in table.markdown([told])


def test_without_logits_there_is_a_difference_and_no_test(family):
    (family[2].path / "test_logits.npz").unlink()
    told = table.rows(family)[2]
    assert "p" not in told["to_twin"]
    assert "| +15.00 | +6.67 |" in table.markdown([told])
    assert "to_teacher" not in table.rows(family[2:])[0]


def test_networks_measured_on_different_images_are_not_subtracted(family, capsys, monkeypatch):
    elsewhere = dict(family[2].card, data={"dataset": "synthetic", "measured_on": "holdout", "measured_images": 120})
    (family[2].path / "card.json").write_text(json.dumps(elsewhere))
    mixed = [*family[:2], checkpoints.open_checkpoint(family[2].path)]
    assert {"to_twin", "to_teacher"}.isdisjoint(table.rows(mixed)[2])
    monkeypatch.setattr(checkpoints, "bundled", lambda: mixed)
    assert cli.main(["runs", "table"]) == 2
    assert "measured on different images" in capsys.readouterr().err
