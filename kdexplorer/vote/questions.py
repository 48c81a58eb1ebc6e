"""A question to the audience with its totals, and what they say. Nothing in it belongs to a device or a person."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from kdexplorer.analysis.difference import correct, format_p, over_images
from kdexplorer.analysis.metrics import cross_entropy_to_humans, entropy
from kdexplorer.errors import KDError
from kdexplorer.images.decode import SIZE, read_pixels
from kdexplorer.images.picture import Picture, enlarge_png
from kdexplorer.schema import StrictModel

MAX_QUESTIONS = 64
MAX_DEVICES = 5_000
"""That vote on one question; those of one address get at most half of what the others leave."""
MAX_CLASSES = 20
"""Buttons on a phone."""
KEY = r"[0-9a-f]{8}"

Count = Annotated[int, Field(ge=0, le=MAX_DEVICES, strict=True)]


class VoteError(KDError):
    """A vote or a question that is not accepted; `status` is the HTTP status of the answer to a phone."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class SoftLabel(StrictModel):
    """A teacher's prediction of a question's picture, for the time after it is closed."""

    name: str = Field(max_length=300)
    temperature: float = Field(gt=0)
    shares: tuple[float, ...]


class Question(StrictModel):
    """A picture that the audience classifies; open until it has totals."""

    key: str = Field(pattern=f"^{KEY}$")
    png: str = Field(max_length=10_000)
    """The picture of 32 × 32 pixels as PNG in base64."""
    classes: tuple[Annotated[str, Field(max_length=300)], ...] = Field(min_length=2, max_length=MAX_CLASSES)
    dataset: str = Field(max_length=300)
    index: int | None = Field(None, ge=0)
    """Of a test image; None for a photo."""
    label: int | None = Field(None, ge=0)
    teacher: SoftLabel | None = None
    counts: tuple[Count, ...] | None = None
    """Votes for each class once the question is closed."""

    @model_validator(mode="after")
    def _fits_its_classes(self) -> Question:
        shares = None if self.teacher is None else self.teacher.shares
        of_each = [one for one in (self.counts, shares) if one is not None]
        if (self.label or 0) >= len(self.classes) or any(len(one) != len(self.classes) for one in of_each):
            raise ValueError("its label, counts and shares must be those of its classes")
        try:
            _ = self.image
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError("it has no picture of 32 × 32 pixels") from error
        return self

    @property
    def is_open(self) -> bool:
        return self.counts is None

    @property
    def state(self) -> str:
        """Another text once the question is closed."""
        return f"{self.key}-{'open' if self.is_open else 'closed'}"

    @property
    def totals(self) -> tuple[int, ...]:
        """Votes for each class; zeros while the question is open."""
        return self.counts or (0,) * len(self.classes)

    @property
    def picture(self) -> bytes:
        return base64.b64decode(self.png)

    @property
    def image(self) -> Picture:
        """What it asks about."""
        return Picture(read_pixels(self.picture, ("PNG",)), self.index, self.label, dataset=self.dataset)


def make_question(picture: Picture, classes: tuple[str, ...], teacher: SoftLabel | None = None) -> Question:
    """A new question about a picture. Raises VoteError for more classes than a phone has room for."""
    if len(classes) > MAX_CLASSES:
        raise VoteError(f"A question has {MAX_CLASSES} classes at most; choose a teacher with fewer.")
    png = base64.b64encode(enlarge_png(picture.pixels_last, SIZE)).decode()
    return Question(
        key=secrets.token_hex(4), png=png, classes=classes, dataset=picture.dataset, index=picture.index,
        label=picture.label, teacher=teacher,
    )  # fmt: skip


# What the votes say: the audience's soft label, how close the teacher is to it, how often the audience is right.


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

    `logits` are those of each network `[questions, K]`, by name, in the order of the questions.
    """
    known = [number for number, one in enumerate(questions) if one.label is not None and any(one.totals)]
    if not known:
        return None
    counted = [questions[number] for number in known]
    labels = np.array([one.label for one in counted])
    audience = np.array([choice_of(one.totals) == one.label for one in counted])
    networks = {name: one[known].argmax(axis=1) == labels for name, one in logits.items()}
    shares = [one.totals[one.label or 0] / sum(one.totals) for one in counted]
    times = "once" if audience.sum() == 1 else f"{audience.sum()} times"
    of = f"{len(known)} picture{'s' if len(known) > 1 else ''}"
    sentences = [
        f"On {of} with a label, the audience's most frequent choice is right {times} (a tie counts as wrong) "
        f"and on average {np.mean(shares):.0%} of the votes are for the label."
    ]
    if networks:
        right = ", ".join(f"{name} {one.sum()}" for name, one in networks.items())
        sentences.append(f"Right predictions of the networks: {right}.")
    compared = correct({name: over_images(audience, one) for name, one in networks.items()})
    clear = [
        f"the audience is {'more' if one.sign > 0 else 'less'} often right than {name} ({format_p(one.p)})"
        for name, one in compared.items()
        if one.sign
    ]
    if clear:
        sentences.append(f"By more than chance, {' and '.join(clear)}: McNemar's exact test with Holm's correction.")
    elif networks:
        sentences.append(
            f"With {of} it is not decided whether the audience or a network is better (McNemar's exact test)."
        )
    return " ".join(sentences)
