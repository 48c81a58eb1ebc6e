"""Few labels: when a teacher is worth most."""

from __future__ import annotations

import numpy as np

from kdexplorer.analysis.claims import Claim
from kdexplorer.experiments import judging
from kdexplorer.experiments.base import Figure, Part, TrainedExperiment, declare
from kdexplorer.experiments.points import point_at
from kdexplorer.experiments.results import Results, differences

SIZES = {"few": (1_024, 40), "more": (5_120, 8), "many": (20_480, 2)}
"""Training images by part, and the epochs that make 320 steps of all of them."""
SMALL = {"few": (256, 2), "many": (1_024, 1)}
ENTRIES = {"scratch": "scratch", "kd": "kd:T=4:weight=0.9:ce_weight=0.1"}
ALONE = {"kd-alone": "kd:T=4:weight=1:ce_weight=0"}
"""The student that sees many images and no label."""


class FewLabels(TrainedExperiment):
    """The gain of distillation over the number of training images."""

    order, key, title = 3, "few-labels", "Few labels"
    question = "Is a teacher worth more where there are few labels? And does a student need labels at all?"
    literature = (
        "With 3 % of the training set soft labels kept most of the accuracy where hard labels overfitted (Hinton et "
        "al. 2015, section 6); unlabeled images with a teacher's predictions help further (Chen et al. 2020, SimCLRv2)."
    )
    protocol = (
        "ResNet-56 teaches ResNet-8 on 1,024, 5,120 and 20,480 training images, always 320 steps of 128 images, seeds "
        "0 to 4; scratch and KD (T = 4, weight 0.9). One more student has 20,480 images without labels: KD alone. The "
        "teacher saw all 50,000 labels."
    )
    comparison = (
        "The gain of KD over scratch with 1,024 images minus that with 20,480; and KD alone on 20,480 unlabeled images "
        "minus KD on 1,024 labeled ones. Paired by seed; the unit is the seed. Supported where both are above zero."
    )
    expected = "The fewer labels, the larger the gain; unlabeled images with KD alone nearly replace labels."
    change = (
        "The lab's pair: `--teacher resnet50 --students resnet18:scratch resnet18:response --train-images 5000 "
        "--epochs 40 --start-resolution 24`. That takes hours on a processor."
    )

    def parts(self, small: bool = False) -> tuple[Part, ...]:
        """A part for each number of images; the largest has the student without labels too."""
        return tuple(
            Part(
                name,
                declare(
                    ENTRIES | (ALONE if name == "many" else {}), ["scratch"], small, train_images=images, epochs=epochs
                ),
            )
            for name, (images, epochs) in (SMALL if small else SIZES).items()
        )

    def judge(self, results: Results) -> Claim:
        """The gains with few and with many images, and unlabeled images against few labeled ones."""
        few, many = (self._gain(results, part) for part in ("few", "many"))
        less = judging.compare("gain with 1,024 images minus gain with 20,480", few, many)
        alone, labeled = results.accuracies("many", "kd-alone"), results.accuracies("few", "kd")
        instead = judging.compare("KD alone on 20,480 unlabeled images minus KD on 1,024 labeled ones", alone, labeled)
        return judging.judge("A teacher is worth most where labels are few, and needs none", [less, instead])

    @staticmethod
    def _gain(results: Results, part: str) -> dict[int, float]:
        return differences(results.accuracies(part, "kd"), results.accuracies(part, "scratch"))

    def figure(self, results: Results) -> Figure:
        """Accuracy over the number of images."""
        points, gains = [], []
        for part in SIZES:
            images = results.setting(part, "train_images")
            for entry, name in (("scratch", "scratch"), ("kd", "KD")):
                points += point_at(images, name, list(results.accuracies(part, entry).values()))
            gains += [f"{100 * np.mean(list(gain.values())):+.1f}" for gain in [self._gain(results, part)] if gain]
        alone = list(results.accuracies("many", "kd-alone").values())
        points += point_at(results.setting("many", "train_images"), "KD alone, no labels", alone)
        return Figure(
            "lines", "A teacher where labels are few", f"gains of KD: {', '.join(gains)} points", "training images",
            tuple(points), {"scratch": "scratch", "KD": "kd", "KD alone, no labels": "teacher"}, "test accuracy (%)",
            logarithmic=True,
        )  # fmt: skip
