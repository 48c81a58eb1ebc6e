"""Images enlarged for display, maps as PNG with the palettes that color them, and QR codes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kdexplorer.images.picture import enlarge_png, interpolate_palette, map_png, qr_png


@pytest.mark.parametrize(("size", "factor"), [(320, 10), (335, 10), (8, 1)])
def test_enlarged_pixels_have_sharp_edges(size, factor):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with Image.open(io.BytesIO(enlarge_png(pixels, size))) as image:
        large = np.asarray(image)
    assert (large == pixels.repeat(factor, axis=0).repeat(factor, axis=1)).all()


def test_map_png_has_sharp_pixels_in_the_palettes_order():
    png = map_png(np.array([[0.0, 1.0], [0.5, 2.0]]), 0, 1, "map", side=64)
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image)
    assert pixels.shape == (64, 64, 4)
    assert (pixels[:32, :32] == (0x00, 0x00, 0x04, 0)).all()
    assert (pixels[:, 32:] == (0xFC, 0xFD, 0xBF, 255)).all()
    assert (pixels[32:, :32] == (*interpolate_palette("map")[128], 128)).all()


@pytest.mark.parametrize(("palette", "opacities"), [("map", (0, 128, 255)), ("difference", (255, 0, 255))])
def test_a_map_is_opaque_where_it_is_not_neutral(palette, opacities):
    png = map_png(np.array([[-1.0, 0.0, 1.0]]), -1, 1, palette, side=3)
    with Image.open(io.BytesIO(png)) as image:
        assert np.asarray(image)[0, :, 3].tolist() == list(opacities)


def test_a_smooth_map_has_values_between_its_pixels():
    found = []
    for smooth in (False, True):
        with Image.open(io.BytesIO(map_png(np.eye(2), 0, 1, "map", side=64, smooth=smooth))) as image:
            found.append(len(np.unique(np.asarray(image)[..., 3])))
    assert found[0] == 2
    assert found[1] > 50


def test_the_perceptual_palette_gets_lighter():
    luminance = interpolate_palette("map") @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.5).all()


def test_difference_palette_has_a_neutral_middle():
    assert np.ptp(interpolate_palette("difference")[127:129].astype(int), axis=1).max() <= 2


FINDER = np.array([[max(abs(x), abs(y)) in (0, 1, 3) for x in range(-3, 4)] for y in range(-3, 4)])


def modules(png, scale):
    """Dark modules as a bool array, with the quiet zone."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    blocks = pixels.reshape(pixels.shape[0] // scale, scale, pixels.shape[1] // scale, scale)
    assert (blocks.min(axis=(1, 3)) == blocks.max(axis=(1, 3))).all()  # sharp edges
    return blocks[:, 0, :, 0] < 128


@pytest.mark.parametrize("scale", [1, 8])
def test_a_code_has_its_finder_patterns_and_a_quiet_zone(scale):
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
