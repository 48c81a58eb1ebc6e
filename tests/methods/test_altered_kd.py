"""Soft labels of which a part is taken away, against results by hand and against KD."""

import numpy as np
import pytest
import torch

from kdexplorer.methods.altered_kd import alter, altered_kd_loss
from kdexplorer.methods.kd import kd_loss

P = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]])
LABELS = torch.tensor([0, 0, 3])


def altered(keep, temperature=1.0):
    return alter((P * 1.0).log() * temperature, LABELS, temperature, keep)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("top", [[0.5, 1 / 6, 1 / 6, 1 / 6], [0.4 / 3, 0.6, 0.4 / 3, 0.4 / 3], [0.2, 0.2, 0.2, 0.4]]),
        ("class-mean", [[0.2, 0.6, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]]),
        ("smoothing", np.where(np.eye(4)[LABELS], 1.1 / 3, 1.9 / 9)),  # 0.5, 0.2 and 0.4 at the labels
    ],
)
def test_what_is_kept(keep, expected, temperature):
    np.testing.assert_allclose(altered(keep, temperature).numpy(), expected, rtol=1e-5)


def test_permuted_wrong_classes_are_the_same_numbers_in_another_order():
    logits = torch.randn(4000, 10, generator=torch.Generator().manual_seed(0)) * 3
    soft, found = logits.softmax(dim=1), alter(logits, torch.zeros(4000, dtype=torch.int64), 1.0, "permuted")
    assert torch.equal(found.sort(dim=1).values, soft.sort(dim=1).values)
    assert torch.equal(found.argmax(dim=1), soft.argmax(dim=1))
    second = soft.sort(dim=1).values[:, -2:-1]
    places = (found == second).float().mean(dim=0)
    assert ((places - 0.1).abs() < 0.02).all()  # anywhere, equally often
    part = alter(logits[7:9], torch.zeros(2, dtype=torch.int64), 1.0, "permuted")
    assert torch.equal(part, found[7:9])  # the image alone decides


@pytest.mark.parametrize("keep", ["top", "permuted", "class-mean", "smoothing"])
def test_the_loss_is_kd_with_other_soft_labels(keep):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(6, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    labels = torch.tensor([0, 1, 0, 1, 2, 2])
    soft = alter(teacher, labels, 3.0, keep)
    expected = kd_loss(student, 3.0 * soft.log(), 3.0)  # logits whose softmax at T = 3 is the soft label
    assert float(altered_kd_loss(student, teacher, labels, 3.0, keep)) == pytest.approx(float(expected))
