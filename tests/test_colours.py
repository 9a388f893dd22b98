"""The colours line by line, at times in Jakarta; the milliseconds around each limit are in test_colour_borders.py."""

from __future__ import annotations

import pytest

from contacts.colours import Facts, colour_of, load_colour_rules, summary
from schemas.health import HealthRecord, RecoveryFact
from tests.health_records import (
    ADULT,
    BOOSTED,
    CHILD,
    DAY,
    FULL,
    HALF,
    HOUR,
    INFANT,
    JANSSEN,
    OLD,
    TEEN,
    ZONE,
    arrival,
    at,
    contact,
    dose,
    doses,
    facts_of,
    lab,
    record,
)  # fmt: skip

RULES = load_colour_rules()
CASE = lab("pcr", "positive", "2021-10-01 07:00", "2021-10-02 15:00")  # day 0 is 2 October
CASE_15_FEB = lab("pcr", "positive", "2022-02-20 07:00", "2022-02-20 15:00")  # day 5 is 25 February


def colour(facts: Facts, moment: str) -> str:
    return colour_of(facts, at(moment), RULES, ZONE).colour


def by_doses(green: str = "green", yellow: str = "yellow", red: str = "red") -> list[tuple[list[HealthRecord], str]]:
    return [(FULL, green), (HALF, yellow), ([ADULT], red)]


TWO_OF_THREE = doses("2021-07-10", "2021-07-20", product="Zifivax")

BY_LINE = [
    # two doses are two doses, also of a product whose course is three
    *[(day, TWO_OF_THREE, "green") for day in ("2021-08-10", "2021-10-21", "2022-02-10")],
    ("2022-08-01", [*TWO_OF_THREE, ADULT], "yellow"),
    ("2022-08-01", [*TWO_OF_THREE, TEEN], "green"),
    # a positive test of any kind makes a case
    *[
        (f"{day} 12:00", [*FULL, lab(kind, "positive", f"{day} 08:00")], "black")
        for day in ("2021-10-21", "2022-02-06", "2022-02-20", "2022-08-01")
        for kind in ("pcr", "antigen", "other")
    ],
    # whose case has ended has recovered
    ("2022-02-06", [lab("pcr", "positive", "2022-01-10")], "yellow"),
    ("2022-08-20", [*FULL, ADULT, lab("pcr", "positive", "2022-08-01")], "green"),
    ("2022-08-01 12:00", [HALF[0], arrival("2022-08-01")], "black"),
    # August 2021: 2 doses green, 1 dose yellow, none red, no black
    *[("2021-08-01 00:00", *case) for case in by_doses()],
    *[("2021-08-29 23:59", *case) for case in by_doses()],
    ("2021-08-10", JANSSEN, "green"),
    ("2021-08-10", [*FULL, lab("pcr", "positive", "2021-08-09")], "green"),
    ("2021-08-10", [*FULL, contact("2021-08-09")], "green"),
    ("2021-08-10", [*FULL, arrival("2021-08-09")], "green"),
    ("2021-08-10", [record("r", RecoveryFact(recovered_ms=at("2021-08-01")))], "red"),
    ("2021-07-31 23:59", FULL, "unknown"),
    ("2021-08-10", [], "unknown"),
    # 30 August 2021: as before, or recovered less than 3 months ago; black
    *[("2021-08-30 00:00", *case) for case in by_doses()],
    ("2021-08-30 00:00", [*FULL, lab("pcr", "positive", "2021-08-25")], "black"),
    ("2021-08-30 00:00", [*FULL, contact("2021-08-25")], "black"),
    ("2021-09-01", [*FULL, lab("antigen", "positive", "2021-08-31")], "black"),
    ("2021-10-21", [record("r", RecoveryFact(recovered_ms=at("2021-10-01")))], "yellow"),
    ("2021-10-21", [*FULL, record("r", RecoveryFact(recovered_ms=at("2021-10-01")))], "green"),
    # 5 February 2022: as before
    *[("2022-02-05 00:00", *case) for case in by_doses()],
    ("2022-02-10", [record("r", RecoveryFact(recovered_ms=at("2022-01-01")))], "yellow"),
    # 15 February 2022: full, incomplete, none
    *[("2022-02-15 00:00", *case) for case in by_doses()],
    ("2022-02-16", JANSSEN, "green"),
    ("2022-02-16", doses("2021-10-10", "2021-11-10", product="Zifivax"), "yellow"),
    ("2022-02-16", doses("2021-10-10", "2021-11-10", "2021-12-10", product="Zifivax"), "green"),
    ("2022-02-16", [record("r", RecoveryFact(recovered_ms=at("2022-01-01")))], "red"),
    # 17 July 2022: from 18 a booster, 6 to 17 two doses
    ("2022-07-16 23:59", [*FULL, ADULT], "green"),
    *[("2022-07-17 00:00", [*BOOSTED, age], "green") for age in (ADULT, OLD, TEEN, CHILD)],
    *[("2022-07-17 00:00", [*FULL, age], colour) for age, colour in ((ADULT, "yellow"), (OLD, "yellow"))],
    *[("2022-07-17 00:00", [*FULL, age], "green") for age in (TEEN, CHILD)],
    *[("2022-07-17 00:00", [*HALF, age], "red") for age in (ADULT, OLD)],
    *[("2022-07-17 00:00", [*HALF, age], "yellow") for age in (TEEN, CHILD)],
    *[("2022-07-17 00:00", [age], "red") for age in (ADULT, OLD, TEEN, CHILD)],
    ("2022-07-17 00:00", [INFANT], "unknown"),
    ("2022-07-17 00:00", FULL, "yellow"),  # of no known age: as an adult
    ("2022-07-17 00:00", [*JANSSEN, ADULT], "yellow"),
    ("2022-07-17 00:00", [*JANSSEN, dose("2022-03-01", 2, "Moderna"), ADULT], "green"),
    ("2022-07-17 00:00", [*JANSSEN, TEEN], "green"),
    ("2022-08-01", [*FULL, ADULT, record("r", RecoveryFact(recovered_ms=at("2022-07-01")))], "green"),
    ("2022-08-01", [*HALF, ADULT, record("r", RecoveryFact(recovered_ms=at("2022-07-01")))], "red"),
    ("2022-08-01", [ADULT, lab("antigen", "negative", "2022-07-31 12:00")], "green"),
    ("2022-08-01", [ADULT, lab("other", "negative", "2022-07-31 12:00")], "red"),
    ("2022-08-01", [INFANT, lab("pcr", "negative", "2022-07-31 12:00")], "green"),
    ("2022-08-01", [*BOOSTED, ADULT, lab("antigen", "positive", "2022-07-31 12:00")], "black"),
]


@pytest.mark.parametrize(("moment", "records", "expected"), BY_LINE)
def test_line(moment: str, records: list[HealthRecord], expected: str) -> None:
    """Every line of the table gives its colour."""
    assert colour(facts_of(*records), moment) == expected


def test_no_quarantine() -> None:
    """From 23 March 2022 on who has had a full course is not black on arrival; nor ever who was inside the country."""
    for records in ([*FULL, arrival("2022-03-23")], [*FULL, arrival("2021-10-21", "ID")]):
        assert colour(facts_of(*records), "2022-03-23 00:01") == "green"
    assert colour(facts_of(*FULL, arrival("2021-10-21", "ID")), "2021-10-21 00:01") == "green"


def test_stuck_on_black() -> None:
    """The complaint of those years: black although the test is negative. Here it clears as soon as the second result
    is told, however late and in whichever order the results come, and as of when the laboratory had it."""
    positive = lab("pcr", "positive", "2022-02-20 07:00", "2022-02-20 15:00", told_ms=at("2022-02-20 15:01"))
    first = lab("pcr", "negative", "2022-02-25 08:00", "2022-02-26 06:00", told_ms=at("2022-02-28 09:00"))
    second = lab("pcr", "negative", "2022-02-26 09:00", "2022-02-26 21:00", told_ms=at("2022-02-27 09:00"))
    early = lab("antigen", "negative", "2022-02-22 08:00", told_ms=at("2022-02-22 09:00"))
    now = at("2022-02-28 10:00")

    facts = facts_of(*FULL, positive, early, second)  # the first result has not come in
    assert colour_of(facts, now, RULES, ZONE).colour == "black"
    told = facts.take(first)
    assert told is not None
    found = colour_of(told, now, RULES, ZONE)
    assert (found.colour, found.since_ms) == ("green", at("2022-02-26 21:00"))

    for order in ((first, second, positive), (second, positive, first), (positive, second, first)):
        assert colour_of(facts_of(*FULL, *order, early), now, RULES, ZONE) == found


def test_corrections() -> None:
    """A positive that is withdrawn was none; a negative that is withdrawn clears nothing; an older record, come late,
    brings neither back."""
    now = at("2022-02-26 22:00")
    negatives = [lab("pcr", "negative", "2022-02-25 08:00"), lab("pcr", "negative", "2022-02-26 09:00")]
    facts = facts_of(*FULL, CASE_15_FEB, *negatives)
    assert colour_of(facts, now, RULES, ZONE).colour == "green"

    gone = record(negatives[0].record_id, negatives[0].fact, at("2022-02-27"), withdrawn=True)
    blacked = facts.take(gone)
    assert blacked is not None
    assert colour_of(blacked, now, RULES, ZONE).colour == "black"
    assert blacked.take(negatives[0]) is None

    cleared = blacked.take(record(CASE_15_FEB.record_id, CASE_15_FEB.fact, at("2022-02-27"), withdrawn=True))
    assert cleared is not None
    assert colour_of(cleared, at("2022-02-21"), RULES, ZONE).colour == "green"
    assert Facts.unpack(cleared.pack()).take(CASE_15_FEB) is None


def test_contact_decisions() -> None:
    """A possible contact bars nobody, a confirmed one does, a dismissed one no more; each decision told later."""
    facts = facts_of(*FULL)
    told = at("2021-10-21 09:00")
    for grade, expected in (("possible", "green"), ("confirmed", "black"), ("dismissed", "green")):
        told += HOUR
        each = contact("2021-10-21 09:00", grade, risk=1.0)
        taken = facts.take(record(each.record_id, each.fact, told))
        assert taken is not None
        facts = taken
        assert colour_of(facts, at("2021-10-22"), RULES, ZONE).colour == expected


def test_first_reason() -> None:
    """Who is black for several reasons is told the first of case, contact and arrival, and the others' time counts."""
    facts = facts_of(*FULL, CASE, contact("2021-10-10 09:00"), arrival("2021-10-22 09:00"))
    reasons = []
    time = at("2021-10-02 15:00")
    while (found := colour_of(facts, time, RULES, ZONE)).colour == "black":
        reasons.append((found.reason, found.rule, found.since_ms, found.until_ms))
        assert found.until_ms is not None
        time = found.until_ms
    assert reasons == [
        ("case", "indonesia@2021-08-30 black.case", at("2021-10-02 15:00"), at("2021-10-16")),
        ("contact", "indonesia@2021-08-30 black.contact", at("2021-10-16"), at("2021-10-24")),
        ("arrival", "indonesia@2021-08-30 black.arrival", at("2021-10-24"), at("2021-10-27 09:00")),
    ]


def test_a_year_of_a_person() -> None:
    """From one `until` to the next, everything that happens to a person's colour in the time of all the rules."""
    facts = facts_of(ADULT, *doses("2021-08-10 09:00", "2021-09-10 09:00"), lab("pcr", "positive", "2022-02-01 08:00"))
    seen = []
    time: int | None = at("2021-08-01")
    while time is not None:
        found = colour_of(facts, time, RULES, ZONE)
        assert found.since_ms == time
        seen.append((found.rule.removeprefix("indonesia@"), time))
        time = found.until_ms
    assert seen == [
        ("2021-08-01 red.doses", at("2021-08-01")),
        ("2021-08-01 yellow.doses", at("2021-08-10 09:00")),
        ("2021-08-30 yellow.doses", at("2021-08-30")),
        ("2021-08-30 green.doses", at("2021-09-10 09:00")),
        ("2021-08-30 black.case", at("2022-02-01 09:00")),
        ("2022-02-05 black.case", at("2022-02-05")),
        ("2022-02-15 green.doses", at("2022-02-15")),
        ("2022-07-17 yellow.doses", at("2022-07-17")),
    ]


DOSES = [
    ([], (0, False, False)),
    (doses("2021-01-01"), (1, False, False)),
    (doses("2021-01-01", "2021-02-01"), (2, True, False)),
    (doses("2021-01-01", "2021-02-01", "2021-09-01"), (3, True, True)),
    (doses("2021-01-01", product="ad26.cov2.s"), (1, True, False)),
    (doses("2021-01-01", product="J&J"), (1, True, False)),
    (doses("2021-01-01", "2021-06-01", product="cvx 212"), (2, True, True)),
    # one Sinovac and then one Janssen: the second completes, and is no booster
    ([dose("2021-01-01", 1), dose("2021-02-01", 2, "Janssen")], (2, True, False)),
    ([dose("2021-01-01", 1, "Janssen"), dose("2021-02-01", 2)], (2, True, True)),
    # a third dose alone tells of the two before it
    ([dose("2021-01-01", 3)], (3, True, True)),
    ([dose("2021-01-01", 2)], (2, True, False)),
    # the same dose from two sources, without and with its number
    ([dose("2021-01-01", 1), dose("2021-01-01", None)], (1, False, False)),
    ([dose("2021-01-01", 1), dose("2021-01-02", 1)], (1, False, False)),
    ([dose("2021-01-01", None), dose("2021-02-01", None)], (2, True, False)),
    ([dose("2021-01-01", 2021)], (1, False, False)),
    ([dose("2021-01-01", 1, "unheard of"), dose("2021-02-01", 2, "unheard of")], (2, True, False)),
]


@pytest.mark.parametrize(("records", "expected"), DOSES)
def test_doses(records: list[HealthRecord], expected: tuple[int, bool, bool]) -> None:
    """Doses, full course and booster, by product and number."""
    assert summary(facts_of(*records), at("2022-01-01"), RULES)[:3] == expected


def test_negatives() -> None:
    """A summary has the newest negative of each kind whose result is there, and no withdrawn one."""
    facts = facts_of(
        lab("pcr", "negative", "2022-01-01"),
        lab("pcr", "negative", "2022-01-03", "2022-01-05"),
        lab("antigen", "negative", "2022-01-02"),
        lab("pcr", "positive", "2022-01-02"),
    )
    found = summary(facts, at("2022-01-04"), RULES).negatives
    assert [(each.test, each.specimen_ms) for each in found] == [
        ("pcr", at("2022-01-01")),
        ("antigen", at("2022-01-02")),
    ]
    assert summary(facts, at("2022-01-05"), RULES).negatives[0].specimen_ms == at("2022-01-03")
    assert colour_of(facts, at("2022-01-04"), RULES, ZONE).until_ms == at("2022-01-05")


def test_before_all_rules() -> None:
    """Before the first rules everybody is unknown; what a summary tells of still changes at the time that is named."""
    facts = facts_of(*FULL, lab("pcr", "negative", "2021-07-20 08:00"))
    borders = []
    time = at("2021-01-01")
    while (found := colour_of(facts, time, RULES, ZONE)).reason == "no_rules":
        assert found.until_ms is not None
        time = found.until_ms
        borders.append(time)
    assert borders == [at(each) for each in ("2021-03-01", "2021-04-01", "2021-07-20 09:00", "2021-08-01")]


def test_small() -> None:
    """A vaccinated and tested person's facts pack to few bytes, so that a nation's fit on a disk."""
    records = [ADULT, *BOOSTED, lab("antigen", "negative", "2022-08-01")]
    assert len(facts_of(*records).pack()) < 250 + sum(len(each.record_id) for each in records)


def test_day_of_the_zone() -> None:
    """A limit is the midnight of the deployment's zone: a result at 23:59 in Jakarta is of that day, not of UTC's."""
    late, next_day = (
        lab("pcr", "positive", "2021-10-01", result) for result in ("2021-10-02 23:59", "2021-10-03 00:00")
    )
    ends = [colour_of(facts_of(*FULL, each), at("2021-10-05"), RULES, ZONE).until_ms for each in (late, next_day)]
    assert ends == [at("2021-10-16"), at("2021-10-17")]
    assert at("2021-10-16") % DAY == 17 * HOUR  # 24:00 in Jakarta is 17:00 UTC
