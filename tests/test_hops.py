"""Traces over several hops through the running pipeline, held against the oracle: reach, hops, times, risk, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from contacts.profiles import load_profiles
from contacts.risk import load_risk
from officer.store import Store
from schemas.messages import Contact, Trace
from tests import oracle, oracle_spread
from tests.oracle_spread import Label, Rules
from tests.pipeline import Broker, Pipeline, pipeline
from tests.worlds import BEGIN, DAY, World, world

CASE = "p5"
PROXIMITY = {"mall": 0.025, "shop": 0.025, "market": 0.025, "office": 0.3, "restaurant": 0.2, "": 0.025, "other": 0.025}


class Town(NamedTuple):
    """A pipeline that a town's scans went through, and the visits that the oracle makes of them."""

    pipeline: Pipeline
    world: World
    visits: list[oracle.Visit]

    def category(self, venue: str, at: int) -> str:
        """A venue's category by the registry."""
        records = sorted((r for r in self.world.venues if r.venue == venue), key=lambda record: record.valid_from)
        return ([r for r in records if r.valid_from <= at] or records[:1])[-1].category if records else "other"


@pytest.fixture(scope="module")
def town(broker: Broker, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Twelve days, so that an infection can go on three times with a latent period of three days."""
    made = world(8, people=60, venues=10, days=12, scans=1500, late=0.0, erasures=0)
    with pipeline(broker, database, tmp_path_factory.mktemp("hops"), partitions=3) as running:
        running.register(made.registry())
        running.publish(made.shuffled(8))
        running.end()
        yield Town(running, made, oracle.visits(made.scans, made.venues))


def wanted(town: Town, trace: Trace, hops: int, least: float) -> dict[str, Label]:
    """What the oracle says, for the window of the trace."""
    profile, risk = load_profiles()[trace.profile], load_risk()
    rule = profile.contact
    rules = Rules(
        rule.minimum_minutes, rule.comparison == "more_than", rule.per, rule.without_minimum, profile.linger_ms,
        risk.latent_ms, risk.rate_per_hour, risk.infectiousness, PROXIMITY, least,
    )  # fmt: skip
    window = trace.window_start_ms, trace.window_end_ms
    return oracle_spread.spread(
        town.visits, trace.person, window, hops, rules, town.category, trace.as_of_ms, trace.direction
    )


@pytest.mark.parametrize("hops", [2, 3])
@pytest.mark.parametrize(("direction", "profile"), [("forward", "who"), ("forward", "cdc"), ("backward", "ecdc")])
def test_a_trace_over_several_hops_is_the_oracle_s(town: Town, hops: int, direction: str, profile: str) -> None:
    """Everybody, with hop, earliest possible infection and risk; followed without a limit and from a risk on."""
    onset = BEGIN + (3 * DAY if direction == "forward" else 13 * DAY)
    for least in (0.0, 0.002):
        trace = town.pipeline.trace(CASE, direction, onset, profile, hops=hops, least_risk=least)
        expected = wanted(town, trace, hops, least)
        assert {c.person: (c.hop, c.earliest_ms) for c in trace.contacts} == {
            name: label[:2] for name, label in expected.items()
        }
        for contact in trace.contacts:
            assert contact.risk == pytest.approx(expected[contact.person].risk, abs=1e-9)
            assert len(contact.exposed_by) <= contact.hop - 1
        assert {contact.hop for contact in trace.contacts} == set(range(1, hops + 1)) or least > 0
        assert (trace.state, trace.hops, trace.least_risk, trace.risk_numbers) == (
            "complete",
            hops,
            least,
            "2023-12-20",
        )
        hold_evidence(town, trace)


def hold_evidence(town: Town, trace: Trace) -> None:
    """Each shared stay is one of the contact and of who exposed them, at a venue of that category."""
    stays = oracle_spread.all_stays(town.visits, trace.as_of_ms)
    for contact in trace.contacts:
        exposer = contact.exposed_by[-1] if contact.exposed_by else trace.person
        assert contact.evidence
        assert contact.minutes > 0
        for stay in contact.evidence:
            assert (stay.case_stay.start_ms, stay.case_stay.end_ms) in stays[exposer, stay.venue]
            assert (stay.contact_stay.start_ms, stay.contact_stay.end_ms) in stays[contact.person, stay.venue]
            assert stay.category == town.category(stay.venue, stay.start_ms)


def test_a_limit_that_cut_a_trace_is_in_its_report(town: Town) -> None:
    onset = BEGIN + 3 * DAY
    everybody = town.pipeline.trace(CASE, "forward", onset, hops=2, least_risk=0.0)
    assert everybody.cut_by == ("hops",)
    few = town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=0.0, people_most=2)
    assert (few.cut_by, len(few.contacts)) == (("people",), 2)
    assert all(contact.hop == 1 for contact in few.contacts)
    hurried = town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=0.0, seconds_most=0.0)
    assert hurried.cut_by == ("seconds",)
    assert people(hurried.contacts) == people(c for c in everybody.contacts if c.hop == 1)
    never = town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=1.0)
    assert (never.cut_by, people(never.contacts)) == ((), people(hurried.contacts))


def people(contacts: object) -> list[str]:
    """Their names."""
    return [contact.person for contact in contacts]  # type: ignore[attr-defined]


def test_a_trace_over_several_hops_that_nobody_answers_is_incomplete_and_made_good(town: Town) -> None:
    """While no places worker runs the report says so; with it back the same trace reaches everybody."""
    onset = BEGIN + 3 * DAY
    whole = town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=0.0)
    town.pipeline.worker("places").kill()
    try:
        with pytest.raises(AssertionError, match="no complete trace came"):
            town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=0.0, seconds=8.0)
    finally:
        town.pipeline.worker("places").start()
    with Store.opened(town.pipeline.settings.database) as store:
        listed = store.traces(CASE, "incomplete")
        assert listed
    again = town.pipeline.trace(CASE, "forward", onset, hops=3, least_risk=0.0)
    assert stripped(again.contacts) == stripped(whole.contacts)


def stripped(contacts: tuple[Contact, ...]) -> list[tuple[object, ...]]:
    """What a contact says."""
    return [(c.person, c.hop, c.risk, c.earliest_ms, c.exposed_by) for c in contacts]
