"""A QR code has its finder patterns, a quiet zone of four modules, and another content for another link."""

import io

import numpy as np
import pytest
from PIL import Image

from kdexplorer.images.picture import qr_png

FINDER = np.array([[max(abs(x), abs(y)) in (0, 1, 3) for x in range(-3, 4)] for y in range(-3, 4)])


def modules(png, scale):
    """Dark modules as a bool array, with the quiet zone."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    blocks = pixels.reshape(pixels.shape[0] // scale, scale, pixels.shape[1] // scale, scale)
    assert (blocks.min(axis=(1, 3)) == blocks.max(axis=(1, 3))).all()  # sharp edges
    return blocks[:, 0, :, 0] < 128


@pytest.mark.parametrize("scale", [1, 8])
def test_structure(scale):
    code = modules(qr_png("https://kd.example.org/vote", scale), scale)
    inner = code[4:-4, 4:-4]
    assert not code[:4].any()
    assert not code[:, -4:].any()
    for corner in (inner[:7, :7], inner[:7, -7:], inner[-7:, :7]):
        assert (corner == FINDER).all()
    assert (len(inner) - 17) % 4 == 0  # the sizes of ISO/IEC 18004


def test_the_content_is_in_the_code():
    one, other = (modules(qr_png(f"http://10.0.0.{number}/vote", 1), 1) for number in (1, 2))
    assert one.shape == other.shape
    assert (one != other).any()
    assert (one == modules(qr_png("http://10.0.0.1/vote", 1), 1)).all()
    with pytest.raises(ValueError, match="too large"):
        qr_png("x" * 3000)
