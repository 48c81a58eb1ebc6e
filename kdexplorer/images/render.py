"""Small images enlarged for display."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image


def enlarge_png(pixels: np.ndarray, size: int = 320) -> bytes:
    """Enlarges an image with sharp pixel edges: nearest neighbor, by a whole factor.

    Args:
        pixels: uint8 `[H, W, 3]`, RGB.
        size: height of the result in pixels; the largest multiple of H up to it is used, and at least H.

    Returns:
        PNG bytes.
    """
    return _enlarge_png(np.ascontiguousarray(pixels).tobytes(), *pixels.shape[:2], size)


@lru_cache(maxsize=1024)  # a page draws a dozen images, the same ones in every session and rerun
def _enlarge_png(pixels: bytes, height: int, width: int, size: int) -> bytes:
    factor = max(1, size // height)
    image = Image.frombytes("RGB", (width, height), pixels)
    image = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
