"""Interrupted runs: they resume to the same bits, from any good state."""

import functools
import json
import os
import pickle
import shutil
import signal
from unittest.mock import Mock

import pytest
import torch

from kdexplorer.errors import ConfigError
from kdexplorer.runs.card import Environment
from kdexplorer.runs.checkpoints import open_checkpoint
from kdexplorer.runs.run_folder import finished_students
from kdexplorer.training import hardware
from kdexplorer.training.state import restore_state, save_state
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer
from tests.runs.forgery import Marker
from tests.training.configs import bits, create, stop_and_resume, stop_at


@pytest.mark.parametrize("where", [(0, 5), (1, 2)], ids=["an epoch's last step", "mid-epoch"])
def test_sigterm_ends_a_run_after_the_step_and_it_resumes_to_the_same_bits(paired, undisturbed, where):
    handler, run = signal.getsignal(signal.SIGTERM), create(paired)
    begun, resumed = stop_at(run, where), []
    assert run.status().state == "stopped"
    assert signal.getsignal(signal.SIGTERM) is handler
    assert finished_students(run) == []
    assert execute(run, report=lambda done, total: resumed.append(done)) == "finished"
    assert resumed == list(range(len(begun) + 1, 13))  # nothing is replayed
    assert bits(run) == undisturbed


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_stopped_where_the_resolution_grows_resumes_to_the_same_bits(paired, undisturbed, monkeypatch, compiled):
    """Compiled networks (with the eager backend; each resolution is compiled for) compute what the others do."""
    growing = paired.model_copy(update={"start_resolution": 16})
    expected = stop_and_resume(growing, (0, 5))
    assert expected[0] != undisturbed[0]
    if compiled:
        monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
        monkeypatch.setattr(hardware, "require_compiler", lambda device: None)  # that backend needs none
        assert stop_and_resume(growing.model_copy(update={"compile": True}), (0, 5)) == expected


def test_a_damaged_or_hostile_state_is_reported_and_the_run_goes_on_from_the_one_before(halfway, undisturbed, tmp_path):
    run, fired, continued = halfway, tmp_path / "fired", []  # which would be created by unpickling
    shutil.copytree(run.path, tmp_path / "kept")
    good = (run.path / "state.pt").read_bytes()
    middle = len(good) // 2
    damages = {
        "empty": b"",
        "cut at the end": good[:-1],
        "hostile": pickle.dumps(Marker(fired), protocol=2),
        "another run's": good.replace(b"scratch", b"Scratch"),
        "one bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
    }
    for name, content in damages.items():
        shutil.rmtree(run.path)
        shutil.copytree(tmp_path / "kept", run.path)
        (run.path / "state.pt").write_bytes(content)
        assert stop_at(run, (1, 0)) == [(1, 0)], name  # from the state after the first epoch
        assert "state.pt could not be read" in run.log_tail(50)
        assert (run.path / "state.damaged.pt").read_bytes() == content
        students = torch.load(run.path / "state.pt", weights_only=True)["students"].values()
        continued.append([(student["network"], student["optimizer"]["state"]) for student in students])
        torch.testing.assert_close(continued[-1], continued[0], rtol=0, atol=0)
    assert not fired.exists()
    assert execute(run) == "finished"
    assert bits(run) == undisturbed
    assert not (run.path / "state.old.pt").exists()


def test_without_a_good_state_a_run_begins_anew(halfway, undisturbed):
    (halfway.path / "state.pt").write_bytes(b"garbage")
    (halfway.path / "state.old.pt").write_bytes(b"")
    assert execute(halfway) == "finished"
    assert bits(halfway) == undisturbed


def test_a_state_that_cannot_be_read_now_is_not_taken_for_damaged(halfway, monkeypatch):
    good = (halfway.path / "state.pt").read_bytes()
    monkeypatch.setattr(torch, "load", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        execute(halfway)
    assert halfway.status().state == "failed"
    assert (halfway.path / "state.pt").read_bytes() == good


def test_a_run_is_refused_until_every_setting_that_decides_a_bit_is_restored(halfway, undisturbed):
    path = halfway.path / "config.json"
    states = [(halfway.path / name).read_bytes() for name in ("state.pt", "state.old.pt")]
    config = json.loads(path.read_bytes())
    smoothed = [config["students"][0] | {"label_smoothing": 0.1}]
    for field, value in (("learning_rate", 0.2), ("seed", 7), ("students", smoothed)):
        path.write_text(json.dumps(config | {field: value}))
        with pytest.raises(ConfigError, match=rf"not as when the run began: {field}"):
            execute(halfway)
        assert halfway.status().state == "failed"
        assert field in halfway.status().message
        assert [(halfway.path / name).read_bytes() for name in ("state.pt", "state.old.pt")] == states
    path.write_text(json.dumps(config | {"save_minutes": 60, "threads": 1, "name": "other"}))
    assert execute(halfway) == "finished"
    assert bits(halfway) == undisturbed
    assert halfway.status().warning == ""


def test_a_processor_that_an_earlier_version_did_not_record_is_no_other_one():
    facts = {"threads": 2, "device": "cpu", "precision": "float32", "torch": "2.13.0"}
    unknown, first, second = (Environment(**facts, processor=name) for name in ("", "EPYC", "Xeon"))
    assert unknown.differences(first) == first.differences(unknown) == []
    assert first.differences(second) == ["processor Xeon instead of EPYC"]


def test_a_run_that_is_resumed_with_other_threads_says_so_and_its_cards_too(halfway):
    path = halfway.path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"threads": 2}))
    stop_at(halfway, (1, 3))
    assert execute(halfway) == "finished"
    assert "threads 2 instead of 1" in halfway.status().warning
    assert "threads 2 instead of 1" in halfway.log_tail(50)
    for folder in finished_students(halfway):
        environments = open_checkpoint(folder).card.legs[-1].environments
        assert [(one.epoch, one.step, one.threads) for one in environments] == [(0, 0, 1), (1, 3, 2)]
        assert {(one.precision, one.torch) for one in environments} == {("float32", torch.__version__)}


def test_a_state_without_float16s_scale_is_continued_in_float16(paired, tmp_path):
    save_state(tmp_path, Trainer(paired), 0, 1)
    reduced = Trainer(paired.model_copy(update={"precision": "float16"}))
    assert restore_state(reduced, tmp_path / "state.pt") == (0, 1)


@pytest.mark.parametrize(("evaluation", "snapshots"), [(3, 0), (4, 0), (3, 1)])
def test_a_stop_in_an_evaluation_resumes_to_the_same_bits(paired, undisturbed, monkeypatch, evaluation, snapshots):
    """In the second epoch's, or that of the float16 weights; snapshots are written before, as they would be lost."""
    run, evaluate, done = create(paired.model_copy(update={"snapshots": snapshots})), Trainer.evaluate, []

    def interrupted(trainer, student, teacher):
        done.append(student)
        found = evaluate(trainer, student, teacher)
        if len(done) == evaluation:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", interrupted)
        assert execute(run) == "stopped"
    assert len(done) <= evaluation + 1
    assert len(list(run.path.glob("*-after-1"))) == 2 * snapshots
    assert execute(run) == "finished"
    assert bits(run) == undisturbed
