"""Text as it grows from tokens: whole characters, and stop strings that are never half told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lanza.engines.transformers.text_stream import TextStream


def decode(ids: list[int]) -> str:
    """Every id is a byte, as in a byte-level vocabulary."""
    return bytes(ids).decode("utf-8", errors="replace")


def tell(text: str, *, stop: tuple[str, ...] = (), prompt: bytes = b"") -> tuple[list[str], bool]:
    stream = TextStream(decode, prompt=prompt, stop=stop)
    parts = []
    for byte in text.encode():
        parts.append(stream.add(byte))
        if stream.stopped:
            break
    return [*parts, stream.end()], stream.stopped


def test_a_character_is_told_when_it_is_whole() -> None:
    assert tell("¿ñ?")[0] == ["", "¿", "", "ñ", "?", ""]


def test_the_prompt_is_context_and_not_repeated() -> None:
    assert "".join(tell("mundo", prompt=b"Hola ")[0]) == "mundo"


def test_what_is_half_a_character_at_the_end_is_told_as_such() -> None:
    stream = TextStream(decode)
    assert (stream.add(0xC3), stream.end()) == ("", "\ufffd")


def test_bytes_that_never_become_a_character_do_not_hold_the_answer_up() -> None:
    stream = TextStream(decode)
    parts = [stream.add(0xFF) for _ in range(20)]
    assert any(parts)


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_not_one() -> None:
    parts, stopped = tell("a<|b", stop=("<|fin|>",))
    assert (parts, stopped) == (["a", "", "", "<|b", ""], False)


def test_nothing_of_a_stop_string_is_told() -> None:
    parts, stopped = tell("hola FIN y más", stop=("FIN", "y más"))
    assert ("".join(parts), stopped) == ("hola ", True)


def test_the_earliest_of_two_stops_counts() -> None:
    # Both are completed by the same token when tokens are whole words.
    stream = TextStream(lambda ids: "".join(["uno dos tres"[i] for i in ids]), stop=("dos", "os"))
    assert "".join(stream.add(i) for i in range(7)) == "uno "


def test_what_was_held_is_told_at_the_end() -> None:
    parts, stopped = tell("casi F", stop=("FIN",))
    assert (parts[-1], stopped) == ("F", False)


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=4), max_size=3))
def test_all_text_before_the_first_stop_is_told_and_no_more(text: str, stops: list[str]) -> None:
    parts, stopped = tell(text, stop=tuple(stops))
    told = "".join(parts)
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(told)
    if stopped:
        assert not any(stop in told for stop in stops)
        assert any(text[len(told) :].startswith(stop) for stop in stops)
    else:
        assert told == text
