"""Predictions with attention maps, gradients against autograd of the loss in training, and what methods ask."""

import numpy as np
import pytest
import torch

from kdexplorer.analysis import inference
from kdexplorer.analysis.metrics import gradient_on_logits, push_size
from kdexplorer.datasets import get_dataset
from kdexplorer.methods import all_methods, get_method
from kdexplorer.methods.at import at_loss, attention_map
from kdexplorer.methods.kd import kd_loss
from kdexplorer.networks import build, get_architecture

ARCHITECTURES = get_architecture("resnet8"), get_architecture("resnet20")
LABELS = np.arange(16) % 10


@pytest.mark.parametrize("label", [0, 7, None])
@pytest.mark.parametrize(("temperature", "alpha"), [(0.5, 0.0), (1.0, 0.3), (4.0, 0.7), (20.0, 1.0)])
def test_gradient_agrees_with_autograd(temperature, alpha, label):
    generator = np.random.default_rng(label or 0)
    student, teacher = generator.normal(0, 3, 10), generator.normal(0, 5, 10)
    logits = torch.tensor(student[None], requires_grad=True)
    soft = kd_loss(logits, torch.tensor(teacher[None]), temperature)
    hard = 0 if label is None else torch.nn.functional.cross_entropy(logits, torch.tensor([label]))
    (alpha * soft + (1 - alpha) * hard).backward()
    parts = gradient_on_logits(student, teacher, label, temperature, alpha)
    np.testing.assert_allclose(parts["total"], logits.grad[0].numpy(), atol=1e-10)
    np.testing.assert_allclose(parts["teacher"] + parts["label"], parts["total"])
    assert alpha * push_size(student, teacher, temperature) == pytest.approx(np.abs(parts["teacher"]).sum())


@pytest.fixture(scope="module")
def outputs():
    """A student's and a teacher's outputs for sixteen images."""
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), np.uint8)
    normalization = get_dataset("cifar10").normalization
    return tuple(
        inference.compute_outputs(build(one.key, seed=seed).eval(), images, normalization)
        for seed, one in enumerate(ARCHITECTURES)
    )


def test_the_push_of_kd_is_the_formula_for_the_chosen_image(outputs):
    student, teacher = outputs
    found = inference.probe(get_method("kd")(temperature=3.0), student, teacher, LABELS, ARCHITECTURES)
    expected = gradient_on_logits(student.logits[0].numpy(), teacher.logits[0].numpy(), None, 3.0, 1.0)
    np.testing.assert_allclose(found.push, -expected["teacher"], atol=1e-6)
    assert found.changes == [None, None, None]
    assert found.relations is None


def test_the_changes_of_at_are_its_gradient_by_finite_differences(outputs):
    student, teacher = outputs
    found = inference.probe(get_method("at")(), student, teacher, LABELS, ARCHITECTURES)
    maps = [attention_map(stage).double() for stage in teacher.stages]
    moved = [stage.double().clone() for stage in student.stages]
    place, step, gradient = (0, slice(None), 1, 2), 1e-5, []
    for channel in range(moved[2].shape[1]):
        losses = []
        for sign in (1, -1):
            moved[2][0, channel, 1, 2] += sign * step
            losses.append(float(at_loss([attention_map(stage) for stage in moved], maps)))
            moved[2][0, channel, 1, 2] -= sign * step
        gradient.append((losses[0] - losses[1]) / (2 * step))
    assert moved[2][place].shape == (64,)
    assert found.changes[2][1, 2] == pytest.approx(16 * np.linalg.norm(gradient), rel=1e-3)
    assert found.push is None


def test_relations_are_the_teachers_and_the_students(outputs):
    student, teacher = outputs
    of_teacher, of_student = inference.probe(get_method("rkd")(), student, teacher, LABELS, ARCHITECTURES).relations
    for relations, one in ((of_teacher, teacher), (of_student, student)):
        vectors = one.embedding.double().numpy()
        distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
        np.testing.assert_allclose(relations, distances / distances[distances > 0].mean(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", all_methods(), ids=lambda method: method.key)
def test_every_method_asks_for_something(method, outputs):
    found = inference.probe(method(), *outputs, LABELS, ARCHITECTURES)
    assert np.isfinite(found.loss)
    shown = [one for one in (found.push, *found.changes, *(found.relations or ())) if one is not None]
    assert all(np.isfinite(one).all() for one in shown)
    changed = any(change is not None for change in found.changes)
    asks = {"response": found.push is not None, "feature": changed, "relation": found.relations is not None}
    assert asks[method.family]
