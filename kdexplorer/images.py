"""Images from outside, made safe and small; and small images made large for the eye."""

from __future__ import annotations

import importlib.util
import io
import itertools
import math
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from kdexplorer import stripping
from kdexplorer.errors import ImageError

MAX_BYTES = 5 * 1024 * 1024
FORMATS = ["PNG", "JPEG", "WEBP"]
SIZE = 32
GREY = (125, 123, 114)
PIXELS_AT_ONCE = 1_000_000
Fit = Literal["crop", "letterbox"]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What EXIF's orientations ask for."""
_FLIP_X, _FLIP_Y = (2, 3, 7, 8), (3, 4, 6, 7)
"""The orientations that show the file's columns, or rows, from the far end."""


def decode_image(data: bytes, fit: Fit = "crop") -> np.ndarray:
    """Turns an uploaded file into what a CIFAR network sees, within a second and 300 MB whatever the file holds.

    The format is recognised by content, the size checked before pixels are decoded. The first frame is taken, turned
    as its EXIF says; transparency goes over white, 16-bit values are scaled, CMYK converted.

    Args:
        data: PNG, JPEG or WebP, at most 5 MB, and `stripping.MEGAPIXELS` of its kind.
        fit: `crop` takes the middle square; `letterbox` keeps everything on a grey ground.

    Returns:
        uint8 `[32, 32, 3]`, RGB, area-averaged.

    Raises:
        ImageError: for everything else, in one friendly sentence.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"The file has {len(data) / 2**20:.1f} MB; at most 5 MB can be taken. Save it smaller.")
    try:
        bare = stripping.strip(data)
        with Image.open(io.BytesIO(bare.data), formats=FORMATS) as image:
            turn = bare.orientation
            if image.format == "WEBP":
                stripping.check_size("WebP", *image.size)
                turn = stripping.orientation(image.info.get("exif", b""))
            # A large JPEG is decoded at half size or less: 64 pixels a cell and side make the same average.
            image.draft("RGB", (64 * SIZE, 64 * SIZE))
            image.load()
            return _fitted(image, fit, turn)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers meet
        raise ImageError("This is not a PNG, JPEG or WebP picture that can be read. Try another file.") from error


def _fitted(image: Image.Image, fit: Fit, turn: int) -> np.ndarray:
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        # Whole pixels, and the same ones as if the picture had been turned before.
        left = (width - side + (turn in _FLIP_X)) // 2
        top = (height - side + (turn in _FLIP_Y)) // 2
        small = _shrunk(image, (SIZE, SIZE), (left, top, left + side, top + side))
        return np.array(_turned(small, turn))
    scale = SIZE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = _turned(_shrunk(image, size, (0, 0, width, height)), turn)
    ground = Image.new("RGB", (SIZE, SIZE), GREY)
    ground.paste(small, ((SIZE - small.width) // 2, (SIZE - small.height) // 2))
    return np.array(ground)


def _turned(small: Image.Image, turn: int) -> Image.Image:
    return small.transpose(_TURNS[turn]) if turn in _TURNS else small


def _shrunk(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """The area average of a box of the picture, RGB, made a row at a time: no copy of the whole picture is held.

    What a row of the result needs can still be the whole picture, if that is very wide: then a part of a row.
    """
    left, top, right, bottom = box
    small = Image.new("RGB", size)
    parts = min(size[0], max(1, round((right - left) * (bottom - top) / size[1] / PIXELS_AT_ONCE)))
    for row, part in itertools.product(range(size[1]), range(parts)):
        columns = size[0] * part // parts, size[0] * (part + 1) // parts
        before, after = (left + (right - left) * edge / size[0] for edge in columns)
        above, below = (top + (bottom - top) * edge / size[1] for edge in (row, row + 1))
        begin, end = math.floor(before), min(math.ceil(after), image.width)
        first, last = math.floor(above), min(math.ceil(below), image.height)
        cut = _rgb(image.crop((begin, first, end, last)))
        inside = (before - begin, above - first, min(after, end) - begin, min(below, last) - first)
        small.paste(cut.resize((columns[1] - columns[0], 1), Image.Resampling.BOX, box=inside), (columns[0], row))
    return small


def _rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16 bits scaled instead of clipped, transparency over white."""
    if image.mode.startswith("I;16"):
        values = np.array(image)
        if isinstance(image.info.get("transparency"), int):
            values[values == image.info["transparency"]] = 65535
        image = Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


@cache
def sample_images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The CIFAR-10 test images that the package `foolbox` carries, found without importing it.

    Returns:
        Images uint8 `[N, 3, 32, 32]`, labels int64 `[N]`, and their indices in the official test split int64 `[N]`;
        N is 20, or 0 where the package is absent.
    """
    found = []
    spec = importlib.util.find_spec("foolbox")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted((Path(folder) / "data").glob("cifar10_*.png")):
            match = re.fullmatch(r"cifar10_(\d+)_(\d)\.png", path.name)
            if match:
                with Image.open(path, formats=["PNG"]) as image:
                    pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
                found.append((int(match[1]), int(match[2]), pixels))
    found.sort(key=lambda item: item[0])
    images = np.stack([pixels for _, _, pixels in found]) if found else np.empty((0, 3, 32, 32), np.uint8)
    labels, indices = (np.array([item[k] for item in found], dtype=np.int64) for k in (1, 0))
    return images, labels, indices


def enlarged_png(pixels: np.ndarray, size: int = 320) -> bytes:
    """A PNG of uint8 `[H, W, 3]`, its pixels kept hard by nearest-neighbour scaling to about `size` a side."""
    return _enlarged_png(np.ascontiguousarray(pixels).tobytes(), *pixels.shape[:2], size)


@lru_cache(maxsize=1024)  # a page draws a dozen, the same ones for everybody and again and again
def _enlarged_png(pixels: bytes, height: int, width: int, size: int) -> bytes:
    factor = max(1, size // height)
    image = Image.frombytes("RGB", (width, height), pixels)
    image = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
