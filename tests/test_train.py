"""The training loop: paired students, the same bits after any interruption, and a run's every end."""

import errno
import functools
import hashlib
import json
import os
import pickle
import shutil
import signal
import threading
import time

import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock
from scipy.special import log_softmax
from torch.nn import functional as F

from kdexplorer import checkpoints, data, inference, losses, models, processes, runs, train
from kdexplorer.config import ExperimentConfig, StudentConfig
from kdexplorer.errors import CheckpointError, ConfigError, RunError, TrainingError

SCRATCH = {"name": "scratch", "architecture": "resnet8"}
COMBINED = {
    "name": "combined",
    "architecture": "resnet8",
    "ce_weight": 0.3,
    "response_weight": 0.7,
    "temperature": 3.0,
    "attention_weight": 100.0,
}


@pytest.fixture(scope="session")
def teacher(make_checkpoint, tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("teachers") / "teacher", seed=9)


def configured(*students, **changes):
    values = {
        "dataset": "synthetic",
        "students": list(students) or [SCRATCH],
        "epochs": 2,
        "batch_size": 50,
        "learning_rate": 0.1,
        "precision": "float32",
        "device": "cpu",
    }
    return ExperimentConfig(**{**values, **changes})


@pytest.fixture
def paired(tiny, teacher):
    return configured(SCRATCH, COMBINED, teacher=str(teacher.path))


def hashes(run):
    """What must be the same to the last bit: the stored weights, and every figure of every epoch."""
    figures = [{key: row[key] for key in ("epoch", "student", "train", "test", "probes")} for row in run.metrics()]
    weights = {path.name: checkpoints.open_checkpoint(path).sha256 for path in runs.students(run)}
    for path in runs.students(run):
        assert hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest() == weights[path.name]
    return weights, figures


def finished(config):
    run = runs.create(config)
    assert train.execute(run) == "finished"
    return run


@pytest.fixture(scope="module")
def undisturbed(teacher, tmp_path_factory):
    """What `paired` gives when nothing comes in between."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDEXPLORER_RUNS", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setitem(data.SYNTHETIC_SIZES, "train", 300)
        patch.setitem(data.SYNTHETIC_SIZES, "test", 120)
        return hashes(finished(configured(SCRATCH, COMBINED, teacher=str(teacher.path))))


# --- Schedule and hardware --------------------------------------------------------------------------------


def test_one_cycle_rises_in_a_line_and_falls_in_a_line():
    config = configured(learning_rate=1.0, warmup=0.2, schedule="one_cycle")
    rates = [train.learning_rate(config, step, 10) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_cosine_falls_in_half_a_cosine():
    config = configured(learning_rate=2.0, warmup=0.0, schedule="cosine")
    rates = [train.learning_rate(config, step, 4) for step in range(4)]
    assert rates == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_the_rate_stays_above_zero_and_reaches_its_peak(schedule, warmup, steps):
    config = configured(learning_rate=0.4, warmup=warmup, schedule=schedule)
    rates = [train.learning_rate(config, step, steps) for step in range(steps)]
    assert min(rates) > 0
    assert max(rates) == pytest.approx(0.4)


def test_the_resolution_grows_in_even_steps_and_the_last_quarter_is_full():
    def sides(epochs, start):
        config = configured(epochs=epochs, start_resolution=start)
        return [train.resolution(config, epoch) for epoch in range(epochs)]

    assert sides(8, 32) == [32] * 8
    assert sides(8, 16) == [16, 16, 16, 24, 24, 24, 32, 32]
    assert sides(12, 24) == [24] * 9 + [32] * 3
    assert sides(1, 16) == [32]  # what is measured has been trained on
    assert sides(2, 16) == [16, 32]
    for epochs in (3, 7, 40):
        assert sides(epochs, 16)[-1] == 32
        assert sides(epochs, 16) == sorted(sides(epochs, 16))


def test_devices_and_precisions_are_what_was_asked_for():
    cpu = torch.device("cpu")
    assert train.resolve_device("cpu") == cpu
    assert train.resolve_precision("float32", cpu) == torch.float32
    assert train.resolve_precision("bfloat16", cpu) == torch.bfloat16
    assert train.resolve_precision("auto", cpu) in (torch.float32, torch.bfloat16)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r"no CUDA device.*'cpu' or 'auto'"):
            train.resolve_device("cuda")


# --- The data that a run sees -----------------------------------------------------------------------------


def test_a_held_out_part_is_balanced_apart_from_training_and_the_same_for_every_seed(tiny):
    train_split, held, name = train.load_data(configured(holdout=100, seed=1))
    assert (name, len(train_split), len(held)) == ("holdout", 200, 100)
    assert np.bincount(held.labels).tolist() == [10] * 10
    seen = {image.tobytes() for image in train_split.images}
    assert not any(image.tobytes() in seen for image in held.images)
    assert np.array_equal(train.load_data(configured(holdout=100, seed=2))[1].images, held.images)


def test_a_part_of_the_training_images_is_balanced_and_the_same_for_every_seed(tiny):
    first, test, name = train.load_data(configured(train_images=100, seed=1))
    second, _, _ = train.load_data(configured(train_images=100, seed=2))
    assert np.bincount(first.labels).tolist() == [10] * 10
    assert np.array_equal(first.images, second.images)
    assert (name, len(test)) == ("test", 120)
    with pytest.raises(ConfigError, match="there are only 300"):
        train.load_data(configured(train_images=301))


# --- One teacher, several students, the same batches ------------------------------------------------------


def test_students_of_one_architecture_start_from_identical_weights(paired):
    first, second = train.Experiment(paired).students
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a is not b


def test_a_student_goes_on_from_a_checkpoint_of_its_own_kind(tiny, teacher):
    (student,) = train.Experiment(configured(SCRATCH | {"initial": str(teacher.path)})).students
    for key, value in teacher.network().state_dict().items():
        assert torch.equal(student.network.state_dict()[key], value), key
    assert all(parameter.requires_grad for parameter in student.network.parameters())
    with pytest.raises(ConfigError, match="cannot go on from"):
        train.Experiment(configured(SCRATCH | {"architecture": "resnet20", "initial": str(teacher.path)}))


def test_the_teacher_stays_untouched_and_the_students_learn(paired):
    experiment = train.Experiment(paired)
    networks = [experiment.teacher_network, experiment.teacher_forward]
    before = [{key: value.clone() for key, value in network.state_dict().items()} for network in networks]
    start = [student.network.fc.weight.clone() for student in experiment.students]
    for step in range(2):
        experiment.step(0, step)
    answers = experiment.teacher_on_measured()
    for student, weight in zip(experiment.students, start, strict=True):
        experiment.measure(student, answers)
        assert not torch.equal(student.network.fc.weight, weight)
    for network, state in zip(networks, before, strict=True):
        assert not network.training
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
        assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not torch.equal(experiment.students[0].network.fc.weight, experiment.students[1].network.fc.weight)


def test_measuring_changes_nothing_and_leaves_the_student_in_train_mode(paired):
    experiment = train.Experiment(paired)
    experiment.step(0, 0)
    student = experiment.students[1]
    before = {key: value.clone() for key, value in student.network.state_dict().items()}
    answers = experiment.teacher_on_measured()
    logits, terms = experiment.measure(student, answers)
    assert student.network.training
    assert all(torch.equal(value, before[key]) for key, value in student.network.state_dict().items())
    expected = inference.predict(student.network.eval(), experiment.measured.images, experiment.normalisation)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert set(terms) == {"objective", "cross_entropy", "response", "attention", *(f"attention_{n}" for n in (1, 2, 3))}


def test_a_step_is_what_a_plain_loop_does(paired):
    """Three steps of one student, written out: unfolded teacher, the losses, SGD with Nesterov momentum by hand."""
    experiment = train.Experiment(paired)
    network, teacher = models.build("resnet8", seed=paired.seed), experiment.teacher_network
    student, velocity = StudentConfig(**COMBINED), {}
    for step in range(3):
        experiment.step(0, step)
        indices = data.epoch_order(300, paired.seed, 0)[step * 50 : step * 50 + 50]
        batch = data.augmented(experiment.images, indices, paired.seed, 0, step, 4, "alternating")
        inputs, labels = data.normalise(batch, experiment.normalisation), experiment.labels[indices]
        with torch.no_grad():
            teacher_logits, teacher_stages = teacher(inputs, return_stages=True)
        logits, stages = network(inputs, return_stages=True)
        loss = (
            0.3 * F.cross_entropy(logits, labels)
            + 0.7 * losses.response_loss(logits, teacher_logits, 3.0)
            + 100 * losses.attention_loss(stages, teacher_stages)
        )
        assert student.method == "combined"
        network.zero_grad()
        loss.backward()
        rate = train.learning_rate(paired, step, 12)
        with torch.no_grad():
            for name, p in network.named_parameters():
                gradient = p.grad + (paired.weight_decay * p if p.ndim > 1 else 0)
                velocity[name] = gradient if step == 0 else 0.9 * velocity[name] + gradient
                p -= rate * (gradient + 0.9 * velocity[name])
    for expected, p in zip(network.parameters(), experiment.students[1].network.parameters(), strict=True):
        torch.testing.assert_close(p, expected, rtol=1e-3, atol=1e-5)
    for key in ("bn1.running_mean", "layer3.0.bn2.running_var"):
        torch.testing.assert_close(experiment.students[1].network.state_dict()[key], network.state_dict()[key])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_student_learns_the_same_whoever_else_listens(tiny, teacher, threads):
    alone = train.Experiment(configured(COMBINED, teacher=str(teacher.path), threads=threads))
    others = [SCRATCH, {**COMBINED, "name": "T1", "temperature": 1.0}]
    together = train.Experiment(configured(*others, COMBINED, teacher=str(teacher.path), threads=threads))
    for step in range(2):
        alone.step(0, step)
        together.step(0, step)
    first, second = alone.students[0], together.students[2]
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.sums == second.sums


def test_each_network_gets_the_input_that_it_was_trained_on(tiny, make_checkpoint, tmp_path):
    theirs = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 0.5, 0.7]}
    other = make_checkpoint(tmp_path / "other", seed=3, normalisation=theirs)
    experiment = train.Experiment(configured(COMBINED, teacher=str(other.path), crop_padding=0, flip="none"))
    expected = inference.predict(other.network(), experiment.measured.images, theirs)
    np.testing.assert_allclose(experiment.teacher_on_measured().logits.numpy(), expected, atol=1e-4)

    seen = []
    forward = experiment.teacher_forward
    experiment.teacher_forward = lambda inputs, **options: seen.append(inputs) or forward(inputs, **options)
    experiment.step(0, 0)
    batch = experiment.images[data.epoch_order(300, 0, 0)[:50]]
    torch.testing.assert_close(seen[0], data.normalise(batch, theirs))


def test_at_a_lower_resolution_everybody_sees_the_same_smaller_images_and_maps(tiny, make_checkpoint, tmp_path):
    theirs = {"mean": [0.1, 0.2, 0.3], "std": [1.0, 0.5, 0.7]}
    other = make_checkpoint(tmp_path / "other", seed=3, normalisation=theirs)
    config = configured(SCRATCH, COMBINED, teacher=str(other.path), epochs=4, start_resolution=16, threads=1)
    experiment, seen = train.Experiment(config), []
    for who in (experiment, *experiment.students):
        key = "teacher_forward" if who is experiment else "forward"
        forward = getattr(who, key)
        setattr(who, key, lambda x, forward=forward, **options: seen.append(x) or forward(x, **options))
    experiment.step(2, 2)
    batch = data.augmented(experiment.images, data.epoch_order(300, 0, 2)[100:150], 0, 2, 2, 4, "alternating")
    pixels = batch.float() / 255
    for inputs, used in zip(seen, (theirs, *[data.NORMALISATION["synthetic"]] * 2), strict=True):
        mean, std = (torch.tensor(used[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        small = F.interpolate((pixels - mean) / std, size=(24, 24), mode="bilinear", antialias=True)
        torch.testing.assert_close(inputs, small, rtol=1e-4, atol=1e-5)
    logits, stages = other.network()(seen[0], return_stages=True)
    assert [stage.shape[-1] for stage in stages] == [24, 12, 6]
    answers = experiment._teacher_answers(experiment.teacher_forward, seen[0])
    torch.testing.assert_close(answers.logits, logits, rtol=1e-3, atol=1e-3)
    for own, stage in zip(answers.maps[1], stages, strict=True):
        torch.testing.assert_close(own, stage.mean(dim=1), rtol=1e-3, atol=1e-4)
    seen.clear()
    experiment.step(3, 0)
    assert {inputs.shape[-1] for inputs in seen} == {32}
    assert experiment.teacher_on_measured().maps[1][0].shape[-1] == 32  # measured as it is


def test_stages_are_captured_only_where_a_term_asks_for_them(tiny, teacher):
    response = {**COMBINED, "attention_weight": 0.0}
    experiment = train.Experiment(configured(SCRATCH, response, teacher=str(teacher.path)))
    asked = []
    for who in (*experiment.students, experiment):
        key = "teacher_forward" if who is experiment else "forward"
        forward = getattr(who, key)
        setattr(who, key, lambda x, return_stages, forward=forward: asked.append(return_stages) or forward(x))
    experiment.step(0, 0)
    assert asked == [False] * 3
    assert train.Experiment(configured(SCRATCH, teacher=str(teacher.path))).teacher_forward is None


def test_half_precision_training_stays_close_to_single(tiny, teacher):
    values = []
    for precision in ("float32", "bfloat16"):
        experiment = train.Experiment(configured(COMBINED, teacher=str(teacher.path), precision=precision))
        experiment.step(0, 0)
        student = experiment.students[0]
        assert all(p.dtype == torch.float32 for p in student.network.parameters())
        values.append(student.sums)
    assert values[1] == pytest.approx(values[0], rel=0.1)
    assert values[1]["cross_entropy"] != values[0]["cross_entropy"]


# --- Experiments that cannot be -----------------------------------------------------------------------------


def test_a_teacher_with_another_number_of_stages_is_refused_and_both_are_named(tiny, make_checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other", "mobilenet_v2")
    with pytest.raises(ConfigError, match=r"combined \(resnet8\) has 3 stages .* mobilenet_v2 has 4"):
        train.Experiment(configured(COMBINED, teacher=str(other.path)))
    train.Experiment(configured({**COMBINED, "attention_weight": 0}, teacher=str(other.path)))


def test_a_teacher_of_other_classes_is_refused(tiny, make_checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other", classes=list(data.CIFAR10_CLASSES))
    with pytest.raises(ConfigError, match=r"airplane.*disc.*same data"):
        train.Experiment(configured(COMBINED, teacher=str(other.path)))


def test_a_batch_larger_than_the_training_set_is_refused(tiny):
    with pytest.raises(ConfigError, match="batch_size: 512 is more than the 300"):
        train.Experiment(configured(batch_size=512))


def test_a_checkpoint_is_found_by_name_by_run_and_by_path(teacher, runs_root, make_checkpoint, monkeypatch, tmp_path):
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(teacher.path.parent))
    assert train.find_checkpoint("teacher").path == teacher.path
    make_checkpoint(runs_root / "20260101-run" / "student")
    assert train.find_checkpoint("20260101-run/student").name == "student"
    assert train.find_checkpoint(str(make_checkpoint(tmp_path / "mine").path)).name == "mine"


@pytest.mark.parametrize("name", ["nothing", "../teacher", "run/", "run/a/b", "", "x" * 300, "a\0b", "run/..", "/"])
def test_an_unknown_checkpoint_is_refused_with_the_choices(teacher, monkeypatch, name):
    monkeypatch.setenv("KDEXPLORER_CHECKPOINTS", str(teacher.path.parent))
    with pytest.raises(ConfigError, match=r"there is no checkpoint.*Bundled: teacher"):
        train.find_checkpoint(name)


# --- A run from end to end --------------------------------------------------------------------------------


def test_a_run_leaves_cards_whose_figures_follow_from_what_is_stored(paired, teacher):
    run = finished(paired.model_copy(update={"threads": 2}))
    status = run.status()
    assert (status["state"], status["message"]) == ("finished", "")
    assert {"config.json", "status.json", "metrics.jsonl", "teacher.json", "log.txt", "state.pt"} < {
        path.name for path in run.path.iterdir()
    }
    assert [(row["epoch"], row["student"]) for row in run.metrics()] == [
        (epoch, name) for epoch in (0, 1) for name in ("scratch", "combined")
    ]
    test = data.load_split("synthetic", "test")
    teacher_logits = inference.predict(teacher.network(), test.images, teacher.card["normalisation"])
    assert json.loads((run.path / "teacher.json").read_text())["accuracy"] == pytest.approx(
        (teacher_logits.argmax(axis=1) == test.labels).mean()
    )
    for path, method in zip(runs.students(run), ("scratch", "combined"), strict=True):
        checkpoint = checkpoints.open_checkpoint(path)
        card, stored = checkpoint.card, checkpoint.logits()
        logits = inference.predict(checkpoint.network(), test.images, card["normalisation"])
        np.testing.assert_allclose(stored, logits, atol=2e-2)
        assert card["method"] == method
        assert card["parameters"] == models.parameter_count(checkpoint.network())
        assert card["test_accuracy"] == (stored.argmax(axis=1) == test.labels).mean()
        assert card["test_cross_entropy"] == pytest.approx(
            -log_softmax(stored.astype(float), axis=1)[np.arange(120), test.labels].mean()
        )
        assert card["data"] == {
            "dataset": "synthetic",
            "train_images": 300,
            "measured_on": "test",
            "measured_images": 120,
        }
        assert (card["epochs"], card["seed"], card["run"]) == (2, 0, run.run_id)
        assert card["device"].endswith(", 2 threads")
        assert [row["epoch"] for row in checkpoint.history] == [0, 1]
        own = [row for row in run.metrics() if row["student"] == checkpoint.name]
        assert [row["test"]["accuracy"] for row in checkpoint.history] == pytest.approx(
            [row["test"]["accuracy"] for row in own], rel=1e-4
        )
    assert card["teacher"] == {"name": "teacher", "sha256": teacher.sha256}
    terms = card["test_terms"]
    temperature = 3.0
    p, q = (log_softmax(z.astype(float) / temperature, axis=1) for z in (teacher_logits, logits))
    assert terms["response"] == pytest.approx(9 * (np.exp(p) * (p - q)).sum(axis=1).mean(), rel=1e-4)
    expected = 0.3 * terms["cross_entropy"] + 0.7 * terms["response"] + 100 * terms["attention"]
    assert card["test_objective"] == pytest.approx(expected, rel=1e-6)
    assert checkpoints.open_checkpoint(runs.students(run)[0]).card["teacher"] is None


def test_training_lowers_the_loss(tiny):
    run = finished(configured(epochs=4))
    first, last = run.metrics()[0]["train"], run.metrics()[-1]["train"]
    assert last["cross_entropy"] < first["cross_entropy"] < np.log(10) + 1
    assert last["accuracy"] > first["accuracy"]


def test_the_same_configuration_gives_the_same_bits_and_another_seed_others(paired, undisturbed):
    assert hashes(finished(paired)) == undisturbed
    weights, _ = hashes(finished(paired.model_copy(update={"seed": 1})))
    assert weights["scratch"] != undisturbed[0]["scratch"]


def test_a_finished_run_is_not_trained_again(tiny, monkeypatch):
    run = finished(configured(epochs=1))
    monkeypatch.setattr(train, "Experiment", None)
    assert train.execute(run) == "finished"
    assert run.status()["state"] == "finished"


# --- Interrupted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [(0, 5), (1, 2)], ids=["an epoch's last step", "mid-epoch"])
def test_sigterm_ends_a_run_after_the_step_and_it_goes_on_to_the_same_bits(paired, undisturbed, monkeypatch, stop_at):
    handler = signal.getsignal(signal.SIGTERM)
    run, step = runs.create(paired), train.Experiment.step

    def interrupted(experiment, *where):
        if where == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        step(experiment, *where)

    with monkeypatch.context() as patch:
        patch.setattr(train.Experiment, "step", interrupted)
        assert train.execute(run) == "stopped"
    state = torch.load(run.path / "state.pt", weights_only=True)
    assert (state["epoch"], state["step"]) == (stop_at[0], stop_at[1] + 1)
    assert run.status()["state"] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is handler
    assert runs.students(run) == []

    done = []
    with monkeypatch.context() as patch:
        patch.setattr(train.Experiment, "step", lambda e, *where: done.append(where) or step(e, *where))
        assert train.execute(run) == "finished"
    assert len(done) == 12 - (6 * stop_at[0] + stop_at[1] + 1)  # nothing is replayed
    assert hashes(run) == undisturbed


def test_a_run_that_stops_where_the_resolution_grows_goes_on_to_the_same_bits(paired, undisturbed, monkeypatch):
    """Compiled networks (with the eager backend; a resolution is a variant of its own) give what the others give."""
    growing = paired.model_copy(update={"start_resolution": 16})
    expected = hashes(finished(growing))
    assert expected[0] != undisturbed[0]
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr(train, "_find_compiler", lambda: None)  # that backend needs none
    run = runs.create(growing.model_copy(update={"compile": True}))
    stopped_at(run, (0, 5))
    assert train.execute(run) == "finished"
    assert hashes(run) == expected


def test_compiling_without_a_compiler_is_refused_in_words(tiny):
    config = configured(compile=True, device="cpu")
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.raises(ConfigError, match="g\\+\\+"):
        train.Experiment(config)


def test_the_time_left_goes_by_pixels_where_the_resolution_grows(tiny, runs_root, monkeypatch):
    """Two epochs of six steps, at 16 and 32 pixels a side; each step's clock is its pixels."""
    run = runs.create(configured(start_resolution=16))
    experiment, clock = train.Experiment(run.config()), [0.0]
    monkeypatch.setattr(train.time, "monotonic", lambda: clock[0])
    facts = {}
    meter = train._Meter(run, experiment, facts, 0, show=False)
    for number in range(12):
        clock[0] += 3.0 * (train.resolution(experiment.config, number // 6) / 16) ** 2
        meter.update(number // 6, number % 6 + 1)
        expected = 3 * ((5 - number if number < 6 else 0) + 4 * min(6, 11 - number))
        assert facts["seconds_left"] == (expected if number else None)


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


class Process:
    """A run whose trainer is a process of its own, `python -m kdexplorer resume`, that saves after every step."""

    def __init__(self, config):
        self.run = runs.create(config.model_copy(update={"save_minutes": 1e-4}))

    def saved(self):
        path = self.run.path / "state.pt"
        state = torch.load(path, weights_only=True) if path.exists() else {"epoch": 0, "step": 0}
        return state["epoch"], state["step"]

    def start(self, until):
        runs.start(self.run)
        wait_for(lambda: self.saved() >= until)
        return psutil.Process(self.run.status()["pid"])

    def finish(self):
        runs.start(self.run)
        wait_for(lambda: self.run.status()["state"] not in ("queued", "running"))
        assert self.run.status()["state"] == "finished", self.run.log_tail()
        return hashes(self.run)


@pytest.fixture
def for_a_process(teacher, monkeypatch):
    monkeypatch.setattr(data, "synthetic", functools.cache(data.synthetic))  # all 12,000: drawn here once
    return configured(
        SCRATCH, COMBINED, teacher=str(teacher.path), precision="auto", threads=2, batch_size=16, train_images=192,
        holdout=120,
    )  # fmt: skip


@pytest.mark.slow  # by default `test_faults.py` kills trainers, in the middle of a save
def test_a_process_that_was_killed_in_mid_epoch_goes_on_to_the_bits_of_one_that_never_was(for_a_process):
    expected = hashes(finished(for_a_process))
    process = Process(for_a_process)
    killed = process.start(until=(1, 2))
    killed.kill()
    killed.wait()  # until all of its threads are gone, and its lock with them
    assert process.run.status()["state"] == "lost"
    assert (1, 2) <= process.saved() < (1, 12)
    assert train.execute(process.run) == "finished"  # here, since another process would load torch again
    assert hashes(process.run) == expected


@pytest.mark.slow
def test_a_process_that_was_killed_and_then_stopped_goes_on_to_the_same_bits(for_a_process):
    expected = hashes(finished(for_a_process))
    process = Process(for_a_process)
    killed = process.start(until=(0, 2))
    killed.kill()
    wait_for(lambda: process.run.status()["state"] == "lost")
    assert (0, 2) <= process.saved() < (0, 12)
    assert process.start(until=(1, 2)).pid != killed.pid
    runs.stop(process.run)
    wait_for(lambda: process.run.status()["state"] == "stopped")
    assert (1, 2) <= process.saved() < (1, 12)
    assert process.finish() == expected


@pytest.mark.reliability
def test_kills_at_any_moment_lose_nothing_and_touch_no_other_run(for_a_process, reliability):
    """SIGKILL after a random time, from the first import to the last write, until 25 are survived."""
    expected, generator = hashes(finished(for_a_process)), np.random.default_rng(0)
    other = finished(for_a_process.model_copy(update={"seed": 1, "epochs": 1}))
    before = {path: path.read_bytes() for path in sorted(other.path.rglob("*")) if path.is_file()}
    run, begin = runs.create(for_a_process.model_copy(update={"save_minutes": 1e-4})), time.monotonic()
    runs.start(run)
    wait_for(lambda: run.status()["state"] == "finished")
    whole = time.monotonic() - begin
    assert hashes(run) == expected
    kills = 0
    while kills < 25:
        run = runs.create(for_a_process.model_copy(update={"save_minutes": 1e-4}))
        while run.status()["state"] != "finished":
            if run.status()["state"] not in ("queued", "running") or run.status()["pid"] == os.getpid():
                runs.start(run)
            time.sleep(generator.uniform(0, whole))
            process = processes.live(run.status()) if run.status()["state"] in ("queued", "running") else None
            if process is not None and process.pid != os.getpid():
                process.kill()
                wait_for(lambda run=run: run.status()["state"] in ("lost", "finished"))
                kills += 1
            assert run.status()["state"] != "failed", run.log_tail()
        assert hashes(run) == expected
        reliability["kills survived, to the same bits"] = kills
    assert before == {path: path.read_bytes() for path in sorted(other.path.rglob("*")) if path.is_file()}


@pytest.mark.reliability
def test_two_launches_at_the_same_instant_both_end_finished_one_after_the_other(for_a_process, reliability):
    launched, both = [], threading.Barrier(2)

    def press():
        both.wait()
        launched.append(runs.launch(for_a_process))

    tabs = [threading.Thread(target=press) for _ in range(2)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    together = []

    def over():
        states = [run.status()["state"] for run in launched]
        together.append(states.count("running"))
        return not {"queued", "running"} & set(states)

    wait_for(over, 600)
    assert [run.status()["state"] for run in launched] == ["finished"] * 2
    assert max(together) == 1
    assert hashes(launched[0]) == hashes(launched[1])
    reliability["launches at the same instant, both finished"] += 2


def waits(run):
    return run.status().get("message") == "waiting for the run before it"


def test_a_second_run_waits_its_turn(tiny, runs_root):
    run = runs.create(configured(epochs=1))
    before = FileLock(runs_root / ".lock")
    with before:
        thread = threading.Thread(target=train.execute, args=(run,))
        thread.start()
        wait_for(lambda: waits(run))
        assert run.status()["state"] == "queued"
        assert not (run.path / "state.pt").exists()
    thread.join(300)
    assert run.status()["state"] == "finished"


def test_a_waiting_run_can_be_stopped(tiny, runs_root):
    run = runs.create(configured(epochs=1))
    with FileLock(runs_root / ".lock"):
        thread = threading.Thread(target=lambda: wait_for(lambda: waits(run)) or os.kill(os.getpid(), signal.SIGTERM))
        thread.start()
        assert train.execute(run) == "stopped"
        thread.join()
    assert run.status()["state"] == "stopped"
    assert train.execute(run) == "finished"


# --- What goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize("term", ["cross_entropy", "response", "attention"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails_the_run_and_names_student_term_and_step(paired, monkeypatch, term, value):
    calls, objective = [], train.objective

    def poisoned(student, *arguments):
        terms = objective(student, *arguments)
        if student.name == "combined":
            calls.append(student)
            if len(calls) == 4:
                terms[term] = terms[term] * value
        return terms

    monkeypatch.setattr(train, "objective", poisoned)
    run = runs.create(paired)
    with pytest.raises(TrainingError, match=rf"combined: {term} became {value} in epoch 1, step 4"):
        train.execute(run)
    assert run.status()["state"] == "failed"
    assert run.status()["message"].startswith(f"combined: {term} became {value} in epoch 1, step 4. Lower")
    assert run.status()["message"] in run.log_tail()
    assert runs.students(run) == []


def test_weights_that_blow_up_in_an_epochs_last_step_fail_the_run_as_well(tiny, monkeypatch):
    step = train.Experiment.step

    def explode(experiment, epoch, number):
        step(experiment, epoch, number)
        if (epoch, number) == (1, 5):
            experiment.students[0].network.fc.weight.data.fill_(torch.inf)

    monkeypatch.setattr(train.Experiment, "step", explode)
    run = runs.create(configured())
    with pytest.raises(TrainingError, match=r"scratch: \w+ became nan on the test images after epoch 2, step 6"):
        train.execute(run)
    assert run.status()["state"] == "failed"
    assert torch.load(run.path / "state.pt", weights_only=True)["epoch"] == 1  # the last good one


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_loses_neither_the_run_nor_its_last_good_state(paired, undisturbed, monkeypatch):
    run, write, writes = runs.create(paired), train.write_bytes, []

    def fills_up(path, content):
        writes.append(path.name)
        if len(writes) > 1:
            full_disk()
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(train, "write_bytes", fills_up)
        patch.setattr(train, "_finish", lambda *_: full_disk())
        with pytest.raises(OSError, match="No space"):
            train.execute(run)
    assert writes == ["state.pt"] * 2  # the run went on after the first refusal
    assert run.status()["state"] == "failed"
    assert "make room and resume" in run.status()["message"]
    assert "the last good one is kept" in run.status()["warning"]
    assert len(run.metrics()) == 4
    assert torch.load(run.path / "state.pt", weights_only=True)["epoch"] == 1

    assert train.execute(run) == "finished"
    assert hashes(run) == undisturbed
    assert "warning" not in run.status()


def test_a_disk_that_fills_up_for_a_while_leaves_no_trace(tiny, monkeypatch):
    write, writes = train.write_bytes, []

    def fills_up(path, content):
        writes.append(path.name)
        if len(writes) == 1:
            full_disk()
        write(path, content)

    monkeypatch.setattr(train, "write_bytes", fills_up)
    run = finished(configured())
    assert torch.load(run.path / "state.pt", weights_only=True)["epoch"] == 2
    assert "warning" not in run.status()
    assert "could not be saved" in run.log_tail(50)


def test_a_heartbeat_that_cannot_be_written_does_not_end_the_run(tiny, monkeypatch):
    write = runs.Run.write_status

    def refuse_heartbeats(run, state, message="", **facts):
        if message == "training":
            full_disk()
        write(run, state, message, **facts)

    monkeypatch.setattr(runs.Run, "write_status", refuse_heartbeats)
    finished(configured(epochs=1))


class Marker:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def damages(good, fired):
    """What a state may be found as, and what it may try."""
    middle = len(good) // 2
    return {
        "empty": b"",
        "cut": good[:1000],
        "cut at the end": good[:-1],
        "garbage": b"garbage" * 1000,
        "hostile": pickle.dumps(Marker(fired), protocol=2),
        "another run's": good.replace(b"scratch", b"Scratch"),
        "one bit": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
    }


def stopped_at(run, where):
    """Trains until that step, as if stopped in it; returns the steps that were done."""
    step, done = train.Experiment.step, []

    def interrupted(experiment, *now):
        done.append(now)
        if now == where:
            os.kill(os.getpid(), signal.SIGTERM)
        step(experiment, *now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Experiment, "step", interrupted)
        assert train.execute(run) == "stopped"
    return done


def test_a_damaged_or_hostile_state_is_told_and_the_run_goes_on_from_the_one_before_it(paired, undisturbed, tmp_path):
    run, fired, went_on = runs.create(paired), tmp_path / "fired", []
    stopped_at(run, (1, 2))
    shutil.copytree(run.path, tmp_path / "kept")
    for name, content in damages((run.path / "state.pt").read_bytes(), fired).items():
        shutil.rmtree(run.path)
        shutil.copytree(tmp_path / "kept", run.path)
        (run.path / "state.pt").write_bytes(content)
        assert stopped_at(run, (1, 0)) == [(1, 0)], name  # from the state after the first epoch
        assert "state.pt could not be read" in run.log_tail(50)
        assert (run.path / "state.damaged.pt").read_bytes() == content
        students = torch.load(run.path / "state.pt", weights_only=True)["students"].values()
        went_on.append([(student["network"], student["optimizer"]["state"]) for student in students])
        torch.testing.assert_close(went_on[-1], went_on[0], rtol=0, atol=0)
    assert not fired.exists()
    assert train.execute(run) == "finished"
    assert hashes(run) == undisturbed
    assert not (run.path / "state.old.pt").exists()


def test_with_no_good_state_a_run_begins_anew(paired, undisturbed):
    run = runs.create(paired)
    stopped_at(run, (1, 2))
    (run.path / "state.pt").write_bytes(b"garbage")
    (run.path / "state.old.pt").write_bytes(b"")
    assert train.execute(run) == "finished"
    assert hashes(run) == undisturbed


def test_a_state_that_cannot_be_read_now_is_not_taken_for_damaged(tiny, monkeypatch):
    run = runs.create(configured())
    stopped_at(run, (1, 2))
    good = (run.path / "state.pt").read_bytes()

    def no_memory(*_, **__):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", no_memory)
        with pytest.raises(MemoryError):
            train.execute(run)
    assert run.status()["state"] == "failed"
    assert (run.path / "state.pt").read_bytes() == good


def test_a_run_in_other_hands_is_left_alone(tiny):
    run = runs.create(configured(epochs=1))
    before = (run.path / "status.json").read_bytes()
    with FileLock(run.path / ".lock"), pytest.raises(RunError, match="in the hands of another process"):
        train.execute(run)
    assert (run.path / "status.json").read_bytes() == before
    assert train.execute(run) == "finished"


def test_a_run_that_cannot_be_run_fails_with_its_reason(tiny, runs_root):
    run = runs.create(configured(COMBINED, teacher="nobody"))
    with pytest.raises(ConfigError, match="no checkpoint 'nobody'"):
        train.execute(run)
    assert "no checkpoint 'nobody'" in run.status()["message"]
    (run.path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json"):
        train.execute(run)
    with FileLock(runs_root / ".lock", timeout=1):
        pass  # the next run can have its turn


def test_a_checkpoint_that_was_altered_is_no_teacher(tiny, make_checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other")
    with open(other.path / "weights.safetensors", "ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        train.Experiment(configured(COMBINED, teacher=str(other.path)))


# --- Minutes ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_synthetic_data_are_hard_for_a_small_network_and_less_so_for_a_larger_one():
    students = [{"name": name, "architecture": name} for name in ("resnet8", "resnet20")]
    run = finished(configured(*students, epochs=8, batch_size=128, learning_rate=0.3, precision="auto"))
    small, large = (checkpoints.open_checkpoint(path).card["test_accuracy"] for path in runs.students(run))
    assert 0.5 < small < large < 1.0
