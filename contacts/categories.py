"""Rules keyed by venue category: of the patterns that match, the most specific wins.

A category is one or more names with `/` between them, the widest first: `restaurant`, `restaurant/fast_food`,
TousAntiCovid's `type/category/category`. A pattern is written the same way; `*` stands for any name or none, and what
a pattern does not name it leaves open, so `shop`, `shop/*` and `*` all match `shop` and `shop/books`. More specific is
the pattern that names more, compared from the left: `shop/books` before `shop/*` before `shop` before `*/books`
before `*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

from contacts.registry import category_key

_ANY = "*"
_Rule = TypeVar("_Rule")


def segments(text: str) -> tuple[str, ...]:
    """The names of a category or a pattern, as the data files write them: `Shop / Books` is `shop`, `books`."""
    return tuple(category_key(part) for part in text.split("/"))


def best_match(patterns: Iterable[str], category: str) -> str | None:
    """The most specific of the patterns that match, or None."""
    best: tuple[tuple[int, ...], str] | None = None
    for pattern in patterns:
        rank = _rank(pattern, category)
        if rank is not None and (best is None or rank > best[0]):
            best = rank, pattern
    return best[1] if best else None


def best_rank(patterns: Iterable[str], category: str) -> tuple[int, ...] | None:
    """How specific the most specific of the patterns that match is: the greater, the more; None: none matches."""
    return max((rank for pattern in patterns if (rank := _rank(pattern, category)) is not None), default=None)


@lru_cache(maxsize=65_536)
def any_matches(patterns: tuple[str, ...], category: str) -> bool:
    """Whether any of the patterns matches."""
    return best_match(patterns, category) is not None


def rule_for(rules: Mapping[str, _Rule], category: str) -> _Rule | None:
    """What the most specific matching pattern stands for, or None where none matches."""
    pattern = best_match(rules, category)
    return None if pattern is None else rules[pattern]


def same_pattern(patterns: Iterable[str]) -> str | None:
    """A pattern that says the same as one before it, if there is one: `Fast food` and `fast_food`."""
    seen: set[tuple[str, ...]] = set()
    for pattern in patterns:
        if segments(pattern) in seen:
            return pattern
        seen.add(segments(pattern))
    return None


@lru_cache(maxsize=65_536)
def _rank(pattern: str, category: str) -> tuple[int, ...] | None:
    """For each place of the pattern 2 where it names what is there and 1 for `*`; None where it does not match."""
    wanted, names = segments(pattern), segments(category)
    rank = []
    for place, name in enumerate(wanted):
        if name == _ANY:
            rank.append(1)
        elif place < len(names) and names[place] == name:
            rank.append(2)
        else:
            return None
    return tuple(rank)
