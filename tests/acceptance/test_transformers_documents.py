"""Tables, pages and pictures with a question, against a pipeline or the same models run by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoImageProcessor, AutoTokenizer, pipeline

import tiny_media
from engine_calls import (
    CLOSE,
    PICTURES,
    ask,
    prepared,
    start,
    text,
)
from lanza.errors import BadRequest

WORDS = ["La", "beca", "de", "transporte", "cierra", "el", "28", "de", "abril", "Total:", "1.200", "euros"]
WORD_BOXES = [
    [word, [40 + 150 * (i % 4), 50 * (i // 4), 150 + 150 * (i % 4), 40 + 50 * (i // 4)]]
    for i, word in enumerate(WORDS)
]
TABLE = {
    "Beca": ["grado", "máster", "comedor", "transporte"],
    "Euros": ["1200", "2400", "300", "150"],
    "Cierre": ["28 de abril", "3 de mayo", "9 de junio", "28 de abril"],
}


# Tables


@pytest.mark.parametrize("aggregates", [True, False])
@pytest.mark.parametrize("sequential", [False, True])
def test_cells_are_those_of_the_pipeline(tmp_path: Path, aggregates: bool, sequential: bool) -> None:
    path = tiny_media.tapas(tmp_path, aggregates=aggregates)
    task = "table-question-answering"
    engine = start(path, task)
    reference = pipeline(task, str(path), device="cpu")
    questions = ["¿Cuánto paga la beca de máster?", "¿Y cuándo cierra?", "¿Qué becas hay?"]
    body = {
        "inputs": {"query": questions, "table": TABLE},
        "parameters": {"sequential": sequential, "padding": "longest", "model": "http://aqui"},
    }
    found = ask(engine, task, body)
    expected = reference(table=TABLE, query=questions, sequential=sequential)
    assert any(answer["cells"] for answer in found)
    for answer, other in zip(found, expected, strict=True):
        assert answer["answer"] == other["answer"]
        assert answer["cells"] == other["cells"]
        assert [tuple(place) for place in answer["coordinates"]] == other["coordinates"]
        assert answer.get("aggregator") == other.get("aggregator")
    one = ask(engine, task, {"inputs": {"question": questions[0], "table": TABLE}})
    assert one == ask(engine, task, {"inputs": {"query": questions[:1], "table": TABLE}})[0]


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({"query": "¿?", "table": {}}, "empty"),
        ({"query": "¿?", "table": {"a": []}}, "empty"),
        ({"query": "", "table": TABLE}, "empty"),
        ({"query": [], "table": TABLE}, "0 questions"),
        ({"table": TABLE}, "missing"),
        ({"query": "a", "question": "b", "table": TABLE}, "the same"),
        ({"query": "a", "table": {"a": ["1"], "b": ["1", "2"]}}, "same number"),
        ({"query": "a", "table": {"a": [["1"]]}}, "table"),
        ({"query": "a", "table": {str(i): ["x"] for i in range(400)}}, "255 columns"),
        ({"query": "a", "table": {str(i): ["x"] for i in range(200)}}, "cannot read this table"),
        ({"query": "palabra " * 120, "table": TABLE}, "cannot read this table"),
        ({"query": "palabra " * 400, "table": TABLE}, "at most 1000"),
        ({"query": ["¿?"] * 16, "table": {str(i): ["x" * 900] * 9 for i in range(9)}}, "characters to read"),
    ],
)
def test_questions_and_tables_that_are_none(tmp_path: Path, inputs: dict[str, Any], told: str) -> None:
    engine = start(tiny_media.tapas(tmp_path), "table-question-answering")
    with pytest.raises(BadRequest, match=told):
        prepared(engine, "table-question-answering", {"inputs": inputs})


def test_a_table_that_is_too_long_loses_rows_or_is_refused(tmp_path: Path) -> None:
    engine = start(tiny_media.tapas(tmp_path), "table-question-answering")
    table = {"Beca": [f"beca {i}" for i in range(300)], "Euros": list(range(300))}
    inputs = {"query": "¿Cuál?", "table": table}
    assert "answer" in ask(engine, "table-question-answering", {"inputs": inputs})
    for rows, told in ((300, "255 rows"), (100, "at most 128")):
        cut = {name: cells[:rows] for name, cells in table.items()}
        body = {"inputs": inputs | {"table": cut}, "parameters": {"truncation": False}}
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "table-question-answering", body)


# Pages


def test_words_are_those_of_the_pipeline(tmp_path: Path) -> None:
    task = "document-question-answering"
    path = tiny_media.layoutlm(tmp_path)
    engine = start(path, task)
    reference = pipeline(task, str(path), device="cpu")
    question = "¿Cuándo cierra la beca?"
    pairs = [(word, box) for word, box in WORD_BOXES]
    expected = reference(image=None, question=question, word_boxes=pairs, top_k=1)
    answers = [
        ask(engine, task, {"inputs": {"question": question}, "parameters": {"word_boxes": boxes, "top_k": k}})
        for boxes in (WORD_BOXES, [part for pair in WORD_BOXES for part in pair])
        for k in (1, 4)
    ]
    for answer in answers:
        assert {name: answer[0][name] for name in ("answer", "start", "end")} == {
            name: expected[0][name] for name in ("answer", "start", "end")
        }
        assert answer[0]["score"] == pytest.approx(expected[0]["score"], abs=CLOSE)
    assert [len(answer) for answer in answers] == [1, 4, 1, 4]
    spans = [(entry["start"], entry["end"]) for entry in answers[1]]
    assert len(set(spans)) == 4
    assert answers[1][1]["score"] <= answers[1][0]["score"]


def test_a_model_that_sees_the_page_too(tmp_path: Path) -> None:
    task = "document-question-answering"
    path = tiny_media.layoutlmv3(tmp_path)
    engine = start(path, task)
    question = "¿Cuándo cierra la beca?"
    words, boxes = zip(*WORD_BOXES, strict=True)
    inputs = AutoTokenizer.from_pretrained(path)(
        question, list(words), boxes=list(boxes), return_tensors="pt"
    )
    processor = AutoImageProcessor.from_pretrained(path, backend="pil", apply_ocr=False)
    model = transformers.LayoutLMv3ForQuestionAnswering.from_pretrained(path).eval()
    with torch.no_grad():
        outputs = model(**inputs, pixel_values=processor(PICTURES[0], return_tensors="pt").pixel_values)
    open_to = torch.tensor([i == 0 or part == 1 for i, part in enumerate(inputs.sequence_ids(0))])
    likely = [
        logits[0, : len(open_to)].masked_fill(~open_to, -torch.inf).softmax(-1)
        for logits in (outputs.start_logits, outputs.end_logits)
    ]
    scores = torch.triu(torch.outer(*likely)).tril(14)
    scores[0] = 0
    first, last = divmod(int(scores.argmax()), len(open_to))
    inputs_sent = {"question": question, "image": text(tiny_media.encoded(PICTURES[0]))}
    answer = ask(engine, task, {"inputs": inputs_sent, "parameters": {"word_boxes": WORD_BOXES}})[0]
    numbers = inputs.word_ids(0)
    assert (answer["start"], answer["end"]) == (numbers[first], numbers[last])
    assert answer["score"] == pytest.approx(float(scores.max()), abs=CLOSE)
    with pytest.raises(BadRequest, match=r"inputs\.image"):
        prepared(engine, task, {"inputs": {"question": question}, "parameters": {"word_boxes": WORD_BOXES}})


def test_a_long_page_is_read_in_windows(tmp_path: Path) -> None:
    task = "document-question-answering"
    engine = start(tiny_media.layoutlm(tmp_path, positions=64), task)
    boxes = [[f"{word}", box] for _ in range(20) for word, box in WORD_BOXES]
    body = {
        "inputs": {"question": "¿Cuándo?"},
        "parameters": {"word_boxes": boxes, "top_k": 5, "doc_stride": 10, "handle_impossible_answer": True},
    }
    work = prepared(engine, task, body)
    assert len(work.pieces) > 3
    assert max(work.lengths) <= 64
    answers = work.finish(engine.forward(work.pieces, alone=True))
    assert 0 < sum(answer.score for answer in answers) <= 1
    for answer in answers:
        assert answer.answer in ("", " ".join(word for word, _ in boxes[answer.start : answer.end + 1]))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "no OCR on this server"),
        ({"word_boxes": []}, "0 words"),
        ({"word_boxes": ["beca"]}, "no box"),
        ({"word_boxes": [["beca", [1, 2, 3]]]}, "item 0"),
        ({"word_boxes": [["beca", [1, 2, 3, 2000]]]}, "from 0 to 1000"),
        ({"word_boxes": [["beca", [9, 2, 3, 4]]]}, "left before right"),
        ({"word_boxes": [[7, [1, 2, 3, 4]]]}, "item 0"),
        ({"word_boxes": [["\u200b", [1, 2, 3, 4]]]}, "no word"),
        ({"word_boxes": WORD_BOXES, "top_k": 0}, "top_k"),
        ({"word_boxes": WORD_BOXES, "doc_stride": 500}, "doc_stride"),
        ({"word_boxes": WORD_BOXES, "max_seq_len": 3}, "shorten the question"),
    ],
)
def test_pages_that_cannot_be_read(tmp_path: Path, parameters: dict[str, Any], told: str) -> None:
    task = "document-question-answering"
    engine = start(tiny_media.layoutlm(tmp_path), task)
    inputs = {"question": "¿Cuándo?", "image": text(tiny_media.encoded(PICTURES[0]))}
    with pytest.raises(BadRequest, match=told):
        prepared(engine, task, {"inputs": inputs, "parameters": parameters})


def test_donut_looks_and_writes(tmp_path: Path) -> None:
    task = "document-question-answering"
    path = tiny_media.donut(tmp_path)
    engine = start(path, task)
    question = "¿Cuál es el total?"
    answer = ask(
        engine, task, {"inputs": {"question": question, "image": text(tiny_media.encoded(PICTURES[0]))}}
    )
    model = transformers.VisionEncoderDecoderModel.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    prompt = f"<s_docvqa><s_question>{question}</s_question><s_answer>"
    start_ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    ids = model.generate(
        processor(PICTURES[0], return_tensors="pt").pixel_values,
        decoder_input_ids=start_ids,
        max_length=96,
    )
    written = tokenizer.decode(ids[0, start_ids.shape[1] :], skip_special_tokens=True)
    expected = re.sub("<[^>]+>", "", written.split("</s_answer>", maxsplit=1)[0])
    assert answer == [{"answer": expected.strip()}]
    assert answer[0]["answer"]
    for inputs, told in (
        ({"question": question}, "inputs.image"),
        ({"question": "palabra " * 200, "image": text(tiny_media.encoded(PICTURES[0]))}, "shorten"),
        ({"question": " ", "image": text(tiny_media.encoded(PICTURES[0]))}, "empty"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, task, {"inputs": inputs})


# Pictures and questions


def visual_bodies(question: str, picture: Any) -> list[dict[str, Any]]:
    data = text(tiny_media.encoded(picture))
    return [
        {"inputs": data, "parameters": {}, "question": question, "image": data},
        {"inputs": {"question": question, "image": data}},
    ]


def test_vilt_chooses_among_its_answers(tmp_path: Path) -> None:
    task = "visual-question-answering"
    path = tiny_media.vilt(tmp_path)
    engine = start(path, task)
    model = transformers.ViltForQuestionAnswering.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    inputs = tokenizer("¿Qué hay en la plaza?", return_tensors="pt")
    with torch.no_grad():
        scores = model(**inputs, **processor(PICTURES[1], return_tensors="pt")).logits[0].sigmoid()
    best = scores.topk(5)
    for body in visual_bodies("¿Qué hay en la plaza?", PICTURES[1]):
        answer = ask(engine, task, body)
        assert [entry["answer"] for entry in answer] == [
            model.config.id2label[i] for i in best.indices.tolist()
        ]
        assert [entry["score"] for entry in answer] == pytest.approx(best.values.tolist(), abs=CLOSE)


def test_blip_writes_its_answer(tmp_path: Path) -> None:
    task = "visual-question-answering"
    path = tiny_media.blip(tmp_path, answers=True)
    engine = start(path, task)
    model = transformers.BlipForQuestionAnswering.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    inputs = tokenizer("¿Qué hay en la plaza?", return_tensors="pt", return_token_type_ids=False)
    ids = model.generate(
        **inputs,
        pixel_values=processor(PICTURES[2], return_tensors="pt").pixel_values,
        max_new_tokens=63,
    )
    expected = tokenizer.decode(ids[0], skip_special_tokens=True).strip()
    for body in visual_bodies("¿Qué hay en la plaza?", PICTURES[2]):
        assert ask(engine, task, body) == [{"answer": expected, "score": None}]


def test_questions_about_a_picture_that_are_none(tmp_path: Path) -> None:
    engine = start(tiny_media.vilt(tmp_path), "visual-question-answering")
    data = text(tiny_media.encoded(PICTURES[0]))
    for body, told in (
        ({"inputs": data}, "question"),
        ({"inputs": data, "question": ""}, "empty"),
        ({"inputs": data, "question": "palabra " * 60}, "at most 40"),
        ({"inputs": "http://example.org/a.png", "question": "¿?"}, "fetches nothing"),
        ({"inputs": text(b"texto"), "question": "¿?"}, "it is the text"),
        ({"inputs": data, "question": "¿?", "parameters": {"top_k": -1}}, "top_k"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "visual-question-answering", body)
