"""Maps as PNG images, and the palettes that color them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from kdexplorer.images import color_maps


def test_map_png_has_sharp_pixels_in_the_palettes_order():
    png = color_maps.map_png(np.array([[0.0, 1.0], [0.5, 2.0]]), 0, 1, "viridis", side=64)
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (64, 64, 3)
    assert (pixels[:32, :32] == (0x44, 0x01, 0x54)).all()
    assert (pixels[:, 32:] == (0xFD, 0xE7, 0x25)).all()
    middle = color_maps.interpolate_palette("viridis")[128]
    assert (pixels[32:, :32] == middle).all()


def test_data_url_contains_the_png():
    kind, _, payload = color_maps.data_url(b"\x89PNG").partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(payload) == b"\x89PNG"


@pytest.mark.parametrize("name", ["cividis", "viridis"])
def test_perceptual_palettes_get_lighter(name):
    luminance = color_maps.interpolate_palette(name) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.5).all()


def test_difference_palette_has_a_neutral_middle():
    assert np.ptp(color_maps.interpolate_palette("difference")[127:129].astype(int), axis=1).max() <= 2
