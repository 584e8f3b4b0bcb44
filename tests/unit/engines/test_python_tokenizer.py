"""Where the tokens of a Python tokenizer lie in the text."""

from __future__ import annotations

import pytest

from lanza.engines.transformers.python_tokenizer import PythonEncoding, find_tokens


@pytest.mark.parametrize(
    ("text", "tokens", "found"),
    [
        ("La beca", ["la", "be", "##ca"], ["La", "be", "ca"]),
        ("La beca", ["▁La", "▁be", "ca"], ["La", "be", "ca"]),
        ("una beca", ["u@@", "na", "beca</w>"], ["u", "na", "beca"]),
        ("Él pidió", ["el", "pidio"], ["Él", "pidió"]),
        ("aba", ["a", "b", "a"], ["a", "b", "a"]),
        ("10 €", ["10", "<unk>"], ["10", ""]),
        ("", [], []),
    ],
)
def test_tokens_are_found_in_order(text: str, tokens: list[str], found: list[str]) -> None:
    assert [text[start:end] for start, end in find_tokens(text, tokens)] == found


def test_a_token_that_is_nowhere_does_not_lose_the_others() -> None:
    text = "uno dos " + "x" * 50 + " dos"
    assert [text[a:b] for a, b in find_tokens(text, ["uno", "zzz", "dos"])] == ["uno", "", "dos"]
    assert find_tokens(text, ["uno", "zzz", "dos"])[2] == (4, 7)


def test_words_are_what_stands_between_blanks() -> None:
    tokens = ["u@@", "no", "dos", "tres"]
    encoding = PythonEncoding(
        text="  uno dos\ttres", ids=[1, 2, 3, 4], type_ids=[0] * 4, sequence_ids=[0] * 4, tokens=tokens
    )
    assert encoding.word_ids == [0, 0, 1, 2]
