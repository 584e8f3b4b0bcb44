from __future__ import annotations

import base64
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.hub.secrets import find_secrets

_random = random.Random(4)


def token(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    return "".join(_random.choice(letters) for _ in range(length))


# Put together here, so that no scanner of secrets takes this file for a leak.
SECRETS = {
    "a Hugging Face token": "hf" + "_" + token(34),
    "a Lanza token": "lz" + "_" + token(40),
    "a GitHub token": "ghp" + "_" + token(36),
    "an OpenAI key": "sk-" + "proj-" + token(64),
    "an Anthropic key": "sk-" + "ant-api03-" + token(80),
    "an AWS access key": "AK" + "IA" + token(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    "a Google API key": "AI" + "za" + token(35),
    "a Slack token": "xox" + "b-" + token(40),
    "a Replicate token": "r8" + "_" + token(37),
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----\n" + token(64) + "\n",
    "a signed web token": f"eyJ{token(30)}.eyJ{token(60)}.{token(43)}",
}


@pytest.mark.parametrize("what", SECRETS)
def test_known_secrets_are_found_with_their_line(what: str) -> None:
    text = f"# Becas\n\nuse `{SECRETS[what]}` here\n"
    assert [(it.what, it.line) for it in find_secrets(text.encode())] == [(what, 3)]


def test_a_private_key_in_json_is_found() -> None:
    key = SECRETS["a private key"].replace("\n", "\\n")
    assert [it.what for it in find_secrets(f'{{"private_key": "{key}"}}'.encode())] == ["a private key"]


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "{}"',
        "WANDB_API_KEY={}",
        '  "secret": "{}",',
        "password: {}",
        "os.environ['ACCESS_TOKEN'] = '{}'",
    ],
)
def test_a_random_value_is_a_secret_under_a_name_that_says_so(line: str) -> None:
    found = find_secrets(line.format(token(38) + "123").encode())
    assert len(found) == 1
    assert "name" in found[0].what


@pytest.mark.parametrize(
    "line",
    [
        "hf_" + "x" * 34,
        "token = hf_your_token_here_aaaaaaaaaaaaaaaaa",
        "AKIA" + "IOSFODNN7EXAMPLE",
        'api_key = os.environ["OPENAI_API_KEY_OF_MINE"]',
        "max_tokens = 12345678901234567890",
        '"tokenizer_class": "PreTrainedTokenizerFast0123"',
        '"pad_token": "<|endoftext|>",',
        '"eos_token": "aaaaaaaaaaaaaaaaaaaaaaaaaa123"',
        "a key begins with -----BEGIN " + "PRIVATE KEY----- and then",
        "sha256 = " + "0123456789abcdef" * 4,
        "the half_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567 is no token",
    ],
)
def test_placeholders_and_plain_values_are_no_secrets(line: str) -> None:
    assert find_secrets(line.encode()) == []


def test_a_secret_is_never_repeated() -> None:
    for secret in SECRETS.values():
        assert secret not in repr(find_secrets(secret.encode()))


def test_only_the_first_few_are_told() -> None:
    text = "\n".join("hf" + "_" + token(34) for _ in range(50))
    assert [it.line for it in find_secrets(text.encode(), most=3)] == [1, 2, 3]


@given(st.binary(max_size=2000))
def test_no_text_is_too_odd(text: bytes) -> None:
    find_secrets(text + base64.b64encode(text))
