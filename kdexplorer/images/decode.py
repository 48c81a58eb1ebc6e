"""Uploaded image files decoded to the network's input size, with bounded memory and work."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from kdexplorer.errors import ImageError, ImageMemoryError
from kdexplorer.images import sanitize

MAX_BYTES = 5 * 1024 * 1024
FORMATS = ["PNG", "JPEG", "WEBP"]
SIZE = 32
GRAY = (125, 123, 114)
"""The letterbox background: the mean color of CIFAR-10."""
MAX_BLOCK_PIXELS = 1_000_000
"""About the number of source pixels that are converted to RGB and averaged in one step."""
Fit = Literal["crop", "letterbox"]

_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to the transposition that displays the image upright."""
_COLUMNS_REVERSED, _ROWS_REVERSED = (2, 3, 7, 8), (3, 4, 6, 7)
"""The orientations that display the file's columns, or its rows, in reverse order."""


def decode_image(data: bytes, fit: Fit = "crop") -> np.ndarray:
    """Decodes an uploaded file to a CIFAR network's input size: `decode_fits` for a single fit."""
    return decode_fits(data, (fit,))[fit]


def decode_fits(data: bytes, fits: Sequence[Fit] = ("crop", "letterbox")) -> dict[Fit, np.ndarray]:
    """Decodes an uploaded file once and resizes it to a CIFAR network's input size in one or both ways.

    Whatever the file contains, this takes at most 300 MB of memory and about a second of processor time. The format is
    recognized by content and the size is checked before pixels are decoded. The first frame is used, in its EXIF
    orientation; transparent pixels are composited over white, 16-bit values scaled to 8 bits, CMYK converted.

    Args:
        data: PNG, JPEG or WebP, at most `MAX_BYTES` and `sanitize.MAX_MEGAPIXELS` of its kind.
        fits: `crop` keeps the central square; `letterbox` keeps the whole image on a gray background.

    Returns:
        For each fit uint8 `[32, 32, 3]`, RGB, area-averaged.

    Raises:
        ImageError: the file is too large, damaged, or in another format.
        ImageMemoryError: there is not enough memory now.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"The file has {len(data) / 2**20:.1f} MB; the limit is 5 MB. Save a smaller version.")
    try:
        stripped = sanitize.strip(data)
        with Image.open(io.BytesIO(stripped.data), formats=FORMATS) as image:
            orientation = stripped.orientation
            if image.format == "WEBP":
                sanitize.check_size("WebP", *image.size)
                orientation = sanitize.read_orientation(image.info.get("exif", b""))
            # A large JPEG is decoded at 1/2 to 1/8 size: 32 pixels per output pixel and side give the same average.
            image.draft("RGB", (sanitize.MIN_REDUCED_SIDE, sanitize.MIN_REDUCED_SIDE))
            image.load()
            return {fit: _resize(image, fit, orientation) for fit in fits}
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageMemoryError("There is too little memory for this picture now. Try again later.") from error
    except Exception as error:  # Pillow's plugins let any exception of their parsers through
        raise ImageError("This is not a readable PNG, JPEG or WebP image. Try another file.") from error


def _resize(image: Image.Image, fit: Fit, orientation: int) -> np.ndarray:
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        # Whole pixels, and the same ones as if the image had been transposed before the crop.
        left = (width - side + (orientation in _COLUMNS_REVERSED)) // 2
        top = (height - side + (orientation in _ROWS_REVERSED)) // 2
        small = _average_areas(image, (SIZE, SIZE), (left, top, left + side, top + side))
        return np.array(_orient(small, orientation))
    scale = SIZE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = _orient(_average_areas(image, size, (0, 0, width, height)), orientation)
    background = Image.new("RGB", (SIZE, SIZE), GRAY)
    background.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return np.array(background)


def _orient(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSES[orientation]) if orientation in _TRANSPOSES else image


def _average_areas(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """Reduces a box of the image to `size` by area averaging, in RGB, without a converted copy of the whole image.

    The result is computed row by row. One row's source can be most of a very wide image: it is then split into blocks
    of columns.
    """
    left, top, right, bottom = box
    small = Image.new("RGB", size)
    blocks = min(size[0], max(1, round((right - left) * (bottom - top) / size[1] / MAX_BLOCK_PIXELS)))
    for row, block in itertools.product(range(size[1]), range(blocks)):
        columns = size[0] * block // blocks, size[0] * (block + 1) // blocks
        x0, x1 = (left + (right - left) * edge / size[0] for edge in columns)
        y0, y1 = (top + (bottom - top) * edge / size[1] for edge in (row, row + 1))
        # The whole pixels around the block, within the image: rounding can put an edge just outside.
        first_column, end_column = math.floor(x0), min(math.ceil(x1), image.width)
        first_row, end_row = math.floor(y0), min(math.ceil(y1), image.height)
        source = _to_rgb(image.crop((first_column, first_row, end_column, end_row)))
        inside = x0 - first_column, y0 - first_row, min(x1, end_column) - first_column, min(y1, end_row) - first_row
        small.paste(source.resize((columns[1] - columns[0], 1), Image.Resampling.BOX, box=inside), (columns[0], row))
    return small


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any Pillow mode: 16 bits are scaled, where Pillow clips them, and transparency goes over white."""
    if image.mode.startswith("I;16"):
        values = np.array(image)
        if isinstance(image.info.get("transparency"), int):
            values[values == image.info["transparency"]] = 65535
        image = Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        background = Image.new("RGB", image.size, (255, 255, 255))
        background.paste(image, mask=image)
        return background
    return image.convert("RGB")
