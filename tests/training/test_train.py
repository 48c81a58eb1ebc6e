"""A run from end to end: what it leaves, how it ends, and what a kill or another process does to it."""

import errno
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import torch
from filelock import FileLock
from scipy.special import log_softmax

from kdexplorer.datasets import get_dataset
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.networks import count_multiply_adds, count_parameters
from kdexplorer.runs.card import DataFacts
from kdexplorer.runs.checkpoints import open_checkpoint, run_checkpoints
from kdexplorer.runs.run_folder import Run, finished_students
from kdexplorer.training import state as state_module
from kdexplorer.training import train as train_module
from kdexplorer.training import trainer as trainer_module
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer, load_run_data
from tests.accidents import refuse
from tests.training.configs import COMBINED, SCRATCH, bits, create, make_config, predict, train_to_end, wait_for


def test_a_run_leaves_cards_whose_figures_follow_from_what_is_stored(paired, teacher, monkeypatch):
    torch.set_num_threads(2)
    run = train_to_end(paired.model_copy(update={"threads": 1}))
    status = run.status()
    assert (status.state, status.message) == ("finished", "")
    files = {"config.json", "status.json", "metrics.jsonl", "batches.jsonl", "teacher.json", "log.txt", "state.pt"}
    assert {path.name for path in run.path.iterdir() if path.name != ".lock"} == {*files, "scratch", "combined"}
    assert [(row.epoch, row.student) for row in run.metrics()] == [
        (epoch, name) for epoch in (0, 1) for name in ("scratch", "combined")
    ]
    test = get_dataset("synthetic").load("test")
    teacher_logits = predict(teacher.network(), test.images, teacher.card.normalization)
    figures = run.teacher(classes=10)
    assert figures.accuracy == pytest.approx((teacher_logits.argmax(axis=1) == test.labels).mean())
    assert figures.probe_labels == test.labels[:20].tolist()
    for checkpoint, key in zip(run_checkpoints(run), ("scratch", "kd+at"), strict=True):
        card, stored = checkpoint.card, checkpoint.logits()
        logits = predict(checkpoint.network(), test.images, card.normalization)
        np.testing.assert_allclose(stored, logits, atol=2e-2)
        assert card.objective_key == key
        assert card.parameters == count_parameters(checkpoint.network())
        assert card.multiply_adds == count_multiply_adds("resnet8", 10)
        assert card.test_accuracy == (stored.argmax(axis=1) == test.labels).mean()
        assert card.test_cross_entropy == pytest.approx(
            -log_softmax(stored.astype(float), axis=1)[np.arange(60), test.labels].mean()
        )
        assert card.data == DataFacts(dataset="synthetic", train_images=30, evaluation_images=60)
        assert (card.epochs, card.legs[0].seed, card.run) == (2, 0, run.run_id)
        assert card.legs[-1].device.endswith(", 1 threads")
        assert [row.epoch for row in card.history] == [0, 1]
        assert [row.test["accuracy"] for row in card.history] == pytest.approx(
            [row.test["accuracy"] for row in run.metrics() if row.student == checkpoint.name], rel=1e-4
        )
    assert card.teacher.model_dump(exclude_defaults=True) == {"name": "teacher", "sha256": teacher.sha256}
    terms = card.test_terms
    p, q = (log_softmax(z.astype(float) / 3.0, axis=1) for z in (teacher_logits, logits))
    assert terms["kd"] == pytest.approx(9 * (np.exp(p) * (p - q)).sum(axis=1).mean(), rel=1e-4)
    expected = 0.3 * terms["cross_entropy"] + 0.7 * terms["kd"] + 100 * terms["at"]
    assert card.test_objective == pytest.approx(expected, rel=1e-6)
    assert run_checkpoints(run)[0].card.teacher is None
    monkeypatch.setattr(train_module, "Trainer", None)  # it is not trained again
    assert execute(run) == run.status().state == "finished"


def test_a_student_that_starts_from_a_checkpoint_has_its_weights_and_lists_every_leg_of_its_training(tiny):
    first = train_to_end(make_config(epochs=1))
    initial = f"{first.run_id}/scratch"
    second = create(make_config(SCRATCH | {"initial": initial}, epochs=2, seed=5))
    (student,) = Trainer(second.config()).students
    weights = open_checkpoint(first.path / "scratch").network().state_dict()
    execute(second, report=lambda done, _: done == 1 and shutil.rmtree(first.path))
    torch.testing.assert_close(student.network.state_dict(), weights, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in student.network.parameters())
    (checkpoint,) = run_checkpoints(second)
    legs = [(leg.run, leg.initial, leg.epochs, leg.seed) for leg in checkpoint.card.legs]
    assert legs == [(first.run_id, None, 1, 0), (second.run_id, initial, 2, 5)]
    assert checkpoint.card.epochs == 3
    assert [row.epoch for row in checkpoint.card.history] == [0, 1, 2]


@pytest.mark.parametrize(("held_out", "label"), [(None, True), (40, False), (30, True)])
def test_of_held_out_images_the_teachers_figures_say_whether_it_may_have_been_trained_on_them(
    tiny, tmp_path, make_checkpoint, held_out, label
):
    data = {"dataset": "synthetic", "evaluation_images": held_out or 60}
    data["evaluation_split"] = "test" if held_out is None else "holdout"
    own = make_checkpoint(tmp_path / "own", seed=9, data=data)
    run = train_to_end(make_config(COMBINED, teacher=str(own.path), holdout=40, epochs=1))
    figures = run.teacher(10)
    assert bool(figures.note) == label
    _, held = load_run_data(run.config())
    logits = predict(own.network(), held.images, own.card.normalization)
    assert figures.accuracy == pytest.approx((logits.argmax(axis=1) == held.labels).mean())


def test_a_run_waits_its_turn_and_can_be_stopped_before_it(tiny, runs_root):
    run, before, found = create(make_config(epochs=1)), FileLock(runs_root / ".lock", thread_local=False), []

    def when_it_waits(do):
        def wait():
            wait_for(lambda: run.status().message == "waiting for the run before it")
            found.append((run.status().state, (run.path / "state.pt").exists()))
            do()

        threading.Thread(target=wait).start()

    with before:
        when_it_waits(lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert execute(run) == run.status().state == "stopped"
        when_it_waits(before.release)
        assert execute(run) == run.status().state == "finished"
    assert found == [("queued", False)] * 2


def test_another_gpu_has_an_order_of_its_own(tiny, runs_root):
    with FileLock(runs_root / ".lock"), pytest.raises(ConfigError, match=r"CUDA|no cuda:1"):
        execute(create(make_config(epochs=1, device="cuda:1")))  # it did not wait: here is no second GPU


@pytest.mark.parametrize(("term", "value"), [("cross_entropy", np.nan), ("kd", np.inf), ("at", np.nan)])
def test_a_loss_that_is_not_finite_fails_the_run_and_names_student_term_and_step(paired, monkeypatch, term, value):
    calls, compute = [], trainer_module.compute_objective

    def poisoned(objective, *arguments):
        parts = compute(objective, *arguments)
        calls.append(objective.name)
        if objective.name == "combined" and calls.count("combined") == 4:
            parts[term] = parts[term] * value
        return parts

    monkeypatch.setattr(trainer_module, "compute_objective", poisoned)
    run = create(paired)
    with pytest.raises(TrainingError, match=rf"^combined: {term} became {value} in epoch 1, step 4\. Lower") as error:
        execute(run)
    assert (run.status().state, run.status().message) == ("failed", str(error.value))
    assert run.status().message in run.log_tail()
    assert finished_students(run) == []


def after_the_last_step(monkeypatch, change):
    """Changes the first student's network after the last step."""
    step = Trainer.step

    def changed(trainer, *now):
        step(trainer, *now)
        if now == (1, 5):
            change(trainer.students[0].network)

    monkeypatch.setattr(Trainer, "step", changed)


def test_weights_that_blow_up_in_an_epochs_last_step_fail_the_run_as_well(tiny, monkeypatch):
    after_the_last_step(monkeypatch, lambda network: network.fc.weight.data.fill_(torch.inf))
    run = create(make_config())
    with pytest.raises(TrainingError, match=r"scratch: \w+ became nan on the test images after epoch 2, step 6"):
        execute(run)
    assert run.status().state == "failed"
    assert torch.load(run.path / "state.pt", weights_only=True)["epoch"] == 1  # the last good one


def test_a_student_that_float16_cannot_hold_costs_the_run_no_other(paired, monkeypatch):
    after_the_last_step(monkeypatch, lambda network: network.bn1.running_var.fill_(1e5))
    run = create(paired)
    with pytest.raises(TrainingError, match=r"^scratch: bn1.running_var .*: lower the learning rate.$"):
        execute(run)
    assert run.status().state == "failed"
    assert [path.name for path in finished_students(run)] == ["combined"]
    (run.path / "combined" / "card.json").write_text("{}")
    assert run_checkpoints(run) == []


fail_as_full_disk = refuse(errno.ENOSPC)


def test_a_full_disk_loses_neither_the_run_nor_its_last_good_state(paired, undisturbed, monkeypatch):
    run, write, writes = create(paired), state_module.write_bytes, []

    def fill_up(path, content):
        writes.append(path.name)
        if len(writes) > 1:
            fail_as_full_disk()
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(state_module, "write_bytes", fill_up)
        patch.setattr(train_module, "export_students", fail_as_full_disk)
        with pytest.raises(OSError, match="No space"):
            execute(run)
    assert writes == ["state.pt"] * 2  # the run continued after the first refusal
    assert run.status().state == "failed"
    assert "free some space and resume" in run.status().message
    assert "(No space left on device); the last good one is kept" in run.status().warning
    assert len(run.metrics()) == 4
    assert torch.load(run.path / "state.old.pt", weights_only=True)["epoch"] == 1

    monkeypatch.setattr(state_module, "write_bytes", fail_as_full_disk)  # no state, but the students
    assert execute(run) == "finished"
    assert bits(run) == undisturbed
    assert run.status().warning == ""


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_run(tiny, monkeypatch):
    write, refused = Run.write_status, []

    def refuse_heartbeats(run, state, message="", **facts):
        if message == "training":
            refused.append(state)
            fail_as_full_disk()
        write(run, state, message, **facts)

    monkeypatch.setattr(Run, "write_status", refuse_heartbeats)
    train_to_end(make_config(epochs=1))
    assert refused


@pytest.mark.slow
def test_synthetic_data_are_hard_for_a_small_network_and_less_so_for_a_larger_one():
    students = [{"name": name, "architecture": name} for name in ("resnet8", "resnet20")]
    run = train_to_end(
        make_config(*students, epochs=8, train_images=None, batch_size=128, learning_rate=0.3, precision="auto")
    )
    small, large = (open_checkpoint(path).card.test_accuracy for path in finished_students(run))
    assert 0.5 < small < large < 1.0


def test_the_figures_are_written_for_tensorboard(tiny, runs_root, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("KDEXPLORER_LOG", "tensorboard")
    run = train_to_end(make_config())
    events = EventAccumulator(str(runs_root / "tensorboard" / run.run_id / "scratch"))
    events.Reload()
    written = [event.value for event in events.Scalars("accuracy/test")]
    assert written == pytest.approx([row.test["accuracy"] for row in run.metrics()])
    monkeypatch.setenv("KDEXPLORER_LOG", "magic")
    with pytest.raises(ConfigError, match="magic"):
        train_to_end(make_config())
