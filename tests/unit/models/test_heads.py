from __future__ import annotations

from typing import Any

import pytest

from lanza.models.heads import TASKS, task_of_adapter, tasks_of

TEXT = {"vocab_size": 10}


@pytest.mark.parametrize(
    ("architecture", "config", "task"),
    [
        ("BertForSequenceClassification", {"model_type": "bert"}, "text-classification"),
        ("RobertaForTokenClassification", {"model_type": "roberta"}, "token-classification"),
        ("LongformerForQuestionAnswering", {"model_type": "longformer"}, "question-answering"),
        ("TapasForQuestionAnswering", {"model_type": "tapas"}, "table-question-answering"),
        ("LayoutLMv3ForQuestionAnswering", {"model_type": "layoutlmv3"}, "document-question-answering"),
        ("ViltForQuestionAnswering", {"model_type": "vilt"}, "visual-question-answering"),
        ("DebertaV2ForMaskedLM", {"model_type": "deberta-v2"}, "fill-mask"),
        ("FlaubertWithLMHeadModel", {"model_type": "flaubert"}, "fill-mask"),
        ("BertForPreTraining", {"model_type": "bert"}, "fill-mask"),
        ("Qwen2ForCausalLM", {"model_type": "qwen2"}, "text-generation"),
        ("GPT2LMHeadModel", {"model_type": "gpt2"}, "text-generation"),
        ("GitForCausalLM", {"model_type": "git"}, "image-to-text"),
        ("BertModel", {"model_type": "bert", **TEXT}, "feature-extraction"),
        ("T5EncoderModel", {"model_type": "t5", **TEXT}, "feature-extraction"),
        ("MarianMTModel", {"model_type": "marian"}, "translation"),
        ("M2M100ForConditionalGeneration", {"model_type": "m2m_100"}, "translation"),
        ("BartForConditionalGeneration", {"model_type": "bart"}, "summarization"),
        ("T5ForConditionalGeneration", {"model_type": "t5"}, "summarization"),
        ("EncoderDecoderModel", {"model_type": "encoder-decoder"}, "summarization"),
        ("WhisperForConditionalGeneration", {"model_type": "whisper"}, "automatic-speech-recognition"),
        ("Wav2Vec2ForCTC", {"model_type": "wav2vec2"}, "automatic-speech-recognition"),
        ("Wav2Vec2ForSequenceClassification", {"model_type": "wav2vec2"}, "audio-classification"),
        (
            "ASTForAudioClassification",
            {"model_type": "audio-spectrogram-transformer"},
            "audio-classification",
        ),
        ("ViTForImageClassification", {"model_type": "vit"}, "image-classification"),
        ("DetrForObjectDetection", {"model_type": "detr"}, "object-detection"),
        ("DetrForSegmentation", {"model_type": "detr"}, "image-segmentation"),
        ("SegformerForSemanticSegmentation", {"model_type": "segformer"}, "image-segmentation"),
        ("VisionEncoderDecoderModel", {"model_type": "vision-encoder-decoder"}, "image-to-text"),
        (
            "SpeechEncoderDecoderModel",
            {"model_type": "speech-encoder-decoder"},
            "automatic-speech-recognition",
        ),
        ("BlipForConditionalGeneration", {"model_type": "blip"}, "image-to-text"),
        # not served, and not mistaken for what is
        ("OwlViTForObjectDetection", {"model_type": "owlvit"}, None),
        ("LayoutLMv3ForTokenClassification", {"model_type": "layoutlmv3"}, None),
        ("Wav2Vec2Model", {"model_type": "wav2vec2", "vocab_size": 32}, None),
        ("ViTModel", {"model_type": "vit"}, None),
        ("BertForMultipleChoice", {"model_type": "bert"}, None),
        ("", {}, None),
        (None, {}, None),
    ],
)
def test_the_usual_task_of_an_architecture(
    architecture: str | None, config: dict[str, Any], task: str | None
) -> None:
    tasks = tasks_of(architecture, config)
    assert (tasks[0] if tasks else None) == task
    assert set(tasks) <= TASKS


@pytest.mark.parametrize(
    ("parameters", "task"),
    [
        ({"translation_en_to_de": {}}, "translation"),
        ({"translation_en_to_de": {}, "summarization": {}}, "summarization"),
        ({}, "summarization"),
        (None, "summarization"),
    ],
)
def test_a_t5_that_only_translates(parameters: object, task: str) -> None:
    config = {"model_type": "t5", "task_specific_params": parameters}
    assert tasks_of("T5ForConditionalGeneration", config)[0] == task


def test_adapters_name_their_task() -> None:
    assert task_of_adapter("CAUSAL_LM") == "text-generation"
    assert task_of_adapter("SEQ_2_SEQ_LM") is None  # its base says which
    assert task_of_adapter(None) is None
    assert task_of_adapter(["CAUSAL_LM"]) is None
