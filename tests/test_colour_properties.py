"""What holds of colours whatever is told, and in whatever order; and the published table read a second time."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contacts.colourrules import colour_rules_text
from contacts.colours import ColourRules, Facts, Judgement, colour_of, load_colour_rules, read_colour_rules, summary
from schemas.health import ContactFact, HealthRecord, PersonFact, TestFact, VaccinationFact
from tests.health_records import DAY, ZONE, at, facts_of, lives, moments, record
from tests.oracle_colours import Oracle, standing

RULES = load_colour_rules()


def same(one: Judgement, other: Judgement) -> bool:
    return (one.colour, one.rule, one.reason) == (other.colour, other.rule, other.reason)


@given(lives(), st.lists(moments, min_size=1, max_size=8))
def test_oracle(records: list[HealthRecord], times: list[int]) -> None:
    """At any time the colour, the date of its rules and its reason are those of a naive reading of the table."""
    facts, oracle = facts_of(*records), Oracle(records, ZONE)
    for time in times:
        found = colour_of(facts, time, RULES, ZONE)
        since = found.rule.partition("@")[2].partition(" ")[0]
        colour, rules, reason = oracle.judge(time)
        assert (found.colour, since, found.reason) == (colour, "" if rules is None else rules.isoformat(), reason)
        assert found.rule.endswith(f" {colour}.{reason}")


@given(lives(), moments)
def test_oracle_at_borders(records: list[HealthRecord], time: int) -> None:
    """The naive reading changes at the borders that are named, and not a millisecond before."""
    facts, oracle = facts_of(*records), Oracle(records, ZONE)
    for _ in range(6):
        found = colour_of(facts, time, RULES, ZONE)
        before = oracle.judge(time)
        assert found.since_ms <= time
        assert oracle.judge(found.since_ms) == before
        if found.reason != "no_rules":
            assert oracle.judge(found.since_ms - 1) != before
        if found.until_ms is None:
            assert oracle.judge(time + 40_000 * DAY) == before
            break
        assert found.until_ms > time
        assert oracle.judge(found.until_ms - 1) == before
        told = summary(facts, found.until_ms, RULES) != summary(facts, found.until_ms - 1, RULES)
        dated = any(
            found.until_ms in (getattr(r.fact, "at_ms", None), getattr(r.fact, "result_ms", None))
            for r in standing(records).values()
        )
        assert oracle.judge(found.until_ms) != before or told or dated
        time = found.until_ms


@given(lives(), moments, st.data())
def test_constant(records: list[HealthRecord], time: int, data: st.DataObject) -> None:
    """Judgement and summary are the same in all of `[since, until)` that is not before the question."""
    facts = facts_of(*records)
    found = colour_of(facts, time, RULES, ZONE)
    last = time + 400 * DAY if found.until_ms is None else found.until_ms - 1
    later = data.draw(st.integers(time, last))
    again = colour_of(facts, later, RULES, ZONE)
    assert same(again, found)
    assert (again.since_ms, again.until_ms) == (found.since_ms, found.until_ms)
    assert summary(facts, later, RULES) == summary(facts, time, RULES)
    if found.reason != "no_rules":
        earlier = data.draw(st.integers(found.since_ms, time))
        assert same(colour_of(facts, earlier, RULES, ZONE), found)


@given(lives(), moments, st.data())
def test_order(records: list[HealthRecord], time: int, data: st.DataObject) -> None:
    """Facts, their bytes, judgement and summary do not depend on the records' order, nor on how often they come."""
    again = data.draw(st.lists(st.sampled_from(records), max_size=3)) if records else []
    one, other = facts_of(*records), facts_of(*data.draw(st.permutations([*records, *again])))
    assert one == other
    assert one.pack() == other.pack()
    assert colour_of(one, time, RULES, ZONE) == colour_of(other, time, RULES, ZONE)
    assert summary(one, time, RULES) == summary(other, time, RULES)


@given(lives(), moments)
def test_packed(records: list[HealthRecord], time: int) -> None:
    """Facts come back from their bytes as they were, and tell the same."""
    facts = facts_of(*records)
    back = Facts.unpack(facts.pack())
    assert back == facts
    assert back.pack() == facts.pack()
    assert colour_of(back, time, RULES, ZONE) == colour_of(facts, time, RULES, ZONE)


@given(lives())
def test_told_again(records: list[HealthRecord]) -> None:
    """A record that is known, or older than one that is, changes nothing, and says so."""
    facts = facts_of(*records)
    assert all(facts.take(each) is None for each in records)


@given(lives(), moments)
def test_used(records: list[HealthRecord], time: int) -> None:
    """The records named are known and stand; and with them alone the colour is the same."""
    found = colour_of(facts_of(*records), time, RULES, ZONE)
    held = standing(records)
    assert set(found.facts_used) <= set(held)
    if found.colour == "black" and found.reason != "arrival":
        # what clears black is not among what makes it
        alone = facts_of(*(held[each] for each in found.facts_used))
        assert colour_of(alone, time, RULES, ZONE).colour == "black"


@given(lives(), moments)
def test_summary(records: list[HealthRecord], time: int) -> None:
    """Doses, course and booster are those of a naive count; negatives are the newest of their kind with a result."""
    oracle = Oracle(records, ZONE)
    found = summary(facts_of(*records), time, RULES)
    assert found[:3] == oracle.had(time)
    assert found.age_band == oracle.age
    newest: dict[str, int] = {}
    for test in oracle.negatives:
        if test.result_ms <= time:
            newest[test.test] = max(test.specimen_ms, newest.get(test.test, test.specimen_ms))
    assert {negative.test: negative.specimen_ms for negative in found.negatives} == newest


@given(st.permutations(range(6)))
def test_equal_times(order: list[int]) -> None:
    """Of records told at the same time one stands, whichever comes first; a withdrawal stands over all."""
    contents = [
        VaccinationFact(product="CoronaVac", at_ms=5),
        VaccinationFact(product="CoronaVac", at_ms=7),
        VaccinationFact(product="CoronaVac", at_ms=7, dose=2),
        PersonFact(age_band="60+"),
        TestFact(test="pcr", outcome="positive", specimen_ms=1, result_ms=2),
    ]
    records = [record("r", content, 9) for content in contents]
    facts = facts_of(*(records[place] for place in order if place < 5))
    assert facts == facts_of(*records)
    records.append(record("r", contents[0], 9, withdrawn=True))
    assert facts_of(*(records[place] for place in order)) == facts_of(records[5])


@pytest.mark.parametrize("time", [-(2**53), -1, 0, 2**53, at("1900-01-01"), at("2400-02-29")])
def test_impossible_times(time: int) -> None:
    """Dates that only a mistake can mean give a colour like any other, and stop nothing."""
    zones = ZONE, ZoneInfo("America/New_York")
    records = [
        record("d", VaccinationFact(product="x", at_ms=time)),
        record("t", TestFact(test="pcr", outcome="positive", specimen_ms=time, result_ms=time)),
        record("n", TestFact(test="pcr", outcome="negative", specimen_ms=time, result_ms=time)),
    ]
    facts = facts_of(*records)
    for zone in zones:
        for asked in (time, at("2021-10-21"), at("2022-08-01")):
            found = colour_of(facts, asked, RULES, zone)
            assert found.since_ms <= asked
            assert found.until_ms is None or found.until_ms > asked


ZONES = st.sampled_from(["Asia/Jakarta", "Asia/Jayapura", "UTC", "America/New_York", "Asia/Kathmandu"])


@given(lives(), st.lists(moments, min_size=1, max_size=4), ZONES)
def test_zones(records: list[HealthRecord], times: list[int], name: str) -> None:
    """Days are those of the deployment's zone, also of one that changes its clocks."""
    zone = ZoneInfo(name)
    facts, oracle = facts_of(*records), Oracle(records, zone)
    for time in times:
        found = colour_of(facts, time, RULES, zone)
        assert (found.colour, found.reason) == oracle.judge(time)[::2]


def possible_enough(risk: float) -> ColourRules:
    """The rules, with a possible contact of a risk being enough."""
    where, text = colour_rules_text("indonesia")
    changed = text.replace("[sets.contact]", f"[sets.contact]\npossible_from_risk = {risk}")
    return read_colour_rules("indonesia", changed, where)


@given(lives(), moments, st.sampled_from([0.0, 0.5, 1.0]))
def test_possible(records: list[HealthRecord], time: int, least: float) -> None:
    """A possible contact counts as nothing, or where the rules say so, from a risk on, as a confirmed one."""
    held = list(standing(records).values())
    possible = [r for r in held if isinstance(r.fact, ContactFact) and r.fact.grade == "possible"]
    others = [r for r in held if r not in possible]
    confirmed = [
        replace(r, fact=replace(r.fact, grade="confirmed"))
        for r in possible
        if isinstance(r.fact, ContactFact) and r.fact.risk is not None and r.fact.risk >= least
    ]
    facts = facts_of(*records)
    assert colour_of(facts, time, RULES, ZONE) == colour_of(facts_of(*others), time, RULES, ZONE)
    enough = facts_of(*others, *confirmed)
    assert colour_of(facts, time, possible_enough(least), ZONE) == colour_of(enough, time, RULES, ZONE)
