"""Two hops, followed from a risk of 2 % on: a case's contacts and theirs, over an index at hand."""

from __future__ import annotations

import msgspec

from bench.population import KINDS, Population, Question
from contacts.exposures import Found
from contacts.index import VisitIndex
from contacts.meetings import meetings
from contacts.profiles import load_profiles
from contacts.risk import load_risk
from contacts.spread import Asked, Spread, Terms, search

_PEOPLE = 1 << 31


class Searcher:
    """Searches over one partition with all venues; a venue's category is the population's."""

    def __init__(self, index: VisitIndex, population: Population) -> None:
        self._index, self._category = index, population.category.astype("i8")
        self._kinds = [kind.category for kind in KINDS]
        risk = load_risk()
        limits = msgspec.structs.replace(risk.limits, hops=2, people=_PEOPLE)
        self._terms = Terms(load_profiles()["who"], risk, limits, "forward", population.end_ms)

    def reached(self, question: Question) -> int:
        """How many people the search reaches."""
        spread = Spread(question[0], question[1], question[2], self._terms)
        return len(search(spread, self._find, 60.0, lambda: 0.0).reached().person)

    def _find(self, asked: Asked) -> Found:
        met = meetings(self._index, asked.people, asked.since, asked.until, None, 0, "forward")
        return Found(met, self._category[met.venue], self._kinds)
