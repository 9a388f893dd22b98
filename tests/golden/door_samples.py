"""Samples of the messages of health and of doors: every field and every word at least once."""

from __future__ import annotations

from typing import Final, get_args

from schemas import door as d
from schemas import health as h
from schemas import messages as m

_T: Final = 1_634_778_000_000
_P: Final = "p1:5f3c0000000000000000000000000001"

_FACTS: Final[tuple[h.AnyFact, ...]] = (
    h.TestFact(test="pcr", outcome="negative", specimen_ms=_T, result_ms=_T + 1, laboratory="lab-1"),
    h.TestFact(test="antigen", outcome="positive", specimen_ms=_T, result_ms=_T + 1),
    h.TestFact(test="other", outcome="withdrawn", specimen_ms=_T, result_ms=_T + 1),
    h.VaccinationFact(product="Ad26.COV2.S", at_ms=_T),
    h.VaccinationFact(product="CoronaVac", at_ms=_T, dose=2),
    h.RecoveryFact(recovered_ms=_T),
    *(h.PersonFact(age_band=band) for band in get_args(h.AgeBand)),
    *(
        h.ContactFact(trace_id="trace-1", grade=grade, registered_ms=_T, last_exposure_ms=_T - 1, risk=0.25)
        for grade in get_args(m.Grade)
    ),
    h.TravelFact(place="Johor Bahru", country="MY", start_ms=_T, end_ms=_T + 1),
)

DOOR_SAMPLES: Final[dict[str, list[m.Message]]] = {
    "declarations": [
        h.Declaration(person=_P, declaration_id="d-1", start_ms=_T, end_ms=_T + 1, told_at_ms=_T + 2, venue="mal-0001"),
        h.Declaration(
            person=_P,
            declaration_id="d-2",
            start_ms=_T,
            end_ms=_T + 1,
            told_at_ms=_T + 2,
            place="Johor Bahru",
            country="MY",
            reporter="officer-7",
            purpose="interview",
            withdrawn=True,
        ),
    ],
    "health-records": [
        *(
            h.HealthRecord(person=_P, record_id=f"r-{number}", fact=fact, told_at_ms=_T)
            for number, fact in enumerate(_FACTS)
        ),
        h.HealthRecord(
            person=_P,
            record_id="r-0",
            fact=_FACTS[0],
            told_at_ms=_T,
            withdrawn=True,
            source="fhir",
            officer="officer-7",
            purpose="import",
        ),
    ],
    "statuses": [
        *(
            h.Status(
                person=_P,
                colour=colour,
                since_ms=_T,
                rule="indonesia@2021-08-30 none",
                reason="nothing",
                log_time_ms=_T,
                position=(7, 0),
            )
            for colour in h.COLOURS
        ),
        h.Status(
            person=_P,
            colour="green",
            since_ms=_T,
            rule="indonesia@2021-08-30 green.doses",
            reason="doses",
            log_time_ms=_T,
            position=(7, 1),
            until_ms=_T + 1,
            doses=3,
            full=True,
            booster=True,
            age_band="60+",
            negatives=tuple(h.NegativeTest(test=test, specimen_ms=_T) for test in get_args(m.TestKind)),
        ),
    ],
    "rules": [
        d.RuleSet(
            kind=kind,
            rules_id="indonesia",
            text='name = "x"',
            officer="officer-7",
            purpose="new level",
            published_at_ms=_T,
        )
        for kind in get_args(d.RulesKind)
    ],
    "recounts": [
        d.Recount(venue="mal-0001", inside=37, at_ms=_T, recount_id="c-1", gateway="gw-03", device="staff-1"),
    ],
    "door-events": [
        d.DoorEvent(
            event_id=f"e-{deed}",
            venue="mal-0001",
            gateway="gw-03",
            device="staff-1",
            deed=deed,
            at_ms=_T,
            person=_P,
            detail="x",
        )
        for deed in get_args(d.Deed)
    ],
}
