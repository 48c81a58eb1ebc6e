"""The teacher's predictions on the disk: the same bits as computed ones, checked, bounded, complete or not there."""

import os
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdexplorer.methods import Method, get_method
from kdexplorer.runs import array_store
from kdexplorer.runs.array_store import Stored, delete_store, load_array, measure_store, save_array, store_root
from kdexplorer.training import data, estimate, hardware
from kdexplorer.training import teacher as teacher_module
from kdexplorer.training.predictions import BatchPredictions
from kdexplorer.training.teacher import Teacher
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer
from tests.training.configs import bits, create, make_config, stop_at, train_to_end

RESPONSE = {
    "name": "response",
    "architecture": "resnet8",
    "ce_weight": 0.3,
    "terms": [{"method": "kd", "weight": 0.7, "temperature": 3.0}],
}
ATTENTION = {"name": "attention", "architecture": "resnet8", "terms": [{"method": "at", "weight": 100.0}]}


@pytest.fixture
def response(tiny, teacher):
    """Two epochs of six steps with a response-based student."""
    return make_config(RESPONSE, teacher=str(teacher.path))


@pytest.fixture
def computed(monkeypatch):
    """The batches that the teacher computes from now on: how many images each has."""
    counts = []
    compute = Teacher.compute

    def counted(self, forward, inputs):
        counts.append(len(inputs))
        return compute(self, forward, inputs)

    monkeypatch.setattr(Teacher, "compute", counted)
    return counts


def stored():
    return sorted(store_root().glob("*.f32"))


def test_a_second_run_reads_them_and_trains_to_the_same_bits(response, computed):
    expected = bits(train_to_end(response))
    assert sorted(computed) == [20] * 12 + [60]  # the training batches, and the evaluation split
    assert len(stored()) == 3
    computed.clear()
    assert bits(train_to_end(response)) == expected
    assert computed == []


def test_what_is_stored_at_the_end_is_compared_with_the_teacher_in_single_precision(response, monkeypatch):
    seen = []
    compute = Teacher.compute

    def recorded(self, forward, inputs):
        seen.append((len(inputs), self.dtype))
        return compute(self, forward, inputs)

    monkeypatch.setattr(Teacher, "compute", recorded)
    train_to_end(response.model_copy(update={"precision": "bfloat16"}))
    assert [dtype for count, dtype in seen if count == 60] == [torch.bfloat16, torch.float32]
    assert {dtype for count, dtype in seen if count == 20} == {torch.bfloat16}


def test_another_student_another_temperature_and_more_epochs_read_them_too(response, computed):
    train_to_end(response)
    computed.clear()
    cold = RESPONSE | {"name": "cold", "architecture": "resnet20", "terms": [{"method": "kd", "temperature": 1.0}]}
    train_to_end(response.model_copy(update={"students": make_config(cold, teacher="t").students, "epochs": 3}))
    assert computed == [20] * 6  # of the third epoch


def test_in_another_environment_they_are_computed(response, computed, monkeypatch):
    trainer = Trainer(response)
    trainer.evaluate_teacher()
    others = [
        lambda patch: torch.set_num_threads(2),
        lambda patch: patch.setattr(torch, "__version__", "2.99.0"),
        lambda patch: patch.setattr(hardware, "processor_name", lambda: "Intel(R) Xeon(R)"),
        lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2"),
    ]
    for change in others:
        with monkeypatch.context() as patch:
            change(patch)
            computed.clear()
            trainer.evaluate_teacher()
            assert computed == [60]
            trainer.evaluate_teacher()  # what it stored there
            assert computed == [60]
        torch.set_num_threads(1)
    trainer.evaluate_teacher()
    assert computed == [60]
    assert len(stored()) == 5


def test_training_batches_are_stored_by_the_same_facts(response):
    teacher = Trainer(response).teacher
    assert teacher.facts.items() <= teacher.predictions.facts.items()
    assert teacher.facts["environment"]["threads"] == torch.get_num_threads()


def test_a_gpu_computes_other_bits_in_single_precision_once_tf32_is_off(response, monkeypatch):
    teacher = Trainer(response).teacher
    monkeypatch.setattr(
        teacher_module,
        "describe_environment",
        lambda *_, **__: hardware.describe_environment(torch.device("cpu"), torch.float32, 1),
    )
    teacher.device = torch.device("cuda")
    facts = []
    for allowed in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        facts.append(teacher.facts)
    assert facts[0] != facts[1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"flip": "none"}, {"crop_padding": 0}, {"batch_size": 40}])
def test_another_batch_is_computed(response, computed, change):
    train_to_end(response)
    computed.clear()
    other = response.model_copy(update=change | {"epochs": 1})
    trainer = Trainer(other)
    trainer.step(0, 0)
    assert computed == [other.batch_size]


def test_methods_that_need_stages_compute_and_leave_logits_for_the_others(tiny, teacher, response, computed):
    train_to_end(make_config(ATTENTION, teacher=str(teacher.path)))
    assert len(stored()) == 3
    computed.clear()
    with_stages = bits(train_to_end(make_config(ATTENTION, RESPONSE, teacher=str(teacher.path))))
    assert computed.count(20) == 12
    computed.clear()
    alone = bits(train_to_end(response))
    assert computed == []
    assert alone[0]["response"] == with_stages[0]["response"]


def test_an_epoch_of_which_a_part_was_computed_is_not_kept(response, computed):
    run = create(response)
    stop_at(run, (1, 2))
    kept = stored()
    assert len(kept) == 2  # the evaluation split, and the first epoch
    assert execute(run) == "finished"
    assert stored() == kept


def test_a_file_that_is_damaged_or_of_another_size_counts_as_missing(response, computed):
    expected = bits(train_to_end(response))
    computed.clear()
    first, second, third = stored()
    first.write_bytes(b"")
    content = bytearray(second.read_bytes())
    content[5] ^= 1
    second.write_bytes(content)
    third.write_bytes(third.read_bytes()[:-1])
    assert bits(train_to_end(response)) == expected
    assert sorted(computed) == [20] * 12 + [60]


def test_the_oldest_are_removed_when_there_are_too_many(runs_root, monkeypatch):
    monkeypatch.setattr(array_store, "MAX_BYTES", 3 * (4 * 10 + 32))
    for number in range(5):
        save_array({"number": number}, np.full((1, 10), number, np.float32))
        for path in stored():  # on a disk with coarse times they would be equally old
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    found = [load_array({"number": number}, (1, 10)) for number in range(5)]
    assert [value is None for value in found] == [True, True, False, False, False]
    assert all((value == number).all() for number, value in enumerate(found) if value is not None)


# --- Kills and several writers -----------------------------------------------------------------------------------


FACTS, VALUES = {"number": 1}, np.arange(30, dtype=np.float32).reshape(3, 10)


def during_the_write(monkeypatch, do):
    """From now on `do()` is called once, when a file's content is on the disk and before the file has its name."""
    todo, sync = [do], os.fsync

    def synced(handle):
        sync(handle)
        if todo:
            todo.pop()()

    monkeypatch.setattr(os, "fsync", synced)


def leave_half():
    """A process that SIGKILL ends in the middle of a write; returns what it left."""
    child = os.fork()
    if child == 0:
        try:
            with pytest.MonkeyPatch.context() as patch:
                during_the_write(patch, lambda: os.kill(os.getpid(), signal.SIGKILL))
                save_array(FACTS, VALUES)
        finally:
            os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert stored() == []
    (left,) = store_root().iterdir()
    return left


def test_what_a_kill_left_is_counted_and_removed_after_an_hour(runs_root):
    left = leave_half()
    assert load_array(FACTS, VALUES.shape) is None
    assert measure_store() == Stored(1, 4 * 30 + 32)
    save_array(FACTS, VALUES)
    assert left.exists()  # another process might be writing it
    old = time.time() - 3700
    os.utime(left, (old, old))
    os.utime(stored()[0], (old, old))
    save_array({"number": 2}, VALUES)
    assert not left.exists()
    assert (load_array(FACTS, VALUES.shape) == VALUES).all()
    assert len(stored()) == 2


def test_what_a_kill_left_is_deleted_with_everything_else(runs_root):
    leave_half()
    delete_store()
    assert list(store_root().iterdir()) == []


def test_two_writers_of_one_file_leave_it_whole(runs_root, monkeypatch):
    during_the_write(monkeypatch, lambda: save_array(FACTS, VALUES))
    save_array(FACTS, VALUES)
    assert (load_array(FACTS, VALUES.shape) == VALUES).all()
    assert list(store_root().iterdir()) == stored()


def test_two_runs_that_compute_the_same_epoch_store_it_once(runs_root):
    batches = np.random.default_rng(0).normal(size=(3, 2, 10)).astype(np.float32)
    writers = [BatchPredictions(FACTS, {"logits": batches.shape}) for _ in range(2)]
    for step, batch in enumerate(batches):
        for writer in writers:
            assert writer.get(0, 32, step) is None
            writer.add(0, 32, step, lambda batch=batch: {"logits": batch})
    assert len(stored()) == 1
    reader = BatchPredictions(FACTS, {"logits": batches.shape})
    assert all((reader.get(0, 32, step)["logits"] == batch).all() for step, batch in enumerate(batches))


def test_deleting_everything_in_the_middle_of_a_write_costs_nothing_but_the_file(runs_root, monkeypatch):
    during_the_write(monkeypatch, delete_store)
    save_array(FACTS, VALUES)
    assert list(store_root().iterdir()) == []
    save_array(FACTS, VALUES)
    assert (load_array(FACTS, VALUES.shape) == VALUES).all()


def test_a_disk_that_is_full_costs_nothing_but_the_store(response, monkeypatch):
    def fail(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(array_store, "write_bytes", fail)
    train_to_end(response)
    assert stored() == []


def test_embeddings_are_read_too_where_a_method_needs_them(tiny, teacher, computed, monkeypatch):
    monkeypatch.setattr(get_method("kd"), "needs", frozenset({"logits", "embedding"}))
    config = make_config(RESPONSE, teacher=str(teacher.path))
    used = []

    def batches(embeddings):
        return [one for one in embeddings if len(one) == 20]

    reduce = Method.reduce_teacher

    def recorded(self, outputs):
        used.append(outputs.embedding)
        return reduce(self, outputs)

    monkeypatch.setattr(Method, "reduce_teacher", recorded)
    expected = bits(train_to_end(config))
    assert len(stored()) == 6
    first, used[:] = batches(used), []
    computed.clear()
    assert bits(train_to_end(config)) == expected
    assert computed == []
    assert all(torch.equal(a, b) for a, b in zip(batches(used), first, strict=True))


def test_the_estimate_knows_which_epochs_are_stored(response, monkeypatch):
    monkeypatch.setattr(estimate, "_time_steps", lambda *_: (3.0, 0.0))
    monkeypatch.setattr(estimate, "_time_teacher", lambda *_: 2.0)
    before = estimate.measure(response)
    assert (before.step, before.stored, before.speedup) == (3.0, 0.0, 1.0)
    train_to_end(response)
    after = estimate.measure(response)
    assert (after.step, after.stored, after.speedup) == (1.0, 1.0, 3.0)
    longer = estimate.measure(response.model_copy(update={"epochs": 4}))
    assert (longer.step, longer.stored, longer.speedup) == (2.0, 0.5, 1.5)
    stages = make_config(RESPONSE, ATTENTION, teacher=response.teacher)
    assert estimate.measure(stages).stored == 0.0


def test_the_estimate_counts_the_teachers_evaluation_unless_the_whole_split_is_stored(response, monkeypatch):
    monkeypatch.setattr(estimate, "_time_steps", lambda *_: (3.0, 0.0))
    monkeypatch.setattr(estimate, "_time_teacher", lambda *_: 0.0)
    monkeypatch.setattr(data, "EVALUATION_BATCH", 20)  # of 60
    clock, compute = [0.0], Teacher.compute_evaluation
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def slow(self, evaluation):
        clock[0] += 100.0
        return compute(self, evaluation)

    monkeypatch.setattr(Teacher, "compute_evaluation", slow)

    def seconds_of_teacher(config):
        return estimate.measure(config).seconds - 12 * 3.0

    assert seconds_of_teacher(response) == 300.0
    assert stored() == []  # a part of the split is no use to a run
    assert seconds_of_teacher(response) == 300.0
    reduced = response.model_copy(update={"precision": "bfloat16"})
    assert seconds_of_teacher(reduced) == 600.0  # at the end once more, in float32
    stages = make_config(RESPONSE, ATTENTION, teacher=response.teacher)
    assert seconds_of_teacher(stages) == 600.0
    train_to_end(response)
    assert seconds_of_teacher(response) == 0.0
    assert seconds_of_teacher(reduced) == 300.0
    assert seconds_of_teacher(stages) == 600.0


def test_the_size_is_known_and_everything_can_be_deleted(runs_root):
    assert measure_store() == Stored(0, 0)
    save_array({"number": 1}, np.zeros((3, 10), np.float32))
    assert measure_store() == Stored(1, 4 * 30 + 32)
    delete_store()
    assert measure_store() == Stored(0, 0)
