"""Dark knowledge: which part of a soft label teaches."""

from __future__ import annotations

from kdexplorer.studies.experiments import base
from kdexplorer.studies.experiments.base import Experiment, Plot, Results
from kdexplorer.studies.study import Study

KEPT = {
    "top": "largest probability, uniform rest",
    "permuted": "wrong classes permuted",
    "class-mean": "mean of the class",
    "smoothing": "label smoothing",
}
"""Each altered soft label by its entry: what it is, in the chart."""


def list_entries(weight: float, ce_weight: float) -> dict[str, str]:
    """The students' objectives by entry."""
    term, rest = f"T=4:weight={weight:g}", f"ce_weight={ce_weight:g}"
    altered = {entry: f"altered_kd:{term}:keep={entry}:{rest}" for entry in KEPT}
    return {"scratch": "scratch", "kd": f"kd:{term}:{rest}"} | altered


def studies(small: bool) -> dict[str, Study]:
    """The first version, and the second with all images."""
    references = ["scratch", "kd"]
    found = {"students": base.declare("dark-knowledge-students", list_entries(0.9, 0.1), references, small)}
    if not small:
        name, entries = "students" + base.AGAIN, list_entries(0.3, 0.03)
        found[name] = base.declare(
            f"dark-knowledge-{name}", entries, references, teacher="air_64", train_images=50_000, epochs=6
        )
    return found


def figure(results: Results) -> Plot:
    """Gains over scratch."""
    latest = results.latest("students")
    said = f"{latest.describe('students')}mean, 95 % interval, and seeds"
    points = base.row_of("KD", "KD", latest.compare("students/kd", "students/scratch").values())
    for entry, text in KEPT.items():
        points += base.row_of(text, "altered", latest.compare(f"students/{entry}", "students/scratch").values())
    return Plot(
        "dots", "What is left of the gain when soft labels lose a part", said,
        "gain over scratch (percentage points)", tuple(points), {"KD": "kd", "altered": "altered_kd"}, rule=0,
    )  # fmt: skip


EXPERIMENT = Experiment(
    order=2,
    key="dark-knowledge",
    title="What is dark knowledge?",
    question="Which part of a soft label teaches: the confidence, the similar classes, or the single image?",
    literature=(
        "Students still gain when the wrong classes' probabilities are permuted (Furlanello et al. 2018), label "
        "smoothing alone helps (Müller et al. 2019), and distillation may be no more than that (Yuan et al. 2020)."
    ),
    protocol=(
        "ResNet-56 teaches ResNet-8 on 20,480 training images; 4 epochs, seeds 0 to 4. Six students see the same "
        "batches: scratch, KD (T = 4, weight 0.9), and four whose soft labels keep only a part of the teacher's, with "
        "the same temperature and weights. A second version, declared because the first was undecided, has all 50,000 "
        "images and 6 epochs of the recipe `fast`, with its networks: Air-64 teaches Air-16 (T = 4, weight 0.3, CE "
        "0.03, the ratio of the first)."
    ),
    comparison=(
        "KD's accuracy minus that of each altered soft label, paired by seed; the unit is the seed. Supported where KD "
        "is above all four, not supported where it is below any, after Holm's correction. The second version decides."
    ),
    expected="KD is above all four, the mean of the class comes next, the two without similar classes last.",
    change="A higher temperature makes the wrong classes count for more: change `T` in all entries.",
    judge=base.judge_latest(
        base.judge_pairs(
            "The teacher's whole prediction for each image teaches more than each of four parts of it",
            {f"KD to {text}": ("students/kd", f"students/{entry}") for entry, text in KEPT.items()},
            {
                "label smoothing minus scratch": ("students/smoothing", "students/scratch"),
                "largest probability minus label smoothing": ("students/top", "students/smoothing"),
            },
        ),
        "ResNet-56, ResNet-8, 20,480 images and 4 epochs",
        "students",
    ),
    figure=figure,
    studies=studies,
)
