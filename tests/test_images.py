"""What comes in from outside: every kind of picture that is taken, and every kind that is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from kdexplorer import images
from kdexplorer.errors import ImageError

GREY = (125, 123, 114)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(width: int = 64, height: int = 64) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_decodes_to_32_by_32_rgb(kind):
    pixels = images.decode_image(encoded(halves(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, :16].reshape(-1, 3).mean(axis=0).tolist() == [255, 0, 0]
    assert pixels[:, 16:].reshape(-1, 3).mean(axis=0).tolist() == [0, 0, 255]


def test_jpeg_keeps_colours_about():
    pixels = images.decode_image(encoded(halves(512, 512), "JPEG", quality=95)).astype(int)
    assert np.abs(pixels[:, 2:14] - [255, 0, 0]).max() < 12


def test_area_average_not_one_pixel():
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert set(np.unique(images.decode_image(encoded(Image.fromarray(board))))) <= {127, 128}


def test_crop_takes_the_middle():
    pixels = np.zeros((32, 96, 3), np.uint8)
    pixels[:, 32:64] = 200
    assert (images.decode_image(encoded(Image.fromarray(pixels)), "crop") == 200).all()


def test_letterbox_keeps_everything():
    pixels = images.decode_image(encoded(Image.new("RGB", (64, 32), (255, 0, 0))), "letterbox")
    assert (pixels[8:24] == (255, 0, 0)).all()
    assert (pixels[:8] == GREY).all()
    assert (pixels[24:] == GREY).all()


def test_exif_orientation_is_obeyed():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned 90 degrees clockwise: left becomes top
    pixels = images.decode_image(encoded(halves(), "PNG", exif=exif))
    assert (pixels[:16] == (255, 0, 0)).all()
    assert (pixels[16:] == (0, 0, 255)).all()


def test_transparency_goes_over_white():
    image = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    assert (images.decode_image(encoded(image)) == 255).all()
    half = images.decode_image(encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 128))))
    assert abs(int(half[0, 0, 0]) - 127) <= 1


def test_palette_with_a_transparent_entry():
    image = Image.new("P", (32, 32), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert (images.decode_image(encoded(image, transparency=0)) == 255).all()
    assert (images.decode_image(encoded(image)) == (10, 20, 30)).all()


def test_grey_with_alpha():
    assert (images.decode_image(encoded(Image.new("LA", (32, 32), (90, 255)))) == 90).all()


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.full((32, 32), 32896, np.uint16)  # 128 / 255 of 65535
    assert (images.decode_image(encoded(Image.fromarray(values))) == 128).all()


def test_dark_sixteen_bits_stay_dark():
    values = np.full((32, 32), 200, np.uint16)
    assert (images.decode_image(encoded(Image.fromarray(values))) <= 1).all()


def test_one_bit():
    assert (images.decode_image(encoded(Image.new("1", (40, 40), 1))) == 255).all()


def test_cmyk_jpeg():
    pixels = images.decode_image(encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert green < 60
    assert blue < 60


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert (images.decode_image(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (31, 33)])
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_odd_sizes(size, fit):
    assert images.decode_image(encoded(Image.new("RGB", size)), fit).shape == (32, 32, 3)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_size_before_decoding():
    with pytest.raises(ImageError, match="megapixels"):
        images.decode_image(png_header(9000, 9000))
    with pytest.raises(ImageError):
        images.decode_image(png_header(60_000, 60_000))


def test_too_many_bytes():
    with pytest.raises(ImageError, match="5 MB"):
        images.decode_image(b"\0" * (5 * 1024 * 1024 + 1))


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "EPS"])
def test_other_formats_are_refused_by_content(kind):
    with pytest.raises(ImageError, match="PNG, JPEG or WebP"):
        images.decode_image(encoded(Image.new("RGB", (32, 32)), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated(kind):
    generator = np.random.default_rng(0)
    data = encoded(Image.fromarray(generator.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    with pytest.raises(ImageError):
        images.decode_image(data[: len(data) // 3])


@pytest.mark.parametrize("data", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_garbage(data):
    with pytest.raises(ImageError):
        images.decode_image(data)


def test_sample_images_are_cifar10_test_images():
    pixels, labels, indices = images.sample_images()
    assert pixels.shape == (20, 3, 32, 32)
    assert indices.tolist() == list(range(20))
    assert labels[:5].tolist() == [3, 8, 8, 0, 6]  # cat, ship, ship, airplane, frog


def test_sample_images_match_the_split(real_root):
    from kdexplorer import data

    split = data.load_split("cifar10", "test", real_root)
    pixels, labels, indices = images.sample_images()
    assert (split.images[indices] == pixels).all()
    assert (split.labels[indices] == labels).all()


def test_enlarged_pixels_stay_hard():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    with Image.open(io.BytesIO(images.enlarged_png(pixels, 320))) as image:
        large = np.asarray(image)
    assert large.shape == (320, 320, 3)
    assert (large[::10, ::10] == pixels).all()
    assert (large[9::10, 9::10] == pixels).all()
