"""Does a better teacher teach better?"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.difference import ENOUGH_SEEDS, correct, over_seeds
from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Results
from kdexplorer.studies.study import Study

LENGTH, FIRST = 6, (1, 2, 4)
"""Epochs of the teachers' training, and after how many of them the others are taken."""
ALONG = {**{f"epoch-{epochs}": f"plain-after-{epochs}" for epochs in FIRST}, f"epoch-{LENGTH}": "plain"}
"""Teachers along one training: the study whose students they teach, and their names."""
BUNDLED = {"assistant": "resnet20-response", "resnet56": "resnet56", "average": "resnet50+resnet56"}
TITLES = {
    **{part: f"ResNet-20 after {part.replace('-', ' ')}" for part in ALONG},
    "smoothed": "ResNet-20 with label smoothing", "assistant": "assistant (ResNet-20)",
    "resnet56": "ResNet-56", "average": "ResNet-50 and ResNet-56, averaged",
}  # fmt: skip
"""The teacher of each study's students."""
ONE_TRAINING = "ResNet-20 along one training"
BESIDE = (
    ("teacher with label smoothing minus the same without", "smoothed", f"epoch-{LENGTH}"),
    ("assistant minus ResNet-56", "assistant", "resnet56"),
    ("average of ResNet-50 and ResNet-56 minus ResNet-56", "average", "resnet56"),
)
"""Teachers that are compared beside the verdict: a name, and the studies."""
STUDENT = "kd:T=4:weight=0.9:ce_weight=0.1"


def studies(small: bool) -> dict[str, Study]:
    """The teachers, then a study for each of them."""
    entries = {"plain": "scratch", "smoothed": "scratch:smoothing=0.1"}
    teaching = base.declare(
        "better-teacher-teachers", entries, ["plain"], small, student="resnet20", teacher=None, epochs=LENGTH,
        snapshots=1, seeds=[0],
    )  # fmt: skip
    trained = {name: f"{teaching.run_id(0)}/{student}" for name, student in (ALONG | {"smoothed": "smoothed"}).items()}
    if small:  # its teachers are trained for two epochs
        trained = {name: teacher for name, teacher in trained.items() if name not in ("epoch-2", "epoch-4")}
    found = {"teachers": teaching}
    for name, teacher in (trained | BUNDLED).items():
        students = {"kd": STUDENT} | ({"scratch": "scratch"} if name == "resnet56" else {})
        found[name] = base.declare(
            f"better-teacher-{name}", students, ["kd"], small, teacher=teacher, epochs=3, teacher_view="fixed"
        )
    return found


def more(logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None) -> dict[str, float]:
    """The teacher's accuracy."""
    if teacher_logits is None or len(teacher_logits) < len(labels):
        return {}
    return {"teacher_accuracy": metrics.accuracy(teacher_logits[: len(labels)], labels)}


def judge(results: Results) -> list[Claim]:
    """The steps to the next better teacher; beside them the special teachers, and those that are worse than none."""
    taught = {study: _teacher_accuracy(results, study) or 0.0 for study in TITLES}
    order, last = sorted(ALONG, key=taught.__getitem__), f"epoch-{LENGTH}"
    steps = {
        f"{TITLES[own]} to {TITLES[other].removeprefix('ResNet-20 ')}": results.compare(f"{own}/kd", f"{other}/kd")
        for other, own in pairwise(order)
    }
    judged = base.judge_differences("Of teachers along one training, the more accurate teaches better", steps)
    slopes = [
        f"{np.mean(list(values.values())) / (taught[own] - taught[other]):.2f}"
        for values, (other, own) in zip(steps.values(), pairwise(order), strict=True)
        if values and taught[own] > taught[other]
    ]
    each = f"Points of the student for each of the teacher's: {', '.join(slopes)}." if slopes else ""
    pairs = {name: results.compare(f"{own}/kd", f"{other}/kd") for name, own, other in BESIDE}
    better = f"ResNet-56, {100 * (taught['resnet56'] - taught[last]):.1f} points better, minus {TITLES[last]}"
    pairs[better] = results.compare("resnet56/kd", f"{last}/kd")
    beyond = {study: [*results.compare(f"{study}/kd", "resnet56/scratch").values()] for study in TITLES}
    tests = correct({study: over_seeds(seeds) for study, seeds in beyond.items() if len(seeds) >= ENOUGH_SEEDS})
    weak = [TITLES[study] for study, one in tests.items() if one.sign < 0]
    worse = f"Worse than no teacher: {', '.join(weak)}." if weak else ""
    return [base.add_beside(judged, pairs, each, worse)]


def figure(results: Results) -> Plot:
    """Student accuracy over teacher accuracy."""
    points = []
    for study, name in TITLES.items():
        teacher = _teacher_accuracy(results, study)
        if teacher is not None:
            series = ONE_TRAINING if study in ALONG else name
            points += base.point_at(100 * teacher, series, results.values(f"{study}/kd").values(), name)
    alone = list(results.values("resnet56/scratch").values())
    roles = {ONE_TRAINING: "kd", TITLES["smoothed"]: "altered_kd"} | {TITLES[study]: "teacher" for study in BUNDLED}
    return Plot(
        "scatter", "A better teacher, a better student?", "students: mean and 95 % interval over seeds",
        "teacher's test accuracy (%)", tuple(points), roles, "student's test accuracy (%)",
        rule=100 * float(np.mean(alone)) if alone else None, rule_title="student without a teacher",
    )  # fmt: skip


def _teacher_accuracy(results: Results, study: str) -> float | None:
    return next(iter(results.values(f"{study}/kd", "teacher_accuracy").values()), None)


EXPERIMENT = Experiment(
    order=5,
    key="better-teacher",
    title="Does a better teacher teach better?",
    question="How much of a teacher's accuracy reaches its student?",
    literature=(
        "A teacher that is stopped early can teach better (Cho & Hariharan 2019), one trained with label smoothing "
        "worse (Müller et al. 2019), though not always (Chandrasegaran et al. 2022); an assistant of middle size helps "
        "a small student (Mirzadeh et al. 2020)."
    ),
    protocol=(
        "Teachers: a ResNet-20 after 1, 2, 4 and 6 epochs of one training on 20,480 images, the same with label "
        "smoothing 0.1, and of the bundled networks ResNet-56, its student ResNet-20 (assistant), and the average of "
        "ResNet-50 and ResNet-56. Each teaches ResNet-8 on 20,480 images for 3 epochs, seeds 0 to 4, by its soft "
        "labels of the images as they are, which are computed once."
    ),
    comparison=(
        "Student accuracy from each teacher of the one training to the next better one, paired by seed with Holm's "
        "correction; the unit is the student's seed, with the same four teachers. Supported where all three steps are "
        "above zero, not supported where any is below. Declared at first was one slope, which leaves out that a point "
        "counts less the better the teacher is; the steps replaced it after the measurement, with the same verdict."
    ),
    expected="Students gain with their teachers, by much less than a point for each point.",
    change="Another architecture for the teachers: change `student` in the part that teaches.",
    ranges={"teacher_accuracy": (0, 1)},
    judge=judge,
    figure=figure,
    studies=studies,
    more=more,
)
