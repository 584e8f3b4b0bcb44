"""Images through torch, against a pipeline or the same models run by hand."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, pipeline

import tiny_media
from engine_calls import (
    CLOSE,
    PICTURES,
    ask,
    ask_together,
    assert_same_scores,
    body_of,
    prepared,
    start,
    text,
)
from lanza.engines.base import BatchEngine
from lanza.errors import BadRequest, LanzaError, ModelError, UnsupportedMedia
from lanza.tasks.image import MAX_PIXELS


def mask_of(segment: dict[str, Any]) -> Any:
    image = Image.open(io.BytesIO(base64.b64decode(segment["mask"])))
    assert image.mode == "L"
    return np.asarray(image)


def test_an_image_is_classified_as_by_the_pipeline(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path)
    engine = start(path, "image-classification")
    assert isinstance(engine, BatchEngine)
    reference = pipeline("image-classification", str(path), device="cpu")
    answers = [ask(engine, "image-classification", tiny_media.encoded(picture)) for picture in PICTURES]
    for picture, answer in zip(PICTURES, answers, strict=True):
        assert_same_scores(answer, reference(picture))
    assert len({answer[0]["score"] for answer in answers}) == len(PICTURES)


def test_images_of_other_sizes_share_a_batch_and_keep_their_parameters(tmp_path: Path) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    bodies: list[Any] = [
        {"inputs": text(tiny_media.encoded(picture)), "parameters": {"top_k": top_k}}
        for picture, top_k in zip(PICTURES, (1, 7, None), strict=True)
    ]
    together = ask_together(engine, "image-classification", bodies)
    assert [len(answer) for answer in together] == [1, 7, 5]
    for body, answer in zip(bodies, together, strict=True):
        assert_same_scores(answer, ask(engine, "image-classification", body))


def test_a_model_of_several_labels_at_once_has_independent_scores(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path, problem_type="multi_label_classification")
    engine = start(path, "image-classification")
    data = text(tiny_media.encoded(PICTURES[0]))
    answer = ask(engine, "image-classification", {"inputs": data, "parameters": {"top_k": 7}})
    raw = ask(
        engine,
        "image-classification",
        {"inputs": data, "parameters": {"top_k": 7, "function_to_apply": "none"}},
    )
    expected = [1 / (1 + np.exp(-entry["score"])) for entry in raw]
    assert [entry["score"] for entry in answer] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("build", [tiny_media.yolos, tiny_media.detr])
def test_objects_are_those_of_the_pipeline(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    path = build(tmp_path)
    engine = start(path, "object-detection")
    reference = pipeline("object-detection", str(path), device="cpu")
    for picture in PICTURES:
        body = {"inputs": text(tiny_media.encoded(picture)), "parameters": {"threshold": 0.05}}
        found = ask(engine, "object-detection", body)
        expected = sorted(reference(picture, threshold=0.05), key=lambda entry: -entry["score"])
        assert len(found) == 6
        assert_same_scores(found, expected)
        assert [entry["box"] for entry in found] == [entry["box"] for entry in expected]
    unasked = ask(engine, "object-detection", tiny_media.encoded(PICTURES[0]))
    assert unasked == ask(engine, "object-detection", body_of(PICTURES[0], threshold=0.5))


@pytest.mark.parametrize("subtask", ["panoptic", "instance", "semantic"])
@pytest.mark.parametrize("segments", [False, True], ids=["maskformer", "detr"])
def test_segments_are_those_of_the_pipeline(tmp_path: Path, segments: bool, subtask: str) -> None:
    path = tiny_media.detr(tmp_path, segments=True) if segments else tiny_media.maskformer(tmp_path)
    engine = start(path, "image-segmentation")
    reference = pipeline("image-segmentation", str(path), device="cpu")
    wishes = {
        "subtask": subtask,
        "threshold": 0.2,
        "mask_threshold": 0.4,
        "overlap_mask_area_threshold": 0.1,
    }
    found = ask(engine, "image-segmentation", body_of(PICTURES[1], **wishes))
    expected = reference(PICTURES[1], **wishes)
    assert found
    found_by_score = sorted(found, key=lambda entry: (-(entry["score"] or 0), entry["label"]))
    expected.sort(key=lambda entry: (-(entry["score"] or 0), entry["label"]))
    for segment, other in zip(found_by_score, expected, strict=True):
        assert segment["label"] == other["label"]
        assert segment["score"] == (other["score"] and pytest.approx(other["score"], abs=CLOSE))
        assert mask_of(segment).shape == (33, 90)
        assert (mask_of(segment) == np.asarray(other["mask"])).mean() > 0.999


def test_a_semantic_model_does_that_and_nothing_else(tmp_path: Path) -> None:
    path = tiny_media.segformer(tmp_path)
    engine = start(path, "image-segmentation")
    found = ask(engine, "image-segmentation", tiny_media.encoded(PICTURES[0]))
    expected = pipeline("image-segmentation", str(path), device="cpu")(PICTURES[0])
    assert len(found) > 1
    assert [segment["label"] for segment in found] == [segment["label"] for segment in expected]
    for segment, other in zip(found, expected, strict=True):
        assert segment["score"] is None
        assert (mask_of(segment) == np.asarray(other["mask"])).all()
    assert (sum((mask_of(segment) > 0).astype(int) for segment in found) == 1).all()
    with pytest.raises(BadRequest, match="it does semantic"):
        prepared(engine, "image-segmentation", body_of(PICTURES[0], subtask="panoptic"))


def test_masks_of_a_photograph_are_scaled_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = start(tiny_media.segformer(tmp_path), "image-segmentation")
    exact = ask(engine, "image-segmentation", tiny_media.encoded(tiny_media.picture(300, 200)))
    monkeypatch.setattr("lanza.engines.transformers.segmentation.WORK", 7 * 75 * 50)
    coarse = ask(engine, "image-segmentation", tiny_media.encoded(tiny_media.picture(300, 200)))
    assert [segment["label"] for segment in coarse] == [segment["label"] for segment in exact]
    for segment, other in zip(coarse, exact, strict=True):
        assert mask_of(segment).shape == (200, 300)
        assert (mask_of(segment) == mask_of(other)).mean() > 0.95


@pytest.mark.parametrize(
    "build",
    [tiny_media.captioner, tiny_media.blip, tiny_media.git, tiny_media.blip2, tiny_media.pix2struct],
)
def test_captions_are_what_the_model_generates(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    path = build(tmp_path)
    engine = start(path, "image-to-text")
    model = transformers.AutoModelForImageTextToText.from_pretrained(path).eval()
    processor = AutoImageProcessor.from_pretrained(path, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(path)
    bodies: list[Any] = [body_of(picture, max_new_tokens=12) for picture in PICTURES]
    for picture, answer in zip(PICTURES, ask_together(engine, "image-to-text", bodies), strict=True):
        ids = model.generate(**processor(picture, return_tensors="pt"), max_new_tokens=12)
        expected = tokenizer.batch_decode(ids, skip_special_tokens=True)[0].strip()
        assert answer == [{"generated_text": expected}]
        assert expected


def test_an_adapter_is_served_on_its_base(tmp_path: Path) -> None:
    base = tiny_media.vit(tmp_path / "base")
    path = tiny_media.vit_adapter(tmp_path / "adapter", base=base)
    found = ask(start(path, "image-classification"), "image-classification", body_of(PICTURES[0], top_k=7))
    model = transformers.AutoModelForImageClassification.from_pretrained(base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls what transformers means to rename
        model = peft.PeftModel.from_pretrained(model, path).eval()
    pixels = AutoImageProcessor.from_pretrained(base, backend="pil")(PICTURES[0], return_tensors="pt")
    with torch.no_grad():
        expected = model(**pixels).logits[0].softmax(-1)
    by_label = {entry["label"]: entry["score"] for entry in found}
    assert [by_label[name] for name in tiny_media.ANIMALS] == pytest.approx(expected.tolist(), abs=CLOSE)
    plain = ask(start(base, "image-classification"), "image-classification", body_of(PICTURES[0], top_k=7))
    assert plain != found


def test_a_model_that_wants_a_prompt_is_refused(tmp_path: Path) -> None:
    path = tiny_media.blip(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "paligemma", "architectures": ["PaliGemmaForConditionalGeneration"]}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="prompt"):
        start(path, "image-to-text")


def test_generation_parameters_are_heard_and_bounded(tmp_path: Path) -> None:
    engine = start(tiny_media.captioner(tmp_path), "image-to-text")
    short = ask(engine, "image-to-text", body_of(PICTURES[0], generation_parameters={"max_new_tokens": 3}))
    long = ask(
        engine, "image-to-text", body_of(PICTURES[0], generate_kwargs={"max_new_tokens": 30, "num_beams": 2})
    )
    assert len(short[0]["generated_text"]) < len(long[0]["generated_text"])
    for parameters, told in (
        ({"max_new_tokens": 64}, "at most 63 tokens"),
        ({"max_new_tokens": 0}, "from 1 to"),
        ({"generation_parameters": {"num_beams": 1000}}, "num_beams"),
        ({"generation_parameters": {"top_p": 0.0}}, "above 0"),
        ({"generation_parameters": {"penalty_alpha": 0.6}}, "not served"),
        ({"generation_parameters": {"min_new_tokens": 9, "max_new_tokens": 3}}, "min_new_tokens"),
        ({"generation_parameters": {"bad_words_ids": [[1]]}}, "bad_words_ids"),
        ({"generation_parameters": {}, "generate_kwargs": {}}, "the same"),
    ):
        with pytest.raises(BadRequest, match=told):
            prepared(engine, "image-to-text", body_of(PICTURES[0], **parameters))


def _bomb() -> bytes:
    """A file of some kilobytes that would be gigabytes of pixels."""
    small = tiny_media.encoded(Image.new("1", (8, 8)))
    side = (40_000).to_bytes(4, "big")
    head = bytearray(small)
    head[16:24] = side + side
    import zlib

    head[29:33] = zlib.crc32(bytes(head[12:29])).to_bytes(4, "big")
    return bytes(head)


@pytest.mark.parametrize(
    ("data", "kind", "told"),
    [
        (b"hola, esto no es una imagen", UnsupportedMedia, "it is the text 'hola"),
        (b"https://example.org/gato.png", UnsupportedMedia, "it is the text 'https"),
        (b"\x00\x01\x02" * 50, UnsupportedMedia, "not an image"),
        (tiny_media.encoded(tiny_media.picture(300, 300))[:4000], BadRequest, "damaged"),
        (tiny_media.encoded(tiny_media.picture(300, 300), "JPEG")[:3000], BadRequest, "damaged"),
        (tiny_media.encoded(tiny_media.picture(300, 300), "WEBP")[:3000], BadRequest, "damaged"),
        (b"\x89PNG\r\n\x1a\n", LanzaError, "image"),
        (_bomb(), BadRequest, "pixels"),
        (tiny_media.encoded(Image.new("RGB", (3000, 4))), BadRequest, "times as long"),
        (tiny_media.recorded(tiny_media.sound(0.2)), UnsupportedMedia, "not an image"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_send(
    tmp_path: Path, data: bytes, kind: type[LanzaError], told: str
) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    bodies: list[Any] = [data, {"inputs": text(data)}]
    for body in bodies:
        with pytest.raises(kind, match=told) as refused:
            prepared(engine, "image-classification", body)
        assert 400 <= refused.value.status < 500
    assert ask(engine, "image-classification", tiny_media.encoded(PICTURES[0]))


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ("https://example.org/gato.png", "fetches nothing"),
        ("no es base64", "not base64"),
        ("", "empty"),
        ("data:image/png,abc", "without base64"),
        (["a", "b"], "must be a string"),
        (None, "must be a string"),
        (7, "must be a string"),
    ],
)
def test_inputs_that_are_no_upload(tmp_path: Path, inputs: Any, told: str) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    with pytest.raises(BadRequest, match=told):
        prepared(engine, "image-classification", {"inputs": inputs})


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (3, 1), (2, 40)])
def test_the_smallest_images_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    image = tiny_media.picture(*size)
    pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) / 127.5 - 1
    with torch.no_grad():
        expected = engine.model(torch.tensor(pixels).permute(2, 0, 1)[None].float()).logits.softmax(-1).max()
    answer = ask(engine, "image-classification", tiny_media.encoded(image))
    assert answer[0]["score"] == pytest.approx(expected.item(), abs=CLOSE)


@pytest.mark.parametrize(
    "parameters", [{"top_k": 0}, {"top_k": "dos"}, {"function_to_apply": "max"}, {"k": 1}]
)
def test_wrong_parameters_of_classification(tmp_path: Path, parameters: dict[str, Any]) -> None:
    engine = start(tiny_media.vit(tmp_path), "image-classification")
    with pytest.raises(BadRequest):
        prepared(engine, "image-classification", body_of(PICTURES[0], **parameters))


def test_a_threshold_is_a_probability(tmp_path: Path) -> None:
    engine = start(tiny_media.yolos(tmp_path), "object-detection")
    for threshold in (-0.1, 1.5):
        with pytest.raises(BadRequest, match="from 0 to 1"):
            prepared(engine, "object-detection", body_of(PICTURES[0], threshold=threshold))


def test_a_folder_without_its_image_processor_is_refused(tmp_path: Path) -> None:
    path = tiny_media.vit(tmp_path)
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match="image processor"):
        start(path, "image-classification")


def test_the_limit_on_pixels_is_below_what_pillow_calls_a_bomb() -> None:
    assert (Image.MAX_IMAGE_PIXELS or 0) > MAX_PIXELS
