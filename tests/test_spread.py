"""The search over several hops against the oracle: reach, hops, times and risk, limits, paths, both directions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from contacts.columns import ints
from contacts.exposures import Found, Question, merged
from contacts.meetings import Meetings
from contacts.places import Places
from contacts.profiles import Profile, load_profiles
from contacts.pseudonyms import texts_of
from contacts.risk import Limits, Risk, RiskError, load_risk
from contacts.spread import Asked, Spread, Terms, search
from contacts.visits import Visit
from schemas.blocks import REASONS
from tests import oracle, oracle_spread
from tests.oracle_spread import Label, Rules
from tests.test_core import WINDOW, run
from tests.worlds import BEGIN, DAY, HOUR, MINUTE

PROXIMITY = {"*": 0.5, "mall": 0.05, "shop": 0.2, "office": 1.0}
CATEGORIES = ("mall", "shop", "office", "restaurant", "market", "", "other", "cinema")
NEAR = {name: PROXIMITY.get(name, 0.5) for name in CATEGORIES}
PLAIN = [p for p in load_profiles().values() if not (p.slots or p.score)]
"""The profiles that count shared time as it is; of the others the first hop is held against an oracle of its own."""

EVERYTHING = Limits(hops=3, least_risk=0.0, people=1000, seconds=60.0)


class Case(NamedTuple):
    """What is asked."""

    person: str
    window: tuple[int, int]
    as_of: int | None
    direction: str


def numbers(chance: random.Random) -> Risk:
    """Risk numbers under which two days are long enough for several hops."""
    return msgspec.structs.replace(
        load_risk(),
        rate_per_hour=chance.choice((0.011, 0.2, 1.0)),
        latent_days=chance.choice((0.0, 1 / 48, 0.25, 1.0)),
        infectiousness=chance.choice(((1.0,), (1.0, 0.5), (0.2, 1.0, 0.0))),
        proximity=PROXIMITY,
    )


def rules(profile: Profile, risk: Risk, least: float) -> Rules:
    """The same numbers as the oracle takes them."""
    rule = profile.contact
    return Rules(
        rule.minimum_minutes, rule.comparison == "more_than", rule.per, rule.without_minimum, profile.linger_ms,
        risk.latent_ms, risk.rate_per_hour, risk.infectiousness, NEAR, least,
    )  # fmt: skip


def searched(
    places: Sequence[Places], case: Case, profile: Profile, risk: Risk, limits: Limits
) -> tuple[Spread, list[str]]:
    """The search over places of several partitions, and everybody's names by number."""
    names: list[str] = [case.person]
    known = {case.person: 0}
    least = profile.least_ms

    def find(asked: Asked) -> Found:
        persons = [names[number] for number in asked.people.tolist()]
        window = asked.since, asked.until
        direction = case.direction
        question = Question(persons, *window, case.as_of, profile.air, direction, least)  # type: ignore[arg-type]
        parts = [each.meetings(question) for each in places]
        people = [texts_of(part.people) for part in parts]
        for name in sorted(set().union(*people) - known.keys()):
            known[name] = len(names)
            names.append(name)
        venues = sorted({name for part in parts for name in part.venues})
        return merged(
            parts,
            [ints(list(map(known.__getitem__, some))) for some in people],
            [ints(list(map(venues.index, part.venues))) for part in parts],
        )

    terms = Terms(profile, risk, limits, case.direction)  # type: ignore[arg-type]
    return search(Spread(0, *case.window, terms), find, limits.seconds, lambda: 0.0), names


class Person(NamedTuple):
    """A person reached, row by row."""

    person: int
    hop: int
    risk: float
    earliest_ms: int
    path: tuple[int, ...]
    evidence: list[int]


def listed(spread: Spread) -> list[Person]:
    """Everybody reached, with path and evidence."""
    found = spread.reached()
    columns = (column.tolist() for column in found[1:])
    return list(map(Person, *columns, spread.paths(found.number), spread.evidence(found.number)))


def labels(spread: Spread, names: Sequence[str]) -> dict[str, Label]:
    """Everybody reached, by name."""
    return {names[each.person]: Label(each.hop, each.earliest_ms, each.risk) for each in listed(spread)}


def same(found: dict[str, Label], wanted: dict[str, Label]) -> None:
    """Hops and times are equal, risks to 1e-9."""
    assert {name: label[:2] for name, label in found.items()} == {name: label[:2] for name, label in wanted.items()}
    for name, label in found.items():
        assert label.risk == pytest.approx(wanted[name].risk, abs=1e-9)


def ask(chance: random.Random, visits: Sequence[oracle.Visit]) -> Case:
    """A question about somebody who was somewhere."""
    first = BEGIN + chance.randrange(-DAY, DAY)
    return Case(
        chance.choice([visit.person for visit in visits]),
        (first, first + chance.randrange(1, 2 * DAY)),
        chance.choice([None, None, BEGIN + chance.randrange(DAY, 2 * DAY)]),
        chance.choice(("forward", "backward")),
    )


def offline(visits: Sequence[oracle.Visit]) -> Places:
    """Places that hold these visits; every venue is of the category `other`."""
    return Places.from_visits(
        [Visit(v.person, v.venue, v.start, v.end, REASONS.index(v.reason)) for v in visits], WINDOW
    )


@pytest.mark.parametrize("seed", range(60))
def test_the_search_in_any_order_and_number_of_partitions_is_the_oracle_s(seed: int) -> None:
    """Hops, times and risk under every plain profile; scans shuffled, doubled, late, erased, over 1 to 4 partitions."""
    town, chain, visits = run(seed)
    chance = random.Random(f"spread {seed}")

    def category(venue: str, at: int) -> str:
        records = sorted((r for r in town.venues if r.venue == venue), key=lambda record: record.valid_from)
        return ([r for r in records if r.valid_from <= at] or records[:1])[-1].category if records else "other"

    for profile in PLAIN:
        case, risk, hops = ask(chance, visits), numbers(chance), chance.randrange(1, 5)
        least = chance.choice((0.0, 0.02, 0.1, 0.4))
        limits = Limits(hops=hops, least_risk=least, people=1000, seconds=60.0)
        found = labels(*searched(chain.places, case, profile, risk, limits))
        wanted = oracle_spread.spread(
            visits, case.person, case.window, hops, rules(profile, risk, least), category, case.as_of, case.direction
        )
        same(found, wanted)


@pytest.mark.parametrize("seed", range(40))
def test_the_first_hop_is_the_contacts_of_the_case(seed: int) -> None:
    """Who is at hop 1 is who the oracle of contacts names, with the same shared stays."""
    _, _, visits = run(seed)
    chance = random.Random(f"first hop {seed}")
    case, profile = ask(chance, visits), load_profiles()[chance.choice(("who", "ecdc", "cdc", "measles"))]
    spread, names = searched([offline(visits)], case, profile, load_risk(), EVERYTHING)
    wanted = oracle.contacts(
        visits, case.person, case.window, as_of=case.as_of, direction=case.direction, linger=profile.linger_ms,
        minimum_minutes=profile.contact.minimum_minutes, strict=profile.contact.comparison == "more_than",
        per=profile.contact.per,
    )  # fmt: skip
    found = {
        names[each.person]: sorted((int(spread.met.start[row]), int(spread.met.end[row])) for row in each.evidence)
        for each in listed(spread)
        if each.hop == 1
    }
    assert found == {name: sorted((row.start, row.end) for row in rows) for name, (_, rows) in wanted.items()}


@pytest.mark.parametrize("seed", range(40))
def test_backward_is_forward_on_negated_time(seed: int) -> None:
    """For profiles without a linger, where every venue is alike."""
    _, _, visits = run(seed)
    chance = random.Random(f"negated {seed}")
    mirrored = [visit._replace(start=-visit.end, end=-visit.start) for visit in visits]
    case, risk = ask(chance, visits)._replace(as_of=None, direction="forward"), numbers(chance)
    against = case._replace(window=(-case.window[1], -case.window[0]), direction="backward")
    for profile in PLAIN:
        if profile.linger_ms == 0:
            there = labels(*searched([offline(visits)], case, profile, risk, EVERYTHING))
            back = labels(*searched([offline(mirrored)], against, profile, risk, EVERYTHING))
            same({name: label._replace(earliest=-label.earliest) for name, label in back.items()}, there)


@pytest.mark.parametrize("seed", range(40))
def test_neither_the_order_nor_copies_of_visits_change_anything(seed: int) -> None:
    _, _, visits = run(seed)
    chance = random.Random(f"order {seed}")
    case, risk, profile = ask(chance, visits), numbers(chance), load_profiles()["who"]
    twice = [*visits, *chance.sample(visits, len(visits) // 2)]
    chance.shuffle(twice)
    spread, names = searched([offline(visits)], case, profile, risk, EVERYTHING)
    again, others = searched([offline(twice)], case, profile, risk, EVERYTHING)
    assert [by_name(each, spread, names) for each in listed(spread)] == [
        by_name(each, again, others) for each in listed(again)
    ]


def by_name(reached: Person, spread: Spread, names: Sequence[str]) -> tuple[object, ...]:
    """A person reached, with names instead of numbers, and the evidence itself."""
    evidence = sorted((int(spread.met.start[row]), int(spread.met.end[row])) for row in reached.evidence)
    path = tuple(names[person] for person in reached.path)
    return (names[reached.person], reached.hop, reached.risk, reached.earliest_ms, path, evidence)


@pytest.mark.parametrize("seed", range(40))
def test_a_path_can_be_walked_in_time_within_its_hops(seed: int) -> None:
    """Along a path each may have been infected a latent period before the part in which they infect the next."""
    _, _, visits = run(seed)
    chance = random.Random(f"path {seed}")
    case, risk, profile = ask(chance, visits), numbers(chance), load_profiles()["ecdc"]
    spread, names = searched([offline(visits)], case, profile, risk, EVERYTHING)
    stays = oracle_spread.all_stays(visits, case.as_of)
    numbers_of = rules(profile, risk, 0.0)
    forward = case.direction == "forward"
    for each in listed(spread):
        path = [case.person, *(names[person] for person in each.path), names[each.person]]
        assert 2 <= len(path) <= each.hop + 1 and len(set(path)) == len(path)
        first, last = case.window
        for exposer, other in pairwise(path):
            parts = oracle_spread.counting(
                oracle_spread.shared(stays, exposer, other, (first, last), numbers_of, forward), numbers_of,
                lambda venue, at: "other",
            )  # fmt: skip
            assert parts
            first, last = (
                (min(begin for begin, _, _ in parts) + risk.latent_ms, 1 << 60)
                if forward
                else (-(1 << 60), max(end for _, end, _ in parts) - risk.latent_ms)
            )
        assert each.evidence
        assert {names[people(spread, row)[1]] for row in each.evidence} == {path[-1]}
        assert {names[people(spread, row)[0]] for row in each.evidence} == {path[-2]}


def people(spread: Spread, row: int) -> tuple[int, int]:
    """The two of a meeting, as the caller numbers them."""
    return spread.person(int(spread.met.exposer[row])), spread.person(int(spread.met.other[row]))


def stay(person: str, venue: str, start: int, end: int) -> Visit:
    """A visit, minutes from BEGIN."""
    return Visit(person, venue, BEGIN + start * MINUTE, BEGIN + end * MINUTE, 1)


RISK = msgspec.structs.replace(load_risk(), proximity={"*": 1.0}, latent_days=0.0)
A_DAY = Case("c", (BEGIN, BEGIN + DAY), None, "forward")


def reached(visits: Sequence[Visit], risk: Risk = RISK, **limits: float) -> tuple[dict[str, Label], tuple[str, ...]]:
    """Whom the case `c` reaches within its day, and what cut that."""
    held = msgspec.structs.replace(EVERYTHING, **limits)
    spread, names = searched([Places.from_visits(visits, WINDOW)], A_DAY, load_profiles()["who"], risk, held)
    return labels(spread, names), spread.cut_by


def test_a_latent_period_is_kept_to_the_millisecond_and_cuts_the_shared_part() -> None:
    """Exposed at 0 with a latency of 10 h: of a part from 9 h to 10 h 15 min fifteen minutes are left."""
    risk = msgspec.structs.replace(RISK, latent_days=10 / 24)
    first = [stay("c", "v", 0, 60), stay("a", "v", 0, 60)]
    for end, found in ((10 * 60 + 15, True), (10 * 60 + 14, False)):
        later = [stay("a", "w", 9 * 60, end), stay("b", "w", 9 * 60, end)]
        people, _ = reached(first + later, risk)
        assert ("b" in people) == found
        if found:
            assert people["b"].earliest == BEGIN + 10 * HOUR
            assert people["b"].risk == pytest.approx(-np.expm1(-0.011) * -np.expm1(-0.011 / 4), abs=1e-12)


def test_a_later_level_may_know_of_an_earlier_infection() -> None:
    """`b` meets the case late and `a` early: by way of `a` they may have infected `d` before they met the case."""
    visits = [
        stay("c", "v", 0, 30), stay("a", "v", 0, 30), stay("a", "w", 60, 90), stay("b", "w", 60, 90),
        stay("b", "x", 120, 150), stay("d", "x", 120, 150), stay("b", "y", 200, 230), stay("c", "y", 200, 230),
    ]  # fmt: skip
    found, _ = reached(visits, hops=1)
    assert {name: label[:2] for name, label in found.items()} == {
        "a": (1, BEGIN),
        "b": (1, BEGIN + 200 * MINUTE),
    }
    found, cut = reached(visits, hops=2)
    assert found["b"][:2] == (1, BEGIN + 60 * MINUTE)
    assert "d" not in found
    assert cut == ("hops",)
    found, cut = reached(visits, hops=3)
    assert found["d"][:2] == (3, BEGIN + 120 * MINUTE)


def test_risk_of_a_household_counts_what_comes_by_way_of_others() -> None:
    """A child met the case for a moment and lives with a contact: their risk is that of both."""
    visits = [
        stay("c", "v", 0, 600), stay("a", "v", 0, 600), stay("child", "v", 0, 15),
        stay("a", "w", 700, 1300), stay("child", "w", 700, 1300),
    ]  # fmt: skip
    alone, _ = reached(visits, hops=1)
    found, _ = reached(visits, hops=2)
    ten_hours = -np.expm1(-0.11)
    assert found["child"].hop == 1
    assert found["child"].risk > 5 * alone["child"].risk
    assert found["child"].risk == pytest.approx(1 - (1 - alone["child"].risk) * (1 - ten_hours**2), abs=0.002)


def test_a_limit_that_cuts_is_named() -> None:
    """A chain c, a, b, d of ten-hour stays; by hops, by risk, by people, by time."""
    chain = [
        stay(who, venue, at, at + 600)
        for venue, at, pair in (("u", 0, "ca"), ("v", 700, "ab"), ("w", 1400, "bd"))
        for who in pair
    ]
    everybody, cut = reached(chain)
    assert ({name: label.hop for name, label in everybody.items()}, cut) == ({"a": 1, "b": 2, "d": 3}, ("hops",))
    assert reached(chain, hops=4)[1] == ()
    assert (sorted(reached(chain, hops=2)[0]), reached(chain, hops=2)[1]) == (["a", "b"], ("hops",))
    least = everybody["b"].risk * 1.01  # b is listed, and not followed
    assert (sorted(reached(chain, least_risk=least)[0]), reached(chain, least_risk=least)[1]) == (["a", "b"], ())
    assert sorted(reached(chain, least_risk=everybody["b"].risk)[0]) == ["a", "b", "d"]
    assert (sorted(reached(chain, people=1)[0]), reached(chain, people=1)[1]) == (["a"], ("people",))
    ticks = iter((0.0, 1.0, 2.0, 3.0))
    terms = Terms(load_profiles()["who"], RISK, EVERYTHING, "forward")
    places = Places.from_visits(chain, WINDOW)
    find = finder(places, ["c", "a", "b", "d"])
    late = search(Spread(0, BEGIN, BEGIN + DAY, terms), find, 1.5, lambda: next(ticks))
    assert ([each.hop for each in listed(late)], late.cut_by) == ([1, 2], ("seconds",))


def finder(places: Places, names: list[str]) -> Callable[[Asked], Found]:
    """Meetings among people of these names, numbered so."""

    def find(asked: Asked) -> Found:
        persons = [names[number] for number in asked.people.tolist()]
        found, people, _ = places.meetings(Question(persons, asked.since, asked.until))
        other = np.array([names.index(name) for name in people], np.int64)[found.met.other]
        return found._replace(met=found.met._replace(other=other))

    return find


def test_the_limit_on_people_keeps_the_nearest_and_then_those_at_most_risk() -> None:
    visits = [stay("c", "v", 0, 600), *(stay(f"p{n}", "v", 0, 30 + 10 * n) for n in range(9))]
    found, cut = reached(visits, people=3)
    assert (sorted(found), cut) == (["p6", "p7", "p8"], ("people",))


def test_a_search_that_finds_nobody_ends() -> None:
    terms = Terms(load_profiles()["who"], load_risk(), EVERYTHING, "forward")
    spread = Spread(0, BEGIN, BEGIN + DAY, terms)
    search(spread, lambda asked: Found(Meetings.together([]), np.empty(0, np.int64), []), 1.0, lambda: 0.0)
    assert (spread.level, listed(spread), spread.cut_by) == (1, [], ())


def test_the_numbers_of_risk_are_those_of_their_sources() -> None:
    risk = load_risk()
    assert (risk.rate_per_hour, risk.latent_days, risk.valid_from) == (0.011, 3.0, date(2023, 12, 20))
    near = {name: risk.near(name) for name in ("home", "Household", "bus", "restaurant", "worship", "mall", "zoo", "")}
    assert near == {
        "home": 1.0, "Household": 1.0, "bus": 0.3, "restaurant": 0.2, "worship": 0.1, "mall": 0.025, "zoo": 0.025,
        "": 0.025,
    }  # fmt: skip
    shares = risk.incubation.share_by(np.array([-1.0, 0.0, 5.8, 12.2]))
    assert shares.round(3).tolist() == [0.0, 0.0, 0.5, 0.951]
    days = np.linspace(0.0, 60.0, 60_001)
    density = risk.incubation.density(days)
    assert np.trapezoid(density, days) == pytest.approx(1.0, abs=1e-6)
    assert days[int(density.argmax())] == pytest.approx(risk.incubation.likeliest_days, abs=0.001)


def test_a_wrong_file_of_risk_is_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "risk"
    folder.mkdir()
    (folder / "risk.toml").write_text("rate_per_hour = 'much'")
    with pytest.raises(RiskError, match=r"risk\.toml cannot be used"):
        load_risk(tmp_path)


def test_the_page_on_risk_states_every_number() -> None:
    """docs/risk.md has each category with its proximity, and the other numbers."""
    page = (Path(__file__).parents[1] / "docs" / "risk.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| proximity")]
    risk = load_risk()
    for category, near in risk.proximity.items():
        if category != "*":
            words = category.replace("_", " ")
            assert any(
                words in re.split(r": |, ", row.split("|")[1].strip()) and f"| {near:g} |" in row for row in rows
            )
    for number in (risk.rate_per_hour, risk.latent_days, risk.incubation.median_days, risk.incubation.sigma):
        assert f"{number:g}" in page
    assert f"{risk.limits.people:,}" in page
    assert f"{risk.limits.people_most:,}" in page
