"""A run in memory: the same batches for all students, one teacher, and evaluation that changes nothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kdexplorer.config import learning_rate
from kdexplorer.datasets import Normalization, get_dataset
from kdexplorer.datasets.augmentation import augment, epoch_order, normalize
from kdexplorer.datasets.synthetic import SyntheticShapes
from kdexplorer.errors import ConfigError, TrainingError
from kdexplorer.methods.at import at_loss, attention_map
from kdexplorer.methods.kd import KD, kd_loss
from kdexplorer.networks import build
from kdexplorer.training import teacher as teacher_module
from kdexplorer.training.hardware import configure_process
from kdexplorer.training.trainer import Trainer, load_run_data
from tests.training.configs import COMBINED, RESPONSE, SCRATCH, make_config, predict, record_forwards

OTHER_NORMALIZATION = Normalization(mean=(0.1, 0.2, 0.3), std=(1.0, 0.5, 0.7))


def test_an_experiment_changes_no_setting_of_the_process(tiny):
    before = torch.get_num_threads(), torch._dynamo.config.recompile_limit
    Trainer(make_config(threads=before[0] + 1))
    assert (torch.get_num_threads(), torch._dynamo.config.recompile_limit) == before


def test_the_holdout_is_balanced_disjoint_from_training_and_the_same_for_every_seed(tiny):
    train, held = load_run_data(make_config(holdout=40, seed=1, train_images=None))
    assert (len(train), len(held)) == (80, 40)
    assert np.bincount(held.labels).tolist() == [4] * 10
    seen = {image.tobytes() for image in train.images}
    assert not any(image.tobytes() in seen for image in held.images)
    _, other = load_run_data(make_config(holdout=40, seed=2, train_images=None))
    assert np.array_equal(other.images, held.images)


def test_a_class_without_an_image_to_train_on_is_refused(tiny, monkeypatch):
    train = get_dataset("synthetic").load("train")
    few = np.concatenate([np.flatnonzero(train.labels != 3), np.flatnonzero(train.labels == 3)[:2]])
    monkeypatch.setattr(SyntheticShapes, "load", lambda self, split, **_: train.take(few))
    with pytest.raises(ConfigError, match=f"no training image of {train.classes[3]} would be left"):
        load_run_data(make_config(holdout=40, train_images=None))


def test_a_part_of_the_training_images_is_balanced_and_the_same_for_every_seed_and_may_omit_a_class(tiny):
    first, test = load_run_data(make_config(train_images=105, seed=1))
    second, _ = load_run_data(make_config(train_images=105, seed=2))
    assert set(np.bincount(first.labels).tolist()) == {10, 11}
    assert len(np.unique(first.images, axis=0)) == 105
    assert np.array_equal(first.images, second.images)
    assert len(test) == 60
    with pytest.raises(ConfigError, match="there are only 120"):
        load_run_data(make_config(train_images=301))
    train, test = load_run_data(make_config(without_class=3, train_images=45))
    assert np.bincount(train.labels).tolist() == [5, 5, 5, 0, *[5] * 6]
    assert 3 in test.labels


def test_targets_that_are_not_kept_are_computed_again_to_the_same_values(paired, monkeypatch):
    monkeypatch.setattr(teacher_module, "EVALUATION_BATCH", 25)  # three batches, the last of 10
    trainer, results = Trainer(paired), []
    targets = trainer.evaluate_teacher().targets(0, 25)
    kept = sum(tensor.nbytes for outputs in targets.values() for tensor in outputs.tensors())
    for limit in (1 << 30, kept + 1, 0):  # everything, one batch, nothing
        monkeypatch.setattr(teacher_module, "MAX_KEPT_BYTES", limit)
        results.append(trainer.evaluate(trainer.students[1], trainer.evaluate_teacher()))
    for logits, parts in results[1:]:
        assert np.array_equal(logits, results[0][0])
        assert parts == results[0][1]


def test_a_step_is_what_a_plain_loop_does_at_a_lower_resolution_too(tiny, make_checkpoint, tmp_path):
    """Two steps of one student, written out: each network's pixels, unfolded teacher, the losses, SGD with Nesterov."""
    other = make_checkpoint(tmp_path / "other", seed=3, normalization=OTHER_NORMALIZATION)
    config = make_config(SCRATCH, COMBINED, teacher=str(other.path), epochs=4, start_resolution=16, seed=1)
    trainer, network, teacher, velocity = Trainer(config), build("resnet8", seed=1), other.network(), {}
    for epoch, step, side in ((0, 1, 16), (3, 2, 32)):
        trainer.step(epoch, step)
        indices = epoch_order(30, 1, epoch)[step * 5 : step * 5 + 5]
        batch = augment(trainer.images, indices, 1, epoch, step, 4, "alternating")
        inputs, of_teacher = (
            F.interpolate(normalize(batch, one), size=(side, side), mode="bilinear", antialias=True)
            for one in (trainer.normalization, OTHER_NORMALIZATION)
        )
        with torch.no_grad():
            teacher_logits, teacher_stages, _ = teacher(of_teacher, all_outputs=True)
        logits, stages, _ = network(inputs, all_outputs=True)
        loss = (
            0.3 * F.cross_entropy(logits, trainer.labels[indices])
            + 0.7 * kd_loss(logits, teacher_logits, 3.0)
            + 100 * at_loss([attention_map(x) for x in stages], [attention_map(x) for x in teacher_stages])
        )
        network.zero_grad()
        loss.backward()
        rate = learning_rate(config, 6 * epoch + step, 24)
        with torch.no_grad():
            for name, p in network.named_parameters():
                gradient = p.grad + (config.weight_decay * p if p.ndim > 1 else 0)
                velocity[name] = gradient + 0.9 * velocity.get(name, 0)
                p -= rate * (gradient + 0.9 * velocity[name])
    trained = trainer.students[1].network
    torch.testing.assert_close(list(trained.parameters()), list(network.parameters()), rtol=1e-3, atol=1e-5)
    for key in ("bn1.running_mean", "layer3.0.bn2.running_var"):
        torch.testing.assert_close(trained.state_dict()[key], network.state_dict()[key])
    expected = predict(teacher, trainer.evaluation.images, OTHER_NORMALIZATION)
    np.testing.assert_allclose(trainer.evaluate_teacher().logits, expected, atol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_student_learns_the_same_whatever_students_train_beside_it(tiny, teacher, threads, monkeypatch):
    configure_process(threads)
    monkeypatch.setattr(KD, "loss", lambda kd, a, b, _: kd_loss(F.dropout(a.logits), b.logits, kd.settings.temperature))
    alone = Trainer(make_config(COMBINED, teacher=str(teacher.path)))
    cold = COMBINED | {"name": "cold", "terms": [{"method": "kd", "temperature": 1.0}, {"method": "at", "power": 2}]}
    together = Trainer(make_config(SCRATCH, cold, COMBINED, teacher=str(teacher.path)))
    for step in range(2):
        alone.step(0, step)
        together.step(0, step)
    first, second = alone.students[0], together.students[2]
    torch.testing.assert_close(first.network.state_dict(), second.network.state_dict(), rtol=0, atol=0)
    assert first.sums == second.sums


def test_the_teacher_is_reduced_once_for_methods_with_equal_settings_whatever_their_weights(tiny, teacher):
    heavy = COMBINED | {"name": "heavy", "terms": [term | {"weight": 2.0} for term in COMBINED["terms"]]}
    squares = COMBINED | {"name": "squares", "terms": [{"method": "at", "power": 2}]}
    trainer = Trainer(make_config(COMBINED, heavy, squares, teacher=str(teacher.path)))
    assert [method.key for method in trainer.teacher.methods] == ["kd", "at", "at"]


def test_stages_are_computed_only_where_a_term_needs_them(tiny, teacher):
    asked = []
    for students in ([SCRATCH, RESPONSE], [SCRATCH, COMBINED]):
        trainer = Trainer(make_config(*students, teacher=str(teacher.path)))
        record_forwards(trainer, lambda _, all_outputs=False: asked.append(all_outputs))
        trainer.step(0, 0)
    assert asked == [False, False, False, True, False, True]  # the teacher and two students, twice
    assert Trainer(make_config(SCRATCH, teacher=str(teacher.path))).teacher is None


def test_half_precision_training_stays_close_to_single(tiny, teacher):
    values = []
    for precision in ("float32", "bfloat16"):
        trainer = Trainer(make_config(COMBINED, teacher=str(teacher.path), precision=precision))
        trainer.step(0, 0)
        student = trainer.students[0]
        assert all(p.dtype == torch.float32 for p in student.network.parameters())
        values.append(student.sums)
    assert values[1] == pytest.approx(values[0], rel=0.1)
    assert values[1]["cross_entropy"] != values[0]["cross_entropy"]


def test_losses_that_are_read_later_have_the_same_sums_and_name_the_same_step(paired):
    at_once, later = Trainer(paired), Trainer(paired)
    later.read_every = 4
    for step in range(4):
        assert [student.sums for student in later.students] == [{}, {}]
        at_once.step(0, step)
        later.step(0, step)
    assert [student.sums for student in later.students] == [student.sums for student in at_once.students]
    with torch.no_grad():
        later.students[1].network.fc.weight.fill_(torch.nan)
    later.step(0, 4)
    with pytest.raises(TrainingError, match=r"combined: \w+ became nan in epoch 1, step 5"):
        later.step(0, 5)  # the epoch's last
