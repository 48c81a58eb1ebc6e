"""Few labels: when a teacher is worth most."""

from __future__ import annotations

import numpy as np

from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Claim, Experiment, Plot, Results
from kdexplorer.studies.study import Study

SIZES = {"few": (1_024, 40), "more": (5_120, 8), "many": (20_480, 2)}
"""Training images by study, and the epochs that make 320 steps of all of them."""
SMALL = {"few": (256, 2), "many": (1_024, 1)}
ENTRIES = {"scratch": "scratch", "kd": "kd:T=4:weight=0.9:ce_weight=0.1"}
ALONE = {"kd-alone": "kd:T=4:weight=1:ce_weight=0"}
"""The student that sees many images and no label."""
SIZES_AGAIN = {"few": (1_000, 300), "many": (50_000, 6)}
"""Of the second version: 300 steps of 1,000 images."""
ENTRIES_AGAIN = {"scratch": "scratch", "kd": "kd:T=4:weight=0.3:ce_weight=0.03"}
ALONE_AGAIN = {"kd-alone": "kd:T=4:weight=0.3:ce_weight=0"}
PAIR = "lab-pair"
"""The study of the lab's networks, ResNet-50 and ResNet-18."""


def studies(small: bool) -> dict[str, Study]:
    """One for each number of images, the largest with the student without labels; and the lab's networks."""
    found = {}
    for name, (images, epochs) in (SMALL if small else SIZES).items():
        entries = ENTRIES | (ALONE if name == "many" else {})
        found[name] = base.declare(
            f"few-labels-{name}", entries, ["scratch"], small, train_images=images, epochs=epochs
        )
    if not small:
        found[PAIR] = base.declare(
            f"few-labels-{PAIR}", ENTRIES, ["scratch"], teacher="resnet50", student="resnet18",
            train_images=5_120, epochs=40, start_resolution=24, teacher_view="fixed", seeds=[0, 1, 2],
        )  # fmt: skip
        for name, (images, epochs) in SIZES_AGAIN.items():
            entries = ENTRIES_AGAIN | (ALONE_AGAIN if name == "many" else {})
            again = name + base.AGAIN
            found[again] = base.declare(
                f"few-labels-{again}", entries, ["scratch"], teacher="air_64", train_images=images, epochs=epochs
            )
    return found


def judge(results: Results) -> list[Claim]:
    """The gains with few and with many images, and unlabeled images against few labeled ones."""
    few, many = (
        f"{results.setting(one, 'train_images'):,.0f}" if one in results.tables else words
        for one, words in (("few", "the fewest"), ("many", "the most"))
    )
    gains = {study: results.compare(f"{study}/kd", f"{study}/scratch") for study in ("few", "many", PAIR)}
    compared = {
        f"gain with {few} images minus gain with {many}": base.differences(gains["few"], gains["many"]),
        f"KD alone on {many} images, of which only the teacher saw labels, minus KD on {few} labeled ones":
            results.compare("many/kd-alone", "few/kd"),
    }  # fmt: skip
    claim = (
        "A teacher is worth most where labels are few; its predictions of many images are worth more than few labels"
    )
    beside = {
        f"KD alone minus KD with labels on {many} images": results.compare("many/kd-alone", "many/kd"),
        "ResNet-50 and ResNet-18, KD minus scratch": gains[PAIR],
    }
    return [base.add_beside(base.judge_differences(claim, compared), beside)]


def figure(results: Results) -> Plot:
    """Accuracy over the number of images."""
    latest, names = results.latest(*SIZES_AGAIN), {"scratch": "scratch", "kd": "KD"}
    network, steps = ("ResNet-8", 320) if latest is results else ("Air-16", 300)
    students = [(study, entry, f"{network}, {name}") for study in SIZES for entry, name in names.items()]
    students.append(("many", "kd-alone", f"{network}, KD without labels"))
    students += [(PAIR, entry, f"ResNet-18, {name}") for entry, name in names.items()]
    points = []
    for study, entry, name in students:
        source = results if study == PAIR else latest
        values = source.values(f"{study}/{entry}").values()
        points += base.point_at(source.setting(study, "train_images"), name, values)
    compared = [latest.compare(f"{study}/kd", f"{study}/scratch").values() for study in SIZES]
    gains = [f"{100 * np.mean([*gain]):+.1f}" for gain in compared if gain]
    roles = {name: "teacher" if entry == "kd-alone" else entry for _, entry, name in students}
    said = f"gains of KD with {network} ({steps} steps): {', '.join(gains) or '?'} points; ResNet-18: 1,600 steps"
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
        "by its soft labels of the images as they are, seeds 0 to 2. A second version, declared because the first was "
        "undecided, has the recipe `fast` and its networks: Air-64 teaches Air-16 (T = 4, weight 0.3, CE 0.03) on "
        "1,000 and on all 50,000 images, always 300 steps of 1,000."
    ),
    comparison=(
        "The gain of KD over scratch with the fewest images minus that with the most; and KD alone on the most images "
        "without their labels minus KD on the fewest labeled ones. Paired by seed; the unit is the seed. Supported "
        "where both are above zero. The second version decides. The lab's networks are reported in addition: three "
        "seeds give no verdict."
    ),
    expected="The fewer labels, the larger the gain; unlabeled images with KD alone nearly replace labels.",
    change=(
        "The lab's networks with all images: `--teacher resnet50 --students resnet18:scratch resnet18:response "
        "--epochs 8 --start-resolution 24`. That takes hours on a processor."
    ),
    judge=base.judge_latest(judge, "ResNet-56, ResNet-8 and the lab's networks", *SIZES_AGAIN),
    figure=figure,
    studies=studies,
)
