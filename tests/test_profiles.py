"""Every profile against the oracle, each published rule by hand, and what is said of a wrong file."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from contacts.air import Air
from contacts.categories import best_match, rule_for
from contacts.matching import contacts_of, may_count
from contacts.places import Places
from contacts.profile_words import describe
from contacts.profiles import (
    Profile,
    ProfileError,
    load_profiles,
    profile_from_json,
    profile_text,
    profile_to_json,
    read_profile,
)
from contacts.registry import Registry
from contacts.tomlfaults import Fault, line_of
from contacts.visits import derive_visits
from lacak.main import cli
from tests import oracle, profile_oracle
from tests.profile_oracle import Found, Table, table
from tests.worlds import BEGIN, DAY, MINUTE, World, world

ZONE = ZoneInfo("Asia/Jakarta")
DOCS = Path(__file__).parents[1] / "docs" / "profiles.md"
KINDS = ("mall", "shop", "shop/books", "office", "restaurant", "restaurant/fast_food/1", "market", "home", "bus", "")
OWN = """
name = "An office's own"
source = "test"
valid_from = 2022-01-01

[contact]
minimum_minutes = 20
comparison = "at_least"
per = "stay"
linger_minutes = 45
linger_at_most_stay = true
without_minimum = ["home", "restaurant/*/1"]
venue_factors = {"*" = 1.5, "shop/*" = 0.5, "shop/books" = 3, "office" = 0}

[infectious]
days_before = 3
days_after = 5

[infectious.without_symptoms]
days_before = 2
days_after = 4

[exposure]
days_before = 9
days_after = -1
days_before_specimen = 9
"""
"""A profile with everything that goes by category."""


def profiles() -> dict[str, tuple[Profile, Table]]:
    """Every profile of Lacak, an office's own, and clea's with a backward rule that one case reaches."""
    found = {name: (profile, table(name)) for name, profile in load_profiles().items()}
    found["own"] = read_profile("own", OWN), tomllib.loads(OWN)
    eager = profile_text("clea")[1].replace("backward_visits = 3", "backward_visits = 1")
    eager += '\n[slots."shop/*"]\nforward_visits = 2\nforward_risk = 9\nbackward_visits = 1\nbackward_risk = 4\n'
    found["eager"] = read_profile("eager", eager), tomllib.loads(eager)
    return found


def town_of(seed: int) -> World:
    """A world with categories of several parts."""
    town = world(seed, people=7, venues=5, days=4, scans=150, late=0.0, erasures=0)
    chance = random.Random(seed)
    kinds = {record.venue: chance.choice(KINDS) for record in town.venues}
    venues = [
        record._replace(category=kinds[record.venue] if chance.random() < 0.8 else chance.choice(KINDS))
        for record in town.venues
    ]
    return town._replace(venues=venues)


def ask(
    places: Places,
    registry: Registry,
    profile: Profile,
    person: str,
    direction: Any,
    onset: int | None,
    specimen: int | None,
    as_of: int | None = None,
) -> dict[str, Found]:
    """The contacts as the product gives them, in the oracle's shape."""  # fmt: skip
    frame = (profile.infectious_window if direction == "forward" else profile.exposure_window)(
        onset, specimen, None, ZONE
    )
    course = profile.course(onset, specimen, ZONE) if direction == "forward" else None
    rows = may_count(
        places.shared_stays(person, *frame, as_of, profile.air, direction), profile, registry.category, direction
    )
    return {
        contact.person: Found(
            round(contact.minutes, 9),
            sorted((oracle.Shared(contact.person, s.venue, s.start_ms, s.end_ms), s.minutes) for s in contact.evidence),
            contact.score,
            contact.level,
        )
        for contact in contacts_of(rows, profile, person, course)
    }


@pytest.mark.parametrize("seed", range(40))
def test_every_profile_both_ways_is_the_oracle_s(seed: int) -> None:
    """With onset or without, in Jakarta's days and, for Corona-Warn-App, in days of UTC; cut at a moment or not."""
    town, chance = town_of(seed), random.Random(f"profiles {seed}")
    registry = Registry()
    for venue in town.registry():
        registry.add(venue)
    wanted = oracle.visits(town.scans, town.venues)
    places = Places.from_visits(derive_visits(town.shuffled(seed), registry, None), 600_000)
    for profile, written in profiles().values():
        for direction in ("forward", "backward"):
            person = chance.choice([visit.person for visit in wanted])
            at = BEGIN + chance.randrange(0, 4 * DAY)
            if direction == "backward":
                at += (2 - written["exposure"]["days_after"]) * DAY
            onset, specimen = chance.choice([(at, None), (None, at), (at, at + DAY)])
            as_of = chance.choice([None, None, BEGIN + chance.randrange(0, 4 * DAY)])
            frame = profile_oracle.window(written, direction, onset, specimen)
            expected = profile_oracle.contacts(
                wanted, written, person, frame, as_of=as_of, direction=direction, venues=town.venues, onset=onset,
                specimen=specimen,
            )  # fmt: skip
            found = ask(places, registry, profile, person, direction, onset, specimen, as_of)
            assert found == {
                other: each._replace(minutes=round(each.minutes, 9)) for other, each in expected.items()
            }, (profile.id, direction)


def test_the_worlds_have_something_of_every_profile() -> None:
    """No profile is compared only with nothing, none scores only one way, and categories decide."""
    counts: dict[tuple[str, str], int] = {}
    levels: set[str | None] = set()
    differ = 0
    for seed in range(40):
        town = town_of(seed)
        wanted = oracle.visits(town.scans, town.venues)
        person = wanted[seed % len(wanted)].person
        for name, (_, written) in profiles().items():
            for direction, onset in (("forward", BEGIN + 2 * DAY), ("backward", BEGIN + 3 * DAY)):
                onset -= written["exposure"]["days_after"] * DAY if direction == "backward" else 0
                frame = profile_oracle.window(written, direction, onset, None)
                found = profile_oracle.contacts(
                    wanted, written, person, frame, direction=direction, venues=town.venues, onset=onset
                )
                counts[name, direction] = counts.get((name, direction), 0) + len(found)
                levels |= {each.level for each in found.values()}
                if name == "own":
                    differ += found != profile_oracle.contacts(
                        wanted, written, person, frame, direction=direction, onset=onset
                    )
    assert {key for key, count in counts.items() if not count} == {("clea", "backward")}
    assert levels == {None, "low", "high"}
    assert differ > 20


@pytest.mark.parametrize("seed", range(10))
def test_without_a_linger_both_ways_are_the_same(seed: int) -> None:
    """Who met whom does not depend on who may have infected whom, as long as nothing lingers."""
    town, chance = town_of(seed), random.Random(seed)
    registry = Registry()
    for venue in town.registry():
        registry.add(venue)
    found = derive_visits(town.messages(), registry, None)
    places = Places.from_visits(found, 600_000)
    person = chance.choice(found).person
    for profile in load_profiles().values():
        if profile.air.plain:
            both = [
                contacts_of(
                    may_count(
                        places.shared_stays(person, BEGIN, BEGIN + 3 * DAY, None, profile.air, direction), profile,
                        registry.category, direction,
                    ),
                    profile, person,
                )
                for direction in ("forward", "backward")
            ]  # fmt: skip
            assert both[0] == both[1]


FACTORS = st.dictionaries(st.sampled_from(["*", "mall", "shop/*"]), st.floats(0, 100), max_size=3)


@given(
    st.sampled_from(sorted(load_profiles())),
    st.one_of(st.floats(0, 1500), st.sampled_from([0.1, 0.7, 10.1, 15.0])),
    FACTORS,
    st.sampled_from(["", "mall", "shop", "shop/food", "office"]),
    st.integers(-3, 3),
)
def test_what_shares_less_than_the_least_never_counts(
    name: str, minimum: float, factors: dict[str, float], category: str, near: int
) -> None:
    """Whatever the minimum and the venues' factors; without them the least is the minimum, to the millisecond."""
    profile = load_profiles()[name]
    rule = msgspec.structs.replace(profile.contact, minimum_minutes=minimum, venue_factors=factors)
    changed = msgspec.structs.replace(profile, contact=rule)
    for ms in (changed.least_ms - 1, changed.least_ms + near - 4, round(minimum * MINUTE) + near):
        if rule.per == "stay" and 0 < ms < changed.least_ms:
            assert not changed.enough(changed.minutes(BEGIN, BEGIN + ms), category)
    assert load_profiles()["kmk-413"].least_ms == 15 * MINUTE - 1
    assert load_profiles()["cdc"].least_ms == 0


def test_a_profile_travels_whole() -> None:
    for profile, _ in profiles().values():
        assert profile_from_json(profile_to_json(profile)) == profile


def test_a_question_of_yesterday_is_still_read() -> None:
    """A profile as the version before wrote it, without anything new."""
    before = json.loads(profile_to_json(load_profiles()["who"]))
    before["contact"] = {
        key: before["contact"][key]
        for key in ("minimum_minutes", "comparison", "per", "linger_minutes", "without_minimum")
    }
    del before["score"], before["slots"]
    assert profile_from_json(json.dumps(before).encode()) == load_profiles()["who"]


@given(st.integers(0, 400), st.integers(0, 300), st.sampled_from(sorted(profiles())))
def test_intervals_of_a_stay(start: int, length: int, name: str) -> None:
    """Every start and length to the half minute."""
    profile, written = profiles()[name]
    begin, end = BEGIN + start * MINUTE // 2, BEGIN + start * MINUTE // 2 + length * MINUTE // 2
    expected = profile_oracle.interval(written["contact"], begin, end) if length else None
    assert profile.air.interval(begin, end) == (expected if expected and expected[0] < expected[1] else None)
    if expected:
        assert begin - profile.air.reach_ms <= expected[0] <= expected[1] <= end + profile.air.reach_ms


@given(st.lists(st.sampled_from(("*", "shop", "shop/*", "shop/books", "*/books", "shop/books/1", "home", "*/*/1"))))
def test_the_most_specific_pattern_wins(patterns: list[str]) -> None:
    for kind in (*KINDS, "shop/books/1", "shop/food", "market/books"):
        assert best_match(patterns, kind) == profile_oracle.best(patterns, kind)


def test_patterns_by_hand() -> None:
    rules = {"*": 1, "shop": 2, "shop/*": 3, "shop/books": 4, "*/books": 5, "Fast food": 6}
    kinds = ("home", "shop", "shop/toys", "shop/books", "home/books", "fast-food")
    assert [rule_for(rules, kind) for kind in kinds] == [1, 3, 3, 4, 5, 6]
    assert rule_for({"shop": 1}, "office") is None


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


GOOD = profile_text("cwa")[1]
WHOLE = "whole_minutes = true\n"


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ('per = "stay"', 'per = "stay', 'per = "stay', "not TOML"),
        ('per = "stay"', 'per = "week"', "per =", "write one of stay, 24h"),
        ("minimum_minutes = 0", 'minimum_minutes = "0"', "minimum_minutes", "write a number"),
        ("minimum_minutes = 0", "minimum_minutes = -1", "minimum_minutes", "minutes from 0"),
        ("minimum_minutes = 0", "minimum_minutes = nan", "minimum_minutes", "minutes from 0"),
        ("linger_minutes", "linger_minuets", "linger_minuets", "did you mean linger_minutes?"),
        ("linger_minutes = 30", "something = 30", "something", "there are minimum_minutes"),
        ('comparison = "more_than"\n', "", "[contact]", "lacks comparison"),
        ("valid_from = 2021-04-21", 'valid_from = "spring"', "valid_from", "valid_from"),
        ("days_after = 6", "days_after = -11", "days_after = -11", "ends before it begins"),
        ("days_before_specimen = 10", "days_before_specimen = 0", "days_before_specimen", "1 or more"),
        ("1.4, 1.6]", '1.4, "1.6"]', "risk_values", "write a number"),
        ("high_from = 10", "high_from = 0", "high_from", "above low_above"),
        ("by_onset = [2, 4", "by_onset = [2, 9", "by_onset =", "levels from 1 to 8"),
        (WHOLE, "", "[contact]", "whole_minutes"),
        ("[score]", "[score.more]\nx = 1\n[score]", "[score.more]", "more is not known"),
        (WHOLE, WHOLE + 'venue_factors = {"shop//x" = 1}\n', "venue_factors", "names with /"),
        (WHOLE, WHOLE + '[contact.venue_factors]\n"shop" = 1\n"*" = "x"\n', '"*" = "x"', "write a number"),
        (WHOLE, WHOLE + '[contact.venue_factors]\n"shop" = 1\n"*" = -1\n', '"*" = -1', "0 or more"),
        (WHOLE, WHOLE + 'without_minimum = ["Fast food", "fast_food"]\n', "without_minimum", "there twice"),
        ("[score]", '[slots."x"]\nforward_visits = 0\nforward_risk = 1\nbackward_visits = 1\nbackward_risk = 1\n'
         "[score]", '[slots."x"]', "visits of 1 or more"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: str, said: str) -> None:
    """`line` is how the line begins that must be named."""
    assert old in GOOD
    path = tmp_path / "office.toml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    number = next(place for place, text in enumerate(path.read_text("utf-8").split("\n"), 1) if text.startswith(line))
    told = run("profiles", "check", path)
    assert told.exit_code == 1
    assert f"office.toml:{number}: " in told.stderr
    assert said in told.stderr
    with pytest.raises(ProfileError, match=f"line {number}"):
        load_profiles(tmp_path)


@pytest.mark.parametrize("name", ["without_minimum = ['home']", "venue_factors = {'*' = 2}"])
def test_a_sum_over_a_day_does_not_go_by_category(name: str) -> None:
    with pytest.raises(Fault, match=r'line 9: .* per = "stay"'):
        read_profile("x", profile_text("cdc")[1].replace('per = "24h"', f'per = "24h"\n{name}'))


def test_slots_need_a_length() -> None:
    with pytest.raises(Fault, match="grid_minutes"):
        read_profile("x", profile_text("clea")[1].replace("grid_minutes = 30\n", ""))


def test_the_line_of_a_key_in_a_table_written_in_one_line() -> None:
    text = 'a = 1\n# b\n\nb = {c = 1, "d/*" = 2}\n[e]\nf = 1\n["g"."h/*"]\ni = [\n  1,\n]\n'
    paths = ("a",), ("b", "d/*"), ("e", "f"), ("g", "h/*", "i"), ("g", "x"), ("z",)
    assert [line_of(text, path) for path in paths] == [1, 4, 6, 8, 1, 1]


def test_an_office_s_own_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder adds to Lacak's and overrules by id; list, show and check tell of it."""
    (tmp_path / "own.toml").write_text(OWN, "utf-8")
    (tmp_path / "who.toml").write_text(OWN.replace("An office's own", "Not WHO's"), "utf-8")
    monkeypatch.setenv("LACAK_RULES_FOLDER", str(tmp_path))
    listed = {each["id"]: each for each in msgspec.json.decode(run("profiles", "list", "--json").stdout)}
    assert set(listed) == {*load_profiles(), "own"}
    assert listed["who"]["name"] == "Not WHO's"
    shown = run("profiles", "show", "own")
    assert shown.exit_code == 0
    assert OWN.strip() in shown.stdout
    assert all(sentence in shown.stdout for sentence in describe(read_profile("own", OWN)))
    checked = run("profiles", "check", tmp_path / "own.toml", tmp_path / "who.toml")
    assert (checked.exit_code, checked.stdout.count("can be used")) == (0, 2)
    (tmp_path / "who.toml").write_text("name = 3\n", "utf-8")
    assert run("profiles", "check", tmp_path / "own.toml", tmp_path / "who.toml").exit_code == 1
    broken = run("profiles", "list")
    assert broken.exit_code == 1
    assert "who.toml cannot be used: line 1" in broken.output


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    assert load_profiles(tmp_path) == load_profiles()
    with pytest.raises(ProfileError, match="no folder"):
        load_profiles(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "nobody"), 1, "kmk-413"),
        (("check", "nowhere.toml"), 2, "nowhere.toml"),
        (("check", __file__), 1, "ID.toml"),
        (("vectors", __file__), 1, "holds no vectors"),
    ],
)
def test_errors_of_profiles_are_sentences(words: tuple[str, ...], code: int, said: str) -> None:
    told = run("profiles", *words)
    assert (told.exit_code, said in told.output) == (code, True)
    assert isinstance(told.exception, SystemExit)


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def test_every_profile_is_documented_with_its_numbers() -> None:
    """docs/profiles.md has a section for each profile, with its source, its version and each of its numbers."""
    parts = DOCS.read_text("utf-8").split("\n# ")[0].split("\n## ")[1:]
    sections = {part.split("\n", 1)[0].strip("` "): part for part in parts}
    assert set(sections) == set(load_profiles())
    for name, profile in load_profiles().items():
        section = sections[name]
        assert profile.source in section.replace("\n", " ")
        assert profile.version in section
        for number in numbers(table(name)["contact"]):
            assert f"{number:g}" in section, (name, number)
        for part in (profile.infectious, profile.infectious.without_symptoms, profile.exposure):
            for days in msgspec.structs.astuple(part):
                if isinstance(days, int):
                    assert str(abs(days)) in section, (name, days)


def test_every_key_of_a_file_is_documented() -> None:
    text = DOCS.read_text("utf-8")
    example = profiles()
    keys = {
        key for _, written in example.values() for part in written.values() if isinstance(part, dict) for key in part
    }
    keys |= {key for rule in example["eager"][1]["slots"].values() for key in rule}
    for key in keys - {"*", "shop/*"}:
        assert f"`{key}`" in text, key
    assert Air() == Air(0, False, 0, 0, False)
