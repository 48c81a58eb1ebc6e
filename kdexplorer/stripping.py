"""What is not pixels is cut away from a picture file before a decoder sees it.

A file of 5 MB can cost a decoder gigabytes or minutes by what stands around its pixels: hundreds of thousands of tiny
chunks or comments, EXIF in as many pieces, compressed text, a hundred passes over the same pixels. So PNG and JPEG are
walked here piece by piece, only what the pixels need is kept, and what they will cost is known from the header alone.
WebP needs no walk: its decoder reads the file in C and hands the rest out on demand.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from kdexplorer.errors import ImageError

MEGAPIXELS = {"PNG": 24, "JPEG": 64, "JPEG in several passes": 24, "WebP": 16}
"""The largest picture that its decoder makes within a second and 300 MB, by kind (`tests/test_images_bounds.py`).

Pillow keeps 4 bytes for a pixel of a PNG, and unfiltering 16-bit ones takes the second. A large JPEG is decoded at half
its size or less; one in several passes keeps 2 bytes of coefficients for each pixel of up to four components first.
libwebp holds two canvases of 4 bytes, and Pillow a copy and the picture.
"""

MAX_PIECES = 20_000
"""Chunks or segments of a file; an encoder that writes 256 bytes at a time stays below for 5 MB."""

MAX_PASSES = 640_000_000
"""Pixels times passes of a JPEG: every pass goes over all pixels, however few bytes it has."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_FRAMES = range(0xC0, 0xC3)
"""Baseline, extended and progressive JPEG, Huffman-coded: each coefficient costs a bit of the file."""
_OTHER_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xDB, 0xDD, 0xE0, 0xEE}
"""Huffman and quantisation tables, restart interval, and the two segments that tell the colour space."""
_SCAN = 0xDA


@dataclass(frozen=True)
class Bare:
    """A picture file with its pixels alone, and how EXIF says that it is to be turned (1 to 8)."""

    data: bytes
    orientation: int = 1


def strip(data: bytes) -> Bare:
    """Keeps what the pixels need.

    Args:
        data: a PNG or JPEG; anything else comes back as it is.

    Raises:
        ImageError: the picture is too large for its kind.
        ValueError, struct.error: the file is damaged.
    """
    if data.startswith(_PNG):
        return _strip_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _strip_jpeg(data)
    return Bare(data)


def check_size(kind: str, width: int, height: int) -> None:
    """Raises ImageError where a picture has more pixels than its kind may."""
    if width * height > MEGAPIXELS[kind] * 1_000_000:
        raise ImageError(
            f"The picture has {width} × {height} pixels; of a {kind} at most {MEGAPIXELS[kind]} megapixels can be "
            "taken. Save it smaller."
        )


def orientation(exif: bytes) -> int:
    """The orientation that EXIF names (1 to 8), read without any other of its tags; 1 where it names none.

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
    except struct.error:  # it ends before what it promises
        pass
    return 1


def _strip_png(data: bytes) -> Bare:
    width, height = struct.unpack_from(">II", data, 16)
    check_size("PNG", width, height)
    view, place, turn = memoryview(data), len(_PNG), 1
    head, pixels = [_PNG], []
    for _ in range(MAX_PIECES):
        length, kind = struct.unpack_from(">I4s", data, place)
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        body = view[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            if zlib.crc32(body, zlib.crc32(kind)) != checksum:
                raise ValueError("a chunk of pixels is damaged")
            pixels.append(body)
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            head.append(view[place : place + 12 + length])
        elif kind == b"eXIf":
            turn = orientation(bytes(body[:65_536]))
        elif kind == b"IEND":
            return Bare(b"".join([*head, *_chunk(b"IDAT", b"".join(pixels)), *_chunk(b"IEND", b"")]), turn)
        place += 12 + length
    raise ValueError("a file in too many pieces")


def _chunk(kind: bytes, body: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _strip_jpeg(data: bytes) -> Bare:
    place, turn, frame = 2, 1, None
    head = [b"\xff\xd8"]
    for _ in range(MAX_PIECES):
        found = _MARKER.match(data, place)
        if found is None:
            raise ValueError("no marker where one must be")
        marker, start = found[1][0], found.end()
        (length,) = struct.unpack_from(">H", data, start)
        place = start + length
        body = data[start + 2 : place]
        if marker == 0xE1 and body.startswith(b"Exif\0\0") and turn == 1:
            turn = orientation(body)
        if marker in _OTHER_FRAMES or (marker in _FRAMES and frame is not None):
            raise ValueError("a kind of JPEG that is not taken")
        if marker in _FRAMES:
            frame = marker, struct.unpack_from(">HHB", body, 1)
        if marker in _FRAMES or marker in _TABLES or marker == _SCAN:
            head.append(b"\xff" + data[start - 1 : place])
        if marker == _SCAN and frame is not None:
            end = data.find(b"\xff\xd9", place)
            rest = data[place:] if end < 0 else data[place : end + 2]
            _check_jpeg(*frame, in_first_pass=body[0], passes=1 + rest.count(b"\xff\xda"))
            return Bare(b"".join([*head, rest]), turn)
    raise ValueError("a file in too many pieces")


def _check_jpeg(marker: int, shape: tuple[int, int, int], in_first_pass: int, passes: int) -> None:
    height, width, components = shape
    several = marker == 0xC2 or passes > 1 or in_first_pass < components
    check_size("JPEG in several passes" if several else "JPEG", width, height)
    if width * height * passes > MAX_PASSES and passes > 1:
        raise ImageError(
            f"The picture is stored in {passes} passes over its pixels: save it as a plain JPEG or smaller."
        )
