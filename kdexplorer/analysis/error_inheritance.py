"""Why a student can beat its teacher, and why it rarely does: what it takes over of the teacher's errors.

The images are divided by whether the teacher is right. Where it is wrong, its soft labels teach a wrong class: a
student that repeats it has inherited the error. Where it is right, they help. The net of both is the student's gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdexplorer.analysis.statistics import format_p, paired_test


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
        p = paired_test((predicted == taught)[wrong][None], (base == taught)[wrong][None])["p"]
        more = own.repeats > other.repeats
        verdict = (
            "no clear difference"
            if p >= 0.05
            else f"it {'inherits errors' if more else 'repeats fewer errors than a network without a teacher'}"
        )
        sentences.append(
            f"On the {own.teacher_wrong:,} images that {teacher} gets wrong, {student} repeats its class on "
            f"{own.repeated_share:.0%} and is right on {own.corrected_share:.0%}; {baseline} on "
            f"{other.repeated_share:.0%} and {other.corrected_share:.0%} ({format_p(p)} for repeating): {verdict}."
        )
    if own.teacher_right:
        gain = 100 * (own.kept_share - other.kept_share)
        p = paired_test((predicted == labels)[~wrong][None], (base == labels)[~wrong][None])["p"]
        verdict = "no clear difference" if p >= 0.05 else "a gain" if gain > 0 else "a loss"
        sentences.append(
            f"Where {teacher} is right, {student} is right on {own.kept_share:.1%}, {baseline} on "
            f"{other.kept_share:.1%} ({gain:+.1f} points, {format_p(p)}): {verdict}."
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
