"""The objective: its weights, its names, and what of it is reported."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn import functional as F

from kdexplorer.config import Objective
from kdexplorer.errors import TrainingError
from kdexplorer.methods import get_method
from kdexplorer.methods.at import at_loss, attention_map
from kdexplorer.methods.kd import kd_loss
from kdexplorer.methods.sp import sp_loss
from kdexplorer.networks import Outputs, get_architecture
from kdexplorer.training.objective import compute_objective, make_adapters, relate_parts
from tests.methods.test_losses import random

NETWORK = get_architecture("resnet8")
KD, AT = {"method": "kd", "weight": 0.7, "temperature": 3.0}, {"method": "at", "weight": 50.0}

STUDENT = Outputs(random(8, 10), [random(8, 4, 8, 8, seed=2), random(8, 4, 4, 4, seed=3)])
TEACHER = Outputs(random(8, 10, seed=4), [random(8, 6, 8, 8, seed=5), random(8, 6, 4, 4, seed=6)])
LABELS = torch.arange(8)


def compute(student=STUDENT, teacher=TEACHER, labels=LABELS, ce_weight=1.0, label_smoothing=0.0, terms=(), **options):
    """The parts of an objective, as training computes them."""
    objective = Objective(ce_weight=ce_weight, label_smoothing=label_smoothing, terms=terms)
    targets = {method: method.reduce_teacher(teacher) for method in objective.methods}
    return compute_objective(objective, make_adapters(objective, NETWORK, NETWORK), student, labels, targets, **options)


def test_the_objective_is_the_weighted_sum_and_reports_each_term_those_of_one_method_numbered():
    hot = {**KD, "temperature": 8.0, "weight": 0.2}
    parts = compute(ce_weight=0.3, terms=[KD, AT, hot, hot])
    assert list(parts) == ["objective", "cross_entropy", "kd", "at", "kd.2", "kd.3"]
    assert parts["cross_entropy"].item() == pytest.approx(
        -np.log(softmax(STUDENT.logits.numpy(), axis=1)[np.arange(8), np.arange(8)]).mean()
    )
    assert parts["kd"].item() == kd_loss(STUDENT.logits, TEACHER.logits, 3).item()
    maps = ([attention_map(stage) for stage in one.stages] for one in (STUDENT, TEACHER))
    assert parts["at"].item() == at_loss(*maps).item()
    assert parts["kd.2"].item() == parts["kd.3"].item() == kd_loss(STUDENT.logits, TEACHER.logits, 8).item()
    expected = 0.3 * parts["cross_entropy"] + 0.7 * parts["kd"] + 50 * parts["at"] + 0.4 * parts["kd.2"]
    assert parts["objective"].item() == pytest.approx(expected.item())


def test_label_smoothing_changes_the_objective_and_not_the_reported_cross_entropy():
    parts = compute(label_smoothing=0.2)
    log_p = F.log_softmax(STUDENT.logits, dim=1)
    assert parts["objective"].item() == pytest.approx((0.8 * parts["cross_entropy"] - 0.2 * log_p.mean()).item())
    assert parts["cross_entropy"].item() == pytest.approx(F.cross_entropy(STUDENT.logits, LABELS).item())


def test_relations_are_within_parts_and_every_image_counts_once():
    """Eight images in parts of three, three and two; the other losses are of the whole batch."""
    parts = compute(terms=[{"method": "sp", "weight": 2.0}, KD], relate=relate_parts(3))
    ends = ((0, 3), (3, 6), (6, 8))
    stages = STUDENT.stages[-1], TEACHER.stages[-1]
    expected = sum((b - a) * sp_loss(*(stage[a:b] for stage in stages)).item() for a, b in ends) / 8
    assert parts["sp"].item() == pytest.approx(expected, rel=1e-12)
    assert parts["sp"].item() != pytest.approx(sp_loss(*stages).item(), rel=1e-3)
    assert parts["kd"].item() == kd_loss(STUDENT.logits, TEACHER.logits, 3).item()


def test_a_weight_that_warms_up_counts_in_part_and_the_loss_is_reported_whole():
    term = {"method": "dkd", "weight": 3.0, "warmup": 0.5}
    found = [compute(terms=[term], progress=progress) for progress in (0.1, 0.5, 1.0)]
    for parts, factor in zip(found, (0.2, 1.0, 1.0), strict=True):
        assert parts["dkd"].item() == found[0]["dkd"].item()
        assert parts["objective"].item() == pytest.approx((parts["cross_entropy"] + factor * 3 * parts["dkd"]).item())
    at_once = compute(terms=[term | {"warmup": 0.0}], progress=0.001)
    assert at_once["objective"].item() == found[-1]["objective"].item()


def test_a_loss_that_is_no_scalar_is_named(monkeypatch):
    for loss, shape in ((lambda _, student, *others: student.logits.sum(dim=1), r".*\[8\]"), (lambda *_: 1.5, "of no")):
        monkeypatch.setattr(get_method("kd"), "loss", loss)
        with pytest.raises(TrainingError, match=f"kd: the loss of KD has the shape {shape}"):
            compute(terms=[KD])
