"""Uploaded image files decoded to the network's input size, with bounded memory and work.

A file of 5 MB can cost a decoder gigabytes or minutes through everything except its pixels: hundreds of thousands of
tiny chunks or comments, EXIF split into as many segments, compressed text, a hundred scans over the same pixels. So PNG
chunks and JPEG segments are parsed here first: those that the pixels need are kept, and the cost of the rest is bounded
from the header. WebP needs no parsing: libwebp reads the file in C, and metadata is extracted only on request.
"""

from __future__ import annotations

import io
import itertools
import math
import re
import struct
import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

from kdexplorer.errors import ImageError, ImageMemoryError

MAX_BYTES = 5 * 1024 * 1024
FORMATS = ["PNG", "JPEG", "WEBP"]
SIZE = 32
GRAY = (125, 123, 114)
"""The letterbox background: the mean color of CIFAR-10."""
MAX_BLOCK_PIXELS = 1_000_000
"""About the number of source pixels that are converted to RGB and averaged in one step."""
Fit = Literal["crop", "letterbox"]

_COLUMNS_REVERSED, _ROWS_REVERSED = (2, 3, 7, 8), (3, 4, 6, 7)
"""The EXIF orientations that display the file's columns, or its rows, in reverse order."""

MIN_REDUCED_SIDE = 1024
"""The side in pixels that a JPEG decoded at 1/2, 1/4 or 1/8 size keeps at least."""

NARROW_JPEG = f"JPEG with a side below {2 * MIN_REDUCED_SIDE} pixels"
MAX_MEGAPIXELS = {"PNG": 15, "16-bit PNG": 10, "JPEG": 64, "progressive JPEG": 20, NARROW_JPEG: 16, "WebP": 14}
"""The largest image of each kind that decodes within 300 MB and half a second of processor time on a current server
processor, so within a second on one half as fast.

Reversing the filters takes most of a PNG's time, and twice as long with 16 bits. A large JPEG is decoded at half its
size or less, a narrow one in full; one with several scans (progressive or not) first keeps 2 bytes of coefficients for
each pixel of up to four components. libwebp allocates two canvases of 4 bytes per pixel, Pillow a copy and the image.
"""

MAX_PARTS = 20_000
"""Limit of the PNG chunks or JPEG segments in a file; 5 MB in chunks of 256 bytes stay below it."""

MAX_SCANNED_PIXELS = 400_000_000
"""Limit of a JPEG's pixels times the components of all its scans: a scan covers all pixels, however few its bytes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_FRAMES = range(0xC0, 0xC3)
"""Baseline, extended and progressive JPEG, Huffman-coded: every coefficient takes at least one bit of the file."""
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE}
"""Huffman and quantization tables, the restart interval, and the two segments that define the color space."""
_PROGRESSIVE = 0xC2
_SCAN = 0xDA
_LATER_SCAN = re.compile(rb"(?=\xff\xda..(.))", re.DOTALL)
"""The header of a scan, with the number of its components; a comment can end with such bytes, so matches overlap."""


def decode_image(data: bytes, fit: Fit = "crop", limit: int = MAX_BYTES) -> np.ndarray:
    """Decodes a file to a network's input size in one way: `decode_sizes` for that size."""
    return decode_sizes(data, (SIZE,), (fit,), limit)[fit][0]


def decode_sizes(
    data: bytes, sizes: Sequence[int], fits: Sequence[Fit] = ("crop", "letterbox"), limit: int = MAX_BYTES
) -> dict[Fit, list[np.ndarray]]:
    """Decodes a file once and resizes it to squares of some sizes in one or both ways.

    Whatever the file contains, this takes at most 300 MB of memory and about a second of processor time. The format is
    recognized by content and the size is checked before pixels are decoded. The first frame is used, in its EXIF
    orientation; transparent pixels are composited over white, 16-bit values scaled to 8 bits, CMYK converted.

    Args:
        data: PNG, JPEG or WebP, at most `limit` bytes and `MAX_MEGAPIXELS` of its kind.
        sizes: sides of the squares, in pixels.
        fits: `crop` keeps the central square; `letterbox` keeps the whole image on a gray background.

    Returns:
        For each fit uint8 `[side, side, 3]` in each size, RGB, area-averaged.

    Raises ImageError: the file is too large, damaged, or in another format; ImageMemoryError: not enough memory now.
    """
    if len(data) > limit:
        raise ImageError(
            f"The file has {len(data) / 2**20:.1f} MB; the limit is {limit >> 20} MB. Save a smaller version."
        )
    try:
        kept, orientation = strip(data)
        with Image.open(io.BytesIO(kept), formats=FORMATS) as image:
            if image.format == "WEBP":
                check_size("WebP", *image.size)
                orientation = read_orientation(image.info.get("exif", b""))
            # A large JPEG is decoded at 1/2 to 1/8 size: 32 pixels per output pixel and side give the same average.
            image.draft("RGB", (MIN_REDUCED_SIDE, MIN_REDUCED_SIDE))
            image.load()
            return {fit: [_resize(image, fit, orientation, size) for size in sizes] for fit in fits}
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageMemoryError("There is too little memory for this picture now. Try again later.") from error
    except Exception as error:  # Pillow's plugins let any exception of their parsers through
        raise ImageError("This is not a readable PNG, JPEG or WebP image. Try another file.") from error


def read_pixels(data: bytes, formats: tuple[str, ...] = ("PNG", "WEBP")) -> np.ndarray:
    """A picture of a network's input size, from a trusted file, as uint8 `[3, 32, 32]`, RGB.

    Raises OSError, ValueError or SyntaxError for anything else.
    """
    with Image.open(io.BytesIO(data), formats=formats) as image:
        if image.size != (SIZE, SIZE):
            raise ValueError(f"it has {image.width} x {image.height} pixels")
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def fill_margins(pixels: np.ndarray, color: np.ndarray) -> np.ndarray:
    """A letterboxed image uint8 `[side, side, 3]` whose margins have another color than gray, RGB."""
    gray = (pixels == GRAY).all(axis=2)
    margins = gray.all(axis=0) | gray.all(axis=1)[:, None]
    return np.where(margins[..., None], color.astype(np.uint8), pixels)


def _resize(image: Image.Image, fit: Fit, orientation: int, target: int) -> np.ndarray:
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        # Whole pixels, and the same ones as if the image had been transposed before the crop.
        left = (width - side + (orientation in _COLUMNS_REVERSED)) // 2
        top = (height - side + (orientation in _ROWS_REVERSED)) // 2
        small = _average_areas(image, (target, target), (left, top, left + side, top + side))
        return np.array(_orient(small, orientation))
    scale = target / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = _orient(_average_areas(image, size, (0, 0, width, height)), orientation)
    background = Image.new("RGB", (target, target), GRAY)
    background.paste(small, ((target - small.width) // 2, (target - small.height) // 2))
    return np.array(background)


def _orient(image: Image.Image, orientation: int) -> Image.Image:
    """The image upright."""
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(image)


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


def strip(data: bytes) -> tuple[bytes, int]:
    """A PNG or JPEG file without what the pixels do not need, and its EXIF orientation (1 to 8).

    Any other format is returned unchanged, with orientation 1.

    Raises:
        ImageError: the image has more pixels, or more scans over them, than its format may have.
        ValueError, struct.error: the file is damaged.
    """
    if data.startswith(_PNG):
        return _strip_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _strip_jpeg(data)
    return data, 1


def check_size(kind: str, width: int, height: int) -> None:
    """Raises ImageError where an image has more pixels than `MAX_MEGAPIXELS[kind]`."""
    if width * height > MAX_MEGAPIXELS[kind] * 1_000_000:
        raise ImageError(
            f"The image has {width} × {height} pixels; the limit for a {kind} is {MAX_MEGAPIXELS[kind]} megapixels. "
            "Save a smaller version."
        )


def read_orientation(exif: bytes) -> int:
    """Reads the orientation (1 to 8) from EXIF, without any of its other tags; 1 if it is missing or invalid.

    Source of the layout: TIFF 6.0, section 2; tag 274 in section 8.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:  # truncated
        pass
    return 1


def _strip_png(data: bytes) -> tuple[bytes, int]:
    kind, width, height, depth, color = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR":
        raise ValueError("the first chunk is not the header")
    check_size("16-bit PNG" if depth == 16 else "PNG", width, height)
    view, place, orientation = memoryview(data), len(_PNG), 1
    head: list[bytes | memoryview] = [_PNG]
    pixels: list[memoryview] = []
    for _ in range(MAX_PARTS):
        length, kind = struct.unpack_from(">I4s", data, place)
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        body = view[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            if zlib.crc32(body, zlib.crc32(kind)) != checksum:
                raise ValueError("a pixel chunk has a wrong checksum")
            pixels.append(body)
        elif kind == b"tRNS" and ((color == 2 and depth == 16) or (color == 0 and depth in (2, 4))):
            head += _chunk(kind, _scale_transparent(bytes(body), depth))
        elif kind in (b"PLTE", b"tRNS") or place == len(_PNG):  # decoders would use the last of several headers
            head.append(view[place : place + 12 + length])
        elif kind == b"eXIf":
            orientation = read_orientation(bytes(body[:65_536]))
        elif kind == b"IEND":
            return b"".join([*head, *_chunk(b"IDAT", b"".join(pixels)), *_chunk(b"IEND", b"")]), orientation
        place += 12 + length
    raise ValueError(f"more than {MAX_PARTS} chunks")


def _scale_transparent(body: bytes, depth: int) -> bytes:
    """The color that is transparent as Pillow compares it with pixels: in their 8 bits."""
    values = struct.unpack(f">{len(body) // 2}H", body)
    return struct.pack(f">{len(values)}H", *(v >> 8 if depth == 16 else v * 255 // (2**depth - 1) for v in values))


def _chunk(kind: bytes, body: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _strip_jpeg(data: bytes) -> tuple[bytes, int]:
    place, orientation, frame = 2, 1, None
    head = [b"\xff\xd8"]
    for _ in range(MAX_PARTS):
        match = _MARKER.match(data, place)
        if match is None:
            raise ValueError("a marker is missing")
        marker, start = match[1][0], match.end()
        (length,) = struct.unpack_from(">H", data, start)
        place = start + length
        body = data[start + 2 : place]
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = read_orientation(body)
        if marker in _OTHER_FRAMES or (marker in _FRAMES and frame is not None):
            raise ValueError("unsupported JPEG process, or two frames")
        if marker in _FRAMES:
            frame = marker, struct.unpack_from(">HHB", body, 1)
        if marker in _FRAMES or marker in _TABLES or marker == _SCAN:
            head.append(b"\xff" + data[start - 1 : place])
        if marker == _SCAN and frame is not None:
            end = data.find(b"\xff\xd9", place)
            rest = data[place:] if end < 0 else data[place : end + 2]
            _check_jpeg(*frame, [body[0], *(components[0] for components in _LATER_SCAN.findall(rest))])
            return b"".join([*head, rest]), orientation
    raise ValueError(f"more than {MAX_PARTS} segments")


def _check_jpeg(marker: int, shape: tuple[int, int, int], scans: list[int]) -> None:
    """Checks the size and the work of a JPEG; `scans` holds each scan's number of components."""
    height, width, components = shape
    several = marker == _PROGRESSIVE or len(scans) > 1 or scans[0] < components
    check_size("progressive JPEG" if several else "JPEG", width, height)
    if min(width, height) < 2 * MIN_REDUCED_SIDE:
        check_size(NARROW_JPEG, width, height)
    if several and width * height * sum(scans) > MAX_SCANNED_PIXELS:
        raise ImageError(
            f"The JPEG stores its {width} × {height} pixels in {len(scans)} scans, which take too long to decode. "
            "Save it as a baseline (not progressive) JPEG or in a smaller size."
        )
