"""A picture as a network sees it, and what a network predicts for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kdexplorer.images.decode import SIZE
from kdexplorer.images.render import data_url, enlarge_png


@dataclass(frozen=True)
class Picture:
    """A network's input: uint8 `[3, 32, 32]`. A test image has an index, a photo perhaps a file name.

    Attributes:
        pixels: the input.
        index: the position in the test split of `dataset`.
        label: the hard label, where it is one of the classes of the networks that are shown with it.
        name: a photo's file name.
        dataset: the key of the data set that fits those networks.
    """

    pixels: np.ndarray
    index: int | None = None
    label: int | None = None
    name: str = ""
    dataset: str = ""

    @property
    def pixels_last(self) -> np.ndarray:
        """uint8 `[32, 32, 3]`, for display."""
        return self.pixels.transpose(1, 2, 0)

    @property
    def data_url(self) -> str:
        """The 32 x 32 pixels as a data URL."""
        return data_url(enlarge_png(self.pixels_last, SIZE))

    def caption(self, classes: Sequence[str]) -> str:
        """What it shows, as plain text; escape it for HTML. `classes` are the networks'."""
        if self.index is None:
            return f"{self.name or 'A photo'}, reduced to 32 × 32 pixels; it has no hard label"
        return f"Test image {self.index}" + (f": {classes[self.label]}" if self.label is not None else "")


class Prediction(NamedTuple):
    """What a network computes for one picture: logits `[K]`, and attention maps `[H, W]` of each stage by power."""

    logits: np.ndarray
    maps: dict[int, list[np.ndarray]]
