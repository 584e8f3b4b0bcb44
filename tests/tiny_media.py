"""Real models for images, recordings and pages, of a few hundred kilobytes, as trainers leave them.

Weights are random but seeded and spread out, so that answers differ and are the same on every run. Nothing is
fetched. Each builder writes one folder and gives its path back.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tiny

ANIMALS = ("gato", "perro", "caballo", "vaca", "oveja", "cabra", "gallina")
SIDE = 32
RATE = 16_000
_SIZES = {
    "hidden_size": tiny.WIDTH,
    "num_hidden_layers": tiny.LAYERS,
    "num_attention_heads": tiny.HEADS,
    "intermediate_size": 2 * tiny.WIDTH,
}


# Inputs


def picture(width: int = 48, height: int = 40, seed: int = 0) -> Any:
    """A picture with shapes and some grain, always the same for the same seed."""
    from PIL import Image

    rows, columns = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(seed).integers(0, 40, (height, width, 3))
    channels = [
        (rows * 7 + seed * 31) % 216,
        (columns * 5 + rows) % 216,
        ((rows - 9) ** 2 + (columns - 17) ** 2) % 216,
    ]
    return Image.fromarray((np.stack(channels, axis=-1) + grain).astype(np.uint8))


def encoded(image: Any, kind: str = "PNG", **how: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return buffer.getvalue()


def sound(seconds: float = 1.0, *, rate: int = RATE, seed: int = 0) -> Any:
    """Tones that glide and come and go, with some noise: float32 samples."""
    time = np.arange(round(seconds * rate)) / rate
    tones = np.sin(2 * np.pi * (220 + 60 * seed) * time * (1 + 0.3 * np.sin(3 * time)))
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time))
    return (0.4 * tones * (0.5 + 0.5 * np.sin(5 * time)) + noise).astype(np.float32)


def recorded(samples: Any, *, rate: int = RATE, kind: str = "FLAC", subtype: str | None = None) -> bytes:
    """The samples as a file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


# Images


def vit(path: Path, *, labels: Sequence[str] = ANIMALS, **more: Any) -> Path:
    import transformers as t

    _seed()
    config = t.ViTConfig(**_SIZES, **_names(labels), image_size=SIDE, patch_size=8, **more)
    t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    return tiny.save(t.ViTForImageClassification(config), path)


def yolos(path: Path) -> Path:
    import transformers as t

    _seed()
    config = t.YolosConfig(
        **_SIZES, **_names(ANIMALS), image_size=[SIDE, SIDE], patch_size=8, num_detection_tokens=6
    )
    t.YolosImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 48}).save_pretrained(path)
    model = t.YolosForObjectDetection(config)
    model.vit.embeddings.detection_tokens.data.normal_()
    return tiny.save(model, path)


def detr(path: Path, *, segments: bool = False) -> Path:
    import transformers as t

    _seed()
    config = t.DetrConfig(
        backbone_config=_resnet(),
        use_timm_backbone=False,
        backbone=None,
        use_pretrained_backbone=False,
        d_model=tiny.WIDTH,
        num_queries=6,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        encoder_ffn_dim=2 * tiny.WIDTH,
        decoder_ffn_dim=2 * tiny.WIDTH,
        **_names(ANIMALS),
    )
    t.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(path)
    model = (t.DetrForSegmentation if segments else t.DetrForObjectDetection)(config)
    inner = model.detr if segments else model
    inner.model.query_position_embeddings.weight.data.mul_(20)
    inner.class_labels_classifier.weight.data.mul_(6)
    inner.class_labels_classifier.bias.data[-1] = -30  # seldom "nothing there"
    return tiny.save(model, path)


def segformer(path: Path) -> Path:
    import transformers as t

    _seed()
    config = t.SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=32,
        **_names(ANIMALS),
    )
    t.SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(path)
    return tiny.save(t.SegformerForSemanticSegmentation(config), path)


def maskformer(path: Path) -> Path:
    import transformers as t

    _seed()
    backbone = t.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    decoder = t.DetrConfig(
        d_model=tiny.WIDTH,
        num_queries=6,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=tiny.HEADS,
        decoder_attention_heads=tiny.HEADS,
        decoder_ffn_dim=2 * tiny.WIDTH,
    )
    config = t.MaskFormerConfig(
        backbone_config=backbone,
        decoder_config=decoder,
        fpn_feature_size=32,
        mask_feature_size=32,
        **_names(ANIMALS),
    )
    t.MaskFormerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(path)
    model = t.MaskFormerForInstanceSegmentation(config)
    model.class_predictor.weight.data.mul_(12)
    model.class_predictor.bias.data[-1] = -30  # seldom "nothing there"
    return tiny.save(model, path)


def captioner(path: Path) -> Path:
    """ViT and GPT-2, the classic of captions."""
    import transformers as t

    _seed()
    tokenizer = tiny.byte_pairs(path, special=("<unk>", "<s>", "</s>"), eos_token="</s>", bos_token="<s>")
    encoder = t.ViTConfig(**_SIZES, image_size=SIDE, patch_size=8)
    decoder = t.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=tiny.WIDTH,
        n_layer=tiny.LAYERS,
        n_head=tiny.HEADS,
        n_positions=64,
        add_cross_attention=True,
        is_decoder=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 2
    t.ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    model = t.VisionEncoderDecoderModel(config)
    _generation(model, decoder_start_token_id=1, eos_token_id=2, pad_token_id=2)
    return tiny.save(model, path)


def blip(path: Path, *, answers: bool = False) -> Path:
    """BLIP, which captions, or with `answers` replies to questions."""
    import transformers as t

    _seed()
    tokenizer = tiny.wordpiece(path, positions=64)
    text = {
        "vocab_size": len(tokenizer),
        "encoder_hidden_size": tiny.WIDTH,
        "max_position_embeddings": 64,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = t.BlipConfig(
        text_config={**_SIZES, **text},
        vision_config={**_SIZES, "image_size": SIDE, "patch_size": 8},
        projection_dim=tiny.WIDTH,
    )
    t.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    head = t.BlipForQuestionAnswering if answers else t.BlipForConditionalGeneration
    return tiny.save(head(config), path)


def git(path: Path) -> Path:
    import transformers as t

    _seed()
    tokenizer = tiny.wordpiece(path, positions=64)
    config = t.GitConfig(
        **_SIZES,
        vocab_size=len(tokenizer),
        max_position_embeddings=64,
        vision_config={**_SIZES, "image_size": SIDE, "patch_size": 8},
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    t.CLIPImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    ).save_pretrained(path)
    return tiny.save(t.GitForCausalLM(config), path)


def blip2(path: Path) -> Path:
    import transformers as t

    _seed()
    tokenizer = tiny.byte_pairs(
        path, special=("<pad>", "</s>", "<image>"), eos_token="</s>", pad_token="<pad>", bos_token="</s>"
    )
    text = {
        "model_type": "opt",
        "vocab_size": len(tokenizer),
        "hidden_size": tiny.WIDTH,
        "word_embed_proj_dim": tiny.WIDTH,
        "ffn_dim": 2 * tiny.WIDTH,
        "num_hidden_layers": tiny.LAYERS,
        "num_attention_heads": tiny.HEADS,
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    config = t.Blip2Config(
        vision_config={**_SIZES, "image_size": SIDE, "patch_size": 8},
        qformer_config={**_SIZES, "vocab_size": 50, "encoder_hidden_size": tiny.WIDTH},
        text_config=text,
        num_query_tokens=4,
        image_token_index=2,
    )
    t.BlipImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(path)
    return tiny.save(t.Blip2ForConditionalGeneration(config), path)


def pix2struct(path: Path) -> Path:
    """Reads an image of any shape as a list of patches."""
    import transformers as t

    _seed()
    tokenizer = tiny.unigram(path)
    sizes = {"hidden_size": tiny.WIDTH, "d_kv": 8, "d_ff": 2 * tiny.WIDTH}
    text = {"num_layers": tiny.LAYERS, "num_heads": tiny.HEADS, "pad_token_id": 0, "eos_token_id": 1}
    config = t.Pix2StructConfig(
        text_config={**sizes, **text, "vocab_size": len(tokenizer), "decoder_start_token_id": 0},
        vision_config={
            **sizes,
            "patch_embed_hidden_size": 768,
            "num_hidden_layers": tiny.LAYERS,
            "num_attention_heads": tiny.HEADS,
        },
    )
    t.Pix2StructImageProcessorPil(max_patches=64).save_pretrained(path)
    model = t.Pix2StructForConditionalGeneration(config)
    _generation(model, decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)
    return tiny.save(model, path)


def vit_adapter(path: Path, *, base: Path) -> Path:
    """A LoRA adapter on a ViT, with a head of its own, as after some training."""
    import warnings

    import peft
    import transformers as t

    _seed()
    model = t.AutoModelForImageClassification.from_pretrained(base)
    config = peft.LoraConfig(r=2, lora_alpha=16, target_modules=["q_proj"], modules_to_save=["classifier"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls what transformers means to rename
        adapted = peft.get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or ("modules_to_save" in name and parameter.dim() > 1):
            parameter.data.normal_(std=0.5)
    adapted.save_pretrained(path)
    return path


def vilt(path: Path) -> Path:
    import transformers as t

    _seed()
    tokenizer = tiny.wordpiece(path, positions=40)
    config = t.ViltConfig(
        **_SIZES,
        **_names(("sí", "no", "rojo", "dos", "una plaza", "un gato")),
        vocab_size=len(tokenizer),
        image_size=SIDE,
        patch_size=8,
        max_position_embeddings=40,
    )
    t.ViltImageProcessorPil(size={"shortest_edge": SIDE}, size_divisor=8).save_pretrained(path)
    return tiny.save(t.ViltForQuestionAnswering(config), path)


# Recordings


def wav2vec2(path: Path, *, labels: Sequence[str] = (), long_form: bool = False) -> Path:
    """Letters for frames; with `labels` a classifier. `long_form`: the variant that is told of padding."""
    import transformers as t

    _seed()
    config: dict[str, Any] = {
        **_SIZES,
        "conv_dim": (16, 16, 16),
        "conv_kernel": (10, 8, 4),
        "conv_stride": (10, 8, 4),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer" if long_form else "group",
    }
    t.Wav2Vec2FeatureExtractor(return_attention_mask=long_form).save_pretrained(path)
    if labels:
        named = t.Wav2Vec2Config(**config, **_names(labels), classifier_proj_size=16)
        return tiny.save(t.Wav2Vec2ForSequenceClassification(named), path)
    letters = ("<pad>", "<s>", "</s>", "<unk>", "|", *"aábcdeéfghiíjklmnñoópqrstuúvwxyz")
    path.mkdir(parents=True, exist_ok=True)
    vocabulary = path / "vocab.json"
    vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate(letters)}), encoding="utf-8")
    t.Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(path)
    return tiny.save(t.Wav2Vec2ForCTC(t.Wav2Vec2Config(**config, vocab_size=len(letters))), path)


def spectrogram(path: Path) -> Path:
    """The Audio Spectrogram Transformer, which sees sound as an image."""
    import transformers as t

    _seed()
    t.ASTFeatureExtractor(max_length=128, num_mel_bins=32).save_pretrained(path)
    config = t.ASTConfig(**_SIZES, **_names(ANIMALS), max_length=128, num_mel_bins=32)
    return tiny.save(t.ASTForAudioClassification(config), path)


def moonshine(path: Path) -> Path:
    """Hears a recording in one piece and writes."""
    import transformers as t

    _seed()
    special = ("<unk>", "<s>", "</s>")
    tokenizer = tiny.byte_pairs(path, special=special, eos_token="</s>", bos_token="<s>")
    t.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=True).save_pretrained(path)
    config = t.MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=tiny.WIDTH,
        intermediate_size=2 * tiny.WIDTH,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=tiny.HEADS,
        decoder_num_attention_heads=tiny.HEADS,
        max_position_embeddings=64,
        decoder_start_token_id=1,
    )
    return tiny.save(t.MoonshineForConditionalGeneration(config), path)


def whisper(path: Path) -> Path:
    """With the special tokens, the languages and the times that Whisper's vocabulary ends with."""
    import transformers as t

    _seed()
    languages = ("en", "es", "gl")
    special = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in languages),
        *("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"),
        "<|notimestamps|>",
    ]
    base = tiny.byte_pairs(path, special=(), vocabulary=300)
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    model = json.loads(base.backend_tokenizer.to_str())["model"]
    pairs = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    tokenizer = t.WhisperTokenizer(vocab=model["vocab"], merges=pairs, unk_token="<|endoftext|>")
    tokenizer.add_tokens([t.AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([t.AddedToken(token, special=False, normalized=False) for token in times])
    tokenizer.save_pretrained(path)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in special}
    extractor = t.WhisperFeatureExtractor(feature_size=20)
    extractor.save_pretrained(path)
    config = t.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=20,
        d_model=tiny.WIDTH,
        encoder_layers=tiny.LAYERS,
        decoder_layers=tiny.LAYERS,
        encoder_attention_heads=tiny.HEADS,
        decoder_attention_heads=tiny.HEADS,
        encoder_ffn_dim=2 * tiny.WIDTH,
        decoder_ffn_dim=2 * tiny.WIDTH,
        max_source_positions=1500,
        max_target_positions=64,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
    )
    network = t.WhisperForConditionalGeneration(config)
    _generation(
        network,
        is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in languages},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        alignment_heads=[[0, 1], [1, 2]],
        max_length=48,
        max_initial_timestamp_index=50,
    )
    return tiny.save(network, path)


# Tables and pages


def tapas(path: Path, *, aggregates: bool = True) -> Path:
    import transformers as t

    _seed()
    fast = tiny.wordpiece(path, positions=128)
    vocabulary = dict(fast.get_vocab())
    vocabulary["[EMPTY]"] = len(vocabulary)
    file = path / "vocab.txt"
    file.write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n", encoding="utf-8")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).unlink()
    t.TapasTokenizer(str(file), model_max_length=128).save_pretrained(path)
    names = ("NONE", "SUM", "AVERAGE", "COUNT") if aggregates else ()
    config = t.TapasConfig(
        **_SIZES,
        vocab_size=len(vocabulary),
        max_position_embeddings=128,
        num_aggregation_labels=len(names),
        aggregation_labels=dict(enumerate(names)) or None,
        no_aggregation_label_index=0 if names else None,
    )
    model = t.TapasForQuestionAnswering(config)
    model.output_bias.data.fill_(4.0)  # so that cells are chosen, whatever the vocabulary became
    return tiny.save(model, path)


def layoutlm(path: Path, *, positions: int = 128) -> Path:
    import transformers as t

    _seed()
    tokenizer = tiny.wordpiece(path, positions=positions)
    config = t.LayoutLMConfig(**_SIZES, vocab_size=len(tokenizer), max_position_embeddings=positions)
    return tiny.save(t.LayoutLMForQuestionAnswering(config), path)


def layoutlmv3(path: Path, *, positions: int = 128) -> Path:
    """Looks at the page as well as at its words."""
    import transformers as t

    _seed()
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    pairs = json.loads(tiny.byte_pairs(path, special=special).backend_tokenizer.to_str())["model"]
    merges = [tuple(pair) for pair in pairs["merges"]]
    tokenizer = t.LayoutLMv3Tokenizer(vocab=pairs["vocab"], merges=merges, model_max_length=positions)
    tokenizer.save_pretrained(path)
    config = t.LayoutLMv3Config(
        **_SIZES,
        vocab_size=len(tokenizer),
        max_position_embeddings=positions + 2,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        input_size=SIDE,
        patch_size=8,
        coordinate_size=5,
        shape_size=6,
    )
    size = {"height": SIDE, "width": SIDE}
    t.LayoutLMv3ImageProcessorPil(apply_ocr=True, size=size).save_pretrained(path)
    return tiny.save(t.LayoutLMv3ForQuestionAnswering(config), path)


def donut(path: Path) -> Path:
    """A page reader that writes, with Donut's marks in its vocabulary."""
    import transformers as t

    _seed()
    marks = ["<s_docvqa>", "<s_question>", "</s_question>", "<s_answer>", "</s_answer>"]
    special = ("<s>", "<pad>", "</s>", "<unk>")
    tokenizer = tiny.byte_pairs(
        path, special=special, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.add_tokens(marks)
    tokenizer.save_pretrained(path)
    encoder = t.DonutSwinConfig(
        image_size=[64, 64], embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4, patch_size=4
    )
    decoder = t.MBartConfig(
        vocab_size=len(tokenizer),
        d_model=tiny.WIDTH,
        decoder_layers=tiny.LAYERS,
        decoder_attention_heads=tiny.HEADS,
        decoder_ffn_dim=2 * tiny.WIDTH,
        max_position_embeddings=96,
        is_decoder=True,
        add_cross_attention=True,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    config = t.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.eos_token_id, config.pad_token_id = 0, 2, 1
    t.DonutImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(path)
    model = t.VisionEncoderDecoderModel(config)
    _generation(model, decoder_start_token_id=0, eos_token_id=2, pad_token_id=1)
    return tiny.save(model, path)


def _names(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def _resnet() -> Any:
    import transformers as t

    return t.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def _generation(model: Any, **settings: Any) -> None:
    import transformers as t

    model.generation_config = t.GenerationConfig(**settings)


def _seed() -> None:
    import torch

    torch.manual_seed(23)
