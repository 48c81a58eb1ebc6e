"""The commands that print tables of analyses: `attention`, `human-labels`, `runs table`."""

import json

import numpy as np
import pytest

from kdexplorer.cli.main import main
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.human_labels import VARIABLE

KD_OBJECTIVE = {"terms": [{"method": "kd"}]}


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    root = tmp_path / "bundled"
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(root))
    return root


def test_attention_prints_a_row_for_each_student_and_stage(bundled, make_checkpoint, tiny, capsys):
    for seed, name in enumerate(("teacher", "baseline")):
        make_checkpoint(bundled / name, seed=seed, run="r")
    make_checkpoint(bundled / "student", seed=2, run="r", objective=KD_OBJECTIVE)
    words = ["attention", "teacher", "baseline", "student", "--images", "30"]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["stage"]) for row in rows] == [(n, k) for n in ("baseline", "student") for k in (1, 2, 3)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(rows)
    assert f"{rows[5]['to_scratch_baseline']['estimate']:+.3f} ±" in lines[-1]
    make_checkpoint(bundled / "other", "mobilenet_v2")
    assert main(["attention", "teacher", "other", "--images", "10"]) == 1
    assert "number of stages" in capsys.readouterr().err


def test_human_labels_prints_a_row_for_each_network(bundled, make_checkpoint, tmp_path, monkeypatch, capsys):
    cifar = get_dataset("cifar10")
    facts = {"classes": cifar.classes, "data": {"dataset": "cifar10", "evaluation_images": 10_000}, "run": "r"}
    generator = np.random.default_rng(0)
    labels = cifar.test_labels()
    np.save(tmp_path / "human.npy", np.eye(10)[labels] * 0.9 + 0.01)
    for seed, (name, changes) in enumerate({"baseline": {}, "student": {"objective": KD_OBJECTIVE}}.items()):
        logits = 3 * np.eye(10)[labels] + generator.normal(size=(10_000, 10))
        make_checkpoint(bundled / name, seed=seed, logits=logits, **facts, **changes)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "human.npy"))
    assert main(["human-labels", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["baseline", "student"]
    assert rows[1]["all_images"]["count"] == 10_000
    assert main(["human-labels", "student", "baseline"]) == 0
    student, baseline = capsys.readouterr().out.strip().splitlines()[2:]
    assert f"{rows[1]['all_images']['estimate']:+.3f} ±" in student
    assert "±" not in baseline


def test_claims_prints_every_claim_with_its_verdict(bundled, make_checkpoint, capsys):
    make_checkpoint(bundled / "only")
    assert main(["claims", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 8
    assert {row["verdict"] for row in rows} <= {"supported", "not supported", "cannot be decided"}
    assert "There is no sweep" in rows[0]["evidence"]
