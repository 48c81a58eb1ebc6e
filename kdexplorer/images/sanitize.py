"""PNG and JPEG files reduced to the parts that their pixels need, before a decoder reads them.

A file of 5 MB can cost a decoder gigabytes or minutes through everything except its pixels: hundreds of thousands of
tiny chunks or comments, EXIF split into as many segments, compressed text, a hundred scans over the same pixels. This
module parses PNG chunks and JPEG segments, keeps those that the pixels need, and bounds the cost of the rest from the
header. WebP needs no parsing here: libwebp reads the file in C, and metadata is extracted only on request.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from kdexplorer.errors import ImageError

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


@dataclass(frozen=True)
class StrippedFile:
    """An image file without metadata, and its EXIF orientation (1 to 8)."""

    data: bytes
    orientation: int = 1


def strip(data: bytes) -> StrippedFile:
    """Removes what the pixels do not need.

    Args:
        data: a PNG or JPEG file; any other format is returned unchanged.

    Raises:
        ImageError: the image has more pixels, or more scans over them, than its format may have.
        ValueError, struct.error: the file is damaged.
    """
    if data.startswith(_PNG):
        return _strip_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _strip_jpeg(data)
    return StrippedFile(data)


def check_size(kind: str, width: int, height: int) -> None:
    """Checks an image's size against `MAX_MEGAPIXELS[kind]`.

    Raises:
        ImageError: the image has more pixels.
    """
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


def _strip_png(data: bytes) -> StrippedFile:
    kind, width, height, depth = struct.unpack_from(">4sIIB", data, 12)
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
        elif kind in (b"PLTE", b"tRNS") or place == len(_PNG):  # decoders would use the last of several headers
            head.append(view[place : place + 12 + length])
        elif kind == b"eXIf":
            orientation = read_orientation(bytes(body[:65_536]))
        elif kind == b"IEND":
            parts = [*head, *_chunk(b"IDAT", b"".join(pixels)), *_chunk(b"IEND", b"")]
            return StrippedFile(b"".join(parts), orientation)
        place += 12 + length
    raise ValueError(f"more than {MAX_PARTS} chunks")


def _chunk(kind: bytes, body: bytes) -> tuple[bytes, ...]:
    return struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _strip_jpeg(data: bytes) -> StrippedFile:
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
            return StrippedFile(b"".join([*head, rest]), orientation)
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
