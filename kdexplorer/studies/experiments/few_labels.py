"""Few labels: when a teacher is worth most."""

from __future__ import annotations

import numpy as np

from kdexplorer.studies.experiments.base import (
    Claim,
    Experiment,
    Plot,
    Results,
    add_beside,
    declare,
    judge_differences,
    point_at,
)
from kdexplorer.studies.study import Study
from kdexplorer.studies.table import BySeed, differences

SIZES = {"few": (1_024, 40), "more": (5_120, 8), "many": (20_480, 2)}
"""Training images by study, and the epochs that make 320 steps of all of them."""
SMALL = {"few": (256, 2), "many": (1_024, 1)}
ENTRIES = {"scratch": "scratch", "kd": "kd:T=4:weight=0.9:ce_weight=0.1"}
ALONE = {"kd-alone": "kd:T=4:weight=1:ce_weight=0"}
"""The student that sees many images and no label."""
WITHOUT_LABELS = "ResNet-8, KD without labels"
PAIR = "lab-pair"
"""The study of the lab's networks, ResNet-50 and ResNet-18."""


def studies(small: bool) -> dict[str, Study]:
    """One for each number of images, the largest with the student without labels; and the lab's networks."""
    found = {}
    for name, (images, epochs) in (SMALL if small else SIZES).items():
        entries = ENTRIES | (ALONE if name == "many" else {})
        found[name] = declare(f"few-labels-{name}", entries, ["scratch"], small, train_images=images, epochs=epochs)
    if not small:
        found[PAIR] = declare(
            f"few-labels-{PAIR}", ENTRIES, ["scratch"], False, teacher="resnet50", student="resnet18",
            train_images=5_120, epochs=40, start_resolution=24, teacher_view="fixed", seeds=[0, 1, 2],
        )  # fmt: skip
    return found


def judge(results: Results) -> list[Claim]:
    """The gains with few and with many images, and unlabeled images against few labeled ones."""
    compared = {
        "gain with 1,024 images minus gain with 20,480": differences(_gain(results, "few"), _gain(results, "many")),
        "KD alone on 20,480 images, of which only the teacher saw labels, minus KD on 1,024 labeled ones":
            results.compare("many/kd-alone", "few/kd"),
    }  # fmt: skip
    claim = "A teacher is worth most where labels are few, and its predictions of more images replace the student's"
    beside = {
        "KD alone minus KD with labels on 20,480 images": results.compare("many/kd-alone", "many/kd"),
        "ResNet-50 and ResNet-18, KD minus scratch": _gain(results, PAIR),
    }
    return [add_beside(judge_differences(claim, compared), beside)]


def _gain(results: Results, study: str) -> BySeed:
    return results.compare(f"{study}/kd", f"{study}/scratch")


def figure(results: Results) -> Plot:
    """Accuracy over the number of images."""
    names = {"scratch": "scratch", "kd": "KD"}
    students = [(study, entry, f"ResNet-8, {name}") for study in SIZES for entry, name in names.items()]
    students.append(("many", "kd-alone", WITHOUT_LABELS))
    students += [(PAIR, entry, f"ResNet-18, {name}") for entry, name in names.items()]
    points = []
    for study, entry, name in students:
        values = results.values(f"{study}/{entry}").values()
        points += point_at(results.setting(study, "train_images"), name, values)
    gains = [f"{100 * np.mean(list(gain.values())):+.1f}" for study in SIZES if (gain := _gain(results, study))]
    roles = {"ResNet-8, scratch": "scratch", "ResNet-8, KD": "kd", WITHOUT_LABELS: "teacher"}
    roles |= {"ResNet-18, scratch": "scratch", "ResNet-18, KD": "kd"}
    said = f"gains of KD with ResNet-8 (320 steps): {', '.join(gains) or '?'} points; ResNet-18: 1,600 steps"
    return Plot(
        "lines", "A teacher where labels are few", said, "training images", tuple(points), roles,
        "test accuracy (%)", logarithmic=True,
    )  # fmt: skip


EXPERIMENT = Experiment(
    order=3,
    key="few-labels",
    title="Few labels",
    question="Is a teacher worth more where there are few labels? And does a student need labels at all?",
    literature=(
        "With 3 % of the training set soft labels kept most of the accuracy where hard labels overfitted (Hinton et "
        "al. 2015, section 6); unlabeled images with a teacher's predictions help further (Chen et al. 2020, SimCLRv2)."
    ),
    protocol=(
        "ResNet-56 teaches ResNet-8 on 1,024, 5,120 and 20,480 training images, always 320 steps of 128 images, seeds "
        "0 to 4; scratch and KD (T = 4, weight 0.9). One more student has 20,480 images without labels: KD alone. The "
        "teacher was trained on all 50,000 labels, also those of these images. In addition the lab's networks: "
        "ResNet-50 teaches ResNet-18 on 5,120 images for 40 epochs (24 pixels a side at first, 32 in the last quarter) "
        "by its soft labels of the images as they are, seeds 0 to 2."
    ),
    comparison=(
        "The gain of KD over scratch with 1,024 images minus that with 20,480; and KD alone on 20,480 images without "
        "their labels minus KD on 1,024 labeled ones. Paired by seed; the unit is the seed. Supported where both are "
        "above zero. The lab's networks are reported in addition: three seeds give no verdict."
    ),
    expected="The fewer labels, the larger the gain; unlabeled images with KD alone nearly replace labels.",
    change=(
        "The lab's networks with all images: `--teacher resnet50 --students resnet18:scratch resnet18:response "
        "--epochs 8 --start-resolution 24`. That takes hours on a processor."
    ),
    judge=judge,
    figure=figure,
    studies=studies,
)
