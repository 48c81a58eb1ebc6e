"""The command line: what it accepts, what it prints, how it fails."""

import io
import json
import re
import shlex

import numpy as np
import pytest
import torch

from kdexplorer.cli import train
from kdexplorer.cli.main import COMMANDS, build_parser, main
from kdexplorer.config import RunConfig
from kdexplorer.datasets import all_datasets, get_dataset
from kdexplorer.datasets.cifar10 import HUMAN_VARIABLE
from kdexplorer.errors import KDError
from kdexplorer.library import networks_by_name
from kdexplorer.methods import all_methods
from kdexplorer.networks import all_architectures, build
from kdexplorer.notation import parse_student, train_command
from kdexplorer.presets import DEMO, PRESETS, STARTING_POINTS
from kdexplorer.runs.array_store import list_files, save_arrays
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.launch import create_run
from kdexplorer.runs.run_folder import find_run, list_runs
from kdexplorer.studies import folder as study_folder
from kdexplorer.training import estimate


def read_back(command):
    """The options that a printed command gives."""
    return build_parser().parse_args(shlex.split(command)[3:])


def test_the_command_of_an_experiment_reads_back_to_the_same_experiment():
    students = ["resnet8:response:T=2:alpha=0.9", "resnet8:feature:power=2", "resnet8:scratch:smoothing=0.1"]
    config = RunConfig(
        dataset="synthetic", epochs=3, compile=True, seed=7, teacher="run/my teacher", train_images=500, batch_size=100,
        start_resolution=16, students=[parse_student(text) for text in students],
    )  # fmt: skip
    assert train.read_config(read_back(train_command(config))) == config
    assert "--learning-rate" not in train_command(config)  # the default
    plain = RunConfig(recipe="airbench", filter_momentum=None, dataset="synthetic", students=config.students[2:])
    assert train.read_config(read_back(train_command(plain))).filter_momentum == plain.momentum
    command = "python -m kdexplorer train --recipe fast --momentum 0.9 --dataset synthetic --students resnet8:scratch"
    fast = train.read_config(read_back(command))
    assert (fast.optimizer, fast.momentum, fast.norm_momentum) == ("muon", 0.9, 0.4)
    assert train.read_config(read_back(train_command(fast))) == fast


def test_options_override_the_file_of_a_configuration_which_chooses_no_substitute_by_naming_no_data(tmp_path, command):
    config = RunConfig(epochs=3, seed=7, students=[parse_student("resnet8")])
    (tmp_path / "config.json").write_text(config.model_dump_json())
    (tmp_path / "link.json").symlink_to("config.json")
    options = build_parser().parse_args(["train", "--config", str(tmp_path / "link.json"), "--epochs", "5"])
    assert train.read_config(options) == config.model_copy(update={"epochs": 5})
    (tmp_path / "run.json").write_text('{"students": [{"name": "a", "architecture": "resnet8"}]}')
    said = command("train", "--config", str(tmp_path / "run.json"), code=2).err
    assert said.startswith("error: KDEXPLORER_DATA is /")


def test_the_help_of_train_lists_what_the_registries_contain(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = capsys.readouterr().out
    keys = [*PRESETS, *(method.key for method in all_methods()), *(one.key for one in all_architectures())]
    assert not [key for key in keys if not re.search(rf"\b{re.escape(key)}\b", text)]
    for method in all_methods():
        assert all(f"{name}=" in text for name in method.Settings.model_fields if name != "method")


@pytest.mark.parametrize("words", [["--version"], *([*name.split(), "--help"] for name in COMMANDS)], ids=" ".join)
def test_every_command_has_help(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    assert capsys.readouterr().out


def test_a_run_prints_its_table_and_is_listed_and_shown_with_its_results(tiny, command):
    words = ["train", "--dataset", "synthetic", "--epochs", "1", "--batch-size", "32", "--train-images", "100"]
    trained = command(*words, "--students", "resnet8:scratch")
    (run,) = list_runs()
    assert run.run_id in trained.err
    assert "| resnet8-scratch " in trained.out
    assert re.search(rf"{run.run_id} +finished", command("runs", "list").out)
    shown = json.loads(command("runs", "show", run.run_id, "--json").out)
    assert shown["status"]["state"] == "finished"
    assert [row["epoch"] for row in shown["metrics"]] == [0]
    (line,) = re.findall("^command: (.*)$", command("runs", "show", run.run_id).out, re.M)
    assert train.read_config(read_back(line)) == run.config()
    (row,) = json.loads(command("runs", "table", run.run_id, "--json").out)
    assert 0 <= row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"] <= 1
    assert row["objective"] == pytest.approx(row["cross_entropy"], abs=1e-3)  # it minimizes cross-entropy alone
    for words in (["runs", "stop"], ["resume"]):
        assert "is finished" in command(*words, run.run_id, code=1).err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "--students", "resnet8", "resnet8"], 2, "two students are called resnet8-scratch"),
        (["train", "--students", "resnet8", "--config", "absent.json"], 2, "absent.json"),
        (["train"], 2, "no students are given"),
        (["sweep", "--student", "resnet8"], 2, "needs a teacher"),
        (["sweep", "--student", "resnet8", "--teacher", "resnet56", "--weight", "2"], 2, "weights"),
        (["attention", "resnet56", "resnet20-scratch", "--images", "0"], 2, "--images"),
        (["resume", "../../etc"], 2, "there is no run"),
        (["train", "--students", "resnet8", "--dataset", "cifar10"], 2, "data download cifar10"),
        (["train", "--students", "resnet8:scratch:initial=resnet56", "--dataset", "cifar10-small"], 2, "cannot start"),
        (["train", "--students", "resnett8"], 2, "not 'resnett8' (did you mean 'resnet8'?)"),
        (["experiment", "better-techer"], 2, "(did you mean 'better-teacher'?)"),
        (["evaluate", "resnet5"], 2, "(did you mean 'resnet56'?)"),
        (["import", "absent.pt", "--architecture", "resnet8", "--name", "x"], 1, "absent.pt is not found"),
        (["import", "absent.pt", "--architecture", "resnet8", "--name", "../x"], 1, "is not a name"),
        (["human-labels"], 1, "KDEXPLORER_CIFAR10H"),
        (["train", "--students", "resnet8", "--device", "tpu"], 2, "device: should be auto, cpu, cuda, or cuda:N"),
        (["train", "--students", f"resnet8:scratch:name={'a' * 60}", "--epochs=2", "--snapshots=1"], 2, "snapshot"),
        (["train", "--students", "resnet8:kd", "--teacher", "os:getcwd", "--epochs", "0"], 2, "epochs: should"),
        (["app", "--port", "99999"], 2, "--port: should be 0 to 65535"),
        (["app", "--address", "a..b"], 2, "--address: a..b: "),
        (["app", "--story", "absent.toml"], 2, "absent.toml"),
        (["handout", "--networks", "resnet8-scratch", "--temperature", "nan"], 2, "the temperature must be"),
        (["export", "resnet8-scratch", "-o", "."], 1, "it is a folder: name a file"),
        (["handout", "--networks", "resnet8-scratch", "-o", "missing/x.html"], 1, "missing: there is no such folder"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_wrong(words, code, says, command):
    error = command(*words, code=code).err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert says in error
    assert list_runs() == []
    with pytest.raises((KDError, OSError)):  # with a traceback
        main(["--debug", *words])


def test_the_bundled_subset_replaces_missing_data_and_a_line_says_so(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDEXPLORER_DATA")
    monkeypatch.setattr(train, "launch_run", lambda config: create_run(config, config.name))
    monkeypatch.setattr(study_folder.launch, "start_run", lambda run: None)
    note = "CIFAR-10 is missing: training on 5,000 CIFAR-10 images (included)\n"
    for given, says in (([], note), (["--dataset", "cifar10-small"], "")):
        out, err = command("train", "--students", "resnet8", "--detach", *given)
        assert find_run(out.strip()).config().dataset == "cifar10-small"
        assert err == says
    words = ["sweep", "--student", "resnet8", "--teacher", "resnet56", "--detach", "--yes", "--quiet"]
    assert command(*words).err.startswith(note)
    (sweep,) = study_folder.list_sweeps()
    assert sweep.config().study.shared.dataset == "cifar10-small"


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0), (None, 2)])
def test_deleting_runs_asks_first(answer, code, monkeypatch, command):
    run = create_run(RunConfig(name="lab", dataset="synthetic", students=[parse_student("resnet8")]), "lab")
    run.write_status("stopped")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: answer is not None, raising=False)
    assert run.run_id in command("runs", "delete", run.run_id, code=code).err
    assert run.path.exists() == (code != 0)


def test_what_starts_processes_of_its_own_refuses_torchrun(monkeypatch, command):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for words in (["train", "--students", "resnet8", "--detach"], ["sweep", "--student", "resnet8"]):
        assert "without torchrun" in command(*words, code=2).err


def test_data_are_listed_beside_missing_and_damaged_ones_and_stored_predictions_deleted(tiny, data_folder, command):
    (data_folder / "cifar-100-python.tar.gz").touch()
    text, error = command("data", "info", code=1)
    assert all("is damaged" in one for one in (error, command("data", "download", "cifar100", code=1).err))
    assert "data download cifar10" in text
    assert all(dataset.label in text for dataset in all_datasets())
    save_arrays({"number": 1}, {"logits": np.zeros((1000, 10), np.float32)})
    assert "1 file, 0.0 MB of at most 1,074 MB" in command("data", "predictions").out
    command("data", "predictions", "--delete")
    assert list_files() == []


def test_imported_weights_become_a_checkpoint_that_evaluates_to_its_card(tmp_path, runs_root, command, tiny):
    path, made = tmp_path / "mine.pt", runs_root / "imported" / "mine"
    torch.save(build("resnet8", seed=5).state_dict(), path)
    words = ["import", str(path), "--architecture", "resnet8", "--dataset", "synthetic", "--name", "mine"]
    command(*words)
    report, card = json.loads(command("evaluate", "imported/mine", "--json").out), open_checkpoint(made).card
    assert (report["matches_card"], report["accuracy"]) == (True, card.test_accuracy)
    assert "mine is taken" in command(*words, code=1).err
    (made / "card.json").write_text(card.model_copy(update={"test_accuracy": 0.999}).model_dump_json())
    assert "99.90 %" in command("evaluate", str(made), code=1).out
    for _ in range(2):  # a failed import leaves nothing
        assert "std" in command(*words[:-1], "other", "--std", "0.2", "0.2", "-0.2", code=2).err


def test_the_demo_measures_the_machine_once_trains_and_says_what_to_do_next(tiny, monkeypatch, command):
    changes = {"dataset": "synthetic", "teacher": None, "students": [{"name": "s", "architecture": "resnet8"}]}
    monkeypatch.setitem(STARTING_POINTS, DEMO, STARTING_POINTS[DEMO] | changes | {"batch_size": 32})
    first = command("demo", "--epochs", "1")
    assert "Measuring this machine" in first.err
    seconds = estimate.demo_seconds(estimate.stored_estimate(), 1)
    assert f"about {estimate.format_duration(seconds)} on this machine" in first.err
    (run,) = list_runs()
    assert run.status().state == "finished"
    assert f"/compare?networks={run.run_id}/s" in first.out
    assert f"/launch?run={run.run_id}" in first.out
    assert "Measuring" not in command("demo", "--epochs", "1", "--seed", "1").err
    assert sorted(run.config().seed for run in list_runs()) == [0, 1]
    monkeypatch.setattr(estimate, "_machine", lambda: "another processor")
    assert estimate.stored_estimate() is None
    command("demo", "--epochs", "0", code=2)


def test_attention_prints_a_row_for_each_student_and_stage(command):
    students = ["resnet20-scratch", "resnet20-response"]
    words = ["attention", "resnet56", *students, "--images", "30"]
    rows = json.loads(command(*words, "--json").out)
    assert [(row["name"], row["stage"]) for row in rows] == [(name, stage) for name in students for stage in (1, 2, 3)]
    lines = command(*words).out.splitlines()
    assert len(lines) == 2 + len(rows)
    assert f"{rows[5]['to_scratch_baseline']['estimate']:+.3f} ±" in lines[-1]
    assert "number of stages" in command("attention", "resnet56", "resnet18-scratch", code=1).err


def test_human_labels_prints_a_row_for_each_network(tmp_path, monkeypatch, command):
    np.save(tmp_path / "human.npy", np.eye(10)[get_dataset("cifar10").test_labels()] * 0.9 + 0.01)
    monkeypatch.setenv(HUMAN_VARIABLE, str(tmp_path / "human.npy"))
    rows = {row["name"]: row for row in json.loads(command("human-labels", "--json").out)}
    assert list(rows) == networks_by_name()
    names = ["resnet20-response", "resnet20-scratch"]
    student, baseline = command("human-labels", *names).out.strip().splitlines()[2:]
    found = rows[names[0]]["all_images"]
    assert found["count"] == 10_000
    assert f"{found['estimate']:+.3f} ±" in student
    assert "±" not in baseline
