"""Images enlarged for display."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from kdexplorer.images import render


@pytest.mark.parametrize(("size", "factor"), [(320, 10), (335, 10), (8, 1)])
def test_enlarged_pixels_have_sharp_edges(size, factor):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with Image.open(io.BytesIO(render.enlarge_png(pixels, size))) as image:
        large = np.asarray(image)
    assert (large == pixels.repeat(factor, axis=0).repeat(factor, axis=1)).all()
