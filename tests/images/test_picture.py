"""Images enlarged for display, maps as PNG with the palettes that color them, and QR codes."""

import io

import numpy as np
import pytest
from PIL import Image

from kdexplorer.images.picture import enlarge_png, interpolate_palette, map_png, qr_png


def read(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize(("size", "factor"), [(320, 10), (335, 10), (8, 1)])
def test_enlarged_pixels_have_sharp_edges(size, factor):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert (read(enlarge_png(pixels, size)) == pixels.repeat(factor, axis=0).repeat(factor, axis=1)).all()


def test_map_png_has_sharp_pixels_in_the_palettes_order_or_values_between_them():
    pixels = read(map_png(np.array([[0.0, 1.0], [0.5, 2.0]]), 0, 1, "map", side=64))
    assert pixels.shape == (64, 64, 4)
    assert (pixels[:32, :32] == (0x00, 0x00, 0x04, 0)).all()
    assert (pixels[:, 32:] == (0xFC, 0xFD, 0xBF, 255)).all()
    assert (pixels[32:, :32] == (*interpolate_palette("map")[128], 128)).all()
    assert len(np.unique(read(map_png(np.eye(2), 0, 1, "map", side=64, smooth=True))[..., 3])) > 50


def test_the_perceptual_palette_gets_lighter_and_that_of_differences_has_a_neutral_transparent_middle():
    luminance = interpolate_palette("map") @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.5).all()
    assert np.ptp(interpolate_palette("difference")[127:129].astype(int), axis=1).max() <= 2
    for palette, opacities in (("map", [0, 128, 255]), ("difference", [255, 0, 255])):
        assert read(map_png(np.array([[-1.0, 0.0, 1.0]]), -1, 1, palette, side=3))[0, :, 3].tolist() == opacities


def modules(png, scale):
    """Dark modules as a bool array, with the quiet zone."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    blocks = pixels.reshape(pixels.shape[0] // scale, scale, pixels.shape[1] // scale, scale)
    assert (blocks.min(axis=(1, 3)) == blocks.max(axis=(1, 3))).all()  # sharp edges
    return blocks[:, 0, :, 0] < 128


@pytest.mark.parametrize("scale", [1, 8])
def test_a_code_is_dark_on_light_in_a_quiet_zone_and_has_the_content(scale):
    one, other = (modules(qr_png(f"http://10.0.0.{number}/vote", scale), scale) for number in (1, 2))
    assert not any(edge.any() for edge in (one[:4], one[-4:], one[:, :4], one[:, -4:]))
    assert one[4, 4:11].all()  # the upper left corner's pattern begins where the zone ends
    assert one.shape == other.shape
    assert (one != other).any()
    with pytest.raises(ValueError, match="too large"):
        qr_png("x" * 3000)
