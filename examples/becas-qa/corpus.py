"""The text that the teaching model learns from: contexts, questions and the spans that answer them.

The model it holds: phrasings with slots (``data/*.toml``) and a `Writer` that fills them. A writer belongs
to a split. Names, institutions, amounts and dates fall into one split or the other by a checksum of their
text, so that what the held-out split asks about was never seen in training; it also has phrasings of its
own.

It does not know about tokens or tensors: `learning.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import facts
from facts import Grant, Sentence
from marks import Span, capitalize, contract, kinds_of, unmark
from phrasings import Phrasings, Split, Statement
from values import Values

GENERIC = ("la beca", "la beca", "la beca", "el apoyo", "este apoyo", "esta beca", "la ayuda", "el programa")
LINKS = ("además, ", "también, ", "por otra parte, ", "por último, ")


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question. ``facts`` are all the facts of the context, the answer among them."""

    question: str
    context: str
    answer: Span
    facts: tuple[Span, ...]
    new_phrasing: bool = False

    @property
    def answer_text(self) -> str:
        return self.context[self.answer.start : self.answer.end]


class Writer:
    """Writes examples of one split; the same seed writes the same text."""

    def __init__(self, phrasings: Phrasings, split: Split, seed: int) -> None:
        self.phrasings = phrasings
        self.split: Split = split
        self.values = Values(phrasings, split, seed)
        self.rng = self.values.rng

    def examples(self, size: int, per_context: int = 2) -> Iterator[Example]:
        """Some questions about one context of about ``size`` sentences."""
        sentences = self.sentences(size)
        context, spans = unmark(self.join(sentences))
        # The marks come in the order of the sentences, so the spans do too.
        asked = [(sentence, kind) for sentence in sentences for kind in kinds_of(sentence.text)]
        rivals = len({sentence.grant.full for sentence in sentences if sentence.grant}) > 1
        for at in self.rng.sample(range(len(asked)), min(per_context, len(asked))):
            sentence, kind = asked[at]
            question, new = self.ask(sentence, kind, named=rivals or self.rng.random() < 0.45)
            yield Example(
                question=question,
                context=context,
                answer=spans[at],
                facts=spans,
                new_phrasing=new or sentence.held_out,
            )

    # Contexts

    def sentences(self, size: int) -> list[Sentence]:
        makers: tuple[tuple[Callable[[int], list[Sentence]], int], ...] = (
            (self.call, 10),
            (self.rivals, 5),
            (self.sheet, 2),
            (lambda size: facts.some(self.values, size), 4),
        )
        make = self.rng.choices([maker for maker, _ in makers], [weight for _, weight in makers])[0]
        return make(size)

    def call(self, size: int) -> list[Sentence]:
        """One scholarship in running prose."""
        grant = facts.name_grant(self.values)
        named = self.rng.choice((0.2, 0.5))
        chosen = self.some(self.phrasings.statements, size)
        told = [self.fill(statement, grant, named) for statement in chosen]
        told += self.fillers(0, 1 + size // 4)
        self.rng.shuffle(told)
        return told

    def sheet(self, size: int) -> list[Sentence]:
        """One scholarship as a data sheet: labels and values."""
        grant = facts.name_grant(self.values)
        title = f"{self.rng.choice(('convocatoria de', 'bases de', ''))} {grant.full}".strip()
        lines = [self.fill(statement, grant, 0.5) for statement in self.some(self.phrasings.sheets, size)]
        return [Sentence(text=title), *(replace(line, label=True) for line in lines)]

    def rivals(self, size: int) -> list[Sentence]:
        """Two or three scholarships that state the same kinds of fact: only the name tells which one."""
        count = self.rng.choice((2, 2, 3))
        grants = [facts.name_grant(self.values) for _ in range(count)]
        kinds = frozenset().union(*(told.kinds for told in self.some(self.phrasings.statements, 3)))
        blocks = [self.about(grant, kinds, max(2, size // count)) for grant in grants]
        if self.rng.random() < 0.5:
            return [sentence for block in blocks for sentence in block] + self.fillers(0, 1)
        mixed = [self.explicit(sentence) for block in blocks for sentence in block]
        self.rng.shuffle(mixed)
        return mixed

    def about(self, grant: Grant, kinds: frozenset[str], size: int) -> list[Sentence]:
        """A block about one of several scholarships; its first sentence names it."""
        fitting: list[Statement] = []
        while not fitting:
            fitting = [told for told in self.some(self.phrasings.statements, 60) if told.kinds & kinds]
        told = [self.fill(statement, grant, 0.4) for statement in fitting[:size]]
        return [self.explicit(told[0]), *told[1:]]

    def some(self, pool: dict[Split, tuple[Statement, ...]], count: int) -> list[Statement]:
        """Statements that never state one kind of fact twice."""
        chosen: list[Statement] = []
        told: frozenset[str] = frozenset()
        for _ in range(count * 4):
            statement = self.pick(pool)
            if not statement.kinds & told:
                told |= statement.kinds
                chosen.append(statement)
            if len(chosen) == count:
                break
        return chosen

    def pick(self, pool: dict[Split, tuple[Any, ...]]) -> Any:
        """The held-out split takes half of its phrasings from those that training never sees."""
        new = self.split == "heldout" and self.rng.random() < 0.5
        return self.rng.choice(pool["heldout" if new else "train"])

    def fill(self, statement: Statement, grant: Grant, named: float) -> Sentence:
        """Fill a statement. ``named``: how likely it is to use the scholarship's full name."""
        subject = grant.full if self.rng.random() < named else self.rng.choice(GENERIC)
        text = self.values.fill(statement.text, {"beca": subject, "own": grant.own})
        return Sentence(text=text, held_out=statement.held_out, grant=grant)

    def explicit(self, sentence: Sentence) -> Sentence:
        """The same sentence, made to name its scholarship."""
        assert sentence.grant is not None
        if sentence.grant.full in sentence.text:
            return sentence
        prefix = self.rng.choice(("para", "en", "con", "en el caso de"))
        return replace(sentence, text=f"{prefix} {sentence.grant.full}, {sentence.text}")

    def fillers(self, low: int, high: int) -> list[Sentence]:
        count = self.rng.randint(low, high)
        return [Sentence(text=self.values.fill(self.pick(self.phrasings.fillers))) for _ in range(count)]

    def join(self, sentences: Sequence[Sentence]) -> str:
        """One paragraph, still marked; sentences mostly end in a full stop."""
        if sentences[-1].label:
            lines = [capitalize(sentence.text) for sentence in sentences]
            return contract(self.rng.choice((". ", ".\n", "\n", "; ")).join(lines))
        full_stop = self.rng.choice((". ", ". ", ". ", ". ", ".\n"))
        text, ended = "", True
        for number, sentence in enumerate(sentences):
            words = sentence.text
            if number and self.rng.random() < 0.08:
                words = self.rng.choice(LINKS) + words
            text += capitalize(words) if ended else words
            if number + 1 < len(sentences):
                ended = self.rng.random() < 0.75
                text += full_stop if ended else self.rng.choice(("; ", "; ", " y ", ", y ", ", pero "))
        return contract(text + ".")

    # Questions

    def ask(self, sentence: Sentence, kind: str, *, named: bool) -> tuple[str, bool]:
        """A question for a fact of this kind, and whether its phrasing is new."""
        if sentence.grant is None:
            return self.worn(contract(self.rng.choice(sentence.questions[kind]))), False
        new = self.split == "heldout" and self.rng.random() < 0.5
        text = self.rng.choice(self.phrasings.questions["heldout" if new else "train"][kind])
        subject = sentence.grant.full if named else self.rng.choice((*GENERIC, ""))
        question = contract(self.values.fill(text, self.mentions(subject)))
        if named and sentence.grant.own not in question:
            question = f"{sentence.grant.full}: {question}"
        return self.worn(capitalize(question)), new

    def mentions(self, subject: str) -> dict[str, str]:
        """The slots by which a question names the scholarship, or leaves it out."""
        prepositions = {"de": "de", "a": "a", "para": "para", "con": "con", "la2": ""}
        prepositions["en"] = self.rng.choice(("en", "con", "para"))
        slots = {slot: f" {word} {subject}" if subject else "" for slot, word in prepositions.items()}
        return slots | {"la": subject or "la beca"}

    def worn(self, question: str) -> str:
        """People drop the signs."""
        roll = self.rng.random()
        return question.strip("¿?") if roll < 0.12 else question.lstrip("¿") if roll < 0.35 else question
