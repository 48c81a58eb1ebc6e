"""The command line: what it accepts, what it prints, how it fails."""

import json
import pickle
import re

import pytest
import torch

from kdexplorer import cli, data, models, runs
from kdexplorer.config import PRESETS, ExperimentConfig, StudentConfig

TINY = ["train", "--dataset", "synthetic", "--epochs", "1", "--batch-size", "64", "--train-images", "200"]


@pytest.fixture
def finished(tiny, capsys):
    """A run of one student, and what the command printed."""
    assert cli.main([*TINY, "--students", "resnet8:scratch"]) == 0
    return runs.list_runs()[0], capsys.readouterr()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_students_notation_reads_back_to_the_same_student(preset):
    plain = StudentConfig.parse(f"resnet20:{preset}")
    assert cli.student_notation(plain) == f"resnet20:{preset}"
    values = PRESETS[preset] | {"ce_weight": 0.125, "label_smoothing": 0.05}
    changed = StudentConfig(name="mine", architecture="resnet8", **values)
    assert StudentConfig.parse(cli.student_notation(changed)) == changed
    finer = changed.model_copy(update={"ce_weight": 1 / 3, "attention_weight": 123456.7})
    assert StudentConfig.parse(cli.student_notation(finer)) == finer


def test_the_command_line_of_an_experiment_reads_back_to_the_same_experiment():
    config = ExperimentConfig(
        dataset="synthetic", epochs=3, compile=True, seed=7, teacher="resnet56", train_images=500, batch_size=100,
        start_resolution=16,
        students=[StudentConfig.parse(text) for text in ("resnet8:response:T=2:alpha=0.9", "resnet8:feature:power=2")],
    )  # fmt: skip
    words = cli.command_line(config).split()[3:]
    options = cli.parser().parse_args(words)
    values = {k: v for k in ExperimentConfig.model_fields if k != "students" and (v := getattr(options, k)) is not None}
    assert ExperimentConfig(**values, students=[StudentConfig.parse(text) for text in options.students]) == config


def test_training_prints_the_table_and_where_the_run_is(finished):
    run, printed = finished
    assert run.status()["state"] == "finished"
    assert run.run_id in printed.err
    assert "| resnet8-scratch | scratch |" in printed.out


def test_evaluating_a_checkpoint_gives_its_cards_figures_and_exit_code_0(finished, capsys):
    run, _ = finished
    assert cli.main(["evaluate", f"{run.run_id}/resnet8-scratch", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    card = json.loads((run.path / "resnet8-scratch" / "card.json").read_text())
    assert report["matches_card"] is True
    assert report["accuracy"] == card["test_accuracy"]
    assert report["accuracy_low"] < report["accuracy"] < report["accuracy_high"]
    assert 0 <= report["calibration_error"] <= 1


def test_a_card_that_promises_more_than_its_weights_hold_is_found_out(finished, capsys):
    run, _ = finished
    path = run.path / "resnet8-scratch" / "card.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps(card | {"test_accuracy": 0.999}))
    assert cli.main(["evaluate", str(path.parent)]) == 1
    assert "ITS CARD SAYS 99.90 %" in capsys.readouterr().out


def test_runs_are_listed_shown_and_tabled(finished, capsys):
    run, _ = finished
    assert cli.main(["runs", "list"]) == 0
    assert re.search(rf"{run.run_id} +finished", capsys.readouterr().out)
    assert cli.main(["runs", "show", run.run_id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["status"]["state"] == "finished"
    assert [row["epoch"] for row in shown["metrics"]] == [0]
    assert cli.main(["runs", "table", run.run_id, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert 0 <= row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1
    assert row["objective"] == pytest.approx(row["cross_entropy"], abs=1e-3)  # scratch minimises cross-entropy alone


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "--students", "resnet9:scratch"], 2, "architecture"),
        (["train", "--students", "resnet8:magic"], 2, "no preset 'magic'"),
        (["train", "--students", "resnet8:response"], 2, "no teacher is given"),
        (["train", "--students", "resnet8", "resnet8"], 2, "two students are called resnet8-scratch"),
        (["train", "--students", "resnet8", "--epochs", "0"], 2, "epochs"),
        (["train", "--students", "resnet8", "--config", "absent.json"], 2, "absent.json"),
        (["train"], 2, "no students are given"),
        (["resume", "../../etc"], 1, "there is no run"),
        (["evaluate", "no-such-network"], 2, "there is no checkpoint"),
        (["runs", "show", "nobody"], 1, "there is no run 'nobody'"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_wrong(words, code, says, capsys):
    assert cli.main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error


def test_debug_shows_the_traceback():
    with pytest.raises(runs.RunError):
        cli.main(["--debug", "runs", "show", "nobody"])


def test_data_info_says_what_to_do_where_there_is_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDEXPLORER_DATA", str(tmp_path))
    assert cli.main(["data", "info"]) == 1
    assert "data download" in capsys.readouterr().out


def test_ones_own_weights_become_a_checkpoint_that_evaluates_to_its_card(tmp_path, monkeypatch, capsys, tiny):
    drawn = data.synthetic(60, seed=3)
    split = data.Split(drawn.images, drawn.labels, data.CIFAR10_CLASSES)
    monkeypatch.setattr(data, "load_split", lambda *_args, **_kwargs: split)
    network = models.build("resnet8", seed=5)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "mine.pt")
    words = ["import", str(tmp_path / "mine.pt"), "--architecture", "resnet8", "--name", "mine"]
    assert cli.main(words) == 0
    capsys.readouterr()
    assert cli.main(["evaluate", "imported/mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["matches_card"] is True
    assert cli.main(words) == 1
    assert "not a free name" in capsys.readouterr().err
    for _ in range(2):  # nothing was left in its place
        assert cli.main([*words[:-1], "other", "--std", "0.2", "0.2", "-0.2"]) == 1
        assert "must be above 0" in capsys.readouterr().err


class _Marker:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_in_disguise_is_refused_and_not_executed(tmp_path, capsys):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"conv1.weight": _Marker(tmp_path / "marker")}))
    words = ["import", str(tmp_path / "evil.pt"), "--architecture", "resnet8", "--name", "evil"]
    assert cli.main(words) == 1
    assert "not a plain file of weights" in capsys.readouterr().err
    assert not (tmp_path / "marker").exists()
