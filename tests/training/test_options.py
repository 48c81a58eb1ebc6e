"""Every method and option in a run: what it does, and that a stopped run resumes to the same bits."""

import numpy as np
import pytest
import safetensors.numpy
import torch

from kdexplorer.analysis.evaluate import evaluate_checkpoint
from kdexplorer.datasets import get_dataset
from kdexplorer.datasets.augmentation import epoch_order, mix
from kdexplorer.methods import all_methods
from kdexplorer.networks import build
from kdexplorer.runs import array_store
from kdexplorer.runs.checkpoints import find_checkpoint, open_checkpoint
from kdexplorer.training import estimate
from kdexplorer.training.train import execute
from kdexplorer.training.trainer import Trainer
from tests.training.configs import bits, make_config, predict, record_forwards, stop_halfway, train_to_end

ALONE = {"name": "alone", "architecture": "resnet8", "ce_weight": 0, "terms": [{"method": "kd", "temperature": 2.0}]}
FIXED, INDEPENDENT, MIXUP = {"teacher_view": "fixed"}, {"teacher_view": "independent"}, {"mixup": True}
CUTOUT = {"cutout": 12}


@pytest.fixture
def alone(tiny, teacher):
    return make_config(ALONE, teacher=str(teacher.path), train_images=40, batch_size=10)


@pytest.mark.parametrize(
    "changes",
    [
        FIXED, INDEPENDENT, MIXUP, CUTOUT, {"precision": "float16"},
        {"optimizer": "adamw", "ema": 0.9, "learning_rate": 0.01, "schedule": "step"},
    ],
    ids=str,
)  # fmt: skip
def test_each_option_resumes_to_the_same_bits(alone, monkeypatch, changes):
    monkeypatch.setitem(get_dataset("synthetic").sizes, "test", 20)  # float16 is slow on a processor
    run, expected = stop_halfway(alone.model_copy(update=changes))  # with the teacher's predictions from the disk
    array_store.delete_store()
    assert execute(run) == "finished"
    assert bits(run) == expected


def test_a_teacher_sees_what_is_chosen(alone):
    def seen(view):
        """What the networks see of a batch, a teacher that computes before the student."""
        trainer, given = Trainer(alone.model_copy(update=view)), []
        record_forwards(trainer, lambda inputs: given.append(inputs))
        trainer.step(0, 1)
        return given

    teacher, student = seen({})
    assert torch.equal(student, teacher)
    teacher, inputs = seen(INDEPENDENT)
    assert torch.equal(inputs, student)
    assert not torch.equal(inputs, teacher)
    assert torch.equal(*seen(INDEPENDENT | {"crop_padding": 0}))  # mirrored alike
    (inputs,) = seen(FIXED)
    assert torch.equal(inputs, student)
    teacher, mixed = seen(MIXUP)
    assert torch.equal(mixed, teacher)
    assert not torch.equal(mixed, student)
    teacher, cut = seen(CUTOUT)
    assert torch.equal(cut, teacher)
    changed = (cut != student).any(dim=1)
    assert changed.flatten(1).sum(dim=1).tolist() == [144] * len(cut)
    assert cut.abs().amax(dim=1)[changed].max() < 0.02  # the mean, as near as whole numbers are
    teacher, inputs = seen(INDEPENDENT | CUTOUT)
    assert not torch.equal(inputs, teacher)


def test_fixed_logits_are_those_of_the_images_as_they_are(alone, teacher):
    trainer = Trainer(alone.model_copy(update=FIXED))
    assert not trainer.reads_teacher(0)
    _, _, targets = trainer._load_batch(0, 1)
    assert trainer.reads_teacher(0)
    (outputs,) = targets.values()
    images = trainer.images[epoch_order(40, 0, 0)[10:20]].numpy()
    expected = predict(teacher.network(), images, teacher.card.normalization)
    np.testing.assert_allclose(outputs.logits.numpy(), expected, atol=1e-4)


def test_a_mixture_has_at_least_half_of_its_own_image():
    images = torch.stack([torch.full((3, 4, 4), value, dtype=torch.uint8) for value in (0, 200, 100)])
    mixed = mix(images, 1, 2, 3)
    assert mixed.dtype == torch.uint8
    share = [1 - float(mixed[0, 0, 0, 0]) / 100, float(mixed[1, 0, 0, 0]) / 200]  # mixed with the one before
    assert all(0.5 <= one <= 1 for one in share)
    assert len(torch.unique(mixed[1])) == 1
    assert not torch.equal(mixed, mix(images, 1, 2, 4))


def test_fewer_evaluations_and_snapshots_along_the_training_change_no_weight(tiny):
    changes = {}, {"evaluate_every": 2}, {"snapshots": 1}
    whole, seldom, run = (train_to_end(make_config(train_images=40, epochs=3, **one)) for one in changes)
    assert bits(whole)[0] == bits(seldom)[0] == bits(run)[0]
    assert [bool(row.test) for row in seldom.metrics()] == [False, True, True]
    rows = run.metrics()
    assert [row.train for row in seldom.metrics()] == [row.train for row in rows]
    for epochs in (1, 2):
        found = find_checkpoint(f"{run.run_id}/scratch-after-{epochs}")
        assert found.card.test_accuracy == pytest.approx(rows[epochs - 1].test["accuracy"], abs=0.02)
        assert evaluate_checkpoint(str(found.path)).matches_card
        assert found.card.legs[-1].epochs == epochs
    assert not (run.path / "scratch-after-3").exists()
    assert open_checkpoint(run.path / "scratch").card.legs[-1].epochs == 3


def test_fixed_logits_that_are_stored_add_nothing_to_the_estimate(alone):
    config = alone.model_copy(update=FIXED)
    first = estimate.measure(config)
    assert 0 < first.fixing < first.seconds
    trainer = Trainer(config)
    trainer.step(0, 0)
    for seed in (config.seed, config.seed + 1):  # they belong to no seed
        assert estimate.measure(config.model_copy(update={"seed": seed})).fixing == 0
    assert estimate.measure(alone).fixing == 0


KEYS = [method.key for method in all_methods()]


def test_every_method_resumes_to_the_same_bits_and_exports_no_adapter(tiny, make_checkpoint, tmp_path, monkeypatch):
    """Two epochs of two steps; the teacher is wider, and its stages do not end in ReLU."""
    monkeypatch.setitem(get_dataset("synthetic").sizes, "test", 20)
    teacher = make_checkpoint(tmp_path / "wide", "wrn_16_2", seed=9)
    students = [{"name": key, "architecture": "resnet8", "terms": [{"method": key}]} for key in KEYS]
    small = {"train_images": 20, "batch_size": 10, "learning_rate": 0.01, "start_resolution": 16}
    run, expected = stop_halfway(make_config(*students, teacher=str(teacher.path), **small), (0, 1))
    state = torch.load(run.path / "state.pt", weights_only=True)["students"]
    with_adapter = {name for name in KEYS if state[name]["adapters"]}
    assert with_adapter == {"fitnets", "reviewkd", "crd"}
    assert execute(run) == "finished"
    assert bits(run) == expected
    assert len(set(expected[0].values())) == len(KEYS)  # each method leads elsewhere
    for name in KEYS:
        card = open_checkpoint(run.path / name).card
        term = card.objective.terms[0]
        assert card.test_terms.keys() == {"cross_entropy", name}
        objective = card.test_terms["cross_entropy"] + term.weight * card.test_terms[name]
        assert card.test_objective == pytest.approx(objective, rel=1e-5)
        assert (card.teacher is None) == (not card.objective.needs)
        stored = safetensors.numpy.load_file(run.path / name / "weights.safetensors")
        assert stored.keys() == {key for key in build("resnet8").state_dict() if not key.endswith("_tracked")}
    ends = torch.load(run.path / "state.pt", weights_only=True)["students"]
    for name in with_adapter:
        begin, end = (one[name]["adapters"][name] for one in (state, ends))
        assert not [key for key in end if torch.equal(begin[key], end[key])]
