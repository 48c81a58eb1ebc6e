"""The chosen examples: in the clone, recognized by the teachers, and what is said of them."""

import numpy as np
import pytest

from kdexplorer.analysis.metrics import kl_by_image
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import find_checkpoint

PAIRS = [
    ("resnet56", "resnet20-response", "resnet20-scratch"),
    ("resnet56", "resnet8-response", "resnet8-scratch"),
    ("resnet50", "resnet18-response", "resnet18-scratch"),
]


@pytest.mark.parametrize(("teacher", "distilled", "scratch"), PAIRS)
def test_each_example_is_recognized_and_argues_for_distillation(teacher, distilled, scratch):
    dataset = get_dataset("cifar10")
    _, labels, known = dataset.samples()
    examples = list(dataset.examples)
    assert set(examples) <= set(known.tolist())
    soft, near, far = (find_checkpoint(name).logits()[examples] for name in (teacher, distilled, scratch))
    np.testing.assert_array_equal(soft.argmax(1), labels[examples])
    assert (kl_by_image(soft, near, 4.0) < kl_by_image(soft, far, 4.0)).all()
    for index, said in dataset.examples.items():
        assert dataset.classes[labels[index]] in said
