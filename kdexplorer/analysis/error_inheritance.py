"""Why a student can beat its teacher, and why it rarely does: what it takes over of the teacher's errors.

The images are divided by whether the teacher is right. Where it is wrong, its soft labels teach a wrong class: a
student that repeats it has inherited the error. Where it is right, they help. The net of both is the student's gain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kdexplorer.analysis.difference import format_p, over_images

RIGHT, REPEATED, OWN = "right", "the teacher's wrong class", "a wrong class of its own"
"""What a network predicts for an image."""

Outcomes = Mapping[str, Mapping[str, int]]
"""Numbers of images by what a network predicts, where its teacher is `wrong` and where it is `right`."""


def count_inheritance(logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray) -> Outcomes:
    """Counts a network's predictions against its teacher's; logits are `[N, classes]`, labels int `[N]`."""
    predicted, taught = logits.argmax(axis=1), teacher_logits.argmax(axis=1)
    wrong, right, same = taught != labels, predicted == labels, predicted == taught
    return {
        "wrong": {
            RIGHT: int((wrong & right).sum()),
            REPEATED: int((wrong & same).sum()),
            OWN: int((wrong & ~right & ~same).sum()),
        },
        "right": {RIGHT: int((~wrong & right).sum()), OWN: int((~wrong & ~right).sum())},
    }


def share_of(outcomes: Outcomes, where: str, outcome: str) -> float:
    """An outcome's share of the images where the teacher is `wrong` or `right`, 0 to 1; NaN without such images."""
    total = sum(outcomes[where].values())
    return outcomes[where][outcome] / total if total else float("nan")


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
    wrong, sentences = taught != labels, []
    if wrong.any():
        repeats = over_images((predicted == taught)[wrong], (base == taught)[wrong])
        fewer = "it repeats fewer errors than a network without a teacher"
        verdict = {1: "it inherits errors", 0: "no clear difference", -1: fewer}[repeats.sign]
        shares = [share_of(one, "wrong", outcome) for one in (own, other) for outcome in (REPEATED, RIGHT)]
        sentences.append(
            f"On the {wrong.sum():,} images that {teacher} gets wrong, {student} repeats its class on {shares[0]:.0%} "
            f"and is right on {shares[1]:.0%}; {baseline} on {shares[2]:.0%} and {shares[3]:.0%} "
            f"({format_p(repeats.p or 0)} for repeating): {verdict}."
        )
    if not wrong.all():
        gain = over_images((predicted == labels)[~wrong], (base == labels)[~wrong])
        verdict = {1: "a gain", 0: "no clear difference", -1: "a loss"}[gain.sign]
        kept, other_kept = (share_of(one, "right", RIGHT) for one in (own, other))
        sentences.append(
            f"Where {teacher} is right, {student} is right on {kept:.1%}, {baseline} on {other_kept:.1%} "
            f"({100 * gain.estimate:+.1f} points, {format_p(gain.p or 0)}): {verdict}."
        )
    net = 100 * float((predicted == labels).mean() - (base == labels).mean())
    corrected, added = own["wrong"][RIGHT], own["right"][OWN]
    above = corrected - added
    beats = f"above by {above:,} images" if above > 0 else f"below by {-above:,} images" if above else "equal"
    sentences.append(
        f"The net is {net:+.2f} points to {baseline}. To be above its teacher, {student} has to correct more of its "
        f"errors ({corrected:,}) than it adds of its own ({added:,}): it is {beats}."
    )
    return " ".join(sentences)
