"""Any upload gives 32 × 32 pixels or an ImageError, and takes at most 300 MB of memory.

Files are decoded in a separate process, which reports its peak memory and processor time for each; a crash of the
decoder ends that process and fails the test. `-m reliability` tries more files and thousands of mutations, and prints
the largest memory and the longest processor time.
"""

import json
import os
import select
import struct
import subprocess
import sys
import zlib
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from tests.accidents import mutated
from tests.images.image_files import SIGNATURE, chunk, encode, exif, header, jpeg_with, photo, png, segment

MAX_MEGABYTES, HANG_SECONDS = 300, 300

WORKER = """
import json, struct, sys, time, warnings
from kdexplorer.errors import ImageError
from kdexplorer.images.decode import SIZE, decode_sizes
warnings.simplefilter("ignore")
def megabytes(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024
while head := sys.stdin.buffer.read(4):
    data = sys.stdin.buffer.read(*struct.unpack(">I", head))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before, begin = megabytes("VmRSS"), time.process_time()
    message = None
    try:
        fits = decode_sizes(data, (SIZE,))
        valid = all(pixels.shape == (32, 32, 3) and pixels.dtype == "uint8" for (pixels,) in fits.values())
    except ImageError as error:
        message, valid = str(error), True
    except BaseException as error:
        message, valid = repr(error), False
    print(json.dumps([valid, message, time.process_time() - begin, megabytes("VmHWM") - before]), flush=True)
"""


class Decoder:
    """A process that decodes one file after the other and reports the cost of each."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.costs = []  # of each file: seconds of processor time, peak MB above the memory before

    def check(self, data, name=""):
        """Decodes a file to both fits within the memory bound: the ImageError's message, or None for an image."""
        self.process.stdin.write(struct.pack(">I", len(data)) + data)
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], HANG_SECONDS)[0], f"{name}: the decoder hangs"
        line = self.process.stdout.readline()
        assert line, f"{name}: the decoder died with {self.process.wait(10)}"
        valid, message, seconds, megabytes = json.loads(line)
        assert valid, f"{name}: {message}"
        assert megabytes < MAX_MEGABYTES, f"{name}: {megabytes:.0f} MB"
        self.costs.append((seconds, megabytes))
        return message


@pytest.fixture(scope="module")
def decoder(reliability):
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("peak memory is read from Linux's /proc")
    decoder = Decoder()
    yield decoder
    decoder.process.stdin.close()
    decoder.process.wait(30)
    if decoder.costs:
        seconds, megabytes = zip(*decoder.costs, strict=True)
        reliability["image files decoded or refused"] = len(decoder.costs)
        reliability["longest decoding of an image file, ms of processor time"] = round(1000 * max(seconds))
        reliability["most memory for an image file, MB"] = round(max(megabytes))


def noisy_png(width, height, depth):
    """RGBA under Paeth's filter, with noise that fills most of 5 MB: the slowest pixels to reconstruct."""
    generator, size = np.random.default_rng(0), width * height * depth // 2
    rows = np.zeros((height, 1 + size // height), np.uint8)
    places = generator.integers(0, rows.size, 1_300_000)
    rows.reshape(-1)[places] = generator.integers(0, 256, len(places), np.uint8)
    rows[:, 0] = 4
    return png(width, height, depth, 6, pixels=zlib.compress(rows, 1))


def repeat_last_scan(data, times):
    """A progressive JPEG with its last scan repeated: valid, and each repetition costs work for all pixels."""
    begin, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:begin] + data[begin:end] * times + data[end:]


def jpeg_with_exif(data):
    """A JPEG whose EXIF is split into as many segments as it needs."""
    return jpeg_with(*(segment(0xE1, b"Exif\0\0" + data[i : i + 65_000]) for i in range(0, len(data), 65_000)))


def fill(piece, size=4_900_000):
    """As many repetitions as fit into `size` bytes."""
    return piece * (size // len(piece))


DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits per sample that each PNG color type allows."""
WEBP = {"method": 0, "quality": 60}
KINDS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "WEBP": ("L", "LA", "P", "RGB", "RGBA", "CMYK"),
}
SMALL = {
    **{
        f"PNG of {depth} bits, color type {color}{', interlaced' * interlaced}": partial(
            png, 37, 41, depth, color, 1, interlaced
        )
        for color, depths in DEPTHS.items()
        for depth in depths
        for interlaced in (False, True)
    },
    **{f"{kind} from {mode}": partial(encode, photo(mode=mode), kind) for kind in KINDS for mode in KINDS[kind]},
    "animated PNG": lambda: encode(photo(), save_all=True, append_images=[photo(mode="L"), photo()]),
    "animated WebP": lambda: encode(photo(), "WEBP", save_all=True, append_images=[photo(), photo()]),
    "two JPEGs in one file": lambda: encode(photo(), "MPO", save_all=True, append_images=[photo()]),
    "palette with alpha": lambda: encode(photo(mode="P"), transparency=bytes(range(16))),
    "1 × 1": lambda: png(1, 1),
    "1 × 10,000": lambda: png(1, 10_000),
    "10,000 × 1": lambda: png(10_000, 1, interlaced=True),
}
METADATA = {
    "EXIF tags that share 3 MB in a PNG": lambda: png(32, 32, extra=chunk(b"eXIf", exif(6, 5000, 3_000_000))),
    "EXIF tags that share 3 MB in a JPEG": lambda: jpeg_with_exif(exif(6, 4000, 3_000_000)),
    "EXIF tags that share 3 MB in a WebP": lambda: encode(photo(), "WEBP", exif=b"Exif\0\0" + exif(6, 5000, 3_000_000)),
    "64 MB of compressed text": lambda: png(
        8, 8, extra=b"".join(chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(64))
    ),
    "200 MB of compressed color profile": lambda: png(
        8, 8, extra=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2 * 10**8), 1))
    ),
    "pixels after the last row": lambda: png(8, 8, pixels=zlib.compress(b"\0" * 10**8)),
    "fill bytes before a marker": lambda: jpeg_with(fill(b"\xff")),
    "13,000 frame headers without frames": lambda: png(8, 8, extra=fill(chunk(b"fcTL", bytes(26)), 500_000)),
}
LARGE = {
    "15 megapixels of gray and alpha": lambda: png(3000, 5000, 8, 4),
    "8 rows of 1,800,000 pixels": lambda: png(1_800_000, 8, 8, 6),  # a row of the letterbox needs the whole image
    "64 megapixels of JPEG": lambda: encode(Image.new("RGB", (8000, 8000), (9, 99, 200)), "JPEG"),
    "JPEG too narrow for a reduced size": lambda: encode(Image.new("CMYK", (65_500, 244)), "JPEG"),
    "16 megapixels of CMYK in scans": lambda: encode(Image.new("CMYK", (4000, 4000)), "JPEG", progressive=True),
    "140 scans of few pixels": lambda: repeat_last_scan(encode(photo(1600, 1600), "JPEG", progressive=True), 140),
    "14 megapixels of WebP": lambda: encode(Image.new("RGBA", (4000, 3500), (9, 99, 200, 100)), "WEBP", **WEBP),
}
SLOW = {
    "15 megapixels of RGBA": lambda: noisy_png(3000, 5000, 8),
    "10 megapixels of 16-bit RGBA": lambda: noisy_png(2500, 4000, 16),
    "10 megapixels of 16-bit RGBA, interlaced": lambda: png(2500, 4000, 16, 6, interlaced=True),
    "15 megapixels of palette with alpha": lambda: png(3000, 5000, 8, 3, extra=chunk(b"tRNS", b"\0\x80")),
    "625,000 rows of 16 pixels": lambda: png(16, 625_000, 16, 6),
    "4 rows of 2,500,000 pixels": lambda: png(2_500_000, 4, 16, 6),
    "20 megapixels in scans": lambda: repeat_last_scan(
        encode(Image.new("RGB", (5000, 4000), (9, 99, 200)), "JPEG", progressive=True, subsampling=0), 7
    ),
    "16 megapixels of narrow CMYK in scans": lambda: encode(Image.new("CMYK", (7800, 2047)), "JPEG", progressive=True),
    "14 megapixels of WebP with details": lambda: encode(photo(4000, 3500, "RGBA"), "WEBP", method=0, quality=20),
    "14 megapixels of animated WebP": lambda: encode(
        Image.new("RGB", (4000, 3490)),
        "WEBP",
        save_all=True,
        append_images=[Image.new("RGB", (4000, 3490), 255)],
        **WEBP,
    ),
}
ACCEPTED = SMALL | METADATA | LARGE

REFUSED = {
    "PNG over its limit": lambda: png(3000, 5001, 1, 0),
    "PNG of 2 gigapixels a side": lambda: png(8, 8, head=header(2**31 - 1, 2**31 - 1)),
    "PNG of width 0": lambda: png(8, 8, head=header(0, 8)),
    "JPEG over its limit": lambda: encode(Image.new("L", (8000, 8001)), "JPEG"),
    "progressive JPEG over its limit": lambda: encode(Image.new("L", (5000, 4001)), "JPEG", progressive=True),
    "narrow JPEG over its limit": lambda: encode(Image.new("L", (65_500, 245)), "JPEG"),
    "too many scans": lambda: repeat_last_scan(encode(Image.new("L", (4000, 4000)), "JPEG", progressive=True), 100),
    "WebP over its limit": lambda: encode(Image.new("RGB", (4000, 3501)), "WEBP", **WEBP),
    "WebP with the largest canvas": lambda: b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0" + b"\xff" * 6,
    "JPEG of two sizes": lambda: jpeg_with(segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11\0")),
    "arithmetic-coded JPEG": lambda: encode(photo(), "JPEG").replace(b"\xff\xc0", b"\xff\xc9"),
    "JPEG of tiny EXIF segments": lambda: jpeg_with(fill(segment(0xE1, b"Exif\0\0ab"))),
    "JPEG without markers": lambda: jpeg_with(fill(b"\1")),
    "PNG in empty chunks of pixels": lambda: png(8, 8, extra=fill(chunk(b"IDAT", b""))),
    "PNG header, JPEG body": lambda: encode(photo())[:33] + encode(photo(), "JPEG")[2:],
    "JPEG header, PNG body": lambda: encode(photo(), "JPEG")[:20] + encode(photo())[8:],
    "WebP header, JPEG body": lambda: encode(photo(), "WEBP")[:30] + encode(photo(), "JPEG"),
    **({"AVIF": lambda: encode(photo(), "AVIF")} if features.check("avif") else {}),  # where this Pillow writes it
    "wrong checksum": lambda: encode(photo())[:-20] + b"\0" * 8 + encode(photo())[-12:],
}

SOURCES = {
    "PNG": encode(photo(40, 40, "RGBA"), exif=exif()),
    "PNG with a palette": encode(photo(40, 40, "P"), transparency=bytes(range(16))),
    "PNG of 16 bits": png(9, 9, 16, 6, interlaced=True),
    "animated PNG": encode(photo(24, 24), save_all=True, append_images=[photo(24, 24, "L")]),
    "JPEG": encode(photo(40, 40), "JPEG", exif=b"Exif\0\0" + exif()),
    "progressive JPEG": encode(photo(40, 40), "JPEG", progressive=True),
    "CMYK JPEG": encode(photo(40, 40, "CMYK"), "JPEG"),
    "WebP": encode(photo(40, 40), "WEBP", exif=exif()),
    "lossless WebP": encode(photo(40, 40, "RGBA"), "WEBP", lossless=True),
    "animated WebP": encode(photo(24, 24), "WEBP", save_all=True, append_images=[photo(24, 24, "L")]),
}


@pytest.mark.parametrize("name", [*ACCEPTED, *(pytest.param(name, marks=pytest.mark.reliability) for name in SLOW)])
def test_accepted_files_stay_within_the_memory_bound(decoder, name):
    assert decoder.check((ACCEPTED | SLOW)[name](), name) is None


@pytest.mark.parametrize("name", REFUSED)
def test_refused_files_stay_within_the_memory_bound(decoder, name):
    assert decoder.check(REFUSED[name](), name)


@pytest.mark.parametrize("name", SOURCES)
def test_truncated_files_are_refused(decoder, name):
    data = SOURCES[name]
    ends = sorted({*range(64), *range(64, len(data), max(1, len(data) // 25))})
    assert not [end for end in ends if decoder.check(data[:end], f"{name} cut at {end}") is None]


def repair_checksums(data):
    """A damaged PNG with valid checksums, so that decoders read on; other files unchanged."""
    if not data.startswith(SIGNATURE):
        return data
    parts, place = [SIGNATURE], len(SIGNATURE)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        parts.append(chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + min(length, len(data))]))
        place += 12 + length
    return b"".join(parts)


@pytest.mark.parametrize("examples", [150, pytest.param(20_000, marks=pytest.mark.reliability)])
def test_mutated_files_give_an_image_or_an_image_error(decoder, examples):
    files = [*SOURCES.values()]

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(files).flatmap(lambda data: mutated(data, files)), st.booleans())
    def search(data, repaired):
        data = repair_checksums(data) if repaired else data
        decoder.check(data, f"{len(data)} bytes, {data[:12]!r}")

    search()
