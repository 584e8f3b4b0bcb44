"""Values for the slots of a phrasing: names, dates, sums of money, addresses.

Each value falls into one split or the other by a checksum of its text, so what the held-out split asks
about was never seen in training.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable

from phrasings import Phrasings, Split

HELD_OUT_SHARE = 5  # one value in five belongs to the held-out split

MONTHS = (
    *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
    *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
)
WEEKDAYS = ("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo")
ONSETS = (
    *("b", "c", "d", "f", "g", "j", "l", "m", "n", "p", "r", "s", "t", "v", "z"),
    *("br", "cr", "dr", "gr", "pr", "tr", "cl", "fl", "pl", "ch", "ll", "qu"),
)
ENDINGS = ("", "", "", "", "n", "r", "s", "l", "z", "no", "na", "do", "ra", "les", "ro")
UNITS = ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve")

CHOICE = re.compile(r"\(([^()]*)\)")
SLOT = re.compile(r"\{(\w+)(?::(\d+):(\d+))?\}")
# Doubled space, space before a sign or the end of a mark, space at the start of a mark.
SPACES = re.compile(r"(?<=\s)\s+|\s+(?=[,.;>?])|(?<=<)(\w+:)\s+")


def belongs(value: str, split: Split) -> bool:
    """Whether this value (a name, a number, a day) is one that ``split`` may use."""
    return (zlib.crc32(value.encode()) % HELD_OUT_SHARE == 0) == (split == "heldout")


def spell(number: int) -> str:
    """A multiple of 500 below 10,000 in words: 2500 is "dos mil quinientos"."""
    thousands, rest = divmod(number, 1000)
    words = [] if not thousands else ["mil"] if thousands == 1 else [UNITS[thousands], "mil"]
    return " ".join([*words, "quinientos"] if rest else words)


class Values:
    """Makes values of one split from one stream of random numbers."""

    def __init__(self, phrasings: Phrasings, split: Split, seed: int) -> None:
        self.phrasings = phrasings
        self.split: Split = split
        self.rng = random.Random(f"{split}-{seed}")
        self.made: dict[str, Callable[[], str]] = {
            "word": self.word,
            "person": self.person,
            "city": self.city,
            "date": self.date,
            "date_short": self.date_short,
            "day": lambda: str(self.rng.randint(1, 28)),
            "year": self.year,
            "year_past": lambda: str(self.rng.randint(1960, 2024)),
            "amount": self.amount,
            "email": self.email,
            "url": self.url,
            "phone": self.phone,
            "inst": lambda: self.own("inst"),
            "proper": lambda: self.own("proper"),
        }

    def unseen(self, make: Callable[[], str]) -> str:
        """Draw until the value belongs to this split."""
        while not belongs(value := make(), self.split):
            pass
        return value

    def own(self, slot: str) -> str:
        return self.unseen(lambda: self.fill(self.rng.choice(self.phrasings.values[slot])))

    def fill(self, text: str, bound: dict[str, str] | None = None) -> str:
        """Make every choice and fill every slot; ``bound`` gives some of the slots."""
        while CHOICE.search(text):
            text = CHOICE.sub(lambda found: self.rng.choice(found[1].split("|")), text)
        text = SLOT.sub(lambda found: self.slot(found, bound or {}), text)
        return SPACES.sub(lambda found: found[1] or "", text).strip()

    def slot(self, found: re.Match[str], bound: dict[str, str]) -> str:
        name, low, high = found.groups()
        if name in bound:
            return bound[name]
        if name == "n":
            return str(self.rng.randint(int(low), int(high)))
        if name in self.made:
            return self.made[name]()
        return self.fill(self.rng.choice(self.phrasings.values[name]))

    def word(self) -> str:
        """An invented word: two to four syllables."""

        def make() -> str:
            count = self.rng.choice((2, 2, 3, 3, 3, 4))
            parts = [self.rng.choice(ONSETS) + self.rng.choice("aeiouaeo") for _ in range(count)]
            return ("".join(parts) + self.rng.choice(ENDINGS)).capitalize()

        return self.unseen(make)

    def person(self) -> str:
        return f"{self.rng.choice(self.phrasings.values['first_name'])} {self.word()}"

    def city(self) -> str:
        known = self.rng.choice(self.phrasings.values["known_city"])
        prefix = self.rng.choice(("San ", "Villa ", "Puerto ", "Santa ", "Río "))
        return self.rng.choice((known, known, self.word(), self.word(), prefix + self.word()))

    def year(self) -> str:
        return str(self.rng.randint(2023, 2032))

    def date_short(self) -> str:
        return self.unseen(lambda: f"{self.rng.randint(1, 30)} de {self.rng.choice(MONTHS)}")

    def date(self) -> str:
        day = self.date_short()
        number, month = day.split(" de ")
        forms = [day] * 5 + [f"{day} de {self.year()}"] * 5 + [f"{day} del {self.year()}"]
        forms += [f"{self.rng.choice(WEEKDAYS)} {day}", f"{self.rng.choice(WEEKDAYS)} {day} de {self.year()}"]
        forms += [f"{day} a las {self.rng.randint(8, 23)}:{self.rng.choice(('00', '59', '30'))} horas"]
        forms += [f"{int(number):02}/{MONTHS.index(month) + 1:02}/{self.year()}"]
        return self.rng.choice(forms)

    def amount(self) -> str:
        """A sum of money, written in one of the ways of the Spanish-speaking countries."""
        number = int(self.unseen(lambda: str(self.rng.choice((50, 100, 250, 10)) * self.rng.randint(4, 190))))
        comma, dot = f"{number:,}", f"{number:,}".replace(",", ".")
        coin = self.rng.choice(("pesos", "pesos", "euros", "soles", "dólares", "bolivianos", "quetzales"))
        forms = [
            f"${comma}",
            f"${comma}.00",
            f"${dot}",
            f"{comma} {coin}",
            f"{dot} {coin}",
            f"{number} {coin}",
        ]
        forms += [
            f"${number}",
            f"S/ {number}",
            f"{dot} €",
            f"US$ {comma}",
            f"${comma} {coin}",
            f"Bs {number}",
        ]
        if number % 500 == 0 and number < 10_000:
            forms += [f"{spell(number)} {coin}"] * 6
        if number % 1000 == 0:
            forms += [f"{number // 1000} mil {coin}"] * 4
        return self.rng.choice(forms)

    def site(self) -> str:
        return self.word().lower() + self.rng.choice((".example", ".example", ".test", ".invalid"))

    def email(self) -> str:
        user = self.rng.choice(("becas", "apoyo", "informes", "contacto", "ayuda", self.word().lower()))
        return f"{user}@{self.site()}"

    def url(self) -> str:
        path = self.rng.choice(("", "", "", "/becas", "/apoyos", "/registro", f"/{self.word().lower()}"))
        return self.rng.choice(("www.", "", "becas.", "portal.", "https://")) + self.site() + path

    def phone(self) -> str:
        groups = self.rng.choice(((2, 4, 4), (3, 3, 4), (3, 3, 2, 2), (1, 4, 4), (4, 4), (3, 4)))
        digits = ["".join(str(self.rng.randint(0, 9)) for _ in range(size)) for size in groups]
        return self.rng.choice((" ", " ", "-")).join(digits)
