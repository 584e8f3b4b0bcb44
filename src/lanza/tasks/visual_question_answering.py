"""Visual question answering: a short answer to a question about a picture.

Clients send the picture twice, as `inputs` and as `image` beside it, with the question at the root; others
send both inside `inputs`. All are read, and the picture is decoded once.
"""

from __future__ import annotations

import msgspec

from lanza.errors import BadRequest
from lanza.tasks.base import Body, Parameters, Task
from lanza.tasks.text import require_text
from lanza.tasks.upload import read_upload


class VisualQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    question: str
    image: str


class VisualQuestionAnsweringParameters(Parameters, frozen=True, kw_only=True):
    """The `top_k` (5 unless set) best answers; a model that writes its answer has one."""

    top_k: int | None = None


class VisualQuestionAnsweringBody(Body, frozen=True, kw_only=True):
    inputs: VisualQuestion | str
    question: str | None = None
    image: str | None = None
    parameters: VisualQuestionAnsweringParameters | None = None


class VisualAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`score` is null from a model that writes its answer."""

    answer: str
    score: float | None


def question_and_image(body: VisualQuestionAnsweringBody) -> tuple[str, bytes]:
    """The question and the picture's bytes, wherever the body has them."""
    if isinstance(body.inputs, VisualQuestion):
        question: str | None = body.inputs.question
        image, what = body.inputs.image, "inputs.image"
    else:
        question, image, what = body.question, body.inputs, "inputs"
    if question is None:
        raise BadRequest('the question is missing: send "question" beside "inputs".')
    return require_text(question, what="question"), read_upload(image, kind="an image", what=what)


TASK = Task(
    name="visual-question-answering",
    body=VisualQuestionAnsweringBody,
    answer=list[VisualAnswer],
    example={"inputs": {"question": "¿De qué color es el gato?", "image": "<base64 of a JPEG or PNG>"}},
)
