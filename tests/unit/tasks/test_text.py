from __future__ import annotations

from collections.abc import Callable

import pytest

from lanza.errors import BadRequest, InputTooLong
from lanza.tasks.base import TextModel
from lanza.tasks.text import MAX_CHARACTERS, require_text

MakeModel = Callable[..., TextModel]


@pytest.mark.parametrize("style", ["bert", "roberta"])
def test_composing_gives_what_the_tokenizer_itself_gives(make_model: MakeModel, style: str) -> None:
    encoder = make_model(style=style).encoder
    for pair in (None, "abre en marzo"):
        expected = encoder.tokenizer.encode("la beca cierra", pair)
        sequence = encoder.sequence("la beca cierra", pair)
        assert sequence.ids == expected.ids
        assert sequence.type_ids == expected.type_ids


@pytest.mark.parametrize("style", ["bert", "roberta"])
def test_start_is_where_a_text_begins(make_model: MakeModel, style: str) -> None:
    encoder = make_model(style=style).encoder
    first, second = encoder.tokens("la beca").ids, encoder.tokens("cierra en abril").ids
    ids = encoder.pair.compose(first, second).ids
    start = encoder.pair.start(1, before=len(first))
    assert ids[start : start + len(second)] == second
    assert ids[encoder.pair.start(0) :][: len(first)] == first


def test_too_long_names_both_figures_unless_cut(make_model: MakeModel) -> None:
    encoder = make_model(limit=5).encoder
    with pytest.raises(InputTooLong, match=r"has 7 tokens .* at most 5"):
        encoder.sequence("la beca cierra en abril")
    right = encoder.sequence("la beca cierra en abril", truncate=True)
    left = encoder.sequence("la beca cierra en abril", truncate=True, keep="left")
    assert right.ids[1:-1] == encoder.tokens("la beca cierra").ids
    assert left.ids[1:-1] == encoder.tokens("cierra en abril").ids
    assert right.ids[0] == left.ids[0] == 2


def test_a_pair_that_leaves_no_room_is_refused_even_when_cut(make_model: MakeModel) -> None:
    with pytest.raises(InputTooLong):
        make_model(limit=6).encoder.sequence("la beca", "cierra en abril y abre", truncate=True)


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_blank_text_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(BadRequest, match=r"inputs\.context"):
        require_text(text, what="inputs.context")


def test_a_text_that_no_model_reads_is_refused_before_it_is_cut(make_model: MakeModel) -> None:
    encoder = make_model().encoder
    with pytest.raises(BadRequest, match="characters"):
        encoder.tokens("a" * (MAX_CHARACTERS + 1))
    with pytest.raises(InputTooLong, match=r"has 20002 tokens .* at most 64"):
        encoder.sequence("la beca " * 10_000)
    cut = encoder.sequence("la beca " * 10_000, truncate=True)
    assert len(cut) == encoder.limit


@pytest.mark.parametrize("times", [1, 100])
def test_texts_are_cut_as_the_tokenizer_cuts_them(make_model: MakeModel, times: int) -> None:
    encoder = make_model().encoder
    text = "la beca cierra en abril " * times
    expected = encoder.tokenizer.encode(text, add_special_tokens=False)
    tokens = encoder.tokens(text)
    assert (tokens.ids, tokens.offsets) == (expected.ids, expected.offsets)
    assert encoder.ids(text) == expected.ids
