"""Does a better teacher teach better?"""

from __future__ import annotations

import numpy as np

from kdexplorer.analysis import metrics
from kdexplorer.analysis.claims import Claim
from kdexplorer.analysis.statistics import seed_test
from kdexplorer.experiments import judging
from kdexplorer.experiments.base import Figure, Part, TrainedExperiment, declare, league_id
from kdexplorer.experiments.judging import Comparison
from kdexplorer.experiments.points import point_at
from kdexplorer.experiments.results import Results
from kdexplorer.sweeps.declaration import Declaration
from kdexplorer.sweeps.league import League

LENGTH, FIRST = 6, (1, 2, 4)
"""Epochs of the teachers' training, and after how many of them the others are taken."""
ALONG = {**{f"epoch-{epochs}": f"plain-after-{epochs}" for epochs in FIRST}, f"epoch-{LENGTH}": "plain"}
"""Teachers along one training: the part whose students they teach, and their names."""
BUNDLED = {"assistant": "resnet20-response", "resnet56": "resnet56", "average": "resnet50+resnet56"}
TITLES = {
    **{part: f"ResNet-20 after {part.replace('-', ' ')}" for part in ALONG},
    "smoothed": "ResNet-20 with label smoothing", "assistant": "assistant (ResNet-20)",
    "resnet56": "ResNet-56", "average": "ResNet-50 and ResNet-56, averaged",
}  # fmt: skip
"""The teacher of each part's students."""
ONE_TRAINING = "ResNet-20 along one training"
BESIDE = (
    ("teacher with label smoothing minus the same without", "smoothed", f"epoch-{LENGTH}"),
    ("assistant minus ResNet-56", "assistant", "resnet56"),
    ("average of ResNet-50 and ResNet-56 minus ResNet-56", "average", "resnet56"),
    (f"ResNet-56 minus ResNet-20 after epoch {LENGTH}", "resnet56", f"epoch-{LENGTH}"),
)
"""Teachers that are compared beside the verdict: a name, and the parts."""
STUDENT = "kd:T=4:weight=0.9:ce_weight=0.1"


class BetterTeacher(TrainedExperiment):
    """Students of teachers of rising accuracy, and of four special ones."""

    order, key, title = 5, "better-teacher", "Does a better teacher teach better?"
    question = "How much of a teacher's accuracy reaches its student?"
    literature = (
        "A teacher that is stopped early can teach better (Cho & Hariharan 2019), one trained with label smoothing "
        "worse (Müller et al. 2019), though not always (Chandrasegaran et al. 2022); an assistant of middle size helps "
        "a small student (Mirzadeh et al. 2020)."
    )
    protocol = (
        "Teachers: a ResNet-20 after 1, 2, 4 and 6 epochs of one training on 20,480 images, the same with label "
        "smoothing 0.1, and of the bundled networks ResNet-56, its student ResNet-20 (assistant), and the average of "
        "ResNet-50 and ResNet-56. Each teaches ResNet-8 on 20,480 images for 3 epochs, seeds 0 to 4, by its soft "
        "labels of the images as they are, which are computed once."
    )
    comparison = (
        "The slope of student accuracy over teacher accuracy along the one training, fitted for each seed; the unit is "
        "the student's seed, with the same teachers. Supported where its interval is above zero, not supported where "
        "it is below."
    )
    expected = "Students gain with their teachers, by much less than a point for each point."
    change = "Another architecture for the teachers: change `student` in the part that teaches."
    columns = {"teacher": ("teacher_accuracy",)}

    def parts(self, small: bool = False) -> tuple[Part, ...]:
        """The teachers, then a part for each of them."""
        entries = {"plain": "scratch", "smoothed": "scratch:smoothing=0.1"}
        teaching = declare(
            entries, ["plain"], small, student="resnet20", teacher=None, epochs=LENGTH, snapshots=1, seeds=[0]
        )
        trained = {part: f"{run_of(self.key, 'teachers', teaching)}/{name}" for part, name in ALONG.items()}
        trained["smoothed"] = f"{run_of(self.key, 'teachers', teaching)}/smoothed"
        if small:  # its teachers are trained for two epochs
            trained = {part: name for part, name in trained.items() if part not in ("epoch-2", "epoch-4")}
        parts = [Part("teachers", teaching, teaches=True)]
        for part, teacher in (trained | BUNDLED).items():
            students = {"kd": STUDENT} | ({"scratch": "scratch"} if part == "resnet56" else {})
            declared = declare(students, ["kd"], small, teacher=teacher, epochs=3, teacher_view="fixed")
            parts.append(Part(part, declared, stand_in="resnet20-scratch" if part in trained else None))
        return tuple(parts)

    def more(self, logits: np.ndarray, labels: np.ndarray, teacher_logits: np.ndarray | None) -> dict[str, list[float]]:
        """The teacher's accuracy."""
        if teacher_logits is None or len(teacher_logits) < len(labels):
            return {}
        return {"teacher": [metrics.accuracy(teacher_logits[: len(labels)], labels)]}

    def judge(self, results: Results) -> Claim:
        """The slope by seed; beside it the special teachers, and those that are worse than none."""
        found = {part: results.accuracies(part, "kd") for part in TITLES}
        teachers = {part: next(iter(results.more(part, "kd", "teacher").values()), [0.0])[0] for part in ALONG}
        seeds = [seed for seed in found[f"epoch-{LENGTH}"] if all(seed in found[part] for part in ALONG)]
        slopes = tuple(
            float(np.polyfit(list(teachers.values()), [found[part][seed] for part in ALONG], 1)[0]) for seed in seeds
        )
        slope = Comparison("Accuracy of the student for each point of the teacher's", slopes)
        judged = judging.judge("Of teachers along one training, the more accurate teaches better", [slope], "points", 1)
        pairs = [judging.compare(name, found[own], found[other]) for name, own, other in BESIDE]
        alone = results.accuracies("resnet56", "scratch")
        tests = {part: seed_test(judging.compare(part, found[part], alone).values) for part in TITLES}
        weak = [TITLES[part] for part, test in tests.items() if test is not None and test.high < 0]
        worse = f"Worse than no teacher: {', '.join(weak)}." if weak else ""
        return judging.add_beside(judged, pairs, worse)

    def figure(self, results: Results) -> Figure:
        """Student accuracy over teacher accuracy."""
        points = []
        for part, name in TITLES.items():
            teacher = next(iter(results.more(part, "kd", "teacher").values()), None)
            if teacher is not None:
                series = ONE_TRAINING if part in ALONG else name
                points += point_at(100 * teacher[0], series, list(results.accuracies(part, "kd").values()), name)
        alone = list(results.accuracies("resnet56", "scratch").values())
        roles = {ONE_TRAINING: "kd", TITLES["smoothed"]: "altered_kd"} | {TITLES[part]: "teacher" for part in BUNDLED}
        return Figure(
            "scatter", "A better teacher, a better student?", "students: mean and 95 % interval over seeds",
            "teacher's test accuracy (%)", tuple(points), roles, "student's test accuracy (%)",
            rule=100 * float(np.mean(alone)) if alone else None, rule_title="student without a teacher",
        )  # fmt: skip


def run_of(key: str, part: str, declaration: Declaration) -> str:
    """The run that trains a part's first seed: its name follows from what is declared, so others can refer to it."""
    return League(League.parent_folder() / league_id(key, part, declaration)).run_of(declaration.seeds[0])
