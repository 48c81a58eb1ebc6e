"""What results say, in sentences: gains, the lab's two puzzles, inherited errors, calibration, history, temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kdexplorer.analysis.difference import Difference, correct, format_p, over_images
from kdexplorer.analysis.metrics import kl_by_image, push_size
from kdexplorer.analysis.results import ResultRow
from kdexplorer.methods import find_method
from kdexplorer.runs.checkpoints import Checkpoint

TOLERANCE = 1.4
"""The 95 % quantile of a calibrated network's calibration error relative to its mean, simulated: 1.3 to 1.5."""


def describe_gains(rows: Sequence[ResultRow]) -> list[str]:
    """A sentence for each network of a run, those that can be compared with a scratch baseline first.

    Where several students are compared, p has Holm's correction. The tests count images: another seed is another run.
    """
    by_name = {row.name: row for row in rows}
    pairs = correct({row.name: one for row in rows if (one := row.to_scratch_baseline) is not None})
    sentences = []
    for row in sorted((by_name[name] for name in pairs), key=lambda row: -row.accuracy):
        pair, verdict = pairs[row.name], ""
        digits = digits_of(row)
        points = round(100 * pair.estimate, digits)
        gain = f"{'+' if points >= 0 else ''}{abs(points):.{digits}f} points {'over' if points >= 0 else 'below'}"
        own, other = (f"{100 * one.accuracy:.{digits}f}" for one in (row, by_name[pair.other]))
        if pair.p is not None:
            correction = f", corrected for {pair.family} comparisons" if pair.family > 1 else ""
            significant = "significant" if pair.sign else "not significant"
            verdict = f", {significant} ({format_p(pair.p)}, McNemar{correction})"
        compared = f"its scratch baseline ({own} against {other} %)"
        sentences.append(f"{row.name}: {gain} {compared}, {row.evaluated_on}{verdict}.")
    alone = [row for row in rows if row.name not in {*pairs, *(pair.other for pair in pairs.values())}]
    return sentences + [f"{row.name}: {100 * row.accuracy:.{digits_of(row)}f} %, {row.evaluated_on}." for row in alone]


def digits_of(row: ResultRow) -> int:
    """After the point of a percentage: of 1,000 images and more one changes the second."""
    return 2 if row.images >= 1000 else 1


def describe_changes(rows: Sequence[ResultRow]) -> list[str]:
    """For each distilled student how many images only it classifies correctly, and only its scratch baseline."""
    sentences = []
    for row in rows:
        paired = row.to_scratch_baseline
        if paired is None or paired.gained is None or paired.lost is None:
            continue
        net = paired.gained - paired.lost
        change = f"the distilled student classifies {abs(net):,} {'more' if net > 0 else 'fewer'} correctly"
        sentences.append(
            f"Only {row.name} is right on {paired.gained:,} images, only its scratch baseline {paired.other} on "
            f"{paired.lost:,}: of {row.images:,} images {change if net else 'both classify the same number correctly'}."
        )
    return sentences


def explain_larger_loss(rows: Sequence[ResultRow]) -> str:
    """Why a distilled student's loss is larger than its scratch baseline's: the sum that it minimizes, in numbers."""
    distilled = [(row, row.objective) for row in rows if row.is_distilled and row.objective is not None]
    if not distilled:
        return "Select a distilled student to see what its loss consists of."
    row, objective = max(distilled, key=lambda pair: pair[1] - pair[0].cross_entropy)
    pair = row.to_scratch_baseline
    baseline = next((other for other in rows if pair and other.name == pair.other), None)
    sum_ = f"{_format_terms(row)}{objective:.3f}"
    text = f"The loss that {row.name} minimizes, {sum_}, is a different sum from cross-entropy. "
    own = f"Its cross-entropy, which is comparable between rows, is {row.cross_entropy:.3f}"
    if baseline is None:
        return f"{text}{own}."
    if objective <= baseline.cross_entropy:
        text += "Here that sum is the smaller number, which says just as little about which student is better. "
    difference = row.cross_entropy - baseline.cross_entropy
    relation = "lower than" if difference < 0 else "higher than" if difference > 0 else "equal to"
    other = f"{baseline.cross_entropy:.3f} of {baseline.name}, which was trained on labels alone."
    text = f"{text}{own}: {relation} the {other}"
    if scaled := row.scaled_to_scratch_baseline:
        excess = ", so the excess was the level of confidence" if difference > 0 else ""
        verdict = {1: "it is higher", 0: "no clear difference", -1: f"it is lower{excess}"}[scaled.sign]
        text += f" After temperature scaling the difference is {scaled.nats} (95 %): {verdict}."
    return text


def explain_calibration(rows: Sequence[ResultRow]) -> str | None:
    """How much of calibration and cross-entropy one number per network explains; None where that is unknown."""
    known = [row for row in rows if "scaled_calibration_error" in row.measures]
    if not known:
        return None
    keys = "calibration_error", "scaled_calibration_error", "calibration_noise"
    before, after, noise = ([100 * row.measures[key] for row in known] for key in keys)
    explained = sum(after) < sum(before) / 2
    near = sum(value < TOLERANCE * least for value, least in zip(after, noise, strict=True))
    sentences = [
        f"Calibration errors are {min(before):.2f} to {max(before):.2f} % as trained and {min(after):.2f} to "
        f"{max(after):.2f} % after temperature scaling, fitted on the other folds: one number per network explains "
        f"{'most' if explained else 'less than half'} of them.",
        f"Sampling alone gives a calibrated network {min(noise):.2f} to {max(noise):.2f} % on these images, and in "
        f"95 % of samples less than about {TOLERANCE:g} times that: so have {near} of {len(noise)} after scaling.",
    ]
    paired = {row.name: one for row in known if row.is_distilled and (one := row.scaled_to_scratch_baseline)}
    if len(paired) > 1:
        paired = {name: replace(one, family=len(paired)).simultaneous for name, one in paired.items()}
    for sign, kind in ((-1, "lower than"), (0, "not clearly different from"), (1, "higher than")):
        names = [f"{name} ({one.nats})" for name, one in paired.items() if one.sign == sign]
        if names:
            sentences.append(f"Scaled cross-entropy is {kind} the scratch baseline's for {', '.join(names)}.")
    if len(paired) > 1:
        sentences.append("These 95 % intervals hold together.")
    return " ".join(sentences)


def describe_training(rows: Sequence[ResultRow]) -> str:
    """Whose training was continued, and whether after its test accuracy was known, from the cards."""
    named = [(f"{row.name} ({' + '.join(map(str, row.epochs_by_run))} epochs)", row) for row in rows]
    seen = [name for name, row in named if row.continued_in_view]
    unseen = [name for name, row in named if len(row.epochs_by_run) > 1 and not row.continued_in_view]
    unknown = [row.name for row in rows if not row.epochs_by_run]
    once = [row.name for row in rows if len(row.epochs_by_run) == 1]
    sentences = []
    for accuracy, names in (("the test accuracy", seen), ("the accuracy on held-out images", unseen)):
        if names:
            sentences.append(f"Training was continued after {accuracy} was known for {', '.join(names)}.")
    if once:
        were = "was" if len(once) == 1 else "were each"
        subject = "Each network was" if len(once) == len(rows) else f"{', '.join(once)} {were}"
        sentences.append(f"{subject} trained in one run, whose length was fixed before it.")
    if unknown:
        sentences.append(f"How {', '.join(unknown)} {'was' if len(unknown) == 1 else 'were'} trained is unknown.")
    sentences.append("The weights at the end of training are evaluated.")
    return " ".join(sentences)


def _format_terms(row: ResultRow) -> str:
    """The terms of the objective and an equals sign; empty where one is unknown, as with smoothed labels."""
    objective = row.objective_terms
    if objective is None or objective.label_smoothing:
        return ""
    terms = [(objective.ce_weight, "cross-entropy", "cross_entropy")] if objective.ce_weight else []
    for term, name in zip(objective.terms, objective.term_names, strict=True):
        terms.append((term.weight, find_method(term.method).label, name))
    if any(name not in row.terms for *_, name in terms):
        return ""
    found = [(f"{weight:g} × {label}", row.terms[name]) for weight, label, name in terms]
    return " + ".join(f"{text} {value:{'.3f' if abs(value) >= 0.1 else '.3g'}}" for text, value in found) + " = "


def describe_training_difference(entries: Mapping[str, Checkpoint]) -> str | None:
    """A sentence when students were trained on different numbers of images, so that more than the method differs."""
    teachers = {sha256 for checkpoint in entries.values() for sha256 in checkpoint.card.teacher_hashes}
    sizes: dict[int, list[str]] = {}
    for name, checkpoint in entries.items():
        count = checkpoint.card.data.train_images
        if count and checkpoint.sha256 not in teachers:
            sizes.setdefault(count, []).append(name)
    if len(sizes) < 2:
        return None
    parts = []
    for count, names in sorted(sizes.items()):
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        parts.append(f"{count:,} images ({', '.join(names[:4])}{more})")
    return f"Not only the method differs: these were trained on different numbers of images. {'; '.join(parts)}."


def compare_with_teacher_and_baseline(rows: Sequence[ResultRow]) -> str:
    """Whether the best distilled student differs from its scratch baseline and its teacher by more than chance.

    It is selected by its accuracy, so p has Holm's correction for all distilled students that could be tested.
    """
    distilled, by_name = [row for row in rows if row.is_distilled], {row.name: row for row in rows}
    if not distilled:
        return "Select a distilled student and its scratch baseline to test the difference between the two."
    best, sentences = max(distilled, key=lambda row: row.accuracy), []
    for key, words in (("to_scratch_baseline", "its scratch baseline"), ("to_teacher", "its teacher")):
        found = correct({row.name: one for row in distilled if (one := getattr(row, key))})
        if pair := found.get(best.name):
            sentences.append(_judge(best, by_name.get(pair.other), words, pair))
    if not sentences:
        return f"Select the scratch baseline of {best.name} or its teacher to test the difference between the two."
    if len(distilled) > 1:
        sentences.append(
            f"{best.name} is the most accurate of {len(distilled)} distilled students, so its accuracy is probably "
            "overestimated."
        )
    sentences.append("The tests are over images: they do not cover how much another seed would change.")
    return " ".join(sentences)


def _judge(row: ResultRow, other: ResultRow | None, words: str, paired: Difference) -> str:
    """`other` is None for a teacher outside the table."""
    points = round(100 * paired.estimate, 2)
    relation = f"is {abs(points):.2f} percentage points {'above' if points > 0 else 'below'}"
    text = f"{row.name} {relation if points else 'has the same accuracy as'} {words} {paired.other}"
    if paired.p is None or paired.p_alone is None:
        if other is None:
            return f"{text}."
        apart = row.accuracy_low > other.accuracy_high or row.accuracy_high < other.accuracy_low
        return (
            f"{text}; their 95 % intervals {'do not overlap' if apart else 'overlap'}. The paired test needs the "
            "labels of the evaluation images and the stored logits of both networks."
        )
    best_of = f", {format_p(paired.p)} for the best of {paired.family} comparisons" if paired.family > 1 else ""
    power = f" (80 % power, alone, at {100 * paired.detectable:.2f} points)" if paired.detectable else ""
    verdict = "more than chance explains on these images" if paired.sign else f"which chance alone can explain{power}"
    alone = f"{paired.gained:,} images are classified correctly only by it, {paired.lost:,} only by {paired.other}"
    return f"{text}: {alone} (McNemar {format_p(paired.p_alone)}{best_of}), {verdict}."


def describe_push(name: str, teacher: np.ndarray, student: np.ndarray, temperature: float) -> str:
    """How the size of the gradient on a student changes from T = 1 to another temperature, over images `[N, K]`."""
    before, after = (float(push_size(student, teacher, t).mean()) for t in (1.0, temperature))
    first, second = f"{before:.3g}", f"{after:.3g}"
    over = f"on {name}, the mean over {len(teacher):,} test images"
    if first == second:
        return f"The gradient of T²·KL {over}, has the same size at T = 1 and at T = {temperature:g}: {first}."
    change = "grows" if after > before else "shrinks"
    return f"The gradient of T²·KL {over}, {change} from {first} at T = 1 to {second} at T = {temperature:g}."


def describe_kl(name: str, teacher: np.ndarray, student: np.ndarray, temperature: float) -> str:
    """On how many images `[N, K]` KL is larger at a temperature than at T = 1, and whether its mean falls or rises."""
    before, after = (kl_by_image(teacher, student, t) for t in (1.0, temperature))
    first, second = f"{before.mean():.3f}", f"{after.mean():.3f}"
    change = "stays at" if first == second else "falls from" if after.mean() < before.mean() else "rises from"
    means = first if first == second else f"{first} to {second}"
    larger = float((after > before).mean())
    return (
        f"From T = 1 to T = {temperature:g}, the KL divergence of {name} from the teacher grows on {larger:.0%} of "
        f"{len(teacher):,} test images; its mean {change} {means}."
    )


# --- Why a student can beat its teacher, and why it rarely does: what it takes over of the teacher's errors ---
#
# The images are divided by whether the teacher is right. Where it is wrong, its soft labels teach a wrong class: a
# student that repeats it has inherited the error. Where it is right, they help. The net of both is the student's gain.

RIGHT, REPEATED, OWN = "right", "the teacher's wrong class", "a wrong class of its own"
"""What a network predicts for an image."""

Outcomes = Mapping[str, Mapping[str, int]]
"""Numbers of images by what a network predicts, where its teacher is `wrong` and where it is `right`."""


def count_inheritance(logits: np.ndarray, teacher_logits: np.ndarray, labels: np.ndarray) -> Outcomes:
    """Counts a network's predictions against its teacher's; logits are `[N, classes]`, labels int `[N]`."""
    predicted, taught = logits.argmax(axis=1), teacher_logits.argmax(axis=1)
    wrong, right, same = taught != labels, predicted == labels, predicted == taught
    missed = {RIGHT: wrong & right, REPEATED: wrong & same, OWN: wrong & ~right & ~same}
    parts = {"wrong": missed, "right": {RIGHT: ~wrong & right, OWN: ~wrong & ~right}}
    return {where: {kind: int(images.sum()) for kind, images in found.items()} for where, found in parts.items()}


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
            f"({format_p(repeats.p)} for repeating): {verdict}."
        )
    if not wrong.all():
        gain = over_images((predicted == labels)[~wrong], (base == labels)[~wrong])
        verdict = {1: "a gain", 0: "no clear difference", -1: "a loss"}[gain.sign]
        kept, other_kept = (share_of(one, "right", RIGHT) for one in (own, other))
        sentences.append(
            f"Where {teacher} is right, {student} is right on {kept:.1%}, {baseline} on {other_kept:.1%} "
            f"({round(100 * gain.estimate, 1) + 0.0:+.1f} points, {format_p(gain.p)}): {verdict}."
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
