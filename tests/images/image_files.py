"""Image files for the tests in this folder: valid ones from Pillow, and unusual ones written by hand."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # samples per pixel of each PNG color type
INTERLACED = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: first column, first row, column step and row step of each pass."""


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(width=96, height=64, mode="RGB"):
    """Colored noise in blocks of 8 × 8, the same in every call."""
    seeds = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 4), np.uint8)
    pixels = np.kron(seeds, np.ones((8, 8, 1), np.uint8))[:height, :width]
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 256)
    image = Image.fromarray(pixels)
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert("RGB").convert(mode)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width, height, depth=8, color=6, interlaced=False):
    """The body of a PNG's IHDR chunk."""
    return struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)


def png(width, height, depth=8, color=2, filtering=4, interlaced=False, extra=b"", head=None, pixels=None):
    """A PNG of one value: any depth, color type, filter and interlacing.

    `extra` holds chunks before the pixels; `head` and `pixels` replace the body of IHDR and of IDAT.
    """
    if pixels is None:
        packer, parts = zlib.compressobj(6), []
        for x, y, dx, dy in INTERLACED if interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
            row = bytes([filtering]) + b"\1" * ((columns * CHANNELS[color] * depth + 7) // 8)
            thousands, rest = divmod(rows if columns > 0 else 0, 1000)
            parts += [*(packer.compress(1000 * row) for _ in range(thousands)), packer.compress(rest * row)]
        pixels = b"".join(parts) + packer.flush()
    head = head or header(width, height, depth, color, interlaced)
    palette = chunk(b"PLTE", bytes(range(6))) if color == 3 else b""
    return SIGNATURE + chunk(b"IHDR", head) + palette + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments, image=None, **options):
    """A JPEG that starts with these segments, without the JFIF header."""
    plain = encode(image or photo(), "JPEG", **options)
    return plain[:2] + b"".join(segments) + plain[4 + struct.unpack(">H", plain[4:6])[0] :]


def exif(orientation=6, entries=1, size=0, order="<"):
    """EXIF of `entries` tags: all refer to the same `size` bytes, except the last, which is the orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, entries)
    tags = b"".join(struct.pack(f"{order}HHII", 0x9000 + n, 7, size, 8) for n in range(entries - 1))
    return head + tags + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0" * (size + 4)
