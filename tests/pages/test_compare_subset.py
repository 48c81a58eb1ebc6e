"""Students that were evaluated on the bundled subset, beside a teacher whose logits cover the whole test split."""

import numpy as np

from kdexplorer.analysis import results
from kdexplorer.analysis.metrics import agreement
from kdexplorer.datasets import get_dataset
from kdexplorer.runs.checkpoints import find_checkpoint
from kdexplorer.runs.run_folder import imported_root
from tests.pages.reading import results_table


def make_student(make_checkpoint, name, seed):
    small = get_dataset("cifar10-small")
    logits = np.random.default_rng(seed).normal(0, 3, (2000, 10))
    data = {"dataset": small.key, "evaluation_images": 2000}
    return make_checkpoint(imported_root() / name, logits=logits, classes=small.classes, data=data)


def test_a_bundled_teacher_is_a_reference_on_the_subset(make_checkpoint, open_page):
    student, other = (make_student(make_checkpoint, name, seed) for seed, name in enumerate(("mine", "other")))
    teacher = find_checkpoint("resnet56")
    assert results.is_evaluated_on(teacher, student)
    assert not results.is_evaluated_on(student, teacher)
    at = open_page("compare", networks="imported/mine,imported/other", teacher="resnet56")
    assert not at.error
    table = results_table(at)
    row = table[table["name"] == "mine"].iloc[0]
    expected = agreement(student.logits(), teacher.logits()[:2000])
    assert abs(float(row["teacher_agreement"]) - 100 * expected) < 0.01
    assert other.name in set(table["name"])
