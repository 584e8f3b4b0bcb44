"""The words of a page and their places, by Tesseract, for models that cannot see.

Only where the caller sends no `word_boxes`, and only if the tesseract program and `pytesseract` are
installed: neither comes with any extra.
"""

from __future__ import annotations

import importlib.util
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from lanza.errors import BadRequest
from lanza.tasks.document_question_answering import PAGE, WordBox

if TYPE_CHECKING:
    from PIL.Image import Image

_SECONDS: Final = 60
_LANGUAGES: Final = re.compile(r"[A-Za-z_]{2,20}(\+[A-Za-z_]{2,20}){0,7}")


def read_words(image: Image, languages: str | None) -> list[WordBox]:
    """The words in reading order; `languages` is like "spa+eng". BadRequest when it cannot be done."""
    if languages is not None and not _LANGUAGES.fullmatch(languages):
        raise BadRequest('`parameters.lang` must be like "spa" or "spa+eng".')
    if importlib.util.find_spec("pytesseract") is None:
        raise BadRequest(
            "this model reads words and their places, and there is no OCR on this server: send "
            '"parameters": {"word_boxes": [[word, [x0, y0, x1, y1]], ...]} in thousandths of the page.'
        )
    pytesseract: Any = import_module("pytesseract")

    try:
        rows = pytesseract.image_to_data(image, lang=languages, output_type="dict", timeout=_SECONDS)
    except (pytesseract.TesseractError, pytesseract.TesseractNotFoundError, RuntimeError) as error:
        raise BadRequest(f"the page could not be read ({error}): send `parameters.word_boxes`.") from error
    words = [
        (text, _box(image, left, top, width, height))
        for text, left, top, width, height in zip(
            rows["text"], rows["left"], rows["top"], rows["width"], rows["height"], strict=True
        )
        if text.strip()
    ]
    if not words:
        raise BadRequest("no word was found on the page: send `parameters.word_boxes`, or a sharper image.")
    return words


def _box(image: Image, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    across, down = PAGE / image.width, PAGE / image.height
    edges = (left * across, top * down, (left + width) * across, (top + height) * down)
    x0, y0, x1, y1 = (min(PAGE, max(0, int(edge))) for edge in edges)
    return x0, y0, x1, y1
