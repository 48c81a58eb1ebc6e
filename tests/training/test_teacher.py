"""The teacher: what is read has the bits of what is computed, what it loses on small images, and several as one."""

import errno
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from kdexplorer.analysis.inference import predict_batches
from kdexplorer.analysis.metrics import accuracy, softmax
from kdexplorer.datasets import Split, get_dataset
from kdexplorer.datasets.augmentation import epoch_order
from kdexplorer.errors import ConfigError
from kdexplorer.runs import array_store
from kdexplorer.runs.checkpoints import find_teachers, open_checkpoint, refer_to
from kdexplorer.studies.collect import load_teacher_logits
from kdexplorer.training import estimate, hardware
from kdexplorer.training import teacher as teacher_module
from kdexplorer.training.teacher import EvaluationTeacher, Teacher
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer
from tests.accidents import refuse
from tests.runs.test_array_store import stored
from tests.training.configs import AT, RESPONSE, SCRATCH, bits, create, make_config, stop_at, train_to_end

ATTENTION = {"name": "attention", "architecture": "resnet8", "terms": [AT]}


@pytest.fixture
def response(tiny, teacher):
    """Two epochs of six steps with a response-based student."""
    return make_config(RESPONSE, teacher=str(teacher.path))


@pytest.fixture
def computed(monkeypatch):
    """How many images each batch has that the teacher computed since the last call, in that precision."""
    found, compute = [], Teacher.compute

    def recorded(self, forward, inputs):
        found.append((len(inputs), self.dtype))
        return compute(self, forward, inputs)

    def take(dtype=torch.float32):
        counts = sorted(count for count, precision in found if precision == dtype)
        found[:] = [one for one in found if one[1] != dtype]
        return counts

    monkeypatch.setattr(Teacher, "compute", recorded)
    return take


def test_a_second_run_reads_them_and_trains_to_the_same_bits_unless_they_are_damaged(response, computed):
    expected = bits(train_to_end(response))
    assert computed() == [5] * 12 + [60]  # the training batches, and the evaluation split
    assert bits(train_to_end(response)) == expected
    assert computed() == []
    first, second, third = stored()
    first.write_bytes(b"")
    content = bytearray(second.read_bytes())
    content[5] ^= 1
    second.write_bytes(content)
    third.write_bytes(third.read_bytes()[:-1])
    assert bits(train_to_end(response)) == expected
    assert computed() == [5] * 12 + [60]
    cold = RESPONSE | {"name": "cold", "architecture": "resnet20", "terms": [{"method": "kd", "temperature": 1.0}]}
    train_to_end(make_config(cold, teacher=response.teacher, epochs=3))
    assert computed() == [5] * 6  # of the third epoch


def test_what_is_stored_at_the_end_is_compared_with_the_teacher_in_single_precision(response, computed):
    train_to_end(response.model_copy(update={"precision": "bfloat16"}))
    assert (computed(torch.bfloat16), computed()) == ([5] * 12 + [60], [60])


def test_in_another_environment_they_are_computed(response, computed, monkeypatch):
    trainer = Trainer(response)
    trainer.evaluate_teacher()
    assert computed() == [60]
    others = [
        lambda patch: torch.set_num_threads(2),
        lambda patch: patch.setattr(torch, "__version__", "2.99.0"),
        lambda patch: patch.setattr(hardware, "read_cpuinfo", lambda: {"model name": "Any", "cpu family": "25"}),
        lambda patch: patch.setattr(hardware, "read_cpuinfo", lambda: {"model name": "Any", "cpu family": "26"}),
        lambda patch: patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another one"),
    ]
    for change in others:
        with monkeypatch.context() as patch:
            change(patch)
            trainer.evaluate_teacher()
            trainer.evaluate_teacher()  # what it stored there
        torch.set_num_threads(1)
        assert computed() == [60]
    trainer.evaluate_teacher()
    assert computed() == []
    assert len(stored()) == 6


def test_a_gpu_computes_other_bits_in_single_precision_once_tf32_is_off(response, monkeypatch):
    teacher = Trainer(response).teacher
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU")
    teacher.device, facts = torch.device("cuda"), []
    for allowed in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        facts.append(teacher.facts_in(torch.float32))
    assert facts[0] != facts[1]


@pytest.mark.parametrize("change", [{"seed": 1}, {"flip": "none"}, {"crop_padding": 0}, {"batch_size": 10}])
def test_another_batch_is_computed(response, computed, change):
    train_to_end(response)
    computed()
    other = response.model_copy(update=change)
    Trainer(other).step(0, 0)
    assert computed() == [other.batch_size]


def test_methods_that_need_stages_compute_and_leave_logits_for_the_others(tiny, teacher, response, computed):
    train_to_end(make_config(ATTENTION, RESPONSE | {"terms": [{"method": "reviewkd"}]}, teacher=str(teacher.path)))
    assert len(stored()) == 3  # no embeddings, which nothing could read without the stages
    computed()
    with_stages = bits(train_to_end(make_config(ATTENTION, RESPONSE, teacher=str(teacher.path))))
    assert computed().count(5) == 12
    alone = bits(train_to_end(response))
    assert computed() == []
    assert alone[0]["response"] == with_stages[0]["response"]


def test_an_epoch_of_which_a_part_was_computed_is_not_kept(response):
    run = create(response)
    stop_at(run, (1, 2))
    kept = stored()
    assert len(kept) == 2  # the evaluation split, and the first epoch
    assert execute(run) == "finished"
    assert stored() == kept


def test_a_disk_that_is_full_costs_nothing_but_the_store(response, monkeypatch):
    monkeypatch.setattr(array_store, "write_bytes", refuse(errno.ENOSPC))
    train_to_end(response)
    assert stored() == []


def test_embeddings_are_read_too_where_a_method_needs_them(tiny, teacher, computed):
    config = make_config(RESPONSE | {"terms": [{"method": "rkd"}]}, teacher=str(teacher.path))
    expected = bits(train_to_end(config))
    assert len(stored()) == 6
    computed()
    assert bits(train_to_end(config)) == expected
    assert computed() == []


@pytest.fixture
def small(tiny, teacher):
    """Two epochs, the first on images of 16 pixels."""
    return make_config(RESPONSE, teacher=str(teacher.path), start_resolution=16)


@pytest.mark.parametrize(("right", "warned"), [(435, False), (434, True), (470, False)])
def test_a_teacher_that_loses_more_than_five_points_is_reported(small, monkeypatch, right, warned):
    split = Split(np.zeros((500, 3, 32, 32), np.uint8), np.zeros(500, dtype=np.int64), ())

    def logits(correct):
        """So many images are classified correctly, each with a probability of 0.89."""
        return np.log(np.where((np.arange(500) < correct)[:, None] == (np.arange(10) == 0), 0.89, 0.11 / 9)[:, :10])

    monkeypatch.setattr(teacher_module, "predict_batches", lambda *_, **__: logits(right))
    text = Trainer(small).teacher.check_size(split, EvaluationTeacher(logits(460), None), 16)
    assert text.startswith("At 16 pixels") == warned


def test_the_figures_are_those_of_the_teacher_on_resized_images(small, teacher, monkeypatch):
    monkeypatch.setattr(teacher_module, "MOST_LOST", -1.0)
    trainer, split = Trainer(small), get_dataset("synthetic").load("test")
    text, full_size = (trainer.teacher.check_size(split, trainer.evaluate_teacher(), side) for side in (16, 32))
    mean, std = (np.reshape(part, (3, 1, 1)) for part in teacher.card.normalization.model_dump().values())
    pixels = torch.tensor((split.images / 255 - mean) / std, dtype=torch.float32)
    with torch.inference_mode():
        inputs = F.interpolate(pixels, size=(16, 16), mode="bilinear", antialias=True)
        logits, full = (teacher.network()(one).numpy() for one in (inputs, pixels))
    assert f"{100 * accuracy(logits, split.labels):.1f} % of 60 " in text
    assert f"at 32 pixels {100 * accuracy(full, split.labels):.1f} %" in text
    assert f"{100 * softmax(logits).max(axis=1).mean():.0f} %. In" in text
    assert full_size == ""


def test_the_run_the_terminal_and_the_estimate_warn_to_the_end(small, monkeypatch, capsys):
    monkeypatch.setattr(teacher_module, "MOST_LOST", -1.0)
    run = create(small)
    assert execute(run, show=True) == "finished"
    assert run.status().warning.startswith("At 16 pixels the teacher")
    assert "warning: At 16 pixels the teacher" in capsys.readouterr().err
    assert "At 16 pixels" in run.log_tail(50)
    assert estimate.measure(small).warning == run.status().warning
    monkeypatch.setattr(teacher_module, "MOST_LOST", 2.0)
    assert estimate.measure(small).warning == ""


def test_the_estimate_knows_which_epochs_and_whether_the_whole_evaluation_split_is_stored(response, monkeypatch):
    """A step takes 3 s, of which 2 s are the teacher's; its evaluation 100 s for each batch of 20."""
    monkeypatch.setattr(estimate, "_time_steps", lambda *_: (3.0, 0.0))
    monkeypatch.setattr(estimate, "_time_teacher", lambda *_: 2.0)
    monkeypatch.setattr(teacher_module, "EVALUATION_BATCH", 20)  # of 60
    clock, compute = [0.0], Teacher.compute_evaluation
    monkeypatch.setattr(estimate.processes, "age", lambda: 0.0)
    monkeypatch.setattr(estimate, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def slow(*given):
        clock[0] += 100.0
        return compute(*given)

    monkeypatch.setattr(Teacher, "compute_evaluation", slow)

    def measure(config):
        """Seconds of a step, the share that is stored, how much faster that is, and seconds of the evaluation."""
        found, steps = estimate.measure(config), 6 * config.epochs
        step = 5 / found.images_per_second
        return step, found.stored, found.speedup, found.seconds - steps * step

    reduced = response.model_copy(update={"precision": "bfloat16"})
    stages = make_config(RESPONSE, ATTENTION, teacher=response.teacher)
    for _ in range(2):  # a part of the split is no use to a run: it is not stored
        assert measure(response) == (3.0, 0.0, 1.0, 300.0)
        assert stored() == []
    assert measure(reduced) == (3.0, 0.0, 1.0, 600.0)  # at the end once more, in float32
    assert measure(stages) == (3.0, 0.0, 1.0, 600.0)
    train_to_end(response)
    assert measure(response) == (1.0, 1.0, 3.0, 0.0)
    assert measure(response.model_copy(update={"epochs": 4})) == (2.0, 0.5, 1.5, 0.0)
    assert measure(reduced) == (3.0, 0.0, 1.0, 300.0)
    assert measure(stages) == (3.0, 0.0, 1.0, 600.0)


OTHER_NORMALIZATION = {"mean": (0.3, 0.4, 0.5), "std": (0.2, 0.3, 0.4)}


@pytest.fixture
def several(make_checkpoint, teacher, tmp_path):
    """Two teachers that differ in architecture, normalization, and one in a name with a plus."""
    return [teacher, make_checkpoint(tmp_path / "other+kd", "resnet20", seed=3, normalization=OTHER_NORMALIZATION)]


def joined(checkpoints):
    return "+".join(str(one.path) for one in checkpoints)


def test_names_are_found_whole_where_they_contain_a_plus(several):
    assert find_teachers(joined(several)) == tuple(several)
    assert find_teachers(joined(several[::-1])) == tuple(several[::-1])
    with pytest.raises(ConfigError, match="no checkpoint 'nobody'"):
        find_teachers(f"{several[0].path}+nobody")
    with pytest.raises(ConfigError, match="twice"):
        find_teachers(joined([several[0], several[0]]))
    assert find_teachers(None) == find_teachers("") == ()
    for name in ("+", f"{several[0].path}+"):
        with pytest.raises(ConfigError):
            find_teachers(name)


def test_probabilities_are_averaged_each_network_in_its_own_normalization(tiny, several):
    def mean(images):
        return np.mean([softmax(predict_batches(o.network(), images, o.card.normalization)) for o in several], axis=0)

    trainer = Trainer(make_config(RESPONSE, teacher=joined(several), crop_padding=0, flip="none"))
    expected = mean(trainer.evaluation.images)
    np.testing.assert_allclose(softmax(trainer.evaluate_teacher().logits), expected, atol=1e-4)
    _, _, targets = trainer._load_batch(0, 0)
    images = trainer.images[epoch_order(30, 0, 0)[:5]].numpy()
    (outputs,) = targets.values()
    np.testing.assert_allclose(softmax(outputs.logits.numpy()), mean(images), atol=1e-4)


def test_the_card_names_all_teachers_and_each_is_one_in_the_lineage(tiny, several):
    run = train_to_end(make_config(SCRATCH, RESPONSE, teacher=joined(several), epochs=1))
    student = open_checkpoint(run.path / "response")
    assert student.card.teacher == refer_to(several)
    assert student.card.teacher.name == "teacher+other+kd"
    assert {one.sha256 for one in several} == student.card.teacher_hashes
    assert open_checkpoint(run.path / "scratch").card.teacher is None
    assert run.teacher(10).name == "teacher+other+kd"


def test_stored_logits_of_several_are_averaged(make_checkpoint, tmp_path, tiny):
    logits = np.random.default_rng(0).normal(0, 3, (2, 60, 10)).astype(np.float16)
    made = [make_checkpoint(tmp_path / f"t{i}", seed=i, logits=one) for i, one in enumerate(logits)]
    found = load_teacher_logits(make_config(RESPONSE, teacher=joined(made)))
    np.testing.assert_allclose(softmax(found), np.mean([softmax(one) for one in logits], axis=0), atol=1e-9)
