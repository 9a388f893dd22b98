"""Health records for tests: by hand, and by hypothesis. All are of one person, in Jakarta's time."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from contacts.facts import Facts
from schemas.health import (
    AnyFact,
    ContactFact,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TestFact,
    TravelFact,
    VaccinationFact,
)

ZONE = ZoneInfo("Asia/Jakarta")
HOUR = 3_600_000
DAY = 24 * HOUR


def at(text: str, days: int = 0, ms: int = 0) -> int:
    """A time such as `2021-10-21 08:00` in Jakarta, so many days and ms later."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZONE) + timedelta(days=days)
    return round(moment.timestamp() * 1000) + ms


def record(record_id: str, fact: AnyFact, told_ms: int | None = None, withdrawn: bool = False) -> HealthRecord:
    """A record, told when nothing else is said at the beginning of 2021."""
    told = at("2021-01-01") if told_ms is None else told_ms
    return HealthRecord(person="p1:a", record_id=record_id, fact=fact, told_at_ms=told, withdrawn=withdrawn)


def dose(text: str, number: int | None = None, product: str = "CoronaVac", told_ms: int | None = None) -> HealthRecord:
    """A dose at a time."""
    fact = VaccinationFact(product=product, at_ms=at(text), dose=number)
    return record(f"dose/{text}/{number}/{product}", fact, told_ms)


def doses(*texts: str, product: str = "CoronaVac") -> list[HealthRecord]:
    """Numbered doses at these times."""
    return [dose(text, number, product) for number, text in enumerate(texts, 1)]


def lab(kind: str, outcome: str, specimen: str, result: str | None = None, told_ms: int | None = None) -> HealthRecord:
    """A test; the result is there an hour after the sample where nothing is said."""
    specimen_ms = at(specimen)
    result_ms = specimen_ms + HOUR if result is None else at(result)
    fact = TestFact(test=kind, outcome=outcome, specimen_ms=specimen_ms, result_ms=result_ms)  # type: ignore[arg-type]
    return record(f"lab/{kind}/{outcome}/{specimen}", fact, told_ms)


def contact(registered: str, grade: str = "confirmed", risk: float | None = None, trace: str = "t1") -> HealthRecord:
    """A contact registered at a time."""
    when = at(registered)
    fact = ContactFact(trace_id=trace, grade=grade, registered_ms=when, last_exposure_ms=when - DAY, risk=risk)  # type: ignore[arg-type]
    return record(f"contact/{trace}", fact)


def arrival(end: str, country: str = "SG") -> HealthRecord:
    """An arrival from a country."""
    return record(f"travel/{end}", TravelFact(place="", country=country, start_ms=at(end) - DAY, end_ms=at(end)))


def aged(band: str) -> HealthRecord:
    """The person's age band."""
    return record("register", PersonFact(age_band=band))  # type: ignore[arg-type]


def facts_of(*records: HealthRecord) -> Facts:
    """What is known after these records."""
    facts = Facts()
    for each in records:
        facts = facts.take(each) or facts
    return facts


FULL = doses("2021-03-01", "2021-04-01")
HALF = doses("2021-07-01")
BOOSTED = doses("2021-03-01", "2021-04-01", "2022-02-01")
JANSSEN = doses("2021-07-20", product="Janssen")
ADULT, CHILD, TEEN, OLD, INFANT = (aged(band) for band in ("18-59", "6-11", "12-17", "60+", "0-5"))


def _moments() -> st.SearchStrategy[int]:
    """Times of the years of the rules: near their dates as often as anywhere, at midnight and a millisecond off."""
    near = st.sampled_from(["2021-08-01", "2021-08-30", "2021-11-29", "2022-02-05", "2022-02-15", "2022-07-17"])
    return st.builds(
        lambda day, days, inside: at(day, days, inside),
        near,
        st.integers(-20, 25),
        st.one_of(st.sampled_from([0, -1, 1, 12 * HOUR]), st.integers(0, DAY - 1)),
    )


moments = _moments()


@st.composite
def _facts(draw: st.DrawFn) -> AnyFact:
    when = draw(moments)
    match draw(st.sampled_from(["dose", "dose", "test", "test", "test", "contact", "travel", "recovery", "age"])):
        case "dose":
            product = draw(st.sampled_from(["CoronaVac", "CoronaVac", "Ad26.COV2.S", "Zifivax", "unheard of"]))
            return VaccinationFact(product=product, at_ms=when, dose=draw(st.sampled_from([None, 1, 2, 3])))
        case "test":
            kind = draw(st.sampled_from(["pcr", "pcr", "antigen", "other"]))
            outcome = draw(st.sampled_from(["positive", "negative", "negative", "negative", "withdrawn"]))
            wait = draw(st.one_of(st.sampled_from([0, HOUR, DAY]), st.integers(0, 3 * DAY)))
            return TestFact(test=kind, outcome=outcome, specimen_ms=when, result_ms=when + wait)
        case "contact":
            grade = draw(st.sampled_from(["confirmed", "confirmed", "possible", "dismissed"]))
            risk = draw(st.sampled_from([None, 0.1, 0.9]))
            return ContactFact(trace_id="t", grade=grade, registered_ms=when, last_exposure_ms=when, risk=risk)
        case "travel":
            country = draw(st.sampled_from(["ID", "SG", "ZA", "HK", "GB"]))
            return TravelFact(place="", country=country, start_ms=when - DAY, end_ms=when)
        case "recovery":
            return RecoveryFact(recovered_ms=when)
    return PersonFact(age_band=draw(st.sampled_from(["0-5", "6-11", "12-17", "18-59", "60+"])))


@st.composite
def _episodes(draw: st.DrawFn) -> list[AnyFact]:
    """A positive or a contact with negatives after it, so that ways out of black are met."""
    when = draw(moments)
    first: AnyFact = ContactFact(trace_id="e", grade="confirmed", registered_ms=when, last_exposure_ms=when)
    if draw(st.booleans()):
        first = TestFact(test="pcr", outcome="positive", specimen_ms=when - HOUR, result_ms=when)
    found = [first]
    for day in draw(st.lists(st.integers(0, 15), max_size=3)):
        specimen_ms = when - when % DAY + day * DAY + draw(st.integers(-8 * HOUR, 16 * HOUR))
        wait = draw(st.sampled_from([0, HOUR, DAY, 3 * DAY]))
        kind = draw(st.sampled_from(["pcr", "antigen"]))
        found.append(TestFact(test=kind, outcome="negative", specimen_ms=specimen_ms, result_ms=specimen_ms + wait))
    return found


@st.composite
def lives(draw: st.DrawFn) -> list[HealthRecord]:
    """Records of one person in the order in which they came: some revised, some withdrawn."""
    facts = draw(st.lists(_facts(), max_size=6))
    if draw(st.booleans()):
        facts += draw(_episodes())
    records = []
    for number, fact in enumerate(facts):
        told = at("2021-01-01", ms=number)
        records.append(record(f"r{number}", fact, told))
        after = draw(st.sampled_from(["stands", "stands", "stands", "withdrawn", "revised"]))
        if after == "withdrawn":
            records.append(record(f"r{number}", fact, told + draw(st.integers(0, 1)), withdrawn=True))
        elif after == "revised":
            records.append(record(f"r{number}", draw(_facts()), told + 1))
    return draw(st.permutations(records))
