"""Dark knowledge: which part of a soft label teaches."""

from __future__ import annotations

from kdexplorer.analysis.claims import Claim
from kdexplorer.experiments import judging
from kdexplorer.experiments.base import Figure, Part, TrainedExperiment, declare
from kdexplorer.experiments.points import row_of
from kdexplorer.experiments.results import Results, differences

KEPT = {
    "top": "largest probability, uniform rest",
    "permuted": "wrong classes permuted",
    "class-mean": "mean of the class",
    "smoothing": "label smoothing",
}
"""Each altered soft label by its entry: what it is, in the chart."""
TERM = "T=4:weight=0.9"
ENTRIES = {"scratch": "scratch", "kd": f"kd:{TERM}:ce_weight=0.1"} | {
    entry: f"altered_kd:{TERM}:keep={entry}:ce_weight=0.1" for entry in KEPT
}


class DarkKnowledge(TrainedExperiment):
    """Furlanello et al. 2018, Müller et al. 2019, Yuan et al. 2020, side by side."""

    order, key, title = 2, "dark-knowledge", "What is dark knowledge?"
    question = "Which part of a soft label teaches: the confidence, the similar classes, or the single image?"
    literature = (
        "Students still gain when the wrong classes' probabilities are permuted (Furlanello et al. 2018), label "
        "smoothing alone helps (Müller et al. 2019), and distillation may be no more than that (Yuan et al. 2020)."
    )
    protocol = (
        "ResNet-56 teaches ResNet-8 on 20,480 training images; 4 epochs, seeds 0 to 4. Six students see the same "
        "batches: scratch, KD (T = 4, weight 0.9), and four whose soft labels keep only a part of the teacher's, with "
        "the same temperature and weights."
    )
    comparison = (
        "KD's accuracy minus that of each altered soft label, paired by seed; the unit is the seed. Supported where KD "
        "is above all four, not supported where it is below any, after Holm's correction."
    )
    expected = "KD is above all four, the mean of the class comes next, the two without similar classes last."
    change = "A higher temperature makes the wrong classes count for more: change `T` in all entries."

    def parts(self, small: bool = False) -> tuple[Part, ...]:
        """One part."""
        return (Part("students", declare(ENTRIES, ["scratch", "kd"], small)),)

    def judge(self, results: Results) -> Claim:
        """KD against each altered soft label."""
        kd = results.accuracies("students", "kd")
        compared = [
            judging.compare(f"KD to {text}", kd, results.accuracies("students", entry)) for entry, text in KEPT.items()
        ]
        return judging.judge("The teacher's whole prediction for each image teaches more than any part of it", compared)

    def figure(self, results: Results) -> Figure:
        """Gains over scratch."""
        scratch = results.accuracies("students", "scratch")
        points = row_of("KD", "KD", list(differences(results.accuracies("students", "kd"), scratch).values()))
        for entry, text in KEPT.items():
            points += row_of(
                text, "altered", list(differences(results.accuracies("students", entry), scratch).values())
            )
        return Figure(
            "dots", "What is left of the gain when soft labels lose a part", "mean, 95 % interval, and seeds",
            "gain over scratch (percentage points)", tuple(points), {"KD": "kd", "altered": "altered_kd"}, rule=0,
        )  # fmt: skip
