"""A question to the audience, with its totals. Nothing in it belongs to a device or a person."""

from __future__ import annotations

import base64
import io
import secrets
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from kdexplorer.errors import KDError
from kdexplorer.images.picture import enlarge_png
from kdexplorer.schema import StrictModel

MAX_QUESTIONS = 64
MAX_DEVICES = 5_000
"""That vote on one question; those of one address get at most half of what the others leave."""
MAX_CHANGES = 20
"""Of one device on one question."""
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

    name: str = Field(max_length=120)
    temperature: float = Field(gt=0)
    shares: tuple[float, ...]


class Question(StrictModel):
    """A picture that the audience classifies; open until it has totals."""

    key: str = Field(pattern=f"^{KEY}$")
    png: str = Field(max_length=10_000)
    """The picture of 32 × 32 pixels as PNG in base64."""
    classes: tuple[Annotated[str, Field(max_length=60)], ...] = Field(min_length=2, max_length=MAX_CLASSES)
    dataset: str = Field(max_length=64)
    index: int | None = Field(None, ge=0)
    """Of a test image; None for a photo."""
    label: int | None = Field(None, ge=0)
    teacher: SoftLabel | None = None
    counts: tuple[Count, ...] | None = None
    """Votes for each class once the question is closed."""

    @model_validator(mode="after")
    def _fits_its_classes(self) -> Question:
        if self.label is not None and self.label >= len(self.classes):
            raise ValueError("the label is none of the classes")
        if self.teacher is not None and len(self.teacher.shares) != len(self.classes):
            raise ValueError("there must be one share of the teacher for each class")
        if self.counts is not None and len(self.counts) != len(self.classes):
            raise ValueError("there must be one count for each class")
        try:
            side = self.pixels.shape[1:]
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError("it has no picture") from error
        if side != (32, 32):
            raise ValueError("its picture has another size")
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
        """The PNG file."""
        return base64.b64decode(self.png)

    @property
    def pixels(self) -> np.ndarray:
        """uint8 `[3, 32, 32]`."""
        with Image.open(io.BytesIO(self.picture), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def make_question(
    pixels: np.ndarray,
    classes: tuple[str, ...],
    dataset: str,
    index: int | None = None,
    label: int | None = None,
    teacher: SoftLabel | None = None,
) -> Question:
    """A new question from uint8 `[3, 32, 32]`. Raises VoteError for more classes than a phone has room for."""
    if len(classes) > MAX_CLASSES:
        raise VoteError(f"A question has {MAX_CLASSES} classes at most; choose a teacher with fewer.")
    png = enlarge_png(pixels.transpose(1, 2, 0), pixels.shape[1])
    return Question(
        key=secrets.token_hex(4), png=base64.b64encode(png).decode(), classes=classes, dataset=dataset,
        index=index, label=label, teacher=teacher,
    )  # fmt: skip
