"""The omitted class: what a student learns about images that it never saw."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdexplorer.analysis.difference import Verdict, wilson_interval
from kdexplorer.datasets import get_dataset
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Point, Results, declare

OMITTED = 3
CLASS = get_dataset("cifar10").classes[OMITTED]
BIASES = np.arange(0, 8.01, 0.25)
"""What is added to the omitted class's logit."""
RECALL = tuple(f"recall_at_bias_{bias:g}" for bias in BIASES)
ACCURACY = tuple(f"accuracy_at_bias_{bias:g}" for bias in BIASES)
RATES = (0.01, 0.02)
"""Shares of the test images at which recalls are compared."""
COUNT = "images_of_the_class"
ENTRIES = {"scratch": "scratch", "kd": "kd:T=4:weight=1:ce_weight=0"}
SHARED: dict[str, Any] = {"train_images": 45_000, "epochs": 6, "without_class": OMITTED, "seeds": [0, 1, 2]}


def more(logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None) -> dict[str, float]:
    """By bias: the share of the class's images that are recognized, and the accuracy over all images."""
    ours = labels == OMITTED
    others = np.delete(logits, OMITTED, axis=1)
    lead = others.max(axis=1) - logits[:, OMITTED]  # the bias from which the image counts as the omitted class
    right = np.delete(np.arange(logits.shape[1]), OMITTED)[others.argmax(axis=1)] == labels
    recall = [float((lead[ours] < bias).mean()) for bias in BIASES]
    total = [float(np.where(lead < bias, ours, right).mean()) for bias in BIASES]
    values = dict(zip((*RECALL, *ACCURACY), (*recall, *total), strict=True))
    return values | {COUNT: float(ours.sum())}


def judge(results: Results) -> list[Claim]:
    """Whether the intervals of all seeds are apart."""
    claim = f"A student recognizes a {CLASS} that it never saw, without a bias on that class's logit"
    own, other = (results.values(f"students/{name}", RECALL[0]) for name in ("kd", "scratch"))
    if not own or results.tables["students"].missing():
        needs = "a training of both students with every seed"
        return [Claim(claim, "Not all seeds are trained yet.", "cannot be decided", needs)]
    count = int(next(iter(results.values("students/kd", COUNT).values())))
    # By seed: Wilson's intervals of the shares without a bias.
    pairs = [[wilson_interval(one[seed], count) for one in (own, other)] for seed in own]
    apart = [low > high for (low, _), (_, high) in pairs]
    verdict: Verdict = "supported" if all(apart) else "cannot be decided" if any(apart) else "not supported"
    listed, without = (", ".join(f"{100 * share:.1f} %" for share in shares.values()) for shares in (own, other))
    rates = "; ".join(
        f"{100 * rate:g} %: {_list_recalls(results, 'kd', rate)} and {_list_recalls(results, 'scratch', rate)}"
        for rate in RATES
    )
    evidence = (
        f"Recognized without a bias by the distilled student: {listed} (by seed); without a teacher: {without}. With a "
        f"bias on the logit of {CLASS} that turns an equal share of the test images, all classified correctly before, "
        f"into a {CLASS}, the distilled student and the one without a teacher recognize (by seed) at {rates}."
    )
    return [Claim(claim, evidence, verdict)]


def figure(results: Results) -> Plot:
    """Recall and accuracy over the bias, with a slider."""
    points, roles = list[Point](), dict[str, str]()
    for entry, name in (("kd", "KD"), ("scratch", "scratch")):
        for measures, label in ((RECALL, CLASS), (ACCURACY, "all images")):
            roles[series := f"{name}: {label}"] = entry
            for bias, measure in zip(BIASES, measures, strict=True):
                values = list(results.values(f"students/{entry}", measure).values())
                points += [Point(series, float(bias), 100 * float(np.mean(values)), label)] if values else []
    return Plot(
        "lines", f"Students that never saw a {CLASS}", "means over seeds",
        f"added to the logit of {CLASS}", tuple(points), roles, "recognized (%)", slider="bias",
    )  # fmt: skip


def _list_recalls(results: Results, entry: str, rate: float) -> str:
    """By seed what is recognized where that share of the test images becomes false; between biases interpolated.

    Which other images become the class is known of those that were right before.
    """
    found = []
    for seed, count in results.values(f"students/{entry}", COUNT).items():
        measures = [[results.values(f"students/{entry}", name)[seed] for name in names] for names in (RECALL, ACCURACY)]
        recall, total = np.array(measures)
        lost = total[0] - total + (recall - recall[0]) * count / (results.tables["students"].images or 1)
        found.append(f"{100 * np.interp(rate, lost, recall):.1f} %" if lost[-1] >= rate else "unknown")
    return ", ".join(found)


EXPERIMENT = Experiment(
    order=1,
    key="omitted-class",
    title="The omitted class",
    question=f"Can a student recognize a {CLASS} if it never saw one?",
    literature=(
        "A student without a single 3 in its training set classified 98.6 % of the test 3s correctly, once the bias of "
        "that class was corrected (Hinton et al. 2015, section 3, MNIST)."
    ),
    protocol=(
        f"ResNet-56 teaches ResNet-8 on the 45,000 training images of nine classes, without any {CLASS}; "
        "6 epochs, seeds 0 to 2. One student has the labels alone, the other the teacher's soft labels alone "
        "(T = 4). A first measurement, with 18,432 images and 4 epochs, had the same verdict."
    ),
    comparison=(
        f"The share of the test images of a {CLASS} that are recognized, with Wilson's interval; the "
        "unit is the image, for each seed. Supported where the distilled student's interval is above the other's with "
        "every seed, not supported where it is with none."
    ),
    expected="The student without a teacher recognizes none; the distilled one some, and more with a larger bias.",
    change="Omit another class (`--without-class`), or two networks that are closer in size.",
    ranges=dict.fromkeys((*RECALL, *ACCURACY), (0, 1)) | {COUNT: (1, 1e9)},
    judge=judge,
    figure=figure,
    studies=lambda small: {"students": declare("omitted-class-students", ENTRIES, ["scratch"], small, **SHARED)},
    more=more,
)
