"""A picture as a network sees it, what a network predicts for it, both as PNG for display, and QR codes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from kdexplorer.images.decode import SIZE


@dataclass(frozen=True)
class Picture:
    """A network's input. A test image has an index, a photo perhaps a file name."""

    pixels: np.ndarray  # uint8 `[3, 32, 32]`
    index: int | None = None  # the position in the test split of `dataset`
    label: int | None = None  # the hard label, where it is one of the classes of the networks that are shown with it
    name: str = ""  # a photo's file name
    dataset: str = ""  # the key of the data set that fits those networks

    @property
    def pixels_last(self) -> np.ndarray:
        """uint8 `[32, 32, 3]`, for display."""
        return self.pixels.transpose(1, 2, 0)

    @property
    def data_url(self) -> str:
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


PALETTES = {
    "map": (
        "#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf",
    ),
    "difference": ("#5e3c99", "#b2abd2", "#f7f7f7", "#fdb863", "#e66101"),
}  # fmt: skip
"""Anchors of the color maps: magma, which is perceptual, and for signed values a diverging one, neutral at 0."""


@cache
def interpolate_palette(name: str) -> np.ndarray:
    """Interpolates a palette's anchors linearly to 256 colors, uint8 `[256, 3]`, RGB."""
    anchors = np.array([[int(color[k : k + 2], 16) for k in (1, 3, 5)] for color in PALETTES[name]])
    positions = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(positions, np.arange(len(anchors)), anchors[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def map_png(values: np.ndarray, low: float, high: float, palette: str, side: int = 192, smooth: bool = False) -> bytes:
    """Renders a map `[H, W]` as a PNG whose opacity is the distance from the palette's neutral end.

    A photo under it stays visible where there is no attention, or no difference. `low` and `high` are the values of
    the first and last color of the palette, a name in `PALETTES`, of which `difference` is neutral in its middle. The
    map is enlarged by a whole factor to at most `side` pixels, `smooth` by interpolation (bicubic).
    """
    fractions = ((np.asarray(values, dtype=np.float64) - low) / max(high - low, 1e-12)).clip(0, 1)
    factor = max(1, side // max(fractions.shape))
    size = fractions.shape[1] * factor, fractions.shape[0] * factor
    resampling = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    large = np.asarray(Image.fromarray(fractions.astype(np.float32)).resize(size, resampling)).clip(0, 1)
    opacity = np.abs(2 * large - 1) if palette == "difference" else large
    colors = interpolate_palette(palette)[(large * 255).round().astype(np.uint8)]
    image = np.concatenate([colors, (opacity[..., None] * 255).round().astype(np.uint8)], axis=2)
    return _encode(Image.fromarray(image), "PNG", compress_level=6)


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def data_url(data: bytes, kind: Literal["png", "jpeg"] = "png") -> str:
    """Encodes a picture's file as a `data:` URL, for a chart's image mark or `st.image`.

    A picture that Streamlit keeps for `st.image` is deleted when another visitor's page ends while this one's is run
    again: a browser that had not yet asked for it shows nothing.
    """
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def encode_jpeg(pixels: np.ndarray) -> bytes:
    """An image uint8 `[H, W, 3]` as a JPEG."""
    return _encode(Image.fromarray(pixels), "JPEG", quality=90)


def enlarge_png(pixels: np.ndarray, size: int = 320) -> bytes:
    """Enlarges an image uint8 `[H, W, 3]`, RGB, with sharp pixel edges to a PNG: nearest neighbor, by a whole factor.

    Its height is the largest multiple of H up to `size` pixels, and at least H.
    """
    return _enlarge_png(np.ascontiguousarray(pixels).tobytes(), *pixels.shape[:2], size)


@lru_cache(maxsize=1024)  # a page draws a dozen images, the same ones in every session and rerun
def _enlarge_png(pixels: bytes, height: int, width: int, size: int) -> bytes:
    factor = max(1, size // height)
    image = Image.frombytes("RGB", (width, height), pixels)
    large = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    return _encode(large, "PNG", compress_level=6)


@lru_cache(maxsize=64)
def qr_png(text: str, scale: int = 8) -> bytes:
    """A QR code as PNG, black on white with the quiet zone of four modules (ISO/IEC 18004), correction level M.

    A module has `scale` pixels. It is made on the server: no other host learns the link. Raises ValueError for a text
    of more than 2,331 bytes.
    """
    import segno

    buffer = io.BytesIO()
    segno.make_qr(text, error="m", boost_error=False).save(buffer, kind="png", scale=scale, border=4)
    return buffer.getvalue()
