"""What summarization and translation share: a text in, another text out, and how it may be written.

Knobs of the generation loop stand in `generate_parameters`, as current clients send them, or beside the
others, as the classic inference API has them. The list of knobs and their bounds is `lanza.tasks.sampling`'s.
"""

from __future__ import annotations

from typing import Any, Literal

from lanza.errors import BadRequest
from lanza.tasks.sampling import GenerationParameters, generation_arguments
from lanza.tasks.work import check_count

Truncation = bool | Literal["do_not_truncate", "longest_first", "only_first", "only_second"]


class RewritingParameters(GenerationParameters, frozen=True, kw_only=True):
    clean_up_tokenization_spaces: bool | None = None
    generate_parameters: GenerationParameters | None = None
    truncate: bool | None = None
    truncation: Truncation | None = None

    @property
    def cut(self) -> bool:
        """Whether a text that is too long is cut instead of refused."""
        return bool(self.truncate) or self.truncation not in (None, False, "do_not_truncate")

    @property
    def arguments(self) -> dict[str, Any]:
        """The generation loop's arguments that were given. BadRequest for one out of bounds."""
        nested = self.generate_parameters or GenerationParameters()
        given = {}
        for name in GenerationParameters.__struct_fields__:
            inner = getattr(nested, name)
            given[name] = getattr(self, name) if inner is None else inner
        return generation_arguments(GenerationParameters(**given))


def texts_of(inputs: str | list[str]) -> list[str]:
    """The texts that were sent, at least one and not too many."""
    if isinstance(inputs, str):
        return [inputs]
    if not inputs:
        raise BadRequest("`inputs` is an empty list: send at least one text.")
    check_count(len(inputs), what="`inputs`")
    return inputs
