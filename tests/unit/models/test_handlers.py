from __future__ import annotations

import textwrap

import pytest

from lanza.models.facts import read_facts
from lanza.models.findings import Finding, Level
from lanza.models.handlers import examine_handler

from .conftest import BERT, WriteFolder

GOOD = """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    class EndpointHandler:
        def __init__(self, path=""):
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            self.model = AutoModelForSequenceClassification.from_pretrained(path)
            self.model.eval()

        def __call__(self, data):
            with torch.inference_mode():
                return self.model(**self.tokenizer(data["inputs"], return_tensors="pt")).logits.tolist()
"""


@pytest.fixture
def examine(folder: WriteFolder):  # type: ignore[no-untyped-def]
    def run(source: str, **config: object) -> list[Finding]:
        path = folder({"handler.py": textwrap.dedent(source), "config.json": BERT | config})
        return list(examine_handler(read_facts(path)))

    return run


def codes(findings: list[Finding]) -> list[str]:
    return [finding.code for finding in findings]


def test_a_good_handler(examine) -> None:  # type: ignore[no-untyped-def]
    assert examine(GOOD) == []


@pytest.mark.parametrize(
    "source",
    [
        GOOD.replace("def __call__(self, data)", "async def __call__(self, data, *, more=1)"),
        GOOD.replace('path=""', "path, revision=None, **rest"),
        GOOD.replace("self.model.eval()", "self.model.eval(); pattern = '\\d'"),
        GOOD.replace('path=""', "*args").replace("from_pretrained(path)", "from_pretrained(args[0])"),
        GOOD.replace("class EndpointHandler:", "class EndpointHandler(object):"),
        "class Base: ...\nclass EndpointHandler(Base): ...",
        "class EndpointHandler:\n    def __init__(self, path): ...\n    __call__ = print",
        """
        from transformers import pipeline
        class EndpointHandler:
            def __init__(self, path):
                self.pipe = pipeline("text-classification", model=path, tokenizer=path)
            def __call__(self, data):
                return self.pipe(data["inputs"])
        """,
    ],
)
def test_other_good_forms(examine, source: str) -> None:  # type: ignore[no-untyped-def]
    assert examine(source) == []


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("def broken(:", "handler_syntax"),
        ("x = 1\n  y = 2", "handler_syntax"),
        ("\0", "handler_syntax"),
        ("(" * 5000, "handler_syntax"),
        ("", "no_handler_class"),
        ("class Handler: ...", "no_handler_class"),
        ("class EndpointHandler: ...", "handler_signature"),
        (
            "class EndpointHandler:\n def __init__(self): ...\n def __call__(self, data): ...",
            "handler_signature",
        ),
        (
            "class EndpointHandler:\n def __init__(self, a, b): ...\n def __call__(self, d): ...",
            "handler_signature",
        ),
        (
            "class EndpointHandler:\n def __init__(self, a): ...\n def __call__(self, d, *, k): ...",
            "handler_signature",
        ),
        (
            "class EndpointHandler:\n async def __init__(self, a): ...\n def __call__(self, d): ...",
            "handler_signature",
        ),
    ],
)
def test_what_could_not_be_made_or_called(examine, source: str, code: str) -> None:  # type: ignore[no-untyped-def]
    findings = examine(source)
    assert set(codes(findings)) == {code}
    assert all(finding.level is Level.ERROR and finding.next_step for finding in findings)


def test_a_syntax_error_names_its_line(examine) -> None:  # type: ignore[no-untyped-def]
    assert "line 3" in examine("a = 1\nb = 2\nc = = 3\n")[0].message


@pytest.mark.parametrize(
    "source", ["from other import EndpointHandler", "import x\nEndpointHandler = x.make()"]
)
def test_a_class_from_elsewhere_is_a_note(examine, source: str) -> None:  # type: ignore[no-untyped-def]
    (finding,) = examine(source)
    assert (finding.level, finding.code) == (Level.NOTE, "handler_elsewhere")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("self.model.eval()", "pass", ["no_eval"]),
        ("with torch.inference_mode():", "if True:", ["no_no_grad"]),
        (
            "AutoTokenizer.from_pretrained(path)",
            'AutoTokenizer.from_pretrained("bert-base-uncased")',
            ["tokenizer_of_another_model", "fetched_at_start"],
        ),
        (
            "Classification.from_pretrained(path)",
            'Classification.from_pretrained("ana/other", device_map="cpu")',
            ["fetched_at_start"],
        ),
        (
            "Classification.from_pretrained(path)",
            'Classification.from_pretrained(pretrained_model_name_or_path="ana/other")',
            ["fetched_at_start"],
        ),
        ("self.model.eval()", 'self.model.eval(); input("key?")', ["waits_for_input"]),
        ("from_pretrained(path)\n", "from_pretrained(path, trust_remote_code=True)\n", ["remote_code"] * 2),
        ("self.model.eval()", 'self.model.eval(); snapshot_download("ana/x")', ["fetched_at_start"]),
    ],
)
def test_what_tutorials_warn_of(examine, old: str, new: str, expected: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert old in GOOD
    findings = examine(GOOD.replace(old, new))
    assert codes(findings) == expected
    assert all(finding.level is Level.WARNING for finding in findings)


def test_names_are_followed_to_their_strings(examine) -> None:  # type: ignore[no-untyped-def]
    source = "BASE = 'ana/other'\n" + textwrap.dedent(GOOD).replace(
        "from_pretrained(path)", "from_pretrained(BASE)"
    )
    findings = examine(source)
    assert codes(findings) == ["fetched_at_start"] * 2  # tokenizer and model are of one and the same
    assert "'ana/other'" in findings[0].message


def test_the_tokenizer_that_the_model_was_made_with_is_no_other(examine) -> None:  # type: ignore[no-untyped-def]
    source = GOOD.replace("AutoTokenizer.from_pretrained(path)", "AutoTokenizer.from_pretrained('ana/base')")
    assert codes(examine(source, _name_or_path="ana/base")) == ["fetched_at_start"]


def test_a_pipeline_names_its_model_and_tokenizer(examine) -> None:  # type: ignore[no-untyped-def]
    source = """
        from transformers import pipeline
        class EndpointHandler:
            def __init__(self, path):
                self.pipe = pipeline("fill-mask", "ana/one", tokenizer="ana/two")
            def __call__(self, data):
                return self.pipe(data["inputs"])
    """
    assert codes(examine(source)) == ["tokenizer_of_another_model", "fetched_at_start"]


def test_a_folder_beside_the_handler_is_not_fetched(folder: WriteFolder) -> None:
    source = textwrap.dedent(GOOD).replace("from_pretrained(path)", "from_pretrained('weights/v1')")
    path = folder({"handler.py": source, "weights/v1/config.json": "{}"})
    assert list(examine_handler(read_facts(path))) == []


def test_no_handler_no_findings(classifier) -> None:  # type: ignore[no-untyped-def]
    assert list(examine_handler(read_facts(classifier))) == []
