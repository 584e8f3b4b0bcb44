"""Images of every kind that people send, and masks back to files."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lanza.errors import BadRequest, LanzaError, UnsupportedMedia
from lanza.tasks.image import MAX_RATIO, decode_image, encode_mask


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return buffer.getvalue()


def red_and_blue(mode: str = "RGB") -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (20, 0, 40, 20))
    return image.convert(mode)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_each_format_is_read_as_rgb(kind: str) -> None:
    image = decode_image(saved(red_and_blue(), kind))
    assert (image.mode, image.size) == ("RGB", (40, 20))
    assert image.getpixel((3, 10))[0] > 200
    assert image.getpixel((3, 10))[2] < 60
    assert image.getpixel((36, 10))[2] > 200


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_each_colour_mode_is_read_as_rgb(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.linspace(0, 65535, 800).reshape(20, 40).astype(np.uint16))
    else:
        image = red_and_blue(mode)
    decoded = decode_image(saved(image, "TIFF" if mode == "CMYK" else "PNG"))
    assert (decoded.mode, decoded.size) == ("RGB", (40, 20))
    if mode == "I;16":  # scaled to eight bits, not clipped to white
        assert decoded.getpixel((0, 10))[0] in range(115, 145)


def test_the_orientation_that_a_camera_noted_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    turned = decode_image(saved(red_and_blue(), "JPEG", exif=exif))
    assert turned.size == (20, 40)
    assert turned.getpixel((10, 3))[0] > 200
    assert turned.getpixel((10, 36))[2] > 200


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert decode_image(data).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_no_file_that_was_cut_gets_through_as_another_error(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    data = saved(Image.fromarray(noise), kind)
    for end in range(0, len(data) - 12, max(1, len(data) // 60)):
        with pytest.raises(LanzaError) as refused:
            decode_image(data[:end])
        assert 400 <= refused.value.status < 500


def outcome(data: bytes) -> str | int:
    """The mode of the image, or the status of its refusal."""
    try:
        return decode_image(data).mode
    except LanzaError as error:
        return error.status


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of odd metadata, and reads on
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_bytes_that_were_changed_are_read_or_refused(kind: str) -> None:
    generator = np.random.default_rng(1)
    data = saved(red_and_blue(), kind)
    for _ in range(150):
        changed = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            changed[place] = generator.integers(0, 256)
        assert outcome(bytes(changed)) in ("RGB", 400, 415)


def test_a_bomb_is_refused_by_its_header() -> None:
    data = b"P6 60000 60000 255\n" + b"\x00" * 100
    with pytest.raises(BadRequest, match="pixels"):
        decode_image(data)
    data = b"P6 9000 9000 255\n" + b"\x00" * 100
    with pytest.raises(BadRequest, match="9000 x 9000"):
        decode_image(data)


def test_a_thread_of_pixels_is_refused() -> None:
    assert decode_image(saved(Image.new("L", (MAX_RATIO, 1)), "PNG"))
    with pytest.raises(BadRequest, match="times as long"):
        decode_image(saved(Image.new("L", (MAX_RATIO + 1, 1)), "PNG"))


def test_postscript_is_not_run() -> None:
    with pytest.raises(UnsupportedMedia, match="%!PS"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")


def test_a_mask_is_a_grey_png_of_its_shape() -> None:
    inside = np.zeros((5, 9), bool)
    inside[1:3, 2:4] = True
    image = Image.open(io.BytesIO(base64.b64decode(encode_mask(inside))))
    assert (image.format, image.mode, image.size) == ("PNG", "L", (9, 5))
    assert (np.asarray(image) == inside * 255).all()
