"""No file can hurt: whatever is uploaded gives 32 × 32 pixels or an ImageError, within a second and within 300 MB.

All files are made here. They are decoded in a process of its own, whose peak memory and processor time are read after
each; a crash of the decoder would end that process, and so be seen. `-m reliability` tries many thousands of mutations.
"""

from __future__ import annotations

import io
import json
import os
import select
import struct
import subprocess
import sys
import zlib
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from kdexplorer import images, stripping
from kdexplorer.errors import ImageError

SECONDS, MEGABYTES = 1.0, 300

WORKER = """
import json, struct, sys, time, warnings
from kdexplorer.errors import ImageError
from kdexplorer.images import decode_image
warnings.simplefilter("ignore")
def memory(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key)) / 1024
while head := sys.stdin.buffer.read(5):
    size, whole = struct.unpack(">I?", head)
    data = sys.stdin.buffer.read(size)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before, begin = memory("VmRSS"), time.process_time()
    said = None
    try:
        pixels = decode_image(data, "letterbox" if whole else "crop")
        right = pixels.shape == (32, 32, 3) and pixels.dtype == "uint8"
    except ImageError as error:
        said, right = str(error), True
    except BaseException as error:
        said, right = repr(error), False
    print(json.dumps([right, said, time.process_time() - begin, memory("VmHWM") - before]), flush=True)
"""


class Decoder:
    """A process that decodes one file after the other and says what each cost."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.costs = []  # of each file: seconds of processor time, MB above what the process held before

    def check(self, data, what="", whole=None):
        """What the decoder said (None for a picture), after the bounds were checked.

        The whole picture or its middle square; where that is not said, the file's length decides.
        Processor time grows where others use the same core: what takes too long is timed up to three times.
        """
        for attempt in (1, 2, 3):
            said, seconds, megabytes = self.ask(data, what, len(data) % 2 == 1 if whole is None else whole)
            assert megabytes < MEGABYTES, f"{what}: {megabytes:.0f} MB"
            if seconds < SECONDS:
                break
            assert attempt < 3, f"{what}: {seconds:.2f} s"
        self.costs.append((seconds, megabytes))
        return said

    def ask(self, data, what, whole):
        """One answer, and what it cost in seconds and megabytes."""
        self.process.stdin.write(struct.pack(">I?", len(data), whole) + data)
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], 300)[0], f"{what}: no answer"
        line = self.process.stdout.readline()
        assert line, f"{what}: the decoder died with {self.process.wait(10)}"
        right, said, seconds, megabytes = json.loads(line)
        assert right, f"{what}: {said}"
        return said, seconds, megabytes


@pytest.fixture(scope="module")
def decoder(reliability):
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("peak memory is read from Linux's /proc")
    decoder = Decoder()
    yield decoder
    decoder.process.stdin.close()
    decoder.process.wait(30)
    if decoder.costs:
        report(reliability, "picture", decoder.costs)


def report(reliability, what, costs):
    """How many were tried, and what the slowest and the largest cost."""
    seconds, megabytes = zip(*costs, strict=True)
    reliability[f"{what}s tried"] = len(costs)
    reliability[f"slowest {what}, ms of processor time"] = round(1000 * max(seconds))
    reliability[f"most memory for a {what}, MB"] = round(max(megabytes))


# --- Making files ---------------------------------------------------------------------------------------------


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PALETTE = chunk(b"PLTE", bytes(range(6)))


def png(width, height, depth=8, colour=2, filtering=4, interlaced=False, extra=b"", head=None, pixels=None):
    """A PNG of one value, written by hand: any depth and colour type, filter and interlacing."""
    if pixels is None:
        packer, parts = zlib.compressobj(6), []
        for x, y, dx, dy in PASSES if interlaced else ((0, 0, 1, 1),):
            columns, rows = -(-(width - x) // dx), -(-(height - y) // dy)
            row = bytes([filtering]) + b"\1" * ((columns * CHANNELS[colour] * depth + 7) // 8)
            whole, rest = divmod(rows if columns > 0 else 0, 1000)
            parts += [*(packer.compress(1000 * row) for _ in range(whole)), packer.compress(rest * row)]
        pixels = b"".join(parts) + packer.flush()
    head = head or struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = PALETTE if colour == 3 else b""
    return SIGNATURE + chunk(b"IHDR", head) + palette + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def photo(width=96, height=64, mode="RGB"):
    """Coloured noise in blocks, the same at every call."""
    seeds = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 4), np.uint8)
    pixels = np.kron(seeds, np.ones((8, 8, 1), np.uint8))[:height, :width]
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 256)
    image = Image.fromarray(pixels, "RGBA")
    return image.convert("RGB").quantize(16) if mode == "P" else image.convert("RGB").convert(mode)


def jpeg_with(*segments, image=None, **options):
    """A JPEG with more segments before its own, and no JFIF header."""
    plain = encoded(image or photo(), "JPEG", **options)
    return plain[:2] + b"".join(segments) + plain[4 + struct.unpack(">H", plain[4:6])[0] :]


def passes_again(data, times):
    """The last pass of a progressive JPEG over and over: valid, and each costs work for all pixels."""
    begin, end = data.rfind(b"\xff\xda"), data.rfind(b"\xff\xd9")
    return data[:begin] + data[begin:end] * times + data[end:]


def exif(orientation=6, entries=1, size=0, order="<"):
    """EXIF whose first directory holds `entries` tags that all point at the same `size` bytes, then an orientation."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, entries)
    tags = b"".join(struct.pack(f"{order}HHII", 0x9000 + n, 7, size, 8) for n in range(entries - 1))
    return head + tags + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0" * (size + 4)


def jpeg_of_exif(data):
    return jpeg_with(*(segment(0xE1, b"Exif\0\0" + data[i : i + 65_000]) for i in range(0, len(data), 65_000)))


def many(piece, size=4_900_000):
    return piece * (size // len(piece))


def scattered():
    """A PNG whose pixels come a byte at a time."""
    data = zlib.compress(np.random.default_rng(0).bytes(380_000), 0)
    head = struct.pack(">IIBBBBB", 379, 1000, 8, 0, 0, 0, 0)
    pixels = b"".join(chunk(b"IDAT", data[i : i + 1]) for i in range(len(data)))
    return SIGNATURE + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


LARGE = 4000, 6000
WEBP = {"method": 0, "quality": 60}
TAKEN = {
    **{
        f"PNG of {depth} bits, colour type {colour}{', interlaced' * interlaced}": (
            lambda depth=depth, colour=colour, interlaced=interlaced: png(37, 41, depth, colour, 1, interlaced)
        )
        for colour, depths in DEPTHS.items()
        for depth in depths
        for interlaced in (False, True)
    },
    **{
        f"{kind} from {mode}": lambda kind=kind, mode=mode: encoded(photo(mode=mode), kind)
        for kind, modes in {
            "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
            "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
            "WEBP": ("L", "LA", "P", "RGB", "RGBA", "CMYK"),
        }.items()
        for mode in modes
    },
    "animated PNG": lambda: encoded(photo(), save_all=True, append_images=[photo(mode="L"), photo()]),
    "animated WebP": lambda: encoded(photo(), "WEBP", save_all=True, append_images=[photo(), photo()]),
    "two JPEGs in one file": lambda: encoded(photo(), "MPO", save_all=True, append_images=[photo()]),
    "palette with alpha": lambda: encoded(photo(mode="P"), transparency=bytes(range(16))),
    "1 × 1": lambda: png(1, 1),
    "1 × 10,000": lambda: png(1, 10_000),
    "10,000 × 1": lambda: png(10_000, 1, interlaced=True),
    "large RGBA": lambda: png(*LARGE, 8, 6),
    "large RGBA of 16 bits, interlaced": lambda: png(*LARGE, 16, 6, interlaced=True),
    "large grey of 16 bits": lambda: png(*LARGE, 16, 0),
    "large grey and alpha": lambda: png(*LARGE, 8, 4),
    "large palette with alpha": lambda: png(*LARGE, 8, 3, extra=chunk(b"tRNS", b"\0\x80")),
    "as tall as can be": lambda: png(16, 1_500_000, 16, 6),
    "as wide as can be": lambda: png(6_000_000, 4, 16, 6),
    "64 megapixels of JPEG": lambda: encoded(Image.new("L", (8000, 8000), 99), "JPEG"),
    "a JPEG that cannot be drafted": lambda: encoded(Image.new("RGB", (65_500, 250)), "JPEG"),
    "24 megapixels in passes": lambda: passes_again(
        encoded(Image.new("RGB", (6000, 4000), (9, 99, 200)), "JPEG", progressive=True, subsampling=0), 8
    ),
    "24 megapixels of CMYK in passes": lambda: encoded(Image.new("CMYK", (6000, 4000)), "JPEG", progressive=True),
    "200 passes over few pixels": lambda: passes_again(encoded(photo(1600, 1600), "JPEG", progressive=True), 200),
    "large WebP": lambda: encoded(Image.new("RGBA", (4000, 4000), (9, 99, 200, 100)), "WEBP", **WEBP),
    "large animated WebP": lambda: encoded(
        Image.new("RGB", (4000, 3990)), "WEBP", save_all=True,
        append_images=[Image.new("RGB", (4000, 3990), 255)], **WEBP,
    ),
    "EXIF whose tags share 3 MB in a PNG": lambda: png(32, 32, extra=chunk(b"eXIf", exif(6, 5000, 3_000_000))),
    "EXIF whose tags share 3 MB in a JPEG": lambda: jpeg_of_exif(exif(6, 4000, 3_000_000)),
    "EXIF whose tags share 3 MB in a WebP": lambda: encoded(
        photo(), "WEBP", exif=b"Exif\0\0" + exif(6, 5000, 3_000_000)
    ),
    "compressed text of 64 MB": lambda: png(
        8, 8, extra=b"".join(chunk(b"zTXt", b"%d\0\0" % n + zlib.compress(bytes(10**6))) for n in range(64))
    ),
    "a compressed profile of 200 MB": lambda: png(
        8, 8, extra=chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2 * 10**8), 1))
    ),
    "pixels that go on after the last row": lambda: png(8, 8, pixels=zlib.compress(b"\0" * 10**8)),
    "fill bytes before a marker": lambda: jpeg_with(many(b"\xff")),
    "a huge number of frames that are not shown": lambda: png(8, 8, extra=many(chunk(b"fcTL", bytes(26)), 500_000)),
}  # fmt: skip

REFUSED = {
    "PNG beyond its limit": lambda: png(6000, 4001, 1, 0),
    "PNG bomb": lambda: png(8, 8, head=struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0)),
    "PNG of 2 gigapixels a side": lambda: png(8, 8, head=struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)),
    "PNG of no width": lambda: png(8, 8, head=struct.pack(">IIBBBBB", 0, 8, 8, 6, 0, 0, 0)),
    "JPEG beyond its limit": lambda: encoded(Image.new("L", (8000, 8001)), "JPEG"),
    "progressive JPEG beyond its limit": lambda: encoded(Image.new("L", (6000, 4001)), "JPEG", progressive=True),
    "too many passes": lambda: passes_again(encoded(Image.new("L", (6000, 5000)), "JPEG", progressive=True), 100),
    "WebP beyond its limit": lambda: encoded(Image.new("RGB", (4000, 4001)), "WEBP", **WEBP),
    "WebP that claims the largest canvas": lambda: b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\2\0\0\0" + b"\xff" * 6,
    "a JPEG of two sizes": lambda: jpeg_with(segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11\0")),
    "an arithmetic JPEG": lambda: encoded(photo(), "JPEG").replace(b"\xff\xc0", b"\xff\xc9"),
    "a lossless JPEG": lambda: encoded(photo(), "JPEG").replace(b"\xff\xc0", b"\xff\xc3"),
    "a JPEG of comments": lambda: jpeg_with(many(b"\xff\xfe\0\2")),
    "a JPEG of EXIF crumbs": lambda: jpeg_with(many(segment(0xE1, b"Exif\0\0ab"))),
    "a JPEG of junk": lambda: jpeg_with(many(b"\1")),
    "a PNG of empty chunks": lambda: png(8, 8, extra=many(chunk(b"teSt", b""))),
    "a PNG of single bytes": scattered,
    "PNG header, JPEG body": lambda: encoded(photo())[:33] + encoded(photo(), "JPEG")[2:],
    "JPEG header, PNG body": lambda: encoded(photo(), "JPEG")[:20] + encoded(photo())[8:],
    "WebP header, JPEG body": lambda: encoded(photo(), "WEBP")[:30] + encoded(photo(), "JPEG"),
    "PNG signature, WebP body": lambda: SIGNATURE + encoded(photo(), "WEBP"),
    "a wrong check sum": lambda: encoded(photo())[:-20] + b"\0" * 8 + encoded(photo())[-12:],
}  # fmt: skip


RARE = {"large RGBA", "large grey of 16 bits", "large WebP", "24 megapixels of CMYK in passes", "as wide as can be"}
"""Other tests are of larger or slower ones of their kind: these run with `-m reliability`."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.reliability] if name in RARE else []) for name in TAKEN]
)
def test_what_can_be_shown_is_shown_within_the_bounds(decoder, name):
    assert decoder.check(TAKEN[name](), name) is None


def test_a_very_wide_picture_is_not_copied_whole(decoder):
    assert decoder.check(TAKEN["as wide as can be"](), whole=True) is None


@pytest.mark.reliability
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", TAKEN)
def test_what_can_be_shown_is_shown_either_way(decoder, name, whole):
    assert decoder.check(TAKEN[name](), name, whole) is None


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_is_refused_within_the_bounds(decoder, name):
    said = decoder.check(REFUSED[name](), name)
    assert said is not None
    assert said.endswith(".")


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_a_format_that_is_not_taken_is_refused(decoder):
    assert decoder.check(encoded(photo(), "AVIF"))


SOURCES = {
    "PNG": lambda: encoded(photo(40, 40, "RGBA"), exif=exif()),
    "PNG with a palette": lambda: encoded(photo(40, 40, "P"), transparency=bytes(range(16))),
    "PNG of 16 bits": lambda: png(9, 9, 16, 6, interlaced=True),
    "animated PNG": lambda: encoded(photo(24, 24), save_all=True, append_images=[photo(24, 24, "L")]),
    "JPEG": lambda: encoded(photo(40, 40), "JPEG", exif=b"Exif\0\0" + exif()),
    "progressive JPEG": lambda: encoded(photo(40, 40), "JPEG", progressive=True),
    "CMYK JPEG": lambda: encoded(photo(40, 40, "CMYK"), "JPEG"),
    "WebP": lambda: encoded(photo(40, 40), "WEBP", exif=exif()),
    "lossless WebP": lambda: encoded(photo(40, 40, "RGBA"), "WEBP", lossless=True),
    "animated WebP": lambda: encoded(photo(24, 24), "WEBP", save_all=True, append_images=[photo(24, 24, "L")]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_cut_off_at_every_kind_of_place(decoder, name):
    data = SOURCES[name]()
    ends = sorted({*range(0, min(64, len(data))), *range(64, len(data), max(1, len(data) // 25)), len(data) - 1})
    refused = [end for end in ends if decoder.check(data[:end], f"{name} cut at {end}")]
    assert len(refused) > 60


# --- Mutations ------------------------------------------------------------------------------------------------


def repaired(data):
    """A mutated PNG whose check sums fit again, so that decoders read on."""
    if not data.startswith(SIGNATURE):
        return data
    made, place = [SIGNATURE], len(SIGNATURE)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        made.append(chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + min(length, len(data))]))
        place += 12 + length
    return b"".join(made)


@cache
def sources():
    return [make() for make in SOURCES.values()]


@st.composite
def mutated(draw):
    """A valid file after up to four accidents."""
    files = sources()
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        width = draw(st.sampled_from([1, 1, 2, 4, 4, 16, 200]))
        kind = draw(st.sampled_from(["flip", "write", "extreme", "drop", "again", "cut", "splice"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "write":
            data[at : at + width] = draw(st.binary(min_size=width, max_size=width))
        elif kind == "extreme":
            data[at : at + width] = draw(st.sampled_from([b"\xff", b"\0", b"\x7f", b"\x80"])) * width
        elif kind == "drop":
            del data[at : at + width]
        elif kind == "again":
            data[at:at] = data[at : at + width] * draw(st.integers(1, 50))
        elif kind == "cut":
            del data[at:]
        elif kind == "splice":
            other = draw(st.sampled_from(files))
            data[at:] = other[draw(st.integers(0, len(other))) :]
    return repaired(bytes(data)) if draw(st.booleans()) else bytes(data)


def hunt(decoder, examples):
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(mutated())
    def search(data):
        decoder.check(data, f"{len(data)} bytes, {data[:12]!r}")

    search()


def test_mutated_files_give_a_picture_or_a_sentence(decoder):
    hunt(decoder, 150)


@pytest.mark.reliability
def test_thousands_of_mutated_files_give_a_picture_or_a_sentence(decoder, reliability):
    before = len(decoder.costs)
    hunt(decoder, 20_000)
    report(reliability, "mutated picture", decoder.costs[before:])


# --- What is kept ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_every_orientation_is_obeyed_in_every_format(order, turn, fit):
    """As Pillow itself turns the whole picture."""
    plain = encoded(photo(96, 64), "PNG")
    with Image.open(io.BytesIO(plain)) as image:
        turned = image if turn == 1 else image.transpose(images._TURNS[turn])
        expected = images.decode_image(encoded(turned), fit)
    tags = exif(turn, entries=3, order=order)
    files = [
        encoded(photo(96, 64), exif=tags),
        encoded(photo(96, 64), "WEBP", lossless=True, exif=tags),
        jpeg_with(segment(0xE1, b"Exif\0\0" + tags), image=photo(96, 64), quality=100, subsampling=0),
    ]
    for data, tolerance in zip(files, (1, 1, 12), strict=True):
        found = images.decode_image(data, fit)
        assert np.abs(found.astype(int) - expected).max() <= tolerance


def test_turns_are_those_of_pillow():
    from PIL import ImageOps

    for turn, method in images._TURNS.items():
        image = photo(24, 16)
        image.getexif()[0x0112] = turn
        assert ImageOps.exif_transpose(image).tobytes() == photo(24, 16).transpose(method).tobytes()


@pytest.mark.parametrize("data", [b"", b"II*\0", exif()[:9], exif()[:15], b"XX" + exif()[2:], exif(0), exif(9)])
def test_exif_that_says_nothing_turns_nothing(data):
    assert stripping.orientation(data) == 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_is_kept_decodes_to_the_same_pixels(kind):
    data = encoded(
        photo(),
        kind,
        exif=b"Exif\0\0" + exif(),
        icc_profile=b"p" * 3000,
        **({"comment": "x"} if kind == "JPEG" else {}),
    )
    bare = stripping.strip(data)
    assert bare.orientation == 6
    assert len(bare.data) < len(data) - 60
    with Image.open(io.BytesIO(data)) as full, Image.open(io.BytesIO(bare.data)) as kept:
        assert full.tobytes() == kept.tobytes()


def test_a_row_at_a_time_is_the_area_average_of_the_whole():
    """Held against Pillow's own reduction of the whole picture."""
    for size in ((97, 61), (33, 200), (32, 32), (5, 7), (640, 480)):
        image = photo(*size)
        whole = image.resize((32, 32), Image.Resampling.BOX)
        made = images._shrunk(image, (32, 32), (0, 0, *size))
        assert np.abs(np.asarray(whole).astype(int) - np.asarray(made)).max() <= 1


def test_a_transparent_value_of_16_bits_goes_over_white():
    data = png(32, 32, 16, 0, 0, extra=chunk(b"tRNS", b"\1\1"))  # every pixel has the value 0x0101
    assert (images.decode_image(data) == 255).all()


def test_the_limits_are_told_with_the_pictures_size():
    with pytest.raises(ImageError, match=r"6000 × 4001 pixels; of a PNG at most 24 megapixels"):
        images.decode_image(REFUSED["PNG beyond its limit"]())
