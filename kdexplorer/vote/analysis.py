"""What the votes say: the audience's soft label, how close the teacher is to it, how often the audience is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kdexplorer.analysis.difference import correct, format_p, over_images
from kdexplorer.analysis.metrics import cross_entropy_to_humans, entropy
from kdexplorer.vote.questions import Question


def soft_label(counts: Sequence[int]) -> np.ndarray | None:
    """The audience's soft label: the share of votes for each class, float64 `[K]`; None without votes."""
    total = sum(counts)
    return np.asarray(counts, dtype=np.float64) / total if total else None


def count_votes(votes: int) -> str:
    """A number of votes as text."""
    return f"{votes:,} vote{'' if votes == 1 else 's'}"


def choice_of(counts: Sequence[int]) -> int | None:
    """The class with the most votes; None without votes or where several have as many."""
    most = max(counts)
    return None if most == 0 or list(counts).count(most) > 1 else list(counts).index(most)


def distance(votes: np.ndarray, teacher_logits: np.ndarray) -> float:
    """KL(votes ‖ teacher) in nats at T = 1, from the audience's soft label and the teacher's logits, `[K]` each.

    The other direction is infinite as soon as a class has no vote.
    """
    return max(0.0, float(cross_entropy_to_humans(votes, teacher_logits) - entropy(votes)))


def describe_agreement(questions: Sequence[Question], logits: Mapping[str, np.ndarray]) -> str | None:
    """How often the audience and the networks are right; None without a closed question that has a label and votes.

    Args:
        questions: any; those that are open, have no label or no votes do not count.
        logits: of each network `[questions, K]`, by name, in the order of `questions`.
    """
    known = [number for number, one in enumerate(questions) if one.label is not None and any(one.totals)]
    if not known:
        return None
    counted = [questions[number] for number in known]
    labels = np.array([one.label for one in counted])
    audience = np.array([choice_of(one.totals) == one.label for one in counted])
    networks = {name: one[known].argmax(axis=1) == labels for name, one in logits.items()}
    shares = [one.totals[one.label or 0] / sum(one.totals) for one in counted]
    of = f"{len(known)} picture{'s' if len(known) > 1 else ''}"
    sentences = [
        f"On {of} with a label, the room's most frequent choice is right {audience.sum()} times (a tie counts as "
        f"wrong) and on average {np.mean(shares):.0%} of the votes are for the label."
    ]
    if networks:
        right = ", ".join(f"{name} {one.sum()}" for name, one in networks.items())
        sentences.append(f"Right predictions of the networks: {right}.")
    compared = correct({name: over_images(audience, one) for name, one in networks.items()})
    clear = [
        f"the room is {'more' if one.sign > 0 else 'less'} often right than {name} ({format_p(one.p or 0)})"
        for name, one in compared.items()
        if one.sign
    ]
    if clear:
        sentences.append(f"By more than chance, {' and '.join(clear)}: McNemar's exact test with Holm's correction.")
    elif networks:
        sentences.append(f"With {of} it is not decided whether the room or a network is better (McNemar's exact test).")
    return " ".join(sentences)
