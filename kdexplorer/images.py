"""Images from outside, made safe and small; and small images made large for the eye."""

from __future__ import annotations

import importlib.util
import io
import re
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from kdexplorer.errors import ImageError

MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 64_000_000
FORMATS = ["PNG", "JPEG", "WEBP"]
SIZE = 32
Fit = Literal["crop", "letterbox"]


def decode_image(data: bytes, fit: Fit = "crop") -> np.ndarray:
    """Turns an uploaded file into what a CIFAR network sees.

    The format is recognised by content, the size checked before pixels are decoded. The first frame is taken, turned
    as its EXIF says; transparency goes over white, 16-bit values are scaled, CMYK converted.

    Args:
        data: PNG, JPEG or WebP, at most 5 MB and 64 megapixels.
        fit: `crop` takes the middle square; `letterbox` keeps everything on a grey ground.

    Returns:
        uint8 `[32, 32, 3]`, RGB, area-averaged.

    Raises:
        ImageError: for everything else, in one friendly sentence.
    """
    if len(data) > MAX_BYTES:
        raise ImageError(f"The file has {len(data) / 2**20:.1f} MB; at most 5 MB can be taken. Save it smaller.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(f"The picture has {width} × {height} pixels; at most 64 megapixels can be taken.")
            if image.format == "JPEG":  # decodes a large photo at half size: 64 pixels a cell make the same average
                image.draft("RGB", (64 * SIZE, 64 * SIZE))
            image.seek(0)
            return _fitted(_rgb(ImageOps.exif_transpose(image)), fit)
    except ImageError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever their parsers meet
        raise ImageError("This is not a PNG, JPEG or WebP picture that can be read. Try another file.") from error


def _rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16 bits scaled instead of clipped, transparency over white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        top = 255.0 if values.max(initial=0) <= 255 and not image.mode.startswith("I;16") else 65535.0
        image = Image.fromarray((values / top * 255).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image)
    return image.convert("RGB")


def _fitted(image: Image.Image, fit: Fit) -> np.ndarray:
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        small = image.resize((SIZE, SIZE), Image.Resampling.BOX, box=(left, top, left + side, top + side))
    else:
        scale = SIZE / max(width, height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = Image.new("RGB", (SIZE, SIZE), (125, 123, 114))
        small.paste(image.resize(size, Image.Resampling.BOX), ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    return np.asarray(small, dtype=np.uint8)


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
    factor = max(1, size // pixels.shape[0])
    image = Image.fromarray(pixels)
    image = image.resize((pixels.shape[1] * factor, pixels.shape[0] * factor), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
