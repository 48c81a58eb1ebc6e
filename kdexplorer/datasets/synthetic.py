"""Synthetic shapes: ten classes that are drawn, for tests and for a first run without data.

Five shapes, each solid and as a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kdexplorer.datasets.base import Dataset, Normalization, Order, Progress, Split, SplitName


class SyntheticShapes(Dataset):
    """Drawn shapes; they need no file."""

    key, label = "synthetic", "Synthetic shapes"
    classes = (
        "disc", "ring", "square", "square frame", "triangle", "triangle frame", "star", "star frame", "cross",
        "cross frame",
    )  # fmt: skip
    sizes = {"train": 10_000, "test": 2_000}
    normalization = Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    def find(self) -> Path | None:
        """Always available: the code itself."""
        return Path(__file__)

    def load(self, split: SplitName, progress: Progress | None = None, order: Order = "content") -> Split:
        """See `Dataset.load`; nothing is read."""
        return draw_shapes(self.sizes[split], seed=int(split == "test"), progress=progress)


def draw_shapes(count: int, seed: int = 0, progress: Progress | None = None) -> Split:
    """Draws `count` images, deterministic from the seed, the same number of each class.

    A class is a shape (disc, square, triangle, star, cross), solid or as a frame: a frame's hole may be small,
    so a shape and its frame are alike, and discs, squares and stars grow alike with noise. Color, place, size,
    rotation, contrast, a second shape in the background and pixel noise say nothing about the class.
    """
    parts = []
    generator = np.random.default_rng([seed, 0x5EED])
    labels = generator.permutation(np.arange(count) % 10)
    for start in range(0, count, 1000):
        parts.append(_draw(labels[start : start + 1000], generator))
        if progress:
            progress(min(start + 1000, count), count)
    return Split(np.concatenate(parts), labels.astype(np.int64), SyntheticShapes.classes)


def _draw(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return generator.uniform(low, high, (count, *(shape or (1, 1)))).astype(np.float32)

    ys, xs = np.mgrid[-1:1:32j, -1:1:32j].astype(np.float32)

    def mask(shapes: np.ndarray, holes: np.ndarray, reach: float, small: float, large: float) -> np.ndarray:
        dx, dy = xs - uniform(-reach, reach), ys - uniform(-reach, reach)
        radius = np.hypot(dx, dy) / uniform(small, large)
        angle = np.arctan2(dy, dx) + uniform(-np.pi, np.pi)
        edge = np.select([(shapes == k)[:, None, None] for k in range(5)], [outline(angle) for outline in _OUTLINES])
        solid = 1 / (1 + np.exp(np.clip((radius - edge) * 14, -30, 30)))
        hole = 1 / (1 + np.exp(np.clip((radius - holes * edge) * 14, -30, 30)))
        return solid - np.where(holes > 0, hole, 0)

    holes = np.where((labels % 2 == 1)[:, None, None], uniform(0.35, 0.65), 0)
    shape = mask(labels // 2, holes, 0.3, 0.4, 0.8)[:, None]
    clutter = mask(generator.integers(0, 5, count), uniform(-0.6, 0.6).clip(0), 1.0, 0.15, 0.4)[:, None]
    ground = uniform(0.2, 0.8, 3, 1, 1)
    slope = uniform(-0.2, 0.2) * xs + uniform(-0.2, 0.2) * ys
    color = ground + generator.choice([-1.0, 1.0], (count, 1, 1, 1)) * uniform(0.08, 0.45, 3, 1, 1)
    image = ground + slope[:, None] + clutter * (uniform(0, 1, 3, 1, 1) - ground) * 0.6
    image = image * (1 - shape) + color * shape
    image += generator.standard_normal(image.shape, dtype=np.float32) * uniform(0.02, 0.16, 1, 1, 1)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def _polygon(corners: int) -> Callable[[np.ndarray], np.ndarray]:
    half = np.pi / corners
    return lambda angle: np.cos(half) / np.cos(np.mod(angle, 2 * half) - half)


_OUTLINES: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda angle: np.full_like(angle, 0.8),
    _polygon(4),
    _polygon(3),
    lambda angle: 0.72 + 0.28 * np.cos(5 * angle),
    lambda angle: np.minimum(1, 0.32 / np.maximum(np.minimum(np.abs(np.cos(angle)), np.abs(np.sin(angle))), 1e-3)),
]
"""Radius as a function of the angle: disc, square, triangle, star, cross."""
