"""Train the teaching model from scratch, measure it, and write everything that a model repository holds.

    python train.py                # about half an hour on one busy core
    python train.py --quick        # half a minute, to see that all of it runs; the model knows nothing
    python train.py --measure      # score the model that is already there, and write its figures again

In order: writes the training text (`corpus.py`), trains a WordPiece tokenizer on it and a small BERT
(`learning.py`), scores it (`scoring.py`) and writes ``config.json``, ``model.safetensors``, the tokenizer,
``metrics.json`` and the figures of ``README.md``.

The same seed gives the same text, tokenizer and order; floating point may differ in the last figures from one
processor to another.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from corpus import Example, Writer
from learning import POSITIONS, Learner, Recipe, batches, rows, train, train_tokenizer
from phrasings import DATA, Phrasings
from scoring import Asked, Score, answer_all, read_asked, score
from tokenizers import Tokenizer
from transformers import BertForQuestionAnswering, PreTrainedTokenizerFast

HERE = Path(__file__).parent
SHORT = range(2, 5)  # sentences per context
MIXED = (*range(2, 9), *range(2, 9), *range(4, 17))
HELD_OUT = range(3, 17)

MEASURED = re.compile(r"<!-- metrics:start -->.*<!-- metrics:end -->", re.DOTALL)
CARD_NAMES = {
    "heldout_templates": "plantillas apartadas, valores nuevos · held-out templates, new values",
    "heldout_templates_known_phrasing": "— con frases conocidas · with known phrasings",
    "heldout_templates_new_phrasing": "— con frases nuevas · with new phrasings",
    "hand_written_heldout": "prosa a mano, solo para medir · hand-written test (`data/heldout.json`)",
    "hand_written_dev": "prosa a mano, optimista · hand-written dev, optimistic (`data/dev.json`)",
}


def write(writer: Writer, sizes: Sequence[int], count: int) -> Iterator[Example]:
    """``count`` examples; ``sizes`` are the lengths of context to choose from, in sentences."""
    written = (example for _ in itertools.count() for example in writer.examples(writer.rng.choice(sizes)))
    return itertools.islice(written, count)


def lessons(phrasings: Phrasings, recipe: Recipe) -> Iterator[Example]:
    """The training text, always the same: short contexts, then mixed ones."""
    writer = Writer(phrasings, "train", recipe.seed)
    yield from write(writer, SHORT, recipe.short_examples)
    yield from write(writer, MIXED, recipe.mixed_examples)


def teach(phrasings: Phrasings, recipe: Recipe) -> tuple[BertForQuestionAnswering, Tokenizer]:
    """A tokenizer and a model, trained on text that is written as it is needed."""
    sample = write(Writer(phrasings, "train", recipe.seed), MIXED, min(30_000, recipe.examples))
    tokenizer = train_tokenizer(sample)
    learner = Learner(tokenizer.get_vocab_size(), len(phrasings.kinds))
    chooser = random.Random(recipe.seed)
    examples = lessons(phrasings, recipe)
    chunks = iter(lambda: list(itertools.islice(examples, 4000)), [])
    groups = (
        group
        for chunk in chunks
        for group in batches(list(rows(tokenizer, chunk, phrasings.kinds)), recipe.tokens, chooser)
    )
    train(learner, groups, recipe)
    return learner.model, tokenizer


def measure(
    model: BertForQuestionAnswering, tokenizer: Tokenizer, heldout: Sequence[Example]
) -> dict[str, Score]:
    """Scores by set. The held-out examples are also split by whether their phrasing is new."""
    asked = [Asked(question=e.question, context=e.context, answers=(e.answer_text,)) for e in heldout]
    given = answer_all(model, tokenizer, asked)
    results = {"heldout_templates": score(asked, given)}
    for name, new in (("known", False), ("new", True)):
        part = [at for at, example in enumerate(heldout) if example.new_phrasing == new]
        scored = score([asked[at] for at in part], [given[at] for at in part])
        results[f"heldout_templates_{name}_phrasing"] = scored
    for name in ("heldout", "dev"):
        written = read_asked(DATA / f"{name}.json")
        results[f"hand_written_{name}"] = score(written, answer_all(model, tokenizer, written))
    return results


def fill_card(card: str, results: dict[str, Score], facts: dict[str, str]) -> str:
    """The card with its figures, between the markers, replaced by the measured ones."""
    lines = ["| conjunto · set | preguntas · questions | EM | F1 |", "|---|---:|---:|---:|"]
    lines += [
        f"| {name} | {results[key].questions} | {results[key].exact_match:.1%} | {results[key].f1:.1%} |"
        for key, name in CARD_NAMES.items()
    ]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())]
    block = "\n".join(["<!-- metrics:start -->", *lines, "<!-- metrics:end -->"])
    filled, count = MEASURED.subn(lambda _: block, card)
    if count != 1:
        raise ValueError("README.md must have one pair of metrics:start and metrics:end markers")
    return filled


def save(out: Path, model: BertForQuestionAnswering, tokenizer: Tokenizer) -> None:
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("unk", "pad", "cls", "sep", "mask")},
    ).save_pretrained(out)
    settings = out / "tokenizer_config.json"
    told = json.loads(settings.read_text("utf-8"))
    # The name that transformers 4 and 5 both know.
    told["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def load(folder: Path) -> tuple[BertForQuestionAnswering, Tokenizer]:
    model = BertForQuestionAnswering.from_pretrained(folder)
    return model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


def report(out: Path, results: dict[str, Score], recipe: Recipe, facts: dict[str, str]) -> None:
    """``metrics.json``, the card and the terminal say the same."""
    scores = {name: asdict(got) for name, got in results.items()}
    text = json.dumps(
        {"scores": scores, "facts": facts, "recipe": asdict(recipe)}, indent=2, ensure_ascii=False
    )
    (out / "metrics.json").write_text(text + "\n", "utf-8")
    card = (HERE / "README.md").read_text("utf-8")
    (out / "README.md").write_text(fill_card(card, results, facts), "utf-8")
    for name, got in results.items():
        print(f"{name}: EM {got.exact_match:.3f}  F1 {got.f1:.3f}  ({got.questions})")


def make(out: Path, phrasings: Phrasings, recipe: Recipe) -> dict[str, str]:
    """Train, save, and say what was done."""
    torch.manual_seed(recipe.seed)
    began = time.monotonic()
    model, tokenizer = teach(phrasings, recipe)
    minutes = (time.monotonic() - began) / 60
    save(out, model, tokenizer)
    return {
        "ejemplos de entrenamiento · training examples": f"{recipe.examples:,}",
        "parámetros · parameters": f"{model.num_parameters():,}",
        "entrenamiento · training": f"{minutes:.0f} min, CPU threads: {torch.get_num_threads()}",
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Train the scholarship question-answering model.")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (default: this folder)")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a tiny run that learns nothing")
    parser.add_argument("--measure", action="store_true", help="score the model in --out; train nothing")
    options = parser.parse_args(arguments)
    few = {"short_examples": 500, "mixed_examples": 1000, "heldout_examples": 100} if options.quick else {}
    recipe = Recipe(seed=options.seed, **few)
    torch.set_num_threads(options.threads)

    phrasings = Phrasings.load()
    if options.measure:
        told = json.loads((options.out / "metrics.json").read_text("utf-8"))
        recipe, facts = Recipe(**told["recipe"]), told["facts"]
    else:
        facts = make(options.out, phrasings, recipe)
    model, tokenizer = load(options.out)
    heldout = list(write(Writer(phrasings, "heldout", recipe.seed), HELD_OUT, recipe.heldout_examples))
    report(options.out, measure(model, tokenizer, heldout), recipe, facts)


if __name__ == "__main__":
    main(sys.argv[1:])
