"""Why a student can beat its teacher, and why it rarely does: what it takes over of the teacher's errors.

The images are divided by whether the teacher is right. Where it is wrong, its soft labels teach a wrong class: a
student that repeats it has inherited the error. Where it is right, they help. The net of both is the student's gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis.difference import format_p, over_images


@dataclass(frozen=True)
class Inheritance:
    """A network's predictions by whether its teacher is right, as numbers of images."""

    teacher_wrong: int
    right_there: int
    repeats: int  # the teacher's wrong class
    teacher_right: int
    right_elsewhere: int

    @property
    def repeated_share(self) -> float:
        """Of the teacher's errors, 0 to 1; NaN where it makes none."""
        return self.repeats / self.teacher_wrong if self.teacher_wrong else float("nan")

    @property
    def corrected_share(self) -> float:
        """Of the teacher's errors, 0 to 1; NaN where it makes none."""
        return self.right_there / self.teacher_wrong if self.teacher_wrong else float("nan")

    @property
    def kept_share(self) -> float:
        """Of the images that the teacher gets right, 0 to 1; NaN where there is none."""
        return self.right_elsewhere / self.teacher_right if self.teacher_right else float("nan")


def count_inheritance(logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray) -> Inheritance:
    """Counts a network's predictions against its teacher's; logits are `[N, classes]`, labels int `[N]`."""
    predicted, taught = logits.argmax(axis=1), teacher_logits.argmax(axis=1)
    wrong, right = taught != labels, predicted == labels
    return Inheritance(
        teacher_wrong=int(wrong.sum()),
        right_there=int((right & wrong).sum()),
        repeats=int((predicted == taught)[wrong].sum()),
        teacher_right=int((~wrong).sum()),
        right_elsewhere=int((right & ~wrong).sum()),
    )


def explain_inheritance(
    names: tuple[str, str, str],
    logits: np.ndarray,
    baseline_logits: np.ndarray,
    teacher_logits: np.ndarray,
    labels: np.ndarray,
) -> str:
    """Whether a student repeats its teacher's errors more often than its baseline does, and what is the net.

    `names` are the student's, the baseline's and the teacher's. The tests are exact and paired, over images.
    """
    student, baseline, teacher = names
    own, other = (count_inheritance(one, teacher_logits, labels) for one in (logits, baseline_logits))
    predicted, base, taught = (one.argmax(axis=1) for one in (logits, baseline_logits, teacher_logits))
    wrong = taught != labels
    sentences = []
    if wrong.any():
        repeats = over_images((predicted == taught)[wrong], (base == taught)[wrong])
        verdict = {
            1: "it inherits errors",
            0: "no clear difference",
            -1: "it repeats fewer errors than a network without a teacher",
        }[repeats.sign]
        sentences.append(
            f"On the {own.teacher_wrong:,} images that {teacher} gets wrong, {student} repeats its class on "
            f"{own.repeated_share:.0%} and is right on {own.corrected_share:.0%}; {baseline} on "
            f"{other.repeated_share:.0%} and {other.corrected_share:.0%} ({format_p(repeats.p or 0)} for repeating): "
            f"{verdict}."
        )
    if own.teacher_right:
        gain = over_images((predicted == labels)[~wrong], (base == labels)[~wrong])
        verdict = {1: "a gain", 0: "no clear difference", -1: "a loss"}[gain.sign]
        sentences.append(
            f"Where {teacher} is right, {student} is right on {own.kept_share:.1%}, {baseline} on "
            f"{other.kept_share:.1%} ({100 * gain.estimate:+.1f} points, {format_p(gain.p or 0)}): {verdict}."
        )
    net = 100 * float((predicted == labels).mean() - (base == labels).mean())
    added = own.teacher_right - own.right_elsewhere
    above = own.right_there - added
    beats = f"above by {above:,} images" if above > 0 else f"below by {-above:,} images" if above else "equal"
    sentences.append(
        f"The net is {net:+.2f} points to {baseline}. To be above its teacher, {student} has to correct more of its "
        f"errors ({own.right_there:,}) than it adds of its own ({added:,}): it is {beats}."
    )
    return " ".join(sentences)
