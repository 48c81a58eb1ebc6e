"""Which uploads are decoded, to which pixels, which are refused, and what `strip` keeps of a file."""

import io
import re
import zlib
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageOps

from kdexplorer.errors import ImageError, ImageMemoryError
from kdexplorer.images import decode
from tests.images.image_files import SIGNATURE, chunk, encode, exif, header, jpeg_with, photo, png, segment

RED, BLUE_FRAME = (255, 0, 0), Image.new("RGB", (32, 32), "blue")
GRAY = (125, 123, 114)


@pytest.mark.parametrize("side", [2048, 4000, 4096])
def test_reduced_size_of_a_large_jpeg_keeps_the_average(side):
    image = photo(side, side)
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(decode.decode_image(encode(image, "JPEG", quality=95)) - expected).max() <= 2


@pytest.mark.parametrize("block", [50, 1_000_000])
@pytest.mark.parametrize(
    "size", [(97, 61), (33, 200), (32, 32), (31, 33), (5, 7), (640, 480), (1, 1), (1, 400), (400, 1)]
)
def test_average_in_blocks_equals_pillows_average_of_the_whole_image(monkeypatch, size, block):
    monkeypatch.setattr(decode, "MAX_BLOCK_PIXELS", block)
    image, (width, height) = photo(*size), size
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    fits = decode.decode_sizes(encode(image), (decode.SIZE,))
    square = image.crop((left, top, left + side, top + side)).resize((32, 32), Image.Resampling.BOX)
    assert np.abs(fits["crop"][0] - np.asarray(square).astype(int)).max() <= 1
    assert [(pixels[0].shape, pixels[0].dtype) for pixels in fits.values()] == [((32, 32, 3), np.uint8)] * 2
    columns, rows = (max(1, round(length * 32 / max(size))) for length in size)
    whole = image.resize((columns, rows), Image.Resampling.BOX)
    left, top = (32 - columns) // 2, (32 - rows) // 2
    pixels = fits["letterbox"][0][top : top + rows, left : left + columns]
    assert np.abs(pixels - np.asarray(whole).astype(int)).max() <= 1


def test_letterbox_keeps_the_whole_image():
    pixels = decode.decode_image(encode(Image.new("RGB", (64, 32), RED)), "letterbox")
    assert (pixels[8:24] == RED).all()
    assert (pixels[:8] == GRAY).all()
    assert (pixels[24:] == GRAY).all()
    pixels[0, 0] = pixels[15, 15] = GRAY  # in the picture it stays
    filled = decode.fill_margins(pixels, np.array([1.0, 2.0, 3.0]))
    assert (filled[[*range(8), *range(24, 32)]] == (1, 2, 3)).all()
    assert (filled[8:24] == pixels[8:24]).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("fit", "width"), [("crop", 97), ("letterbox", 96)])
def test_every_orientation_in_every_format_equals_pillows(order, orientation, fit, width):
    """The crop's margin is odd: it has to leave out the same columns as after a transposition."""
    image = photo(width, 64)
    image.getexif()[0x0112] = orientation
    expected = decode.decode_image(encode(ImageOps.exif_transpose(image), exif=b""), fit)
    tags = exif(orientation, entries=3, order=order)
    files = [
        encode(photo(width, 64), exif=tags),
        encode(photo(width, 64), "WEBP", lossless=True, exif=tags),
        jpeg_with(segment(0xE1, b"Exif\0\0" + tags), image=photo(width, 64), quality=100, subsampling=0),
    ]
    for data, tolerance in zip(files, (1, 1, 12), strict=True):
        assert np.abs(decode.decode_image(data, fit).astype(int) - expected).max() <= tolerance


def one_color(mode, color, **options):
    image = Image.new(mode, (32, 32), color)
    if mode == "P":
        image.putpalette([10, 20, 30, 40, 50, 60])
    return encode(image, **options)


FOUR_BITS = zlib.compress((b"\0" + b"\x33" * 16) * 32)
MODES = {
    "transparent": (one_color("RGBA", (0, 0, 0, 0)), 255),  # over white
    "half transparent": (one_color("RGBA", (0, 0, 0, 128)), 127),
    "gray with alpha": (one_color("LA", (90, 255)), 90),
    "palette": (one_color("P", 0), (10, 20, 30)),
    "palette with a transparent entry": (one_color("P", 0, transparency=0), 255),
    "one bit": (one_color("1", 1), 255),
    "first frame": (one_color("RGB", RED, kind="WEBP", save_all=True, append_images=[BLUE_FRAME], lossless=True), RED),
    "16 bits, dark": (one_color("I;16", 200), 1),  # scaled, not clipped
    "16 bits, white": (one_color("I;16", 65535), 255),
    "4 bits, transparent value": (png(32, 32, 4, 0, extra=chunk(b"tRNS", b"\0\3"), pixels=FOUR_BITS), 255),
    "16 bits RGB, transparent value": (png(32, 32, 16, 2, 0, extra=chunk(b"tRNS", b"\1\1\1\1\1\1")), 255),
    "16 bits, transparent value": (png(32, 32, 16, 0, 0, extra=chunk(b"tRNS", b"\1\1")), 255),  # of every pixel
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    data, expected = MODES[mode]
    assert np.abs(decode.decode_image(data) - np.int64(expected)).max() <= (mode == "half transparent")


def test_cmyk_jpeg():
    pixels = decode.decode_image(encode(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - RED).max() < 55


def test_a_lack_of_memory_is_no_fault_of_the_file_but_its_size_and_format_are(monkeypatch):
    for kind in ("GIF", "BMP", "TIFF", "EPS"):
        with pytest.raises(ImageError, match="PNG, JPEG or WebP"):
            decode.decode_image(encode(Image.new("RGB", (32, 32)), kind))
    with pytest.raises(ImageError, match="5 MB"):
        decode.decode_image(b"\0" * (5 * 1024 * 1024 + 1))
    monkeypatch.setattr(decode, "_resize", Mock(side_effect=MemoryError))
    with pytest.raises(ImageMemoryError, match="too little memory"):
        decode.decode_image(encode(photo()))


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"comment": "x"})])
def test_stripped_file_keeps_the_pixels_and_drops_the_metadata(kind, options):
    options = {"exif": b"Exif\0\0" + exif(6), "icc_profile": b"p" * 3000, **options}
    data = encode(photo(), kind, **options)
    stripped, orientation = decode.strip(data)
    assert orientation == 6
    with Image.open(io.BytesIO(data)) as full, Image.open(io.BytesIO(stripped)) as kept:
        assert full.info.keys() >= options.keys()
        assert not kept.info.keys() & options.keys()
        assert full.tobytes() == kept.tobytes()


@pytest.mark.parametrize("data", [b"", b"II*\0", exif()[:9], exif()[:15], b"XX" + exif()[2:], exif(0), exif(9)])
def test_missing_or_invalid_orientation_is_1(data):
    assert decode.read_orientation(data) == 1


def test_size_errors_state_the_size_and_the_limit_which_16_bit_and_narrow_images_have_lower():
    with pytest.raises(ImageError, match=r"3000 × 5001 .* 15 megapixels"):
        decode.strip(png(3000, 5001, 1, 0))
    decode.strip(png(3000, 5000, 1, 0))
    with pytest.raises(ImageError, match=r"16-bit PNG is 10 megapixels"):
        decode.strip(png(3000, 5000, 16, 0))
    with pytest.raises(ImageError, match=r"JPEG with a side below 2048 pixels is 16 megapixels"):
        decode.strip(encode(Image.new("L", (8000, 2047)), "JPEG"))
    decode.strip(encode(Image.new("L", (8000, 2048)), "JPEG"))


def test_only_the_first_header_of_a_png_counts():
    with Image.open(io.BytesIO(decode.strip(png(8, 8, extra=chunk(b"IHDR", header(13_000, 13_000))))[0])) as image:
        assert image.size == (8, 8)
    with pytest.raises(ValueError, match="header"):
        decode.strip(SIGNATURE + chunk(b"tEXt", header(8, 8)) + png(8, 8)[len(SIGNATURE) :])


@pytest.mark.parametrize("before", [b"", segment(0xFE, b"a comment\xff\xda")])
def test_scans_of_several_components_count_several_times(before):
    data = encode(photo(1600, 1600), "JPEG", progressive=True)
    begin, end = (match.start() for match in list(re.finditer(b"\xff\xda", data))[:2])
    first = before + data[begin:end]  # all three components
    decode.strip(data[:begin] + first * 47 + data[begin:])
    with pytest.raises(ImageError, match="scans"):
        decode.strip(data[:begin] + first * 50 + data[begin:])
