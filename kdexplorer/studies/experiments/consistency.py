"""Consistency and patience: what the teacher should see, and how long to train."""

from __future__ import annotations

from typing import Any

from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Experiment, Plot, Results
from kdexplorer.studies.study import Study

VIEWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "same": ("the student's crop", "kd", {}),
    "fixed": ("the image as it is, once", "scratch", {"teacher_view": "fixed"}),
    "independent": ("a crop of its own", "teacher", {"teacher_view": "independent"}),
    "mixup": ("the student's mixture of two images", "kd+at", {"mixup": True}),
}
"""What the teacher sees: in the chart, its role there, and as settings."""
LENGTHS = {"short": (6, 20), "long": (18, 60)}
"""Epochs of the first and the second version by the part's ending."""
JUDGED = ("same-long", "fixed-long", "independent-long", "same-short")
"""The studies that the verdict needs, and those of the second version besides mixtures."""


def studies(small: bool) -> dict[str, Study]:
    """One for each view and length."""
    found = {}
    for length in ["long"] if small else LENGTHS:
        for view, (*_, settings) in VIEWS.items():
            found[f"{view}-{length}"] = base.declare(
                f"consistency-{view}-{length}", {"kd": "kd:T=4:weight=1:ce_weight=0"}, ["kd"], small,
                teacher="resnet20-response", train_images=2_560, epochs=LENGTHS[length][0], **settings,
            )  # fmt: skip
    for name in () if small else (*JUDGED, "mixup-long"):
        view, _, length = name.partition("-")
        found[name + base.AGAIN] = base.declare(
            f"consistency-{name}{base.AGAIN}", {"kd": "kd:T=4:weight=0.3:ce_weight=0"}, ["kd"],
            teacher="air_16-combined", train_images=5_000, epochs=LENGTHS[length][1], **VIEWS[view][2],
        )  # fmt: skip
    return found


def figure(results: Results) -> Plot:
    """Accuracy over the length, a line for each view."""
    points, latest = [], results.latest(*JUDGED)
    said = f"{latest.describe('same-short', 'same-long')}mean and 95 % interval over seeds"
    for view, (label, *_) in VIEWS.items():
        for length in LENGTHS:
            study = f"{view}-{length}"
            points += base.point_at(latest.setting(study, "epochs"), label, latest.values(f"{study}/kd").values())
    roles = {label: role for label, role, _ in VIEWS.values()}
    return Plot("lines", "What the teacher sees", said, "epochs", tuple(points), roles, "test accuracy (%)")


EXPERIMENT = Experiment(
    order=8,
    key="consistency",
    title="Consistency and patience",
    question="Must the teacher see what the student sees? And does it pay to train longer?",
    literature=(
        "With fixed soft labels a student overfits; where teacher and student see the same crops and mixtures it keeps "
        "improving for thousands of epochs (Beyer et al. 2022)."
    ),
    protocol=(
        "The bundled ResNet-20 student of ResNet-56 teaches ResNet-8 by KD alone (T = 4) on 2,560 training images, 6 "
        "and 18 epochs, seeds 0 to 4; the teacher sees the student's crop, the image as it is, a crop of its own, or "
        "both see a mixture of two images. A second version, declared because the first was undecided, has the recipe "
        "`fast`: the bundled Air-16 student of Air-64 (KD and AT) teaches another Air-16 by KD alone (T = 4, weight "
        "0.3) on 5,000 images, 20 and 60 epochs."
    ),
    comparison=(
        "After the long training, the same crop minus the fixed labels and minus a crop of its own; and the same crop "
        "after the long minus after the short training, a third of it. Paired by seed; the unit is the seed. Supported "
        "where all three are above zero. The second version decides."
    ),
    expected="The same crop is ahead, more so after the long training; mixtures are behind at first.",
    change="More patience: more epochs in `LENGTHS`. The teacher's predictions are stored for all lengths of a seed.",
    judge=base.judge_latest(
        base.judge_pairs(
            "A teacher should see the student's crop, and training should be long",
            {
                "same crop to fixed labels": ("same-long/kd", "fixed-long/kd"),
                "to a crop of its own": ("same-long/kd", "independent-long/kd"),
                "three times as many epochs": ("same-long/kd", "same-short/kd"),
            },
        ),
        "ResNet-20 and ResNet-8 on 2,560 images",
        *JUDGED,
    ),
    figure=figure,
    studies=studies,
)
