"""What `sanitize` keeps of a file, which orientation it reads, and which sizes it refuses."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from kdexplorer.errors import ImageError
from kdexplorer.images import sanitize
from tests.images.image_files import encode, exif, photo, png, repeat_last_scan


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {"comment": "x"})])
def test_stripped_file_keeps_the_pixels_and_drops_the_metadata(kind, options):
    options = {"exif": b"Exif\0\0" + exif(6), "icc_profile": b"p" * 3000, **options}
    data = encode(photo(), kind, **options)
    stripped = sanitize.strip(data)
    assert stripped.orientation == 6
    with Image.open(io.BytesIO(data)) as full, Image.open(io.BytesIO(stripped.data)) as kept:
        assert full.info.keys() >= options.keys()
        assert not kept.info.keys() & options.keys()
        assert full.tobytes() == kept.tobytes()


@pytest.mark.parametrize("data", [b"", b"II*\0", exif()[:9], exif()[:15], b"XX" + exif()[2:], exif(0), exif(9)])
def test_missing_or_invalid_orientation_is_1(data):
    assert sanitize.read_orientation(data) == 1


def test_size_error_states_the_size_and_the_limit():
    with pytest.raises(ImageError, match=r"6000 × 4001 .* 24 megapixels"):
        sanitize.strip(png(6000, 4001, 1, 0))
    sanitize.strip(png(6000, 4000, 1, 0))


def test_too_many_scans_are_refused():
    data = encode(photo(1600, 1600), "JPEG", progressive=True)
    sanitize.strip(repeat_last_scan(data, 200))
    with pytest.raises(ImageError, match="scans"):
        sanitize.strip(repeat_last_scan(data, 250))


def test_other_formats_are_unchanged():
    data = encode(photo(), "WEBP")
    assert sanitize.strip(data).data == data
