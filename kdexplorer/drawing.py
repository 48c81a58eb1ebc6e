"""Attention maps as pictures: normalised for comparison, coloured on a perceptual scale, pixels kept hard."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from PIL import Image

PALETTES = {
    "cividis": (
        "#00224e",
        "#123570",
        "#3b496c",
        "#575d6d",
        "#707173",
        "#8a8678",
        "#a59c74",
        "#c3b369",
        "#e1cc55",
        "#fee838",
    ),
    "viridis": (
        "#440154",
        "#482878",
        "#3e4989",
        "#31688e",
        "#26828e",
        "#1f9e89",
        "#35b779",
        "#6ece58",
        "#b5de2b",
        "#fde725",
    ),
    "difference": ("#5e3c99", "#b2abd2", "#f7f7f7", "#fdb863", "#e66101"),
}
"""Anchors of the colour scales: two perceptual ones, and one with a neutral middle for signed values."""


@cache
def palette(name: str) -> np.ndarray:
    """256 colours uint8 `[256, 3]`, interpolated between a palette's anchors."""
    anchors = np.array([[int(colour[k : k + 2], 16) for k in (1, 3, 5)] for colour in PALETTES[name]])
    places = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def relative(map_: np.ndarray) -> np.ndarray:
    """An attention map `[H, W]` on a scale that networks and stages share: 1 is attention spread evenly.

    The map is scaled to unit L2 norm, as the loss does, and multiplied by `sqrt(H W)`.
    """
    map_ = np.asarray(map_, dtype=np.float64)
    norm = np.sqrt((map_**2).sum())
    return map_ / max(norm, 1e-12) * np.sqrt(map_.size)


def difference(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Student minus teacher, each as `relative`, at the smaller of the two sizes (pooled as the loss pools)."""
    import torch

    from kdexplorer.attention import same_size

    pair = same_size(torch.from_numpy(np.array(student))[None], torch.from_numpy(np.array(teacher))[None])
    first, second = (relative(maps[0].numpy()) for maps in pair)
    return first - second


def map_png(values: np.ndarray, low: float, high: float, colours: str, side: int = 192) -> bytes:
    """A PNG of `[H, W]`, coloured from low to high, its pixels enlarged by nearest neighbour to about `side`."""
    share = (np.asarray(values, dtype=np.float64) - low) / max(high - low, 1e-12)
    indices = (share.clip(0, 1) * 255).round().astype(np.uint8)
    factor = max(1, side // max(indices.shape))
    indices = indices.repeat(factor, axis=0).repeat(factor, axis=1)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette(colours).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def data_url(png: bytes) -> str:
    """A PNG as a `data:` address, for a chart's image mark."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
