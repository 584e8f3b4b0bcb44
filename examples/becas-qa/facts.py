"""Sentences with the questions that they answer, about anything: who did what, where and when; whose is what.

Only the words of a question tell these facts apart, so they teach a model to match words rather than topics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from values import Values


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A scholarship: its full name ("la Beca Faro"), and the name alone ("Faro")."""

    full: str
    own: str


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A filled sentence whose facts are still marked ``<kind:...>``.

    ``label``: a line of a data sheet. ``questions``: what may be asked, where it is not about a scholarship.
    """

    text: str
    held_out: bool = False
    grant: Grant | None = None
    label: bool = False
    questions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def name_grant(values: Values) -> Grant:
    own = values.own("proper")
    return Grant(full=f"{values.fill('{kind_of_grant}')} {own}", own=own)


def some(values: Values, size: int) -> list[Sentence]:
    """``size`` facts that share their verbs and nouns."""
    deeds = [values.fill(text) for text in values.rng.sample(values.phrasings.values["deed"], min(3, size))]
    things = [values.fill("{thing}") for _ in range(2)]

    def one() -> Sentence:
        kind = values.rng.randrange(3)
        if kind == 0:
            return deed(values, values.rng.choice(deeds))
        return trait(values, values.rng.choice(things)) if kind == 1 else count(values)

    return [one() for _ in range(size)]


def deed(values: Values, words: str) -> Sentence:
    """Somebody did something. ``words``: a verb and its object."""
    who = values.rng.choice((values.person, values.person, values.word, values.made["inst"]))()
    verb, what = words.split(" ", 1)
    where, when = values.city(), values.date()
    forms = (
        f"<actor:{who}> {verb} <deed:{what}> en <site:{where}> el <day:{when}>",
        f"el <day:{when}> <actor:{who}> {verb} <deed:{what}> en <site:{where}>",
        f"en <site:{where}>, <actor:{who}> {verb} <deed:{what}> el <day:{when}>",
        f"<actor:{who}> {verb} <deed:{what}> el <day:{when}>",
    )
    questions = {
        "actor": (f"¿quién {verb} {what} el {when}?", f"¿quién {verb} {what} en {where}?"),
        "deed": (f"¿qué {verb} {who} el {when}?", f"¿qué {verb} {who} en {where}?"),
        "site": (f"¿dónde {verb} {who} {what}?", f"¿en qué lugar {verb} {what} {who}?"),
        "day": (f"¿cuándo {verb} {who} {what}?", f"¿qué día {verb} {what} {who}?"),
    }
    return Sentence(text=values.rng.choice(forms), questions=questions)


def trait(values: Values, thing: str) -> Sentence:
    """Something of somebody is so."""
    owner = values.rng.choice((values.person(), values.city(), name_grant(values).full, values.word()))
    value = values.rng.choice((values.fill("{trait}"), values.word(), str(values.rng.randint(2, 900))))
    forms = (
        f"el {thing} de {owner} es <trait:{value}>",
        f"el {thing} de {owner} siempre fue <trait:{value}>",
        f"el {thing} de {owner}: <trait:{value}>",
    )
    questions = (f"¿cuál es el {thing} de {owner}?", f"¿qué {thing} tiene {owner}?", f"{thing} de {owner}")
    return Sentence(text=values.rng.choice(forms), questions={"trait": questions})


def count(values: Values) -> Sentence:
    """So many of something."""
    owner = values.rng.choice((values.person(), values.city(), values.word()))
    what, number = values.fill("{countable}"), values.fill(values.rng.choice(("{n:2:4000}", "{few}")))
    forms = (
        f"{owner} tiene <count:{number}> {what}",
        f"en {owner} hay <count:{number}> {what}",
        f"para {owner} bastan <count:{number}> {what}",
    )
    many = values.rng.choice(("cuántos", "cuántas"))
    questions = (
        f"¿{many} {what} tiene {owner}?",
        f"¿{many} {what} hay en {owner}?",
        f"numero de {what} de {owner}",
    )
    return Sentence(text=values.rng.choice(forms), questions={"count": questions})
