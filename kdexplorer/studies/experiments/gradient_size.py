"""Temperature or gradient size: T changes both."""

from __future__ import annotations

from kdexplorer.studies.experiments.base import Experiment, Plot, Results, declare, judge_pairs, row_of

MATCHED = 0.307385
"""The weight at which T²·KL at T = 4 has the gradient of T = 1 with weight 0.9 at the start of training.

0.9 · S(1) / S(4), where S is `metrics.fresh_push` of ResNet-56 on the 10,000 test images.
"""
PARTS = {
    "students": {
        "T1-w0.9": ("T = 1, weight 0.9", "kd:T=1:weight=0.9:ce_weight=0.1"),
        "T1-w2.7": ("T = 1, weight 2.7", "kd:T=1:weight=2.7:ce_weight=0.1"),
        "T1-w5.4": ("T = 1, weight 5.4", "kd:T=1:weight=5.4:ce_weight=0.1"),
        "T4-matched": (f"T = 4, weight {MATCHED:.2f}", f"kd:T=4:weight={MATCHED}:ce_weight=0.1"),
        "T4-w0.9": ("T = 4, weight 0.9", "kd:T=4:weight=0.9:ce_weight=0.1"),
    },
    # Declared after the others were trained: labels alone with larger gradients, and more weight at T = 1.
    "controls": {
        "CE1": ("labels, weight 1", "scratch"),
        "CE2.7": ("labels, weight 2.7", "scratch:ce_weight=2.7"),
        "CE5.4": ("labels, weight 5.4", "scratch:ce_weight=5.4"),
        "T1-w10": ("T = 1, weight 10", "kd:T=1:weight=10:ce_weight=0.1"),
    },
}
"""By study and entry: the row in the chart, whose series it begins with, and the objective."""


def figure(results: Results) -> Plot:
    """Accuracy of each setting."""
    points = []
    for part, students in PARTS.items():
        for entry, (label, _) in students.items():
            points += row_of(label, label.partition(",")[0], results.values(f"{part}/{entry}").values())
    return Plot(
        "dots", "Two temperatures, several sizes of the gradient", "mean, 95 % interval, and seeds",
        "test accuracy (%)", tuple(points), {"T = 1": "reverse_kl", "T = 4": "kd", "labels": "scratch"},
    )  # fmt: skip


EXPERIMENT = Experiment(
    order=4,
    key="gradient-size",
    title="Temperature or gradient size?",
    question="Is it the softer label that helps at T = 4, or only the larger gradient?",
    literature=(
        "The factor T² is meant to keep the gradient's size when T changes (Hinton et al. 2015, section 2). It does "
        "in the limit of large T; from T = 1 to T = 4 the gradient grows about threefold on these logits."
    ),
    protocol=(
        "ResNet-56 teaches ResNet-8 on 20,480 training images; 4 epochs, seeds 0 to 4, the batches of dark-knowledge. "
        "T = 1 with weights 0.9, 2.7 and 5.4; T = 4 with weight 0.9, and with the weight at which its gradient has the "
        "size of T = 1 at the start of training. Cross-entropy has weight 0.1. Declared afterwards, with the same "
        "seeds and batches, trained on another processor: labels alone with weights 1, 2.7 and 5.4, and T = 1 with "
        "weight 10."
    ),
    comparison=(
        "At a gradient that is equal at the first step: T = 4 minus T = 1 with small gradients (weights 0.31 and 0.9) "
        "and with large ones (0.9 and 2.7), paired by seed; the unit is the seed. Supported where T = 4 is above in "
        "both, not supported where it is below in either, after Holm's correction."
    ),
    expected="At equal gradient T = 4 is still above, by less than the usual comparison at equal weights shows.",
    change=(
        "A grid at equal gradient: `python -m kdexplorer sweep --teacher resnet56 --student resnet8 --hold gradient "
        "--temperature 1 2 4 8`."
    ),
    judge=judge_pairs(
        "At this learning rate and length the temperature itself helps, not only the size of the gradient",
        {
            "T = 4 to T = 1 with small gradients": ("students/T4-matched", "students/T1-w0.9"),
            "with large gradients": ("students/T4-w0.9", "students/T1-w2.7"),
        },
        {
            "T = 4 with weight 0.9 to T = 1 with weight 5.4": ("students/T4-w0.9", "students/T1-w5.4"),
            "to T = 1 with weight 10": ("students/T4-w0.9", "controls/T1-w10"),
            "to labels with weight 2.7": ("students/T4-w0.9", "controls/CE2.7"),
            "to labels with weight 5.4": ("students/T4-w0.9", "controls/CE5.4"),
            "labels with weight 5.4 to weight 1": ("controls/CE5.4", "controls/CE1"),
        },
    ),
    figure=figure,
    studies=lambda small: {
        part: declare(f"gradient-size-{part}", {key: one for key, (_, one) in students.items()}, first, small)
        for (part, students), first in zip(PARTS.items(), (["T1-w0.9"], ["CE1"]), strict=True)
    },
)
