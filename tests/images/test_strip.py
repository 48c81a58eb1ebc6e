"""What `strip` keeps of a file, which orientation is read, and which sizes are refused."""

from __future__ import annotations

import io
import re

import pytest
from PIL import Image

from kdexplorer.errors import ImageError
from kdexplorer.images import decode
from tests.images.image_files import SIGNATURE, chunk, encode, exif, header, photo, png, segment


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


def test_size_error_states_the_size_and_the_limit():
    with pytest.raises(ImageError, match=r"3000 × 5001 .* 15 megapixels"):
        decode.strip(png(3000, 5001, 1, 0))
    decode.strip(png(3000, 5000, 1, 0))


def test_16_bit_and_narrow_images_have_lower_limits():
    with pytest.raises(ImageError, match=r"16-bit PNG is 10 megapixels"):
        decode.strip(png(3000, 5000, 16, 0))
    with pytest.raises(ImageError, match=r"JPEG with a side below 2048 pixels is 16 megapixels"):
        decode.strip(encode(Image.new("L", (8000, 2047)), "JPEG"))
    decode.strip(encode(Image.new("L", (8000, 2048)), "JPEG"))


def test_only_the_first_header_of_a_png_counts():
    large = chunk(b"IHDR", header(13_000, 13_000))
    with Image.open(io.BytesIO(decode.strip(png(8, 8, extra=large))[0])) as image:
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
