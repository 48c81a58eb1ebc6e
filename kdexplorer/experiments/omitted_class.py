"""The omitted class: what a student learns about images that it never saw."""

from __future__ import annotations

import numpy as np

from kdexplorer.analysis.claims import Claim, Verdict
from kdexplorer.analysis.statistics import wilson_interval
from kdexplorer.experiments.base import Figure, Part, Point, TrainedExperiment, class_name, declare
from kdexplorer.experiments.results import Results
from kdexplorer.sweeps.league_table import LeagueTable

OMITTED = 3
BIASES = np.arange(0, 8.01, 0.25)
"""What is added to the omitted class's logit."""
ENTRIES = {"scratch": "scratch", "kd": "kd:T=4:weight=1:ce_weight=0"}


class OmittedClass(TrainedExperiment):
    """Hinton et al. 2015, section 3, with CIFAR-10 instead of MNIST."""

    order, key, title = 1, "omitted-class", "The omitted class"
    question = f"Can a student recognize a {class_name(OMITTED)} if it never saw one?"
    literature = (
        "A student without a single 3 in its training set classified 98.6 % of the test 3s correctly, once the bias of "
        "that class was corrected (Hinton et al. 2015, section 3, MNIST)."
    )
    protocol = (
        f"ResNet-56 teaches ResNet-8 on the 45,000 training images of nine classes, without any {class_name(OMITTED)}; "
        "6 epochs, seeds 0 to 2. One student has the labels alone, the other the teacher's soft labels alone "
        "(T = 4). A first measurement, with 18,432 images and 4 epochs, had the same verdict."
    )
    comparison = (
        f"The share of the test images of a {class_name(OMITTED)} that are recognized, with Wilson's interval; the "
        "unit is the image, for each seed. Supported where the distilled student's interval is above the other's with "
        "every seed, not supported where it is with none."
    )
    expected = "The student without a teacher recognizes none; the distilled one some, and more with a larger bias."
    change = "Omit another class (`--without-class`), or two networks that are closer in size."
    columns = {
        "recall": tuple(f"recall_at_bias_{bias:g}" for bias in BIASES),
        "accuracy": tuple(f"accuracy_at_bias_{bias:g}" for bias in BIASES),
        "images": ("images_of_the_class",),
    }
    counts = ("images",)

    def parts(self, small: bool = False) -> tuple[Part, ...]:
        """One part."""
        shared = {"train_images": 45_000, "epochs": 6, "without_class": OMITTED, "seeds": [0, 1, 2]}
        return (Part("students", declare(ENTRIES, ["scratch"], small, **shared)),)

    def more(self, logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None) -> dict[str, list[float]]:
        """By bias: the share of the class's images that are recognized (`recall`), and the accuracy over all images."""
        ours = labels == OMITTED
        others = np.delete(logits, OMITTED, axis=1)
        lead = others.max(axis=1) - logits[:, OMITTED]  # the bias from which the image counts as the omitted class
        right = np.delete(np.arange(logits.shape[1]), OMITTED)[others.argmax(axis=1)] == labels
        recall = [float((lead[ours] < bias).mean()) for bias in BIASES]
        total = [float(np.where(lead < bias, ours, right).mean()) for bias in BIASES]
        return {"recall": recall, "accuracy": total, "images": [float(ours.sum())]}

    def judge(self, results: Results) -> Claim:
        """Whether the intervals of all seeds are apart."""
        claim = f"A student recognizes a {class_name(OMITTED)} that it never saw"
        table = results.tables.get("students")
        if table is None or not all(results.more("students", entry, "recall") for entry in ENTRIES):
            return Claim(claim, "It is not trained yet.", "cannot be decided")
        apart = [_interval(table, "kd", seed)[0] > _interval(table, "scratch", seed)[1] for seed in _seeds(table)]
        verdict: Verdict = "supported" if all(apart) else "cannot be decided" if any(apart) else "not supported"
        own, other = ([_recall(table, name, seed)[0] for seed in _seeds(table)] for name in ("kd", "scratch"))
        listed, without = (", ".join(f"{100 * share:.1f} %" for share in shares) for shares in (own, other))
        (bias, biased), (other_bias, other_biased) = (_find_best_bias(results, name) for name in ("kd", "scratch"))
        return Claim(
            claim,
            f"Recognized by the distilled student: {listed} (by seed); without a teacher: {without}. With {bias:g} "
            f"added to the logit of {class_name(OMITTED)} the distilled student recognizes {biased}; with "
            f"{other_bias:g} the student without a teacher recognizes {other_biased}. Each has the bias that is best "
            "for all test images.",
            verdict,
        )

    def figure(self, results: Results) -> Figure:
        """Recall and accuracy over the bias, with a slider."""
        points = []
        for entry, name in (("kd", "KD"), ("scratch", "scratch")):
            for measure, label in (("recall", class_name(OMITTED)), ("accuracy", "all images")):
                curves = list(results.more("students", entry, measure).values())
                if curves:
                    mean = np.mean(curves, axis=0)
                    points += [
                        Point(f"{name}: {label}", float(bias), 100 * float(value), label)
                        for bias, value in zip(BIASES, mean, strict=True)
                    ]
        names = {"kd": "KD", "scratch": "scratch"}
        labels = (class_name(OMITTED), "all images")
        roles = {f"{name}: {label}": entry for entry, name in names.items() for label in labels}
        return Figure(
            "lines", f"Students that never saw a {class_name(OMITTED)}", "means over seeds",
            f"added to the logit of {class_name(OMITTED)}", tuple(points), roles, "recognized (%)", slider="bias",
        )  # fmt: skip


def _find_best_bias(results: Results, entry: str) -> tuple[float, str]:
    """The bias with the best accuracy over all images, and what is recognized with it; means over seeds."""
    recall, total = (
        np.mean(list(results.more("students", entry, name).values()), axis=0) for name in ("recall", "accuracy")
    )
    best = int(total.argmax())
    changed = f"{100 * total[best]:.1f} % of all images instead of {100 * total[0]:.1f} %"
    return float(BIASES[best]), f"{100 * recall[best]:.1f} %, and {changed}"


def _seeds(table: LeagueTable) -> list[int]:
    return sorted(table.complete_seeds())


def _recall(table: LeagueTable, entry: str, seed: int) -> tuple[float, int]:
    """The share without a bias, and how many images the class has."""
    row = next(row for row in table.rows_of(entry) if row.seed == seed)
    return row.more["recall"][0], int(row.more["images"][0])


def _interval(table: LeagueTable, entry: str, seed: int) -> tuple[float, float]:
    share, count = _recall(table, entry, seed)
    return wilson_interval(round(share * count), count)
