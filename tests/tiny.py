"""Real models of a few hundred kilobytes, with tokenizers trained on the spot, as trainers leave them.

Weights are random but seeded and spread wide, so that answers differ from one another and are the same on
every run. Nothing is fetched. Each builder writes one folder and gives its path back.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SENTENCES = (
    "La convocatoria de becas abre el 3 de marzo y cierra el 28 de abril.",
    "Clara estudia medicina en Sevilla y pide una beca de transporte.",
    "¿Cuándo puedo presentar la solicitud y qué documentos necesito?",
    "El importe de la ayuda es de 1.200 euros por curso académico.",
    "La vivienda del estudiante tiene que estar lejos de la universidad.",
    "Hay que adjuntar el certificado de notas y la declaración de la renta.",
    "El comedor cierra a las cuatro; la biblioteca, a las nueve de la noche.",
    "Me encanta este programa: me ha cambiado la vida.",
    "No estoy de acuerdo con la resolución y voy a reclamar.",
    "Los niños juegan al fútbol en la plaza mientras llueve.",
    "Translate English to Spanish: the scholarship opens in March.",
    "system user assistant: hola, ¿qué tal? Muy bien, gracias.",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WIDTH = 32
LAYERS = 2
HEADS = 4


def text(tokens: int, seed: int = 0) -> str:
    """A text of about `tokens` words, always the same for the same seed."""
    words = " ".join(SENTENCES).split()
    return " ".join(words[(seed + 7 * i + i // 11) % len(words)] for i in range(tokens))


def wordpiece(path: Path, *, positions: int = 512) -> Any:
    """BERT's tokenizer with a vocabulary of its own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import BertTokenizer

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=320, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    bert = BertTokenizer(vocab=tokenizer.get_vocab(), model_max_length=positions)
    bert.save_pretrained(path)
    return bert


def byte_pairs(
    path: Path, *, special: Sequence[str], frame: bool = False, vocabulary: int = 600, **named: Any
) -> Any:
    """A byte-level tokenizer; `frame` puts `<s> … </s>` around texts as RoBERTa does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.decoder = decoders.ByteLevel()
    if frame:
        ends = ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.RobertaProcessing(
            *ends, trim_offsets=True, add_prefix_space=False
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    fast.save_pretrained(path)
    return fast


def unigram(path: Path, *, extra: Iterable[str] = (), **named: Any) -> Any:
    """A tokenizer in the manner of T5: pieces of a unigram model, `</s>` at the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "</s>", "<unk>", "<s>", *extra]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", **named
    )
    fast.save_pretrained(path)
    return fast


def save(model: Any, path: Path) -> Path:
    """Spread the random weights out (as initialised, all answers would be nearly alike) and write them."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.mul_(6)
    model.eval().save_pretrained(path)
    return path


_ENCODER_HEADS = {
    "text-classification": "AutoModelForSequenceClassification",
    "zero-shot-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "fill-mask": "AutoModelForMaskedLM",
    "feature-extraction": "AutoModel",
    "sentence-similarity": "AutoModel",
}


def encoder(
    path: Path,
    *,
    arch: str = "bert",
    task: str = "text-classification",
    labels: Sequence[str] = ("negativo", "positivo"),
    positions: int = 256,
    **more: Any,
) -> Path:
    """An encoder of a family (`bert`, `distilbert`, `electra`, `roberta`, `longformer`, ...) with a head."""
    import torch
    import transformers

    torch.manual_seed(7)
    if arch in ("roberta", "longformer", "xlm-roberta", "camembert"):
        tokenizer = byte_pairs(
            path,
            special=("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
            frame=True,
            bos_token="<s>",
            cls_token="<s>",
            pad_token="<pad>",
            eos_token="</s>",
            sep_token="</s>",
            unk_token="<unk>",
            mask_token="<mask>",
            model_max_length=positions,
        )
        more = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **more}
        rows = positions + 2
    else:
        tokenizer = wordpiece(path, positions=positions)
        rows = positions
    sizes = {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 2 * WIDTH,
    }
    if arch == "distilbert":
        sizes = {"dim": WIDTH, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": 2 * WIDTH}
    if arch == "electra":
        sizes["embedding_size"] = WIDTH
    config = transformers.AutoConfig.for_model(
        arch,
        vocab_size=len(tokenizer),
        max_position_embeddings=rows,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        **sizes,
        **more,
    )
    return save(getattr(transformers, _ENCODER_HEADS[task]).from_config(config), path)


def bert(
    path: Path,
    *,
    task: str = "text-classification",
    labels: Sequence[str] = ("negativo", "positivo"),
    positions: int = 256,
    **more: Any,
) -> Path:
    return encoder(path, arch="bert", task=task, labels=labels, positions=positions, **more)


def phobert(path: Path) -> Path:
    """A model whose tokenizer is Python code: one token for each character, marked when a word goes on."""
    import torch
    import transformers

    torch.manual_seed(7)
    path.mkdir(parents=True, exist_ok=True)
    signs = sorted(set("".join(SENTENCES)) - {" "})
    (path / "vocab.txt").write_text("".join(f"{sign}@@ 1\n{sign} 1\n" for sign in signs))
    (path / "bpe.codes").write_text("#version: 0.2\n")
    tokenizer = transformers.PhobertTokenizer(str(path / "vocab.txt"), str(path / "bpe.codes"))
    tokenizer.save_pretrained(path)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=258,
        pad_token_id=1,
        type_vocab_size=1,
        id2label={0: "O", 1: "B-PER", 2: "I-PER"},
    )
    return save(transformers.RobertaForTokenClassification(config), path)


def longformer_qa(path: Path, *, positions: int = 4096, window: int = 64) -> Path:
    return encoder(
        path, arch="longformer", task="question-answering", positions=positions, attention_window=window
    )


_CAUSAL_TOKENS = ("<unk>", "<|im_start|>", "<|im_end|>", "<pad>")
_CAUSAL_SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 256},
    "falcon": {
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": 256,
    },
}
_CAUSAL_DEFAULT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "max_position_embeddings": 256,
}


def causal(
    path: Path, *, arch: str = "llama", chat: bool = True, classes: Sequence[str] = (), **more: Any
) -> Path:
    """A decoder of a family (`llama`, `qwen2`, `falcon`, `gpt2`, ...); with `classes` it classifies."""
    import torch
    import transformers

    torch.manual_seed(11)
    named = {"eos_token": "<|im_end|>", "pad_token": "<pad>", "unk_token": "<unk>"}
    tokenizer = byte_pairs(path, special=_CAUSAL_TOKENS, **named)
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(path)
    if classes:
        more = {"id2label": dict(enumerate(classes)), **more}
    settings = {
        "vocab_size": len(tokenizer),
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 3,
        **_CAUSAL_SIZES.get(arch, _CAUSAL_DEFAULT),
        **more,
    }
    config = transformers.AutoConfig.for_model(arch, **settings)
    head = "AutoModelForSequenceClassification" if classes else "AutoModelForCausalLM"
    return save(getattr(transformers, head).from_config(config), path)


_SEQ2SEQ_SIZES: dict[str, Any] = {
    "d_model": WIDTH,
    "encoder_layers": LAYERS,
    "decoder_layers": LAYERS,
    "encoder_attention_heads": HEADS,
    "decoder_attention_heads": HEADS,
    "encoder_ffn_dim": 2 * WIDTH,
    "decoder_ffn_dim": 2 * WIDTH,
    "max_position_embeddings": 64,
}


def seq2seq(path: Path, *, arch: str = "bart", **more: Any) -> Path:
    """An encoder-decoder of a family: `bart`, `led`, `pegasus`, `t5`."""
    import torch
    import transformers

    torch.manual_seed(13)
    tokenizer = unigram(path, model_max_length=10**6)
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    }
    if arch in ("t5", "mt5"):
        settings |= {"d_model": WIDTH, "d_kv": 8, "d_ff": 2 * WIDTH, "num_layers": LAYERS, "num_heads": HEADS}
    else:
        settings |= {**_SEQ2SEQ_SIZES, "bos_token_id": 3, "forced_eos_token_id": 1}
    if arch == "led":
        del settings["max_position_embeddings"]
        settings |= {
            "max_encoder_position_embeddings": 512,
            "max_decoder_position_embeddings": 64,
            "attention_window": [16] * LAYERS,
        }
    config = transformers.AutoConfig.for_model(arch, **settings, **more)
    return save(transformers.AutoModelForSeq2SeqLM.from_config(config), path)


def marian(path: Path) -> Path:
    """A Marian model with its own two sentencepiece tokenizers, as translation models come."""
    import torch
    import transformers

    torch.manual_seed(13)
    path.mkdir(parents=True, exist_ok=True)
    pieces = sentencepieces(path / "source.spm")
    (path / "target.spm").write_bytes((path / "source.spm").read_bytes())
    vocabulary = {piece: i for i, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer"}))
    padding = len(vocabulary) - 1
    config = transformers.MarianConfig(
        **_SEQ2SEQ_SIZES,
        vocab_size=len(vocabulary),
        pad_token_id=padding,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=padding,
    )
    return save(transformers.MarianMTModel(config), path)


def sentencepieces(path: Path) -> list[str]:
    """Train a sentencepiece model into `path`; its pieces but for the control ones."""
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=200,
        hard_vocab_limit=False,
        minloglevel=9,
    )
    path.write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(i) for i in range(processor.get_piece_size())]
    return [piece for piece in pieces if not piece.startswith("<")]


def nllb(path: Path, *, languages: Sequence[str] = ("eng_Latn", "spa_Latn", "fra_Latn")) -> Path:
    """A model of many languages, each with a token of its own, in the manner of NLLB."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    torch.manual_seed(13)
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    state = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in state["merges"]]
    made = transformers.NllbTokenizer(
        vocab=state["vocab"], merges=merges, src_lang="eng_Latn", extra_special_tokens=list(languages)
    )
    made.save_pretrained(path)
    config = transformers.M2M100Config(
        **_SEQ2SEQ_SIZES,
        vocab_size=len(made),
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
    )
    return save(transformers.M2M100ForConditionalGeneration(config), path)


def lora(path: Path, *, base: Path, task_type: str = "SEQ_CLS", targets: Sequence[str] = ("query",)) -> Path:
    """A LoRA adapter on `base` whose matrices are not zero: as after some training."""
    import peft
    import torch
    import transformers

    torch.manual_seed(17)
    head = {
        "SEQ_CLS": "AutoModelForSequenceClassification",
        "CAUSAL_LM": "AutoModelForCausalLM",
        "TOKEN_CLS": "AutoModelForTokenClassification",
        "QUESTION_ANS": "AutoModelForQuestionAnswering",
    }[task_type]
    model = getattr(transformers, head).from_pretrained(base)
    config = peft.LoraConfig(task_type=task_type, r=4, lora_alpha=16, target_modules=list(targets))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft calls what transformers means to rename
        adapted = peft.get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
            elif "modules_to_save" in name and parameter.dim() > 1:
                parameter.mul_(20)
    adapted.save_pretrained(path)
    return path
