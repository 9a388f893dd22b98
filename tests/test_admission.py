"""Admission: what each rule asks at its borders, groups, crowds, stale copies, and what is said to whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contacts.admission import Decision, Limits, Load, Outcome, Reason, Visitor, decide
from contacts.doorrows import RulesFile
from contacts.doorrules import DoorRules, PlaceFacts, Requirements, load_door_rules
from contacts.doortexts import LANGUAGES, for_guard, for_person, for_stay
from schemas.health import COLOURS, AgeBand, Colour, NegativeTest
from schemas.messages import Fallback

ZONE = ZoneInfo("Asia/Jakarta")
RULES = load_door_rules()
HOUR = 3_600_000
LIMITS = Limits(status_ms=15 * 60_000, load_ms=60_000)
AT = round(datetime(2021, 10, 21, 12, tzinfo=ZONE).timestamp() * 1000)
SEVERITY: dict[Outcome, int] = {"admit": 0, "check": 1, "full": 2, "refuse": 3}
CLOSED = Requirements((), None, None, 0, 1 << 62, ((0, 1),), dict.fromkeys((None, *get_args(AgeBand))))


def at_place(category: str, day: str = "2021-10-21", region: str = "ID-LA-01", route: str = "") -> Requirements:
    """What is asked at a place at noon of a day."""
    at = round(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZONE).timestamp() * 1000)
    return RULES.in_force(PlaceFacts(category, region, route), at, ZONE)


def person(colour: Colour = "green", doses: int = 2, **more: object) -> Visitor:
    """Somebody with a status."""
    return Visitor(colour, colour != "unknown", doses, doses > 1, **more)  # type: ignore[arg-type]


def negative(kind: str, hours: float) -> NegativeTest:
    """A negative test of so many hours ago."""
    return NegativeTest(test=kind, specimen_ms=AT - round(hours * HOUR))  # type: ignore[arg-type]


def ask(
    visitors: Visitor | Sequence[Visitor],
    requirements: Requirements,
    *loads: Load,
    fallback: Fallback = "check",
    at_ms: int = AT,
) -> tuple[Outcome, Reason]:
    """Outcome and reason."""
    decision = decide(visitors, requirements, loads, fallback, at_ms, LIMITS)
    return decision.outcome, decision.reason


def test_colours_where_no_row_says_more() -> None:
    """Green and yellow come in, the staff look at those of whom nothing is known, red and black stay out."""
    found = {colour: ask(person(colour), at_place("shop")) for colour in COLOURS}
    assert found == {
        "unknown": ("check", "unknown"),
        "green": ("admit", "welcome"),
        "yellow": ("admit", "welcome"),
        "red": ("refuse", "colour"),
        "black": ("refuse", "colour"),
    }


def test_the_ferry_of_21_october_2021() -> None:
    """A dose, and a PCR within 48 h or an antigen within 24 h, to the millisecond; papers show what records lack."""
    ferry = at_place("ferry_terminal", route="ID-LA > ID-BT")
    for kind, hours in (("pcr", 48), ("antigen", 24)):
        assert ask(person(doses=1, negatives=(negative(kind, hours),)), ferry) == ("admit", "welcome")
        late = NegativeTest(test=kind, specimen_ms=AT - hours * HOUR - 1)  # type: ignore[arg-type]
        assert ask(person(doses=1, negatives=(late,)), ferry) == ("check", "test")
    assert ask(person("red", 0, negatives=(negative("pcr", 1),)), ferry) == ("check", "doses")
    assert ask(person("yellow", 1), ferry) == ("check", "test")
    assert ask(person("yellow", 1, negatives=(negative("other", 1),)), ferry) == ("check", "test")
    assert ask(person("yellow", 1, negatives=(negative("pcr", -1),)), ferry) == ("check", "test")  # of tomorrow
    assert ask(person("black", 2, negatives=(negative("pcr", 1),)), ferry) == ("refuse", "colour")
    assert ask(person("unknown", 0), ferry) == ("check", "unknown")


def test_before_and_after_the_ferry_s_rules() -> None:
    """On 20 October nobody is asked for a test; on 2 November a PCR of 72 hours is enough."""
    old = person("yellow", 1, negatives=(negative("pcr", 60),))
    found = []
    for day in ("2021-10-20", "2021-10-21", "2021-11-01", "2021-11-02"):
        ferry = at_place("ferry_terminal", day, route="ID-LA > ID-BT")
        shift = ferry.from_ms + 12 * HOUR - AT
        moved = tuple(NegativeTest(test=t.test, specimen_ms=t.specimen_ms + shift) for t in old.negatives)
        found.append(ask(old._replace(negatives=moved), ferry, at_ms=AT + shift)[0])
    assert found == ["admit", "check", "check", "admit"]


def test_by_air_an_antigen_test_is_not_enough() -> None:
    """From and to Java and Bali by air: a dose and a PCR."""
    airport = at_place("airport", route="ID-LA > ID-JK")
    assert ask(person(negatives=(negative("antigen", 1),)), airport) == ("check", "test")
    assert ask(person(negatives=(negative("pcr", 48),)), airport) == ("admit", "welcome")


def test_elsewhere_at_levels_one_and_two_a_test_alone_is_enough() -> None:
    """A traveller without a dose, with a test."""
    bus = at_place("bus", route="ID-LA > ID-SS")
    assert ask(person("red", 0, negatives=(negative("antigen", 24),)), bus) == ("admit", "welcome")
    assert ask(person("red", 0), bus) == ("check", "test")


def test_children_and_a_green_parent_at_the_mall() -> None:
    """Trial cities from 21 September 2021: only together with a parent whose status is green."""
    mall = at_place("mall", "2021-09-21", "ID-JK")
    child = Visitor(age_band="6-11")
    assert ask(child, mall) == ("refuse", "escort_missing")
    assert ask([person("green"), child], mall) == ("admit", "welcome")
    assert ask([child, person("green")], mall) == ("admit", "welcome")
    assert ask([person("yellow"), child], mall) == ("refuse", "escort_colour")
    assert ask([person("green", age_band="12-17"), child], mall) == ("refuse", "escort_missing")
    assert ask([person("unknown"), child], mall) == ("check", "unknown")
    assert ask([person("green"), person("black", 0, age_band="6-11")], mall) == ("refuse", "colour")
    assert ask(child._replace(escorted_by=("green",)), mall) == ("admit", "welcome")
    elsewhere = at_place("mall", "2021-09-21")
    assert ask([person("green"), child], elsewhere) == ("refuse", "age")


def test_children_need_a_dose_of_their_own_from_february_2022() -> None:
    """And those under 6 none, for whom there was none."""
    mall = at_place("mall", "2022-02-01")
    at = mall.from_ms
    found = [
        ask([person("green"), person("red", 0, age_band="6-11")], mall, at_ms=at),
        ask([person("green"), person("yellow", 1, age_band="6-11")], mall, at_ms=at),
        ask([person("green"), Visitor(age_band="0-5")], mall, at_ms=at),
    ]
    assert found == [("refuse", "doses"), ("admit", "welcome"), ("admit", "welcome")]


def test_a_group_comes_in_whole_or_not_at_all() -> None:
    """The answer is the strictest of all, and says whose it is; there must be room for everybody."""
    shop = at_place("shop")
    decision = decide([person(), person("red"), person()], shop, [], "check", AT, LIMITS)
    assert (decision.outcome, decision.who, decision.colour) == ("refuse", 1, "red")
    assert ask([person()] * 3, shop, Load("toko", 7, 10)) == ("admit", "welcome")
    assert ask([person()] * 4, shop, Load("toko", 7, 10)) == ("full", "full")
    with pytest.raises(ValueError, match="nobody"):
        decide([], shop, [], "check", AT, LIMITS)


def test_full_looks_at_everything_around() -> None:
    """The shop has room, the mall has none: full; who is in the mall already takes no more room in it."""
    shop = at_place("shop")
    loads = Load("toko", 1, 10), Load("mal", 50, 50)
    decision = decide(person(), shop, loads, "check", AT, LIMITS)
    assert (decision.outcome, decision.venue) == ("full", "mal")
    assert ask(person(), shop, loads[0], loads[1]._replace(already=1)) == ("admit", "welcome")
    assert ask(person(), shop, loads[0]._replace(allowed=None)) == ("admit", "welcome")
    assert ask(person(), shop, Load("toko", 0, 0)) == ("full", "full")
    assert ask(person("black"), shop, *loads) == ("refuse", "colour")  # waiting would not help
    assert ask(person("unknown"), shop, *loads) == ("full", "full")


def test_old_copies_leave_the_answer_to_the_venue() -> None:
    """At the limit a copy still counts; beyond it the fallback does, and never lets in whom the last copy refused."""
    shop, limit = at_place("shop"), LIMITS.status_ms
    fallbacks: tuple[Fallback, ...] = ("admit", "check", "refuse")
    for colour, age, expected in (
        ("green", limit, ["admit", "admit", "admit"]),
        ("green", limit + 1, ["admit", "check", "refuse"]),
        ("black", limit + 1, ["refuse", "refuse", "refuse"]),
        ("unknown", limit, ["check", "check", "check"]),
        ("unknown", limit + 1, ["admit", "check", "refuse"]),
        ("unknown", None, ["admit", "check", "refuse"]),
    ):
        visitor = person(colour, status_age_ms=age)  # type: ignore[arg-type]
        assert [ask(visitor, shop, fallback=fallback)[0] for fallback in fallbacks] == expected
    for load_age, expected in ((LIMITS.load_ms, ["full"] * 3), (LIMITS.load_ms + 1, ["admit", "check", "refuse"])):
        load = Load("toko", 10, 10, load_age)
        assert [ask(person(), shop, load, fallback=fallback)[0] for fallback in fallbacks] == expected


def test_no_rule_and_closed() -> None:
    """Without a row in force the fallback holds; outside the opening hours nobody comes in."""
    nothing = DoorRules([RulesFile(name="t", source="t")]).in_force(PlaceFacts("shop"), AT, ZONE)
    assert ask(person(), nothing, fallback="admit") == ("admit", "welcome")
    assert ask(person("black"), nothing, fallback="check") == ("check", "no_rule")
    assert ask(person(), CLOSED) == ("refuse", "closed")


def test_who_comes_in_hears_how_long_they_may_stay() -> None:
    """60 minutes in a restaurant at level 1."""
    metro = at_place("restaurant", region="ID-LA-Metro")
    assert decide(person(), metro, [], "check", AT, LIMITS).stay_until_ms == AT + HOUR
    assert decide(person("red"), metro, [], "check", AT, LIMITS).stay_until_ms is None
    assert for_stay(60, "en") == "You may stay here for at most 60 minutes."


_visitors = st.builds(
    Visitor,
    colour=st.sampled_from(COLOURS),
    known=st.booleans(),
    doses=st.integers(0, 3),
    negatives=st.sampled_from([(), (negative("pcr", 1),), (negative("antigen", 30),)]),
    age_band=st.sampled_from([None, *get_args(AgeBand)]),
    status_age_ms=st.sampled_from([0, LIMITS.status_ms, LIMITS.status_ms + 1, None]),
    escorted_by=st.sampled_from([(), ("green",), ("yellow",)]),
)
_loads = st.builds(
    Load,
    venue=st.sampled_from(["a", "b"]),
    inside=st.integers(0, 12),
    allowed=st.sampled_from([None, 0, 5, 10]),
    age_ms=st.sampled_from([0, LIMITS.load_ms, LIMITS.load_ms + 1, None]),
    already=st.integers(0, 2),
)
_requirements = st.sampled_from(
    [
        at_place("shop"),
        at_place("ferry_terminal", route="ID-LA > ID-BT"),
        at_place("mall", "2021-09-21", "ID-JK"),
        at_place("mall"),
        at_place("shop", "2021-01-01"),
        CLOSED,
    ]
)
_fallbacks = st.sampled_from(get_args(Fallback))
_groups = st.lists(_visitors, min_size=1, max_size=4)


@given(_groups, _requirements, st.lists(_loads, max_size=2), _fallbacks, st.integers(0, 1), st.integers(1, 20))
def test_more_people_inside_never_make_the_answer_milder(
    group: list[Visitor], asked: Requirements, loads: list[Load], fallback: Fallback, place: int, more: int
) -> None:
    """Monotone in the count; and monotone, the other way, in what is allowed."""
    first = decide(group, asked, loads, fallback, AT, LIMITS)
    fuller = [load._replace(inside=load.inside + more) if n == place else load for n, load in enumerate(loads)]
    assert SEVERITY[decide(group, asked, fuller, fallback, AT, LIMITS).outcome] >= SEVERITY[first.outcome]
    wider = [load if load.allowed is None else load._replace(allowed=load.allowed + more) for load in loads]
    assert SEVERITY[decide(group, asked, wider, fallback, AT, LIMITS).outcome] <= SEVERITY[first.outcome]


@given(_groups, _requirements, st.lists(_loads, max_size=2), _fallbacks, st.randoms(use_true_random=False))
def test_the_order_of_a_group_and_of_loads_changes_no_outcome(
    group: list[Visitor], asked: Requirements, loads: list[Load], fallback: Fallback, chance: object
) -> None:
    """And nobody of a refused group would have been what let it in: the group's outcome is never milder than that of
    any of its grown members alone."""
    first = decide(group, asked, loads, fallback, AT, LIMITS).outcome
    shuffled, turned = list(group), list(loads)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    chance.shuffle(turned)  # type: ignore[attr-defined]
    assert decide(shuffled, asked, turned, fallback, AT, LIMITS).outcome == first
    for each in group:
        if each.age_band in (None, "18-59", "60+"):
            alone = decide(each._replace(escorted_by=("green",)), asked, [], fallback, AT, LIMITS).outcome
            assert SEVERITY[alone] <= SEVERITY[first]


# What is said.

_HEALTH = re.compile(
    r"green|yellow|red\b|black|vaccin|dose|test|positive|negative|contact|covid|health|colou?r"
    r"|hijau|kuning|merah|hitam|vaksin|dosis|tes\b|positif|negatif|kontak|sehat|warna",
    re.IGNORECASE,
)


@given(_groups, _requirements, st.lists(_loads, max_size=2), _fallbacks)
def test_the_guard_never_reads_a_health_reason(
    group: list[Visitor], asked: Requirements, loads: list[Load], fallback: Fallback
) -> None:
    """No word of health in either language; and of two refusals for different colours, doses or tests the same text."""
    decision = decide(group, asked, loads, fallback, AT, LIMITS)
    for language in LANGUAGES:
        said = for_guard(decision, language)
        assert not _HEALTH.search(said.title + said.sentence)
        if decision.reason not in ("closed", "escort_missing", "age"):
            assert said == for_guard(Decision(decision.outcome, "colour"), language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_has_words(language: str) -> None:
    """In both languages, for every colour; and no two reasons read the same to the person."""
    said = set()
    for reason in get_args(Reason):
        for outcome in get_args(Outcome):
            for colour in COLOURS:
                decision = Decision(outcome, reason, 0, colour)
                text = for_person(decision, language)  # type: ignore[arg-type]
                assert text.title and len(text.sentence) > 10
                assert for_guard(decision, language).sentence  # type: ignore[arg-type]
                if outcome == "refuse" and colour == "green":
                    said.add(text.sentence)
    assert len(said) == len(get_args(Reason))


def test_nobody_of_a_group_reads_another_s_reason() -> None:
    """The one whose status it is reads why; the others, that it is one of them; a full place is no secret."""
    shop = at_place("shop")
    decision = decide([person(), person("black")], shop, [], "check", AT, LIMITS)
    first, second = (for_person(decision, "en", who).sentence for who in (0, 1))
    assert not _HEALTH.search(first.replace("reason", ""))
    assert "black" in second
    full = decide([person(), person()], shop, [Load("toko", 1, 2)], "check", AT, LIMITS)
    assert for_person(full, "id", 0) == for_person(full, "id", 1)
