"""Vaccines: how many doses are a product's own course, and what a person's doses come to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from contacts.tomlfaults import Fault, read_toml

_FOLDER, _FILE = "vaccines", "vaccines.toml"
_MOST_KNOWN = 4096

Doses = Annotated[int, msgspec.Meta(ge=1, le=20)]


class VaccinesError(ValueError):
    """A list of vaccines that cannot be used; the message names the file and the line."""


class Product(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A product, its names and codes, and the doses of its course."""

    doses: Doses
    names: tuple[str, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unknown_doses: Doses
    greatest_number: Doses
    products: dict[str, Product]


class Had(NamedTuple):
    """What a person has had from `at_ms` on: doses, whether a course is complete, whether one came after it."""

    at_ms: int
    doses: int
    full: bool
    booster: bool


NOTHING = Had(-(2**63), 0, False, False)


class Vaccines:
    """The doses of each product's course."""

    def __init__(self, courses: dict[str, int], unknown_doses: int, greatest_number: int) -> None:
        self._courses, self._unknown, self._greatest = courses, unknown_doses, greatest_number
        self._asked: dict[str, int] = {}

    def course(self, product: str) -> int:
        """How many doses are the course of a product, by any of its names."""
        found = self._asked.get(product)
        if found is None:
            found = self._courses.get(_plain(product), self._unknown)
            if len(self._asked) < _MOST_KNOWN:  # names come from outside
                self._asked[product] = found
        return found

    def history(self, doses: Sequence[tuple[int, int, str, str]]) -> list[Had]:
        """What doses (at, number or 0, product, record; in order of time) come to, one step for each time.

        Two records of the same number are one dose, as are two of one product and time of which one has no number. A
        number tells of doses before it that nobody recorded. The course is that of the product with the shortest, of
        those had so far; what comes after the dose that completed it is a booster.
        """
        steps: list[Had] = []
        seen: set[object] = set()
        count = greatest = shortest = complete = 0
        for at_ms, number, product, _ in doses:
            if 0 < number <= self._greatest:
                seen.add(number)
                if number > greatest:
                    greatest = number
            elif any(at == at_ms and 0 < n <= self._greatest and p == product for at, n, p, _ in doses):
                continue
            else:
                seen.add((product, at_ms))
            course = self._asked.get(product) or self.course(product)
            if course < shortest or not shortest:
                shortest = course
            before = count
            count = len(seen) if len(seen) > greatest else greatest
            if not complete and count >= shortest:
                complete = shortest if shortest > before else before + 1
            if steps and steps[-1].at_ms == at_ms:
                steps.pop()
            steps.append(Had(at_ms, count, complete > 0, 0 < complete < count))
        return steps


def load_vaccines(folder: Path | None = None) -> Vaccines:
    """The vaccines of `folder` if it holds a list, else Lacak's own. Raises VaccinesError."""
    own = None if folder is None else folder / _FOLDER / _FILE
    if own is not None and own.exists():
        return read_vaccines(own.read_text("utf-8"), str(own))
    return _shipped()


@cache
def _shipped() -> Vaccines:
    return read_vaccines(files("contacts.data").joinpath(_FILE).read_text("utf-8"), _FILE)


def read_vaccines(text: str, where: str) -> Vaccines:
    """The vaccines that a TOML text lists; `where` names it in errors. Raises VaccinesError."""
    try:
        table: _File = read_toml(text, _File, "docs/colours.md")
        courses: dict[str, int] = {}
        for key, product in table.products.items():
            for name in (key, *product.names):
                if courses.setdefault(_plain(name), product.doses) != product.doses:
                    raise Fault(text, ("products", key), f"{name!r} names two products of different courses.")
    except Fault as fault:
        raise VaccinesError(f"The vaccines {where} cannot be used: {fault}") from fault
    return Vaccines(courses, table.unknown_doses, table.greatest_number)


def _plain(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
