"""Images as requests bring them: from the bytes of a file to upright RGB pixels, and masks back to PNG.

A file is opened by its content, never by a name or a type that came with it. Its size is read from the header
and bounded before a pixel is decoded. Of an animation the first frame is taken. Pillow is imported when the
first image comes.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from lanza.errors import BadRequest, UnsupportedMedia
from lanza.tasks.upload import read_upload

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 64_000_000
"""192 MB as RGB: more than a camera's full frame, and what one request may cost in memory."""

MAX_RATIO: Final = 64
"""Times as wide as high, or as high as wide: models scale the short side up, and the long one with it."""

FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""The formats that are tried (JPEG takes what phones write as MPO too). The others are no photographs, or
run a program (EPS)."""
NAMES: Final = "JPEG, PNG, WebP, GIF, TIFF, BMP or PPM"


def read_image(value: Any, *, what: str = "inputs") -> Image:
    """The image of an upload, as RGB. BadRequest or UnsupportedMedia when it is none."""
    return decode_image(read_upload(value, kind="an image", what=what), what=what)


def decode_image(data: bytes, *, what: str = "inputs") -> Image:
    """Bytes of a file as an RGB image, turned as its EXIF orientation says."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, what=what)
            image.load()
            return ImageOps.exif_transpose(_opaque(image)).convert("RGB")
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(f"`{what}` is not an image: {_looks_like(data)}. Send {NAMES}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadRequest(f"`{what}` has too many pixels ({error}): send a smaller image.") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError) as error:
        # What Pillow's readers raise for files that end early or contradict themselves.
        raise BadRequest(f"`{what}` is a damaged image ({error}): send the whole file.") from error


def encode_mask(inside: npt.NDArray[np.bool_]) -> str:
    """A mask of shape (height, width) as a PNG in base64: 255 inside, 0 outside."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(inside.astype(np.uint8) * np.uint8(255)).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _check_size(size: tuple[int, int], *, what: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadRequest(
            f"`{what}` is an image of {width} x {height} pixels, and at most {MAX_PIXELS:,} are decoded: "
            "send a smaller one."
        )
    if max(size) > MAX_RATIO * min(size):
        raise BadRequest(
            f"`{what}` is an image of {width} x {height} pixels, more than {MAX_RATIO} times as long on one "
            "side as on the other: send a part of it."
        )


def _opaque(image: Image) -> Image:
    """16-bit grey as 8-bit: Pillow's own conversion clips instead of scaling."""
    from PIL import Image as images

    if image.mode not in ("I", "I;16", "I;16B", "I;16L"):
        return image
    grey = np.asarray(image).astype(np.float32)
    scaled = grey / 256.0 if grey.max(initial=0.0) > 255.0 else grey
    small = images.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
    small.info.update(image.info)
    return small


def _looks_like(data: bytes) -> str:
    try:
        text = data[:64].decode("utf-8").strip()
    except UnicodeDecodeError:
        return "its format is not known"
    if text.isprintable() or "\n" in text:
        shown = " ".join(text.split())[:32]
        return f"it is the text {shown!r}"
    return "its format is not known"
