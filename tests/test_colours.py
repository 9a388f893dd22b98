"""The colours line by line: every rule of the published table, and the days and milliseconds around each limit.

Each case is a person, and what colour they are when: `2022-02-05 00:00` is that midnight in Jakarta, and `-1` after it
a millisecond before.
"""

from __future__ import annotations

import pytest

from contacts.colours import Facts, colour_of, load_colour_rules, summary
from schemas.health import HealthRecord, RecoveryFact
from tests.health_records import DAY, HOUR, ZONE, aged, arrival, at, contact, dose, doses, lab, record

RULES = load_colour_rules()

FULL = doses("2021-03-01", "2021-04-01")
HALF = doses("2021-07-01")
BOOSTED = doses("2021-03-01", "2021-04-01", "2022-02-01")
JANSSEN = doses("2021-07-20", product="Janssen")
ADULT, CHILD, TEEN, OLD, INFANT = (aged(band) for band in ("18-59", "6-11", "12-17", "60+", "0-5"))


def facts_of(*records: HealthRecord) -> Facts:
    facts = Facts()
    for each in records:
        facts = facts.take(each) or facts
    return facts


def colour(facts: Facts, moment: str) -> str:
    text, _, off = moment.partition(" -1")
    return colour_of(facts, at(text, ms=-1 if off == "" and moment.endswith(" -1") else 0), RULES, ZONE).colour


def by_doses(green: str = "green", yellow: str = "yellow", red: str = "red") -> list[tuple[list[HealthRecord], str]]:
    return [(FULL, green), (HALF, yellow), ([ADULT], red)]


BY_LINE = [
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


CASE = lab("pcr", "positive", "2021-10-01 07:00", "2021-10-02 15:00")  # day 0 is 2 October
CASE_5_FEB = lab("pcr", "positive", "2022-01-27 07:00", "2022-01-28 15:00")  # day 0 is 28 January, day 10 7 February
CASE_15_FEB = lab("pcr", "positive", "2022-02-20 07:00", "2022-02-20 15:00")  # day 5 is 25 February
CASE_17_JUL = lab("antigen", "positive", "2022-08-01 07:00", "2022-08-01 15:00")  # day 5 is 6 August
CONTACT_5_FEB = contact("2022-02-05 10:00")  # day 1 is 6 February, day 5 10 February; other rules from day 10 on
CONTACT_15_FEB = contact("2022-02-20 15:00")

BORDERS = [
    # records, the last moment of black, and the colour after it
    ("30 Aug, case: black through day 13", [*FULL, CASE], "2021-10-16", "green"),
    (
        "30 Aug, a negative test is no way out",
        [*FULL, CASE, lab("pcr", "negative", "2021-10-14")],
        "2021-10-16",
        "green",
    ),
    ("30 Aug, case, no dose: recovered, less than 3 months", [CASE], "2021-10-16", "yellow"),
    ("30 Aug, contact: black through day 13", [*FULL, contact("2021-10-02 15:00")], "2021-10-16", "green"),
    ("30 Aug, contact, no dose: nothing known", [contact("2021-10-02 15:00")], "2021-10-16", "unknown"),
    (
        "5 Feb, case: day 11 with a negative of day 10",
        [*FULL, CASE_5_FEB, lab("antigen", "negative", "2022-02-07 00:00")],
        "2022-02-08",
        "green",
    ),
    (
        "5 Feb, case: a negative of day 12, when its result is there",
        [*FULL, CASE_5_FEB, lab("antigen", "negative", "2022-02-09 08:00", "2022-02-09 09:30")],
        "2022-02-09 09:30",
        "green",
    ),
    (
        "5 Feb, case: a negative of the last ms of day 9 is none",
        [*FULL, CASE_5_FEB, lab("pcr", "negative", "2022-02-06 23:59:59.999")],
        "2022-02-12",
        "green",
    ),
    ("5 Feb, case: day 15 without a test", [*FULL, CASE_5_FEB], "2022-02-12", "green"),
    (
        "5 Feb, case: other kinds of test are no way out",
        [*FULL, CASE_5_FEB, lab("other", "negative", "2022-02-08")],
        "2022-02-12",
        "green",
    ),
    (
        "5 Feb, contact: day 6 with negatives of days 1 and 5",
        [
            *FULL,
            CONTACT_5_FEB,
            lab("antigen", "negative", "2022-02-06 09:00"),
            lab("pcr", "negative", "2022-02-10 09:00"),
        ],
        "2022-02-11",
        "green",
    ),
    (
        "5 Feb, contact: the result of day 5 comes on day 7",
        [
            *FULL,
            CONTACT_5_FEB,
            lab("antigen", "negative", "2022-02-06 09:00"),
            lab("pcr", "negative", "2022-02-10 09:00", "2022-02-12 11:00"),
        ],
        "2022-02-12 11:00",
        "green",
    ),
    (
        "5 Feb, contact: a negative of day 5 alone is not enough; the rules of 15 February clear it then",
        [*FULL, CONTACT_5_FEB, lab("pcr", "negative", "2022-02-10 09:00")],
        "2022-02-15",
        "green",
    ),
    ("5 Feb, contact: day 15 without tests", [*FULL, contact("2022-01-26 23:59:59.999")], "2022-02-10", "green"),
    ("15 Feb, case: day 10 without a test", [*FULL, CASE_15_FEB], "2022-03-02", "green"),
    (
        "15 Feb, case: two negative PCRs of days 5 and 6, when the second result is there",
        [
            *FULL,
            CASE_15_FEB,
            lab("pcr", "negative", "2022-02-25 08:00"),
            lab("pcr", "negative", "2022-02-26 08:00", "2022-02-26 20:00"),
        ],
        "2022-02-26 20:00",
        "green",
    ),
    (
        "15 Feb, case: the second is a millisecond too soon",
        [
            *FULL,
            CASE_15_FEB,
            lab("pcr", "negative", "2022-02-25 08:00"),
            lab("pcr", "negative", "2022-02-26 07:59:59.999"),
        ],
        "2022-03-02",
        "green",
    ),
    (
        "15 Feb, case: the first is of day 4",
        [*FULL, CASE_15_FEB, lab("pcr", "negative", "2022-02-24 23:59"), lab("pcr", "negative", "2022-02-26 08:00")],
        "2022-03-02",
        "green",
    ),
    (
        "15 Feb, case: one PCR is not enough",
        [*FULL, CASE_15_FEB, lab("pcr", "negative", "2022-02-26 08:00")],
        "2022-03-02",
        "green",
    ),
    (
        "15 Feb, case: antigen tests are not enough",
        [
            *FULL,
            CASE_15_FEB,
            lab("antigen", "negative", "2022-02-25 08:00"),
            lab("pcr", "negative", "2022-02-26 08:00"),
        ],
        "2022-03-02",
        "green",
    ),
    ("15 Feb, contact: day 10 without a test", [*FULL, CONTACT_15_FEB], "2022-03-02", "green"),
    (
        "15 Feb, contact: a negative of day 5",
        [*FULL, CONTACT_15_FEB, lab("antigen", "negative", "2022-02-25 00:00", "2022-02-25 00:20")],
        "2022-02-25 00:20",
        "green",
    ),
    (
        "15 Feb, contact: a negative of day 9",
        [*FULL, CONTACT_15_FEB, lab("pcr", "negative", "2022-03-01 12:00", "2022-03-01 22:00")],
        "2022-03-01 22:00",
        "green",
    ),
    (
        "15 Feb, contact: a negative of day 4 is none",
        [*FULL, CONTACT_15_FEB, lab("antigen", "negative", "2022-02-24 23:59:59.999")],
        "2022-03-02",
        "green",
    ),
    ("17 Jul, case: day 10 without a test", [*BOOSTED, ADULT, CASE_17_JUL], "2022-08-11", "green"),
    (
        "17 Jul, case: a negative PCR of day 5",
        [*BOOSTED, ADULT, CASE_17_JUL, lab("pcr", "negative", "2022-08-06 00:00", "2022-08-06 18:00")],
        "2022-08-06 18:00",
        "green",
    ),
    (
        "17 Jul, case: a negative PCR of day 4 is none",
        [*BOOSTED, ADULT, CASE_17_JUL, lab("pcr", "negative", "2022-08-05 23:59:59.999")],
        "2022-08-11",
        "green",
    ),
    (
        "17 Jul, case: an antigen test is no way out",
        [*BOOSTED, ADULT, CASE_17_JUL, lab("antigen", "negative", "2022-08-07")],
        "2022-08-11",
        "green",
    ),
    ("17 Jul, contact: black through day 13", [*BOOSTED, ADULT, contact("2022-08-01 15:00")], "2022-08-15", "green"),
    (
        "17 Jul, contact: a test is no way out",
        [*BOOSTED, ADULT, contact("2022-08-01 15:00"), lab("pcr", "negative", "2022-08-08")],
        "2022-08-15",
        "green",
    ),
    (
        "a contact that one trace dismisses and another confirms",
        [*FULL, contact("2021-10-02", trace="a"), contact("2021-10-03", "dismissed", trace="b")],
        "2021-10-16",
        "green",
    ),  # fmt: skip
]


@pytest.mark.parametrize(("records", "border", "after"), [case[1:] for case in BORDERS], ids=[c[0] for c in BORDERS])
def test_border_of_black(records: list[HealthRecord], border: str, after: str) -> None:
    """Black to the millisecond before the border, and not from it on; `until` names it, and it stays so for a day."""
    facts = facts_of(*records)
    assert colour_of(facts, at(border, ms=-1), RULES, ZONE).colour == "black"
    assert colour_of(facts, at(border, -1), RULES, ZONE).colour == "black"
    assert colour_of(facts, at(border, ms=-1), RULES, ZONE).until_ms == at(border)
    assert colour_of(facts, at(border), RULES, ZONE).colour == after
    assert colour_of(facts, at(border, 1), RULES, ZONE).colour == after


def test_begin_of_black() -> None:
    """A case is black from the laboratory's result on, a contact from being registered on: not a millisecond sooner."""
    for records, begin in (([CASE], "2021-10-02 15:00"), ([contact("2021-10-02 15:00")], "2021-10-02 15:00")):
        facts = facts_of(*FULL, *records)
        before, found = (colour_of(facts, at(begin, ms=ms), RULES, ZONE) for ms in (-1, 0))
        assert (before.colour, before.until_ms) == ("green", at(begin))
        assert (found.colour, found.since_ms, found.facts_used) == ("black", at(begin), (records[0].record_id,))


EXPIRING = [
    # what makes green or yellow, its last moment (included), the colour after it
    ("antigen: the 24th hour", [ADULT, lab("antigen", "negative", "2022-08-01 08:00")], at("2022-08-02 08:00"), "green", "red"),
    ("PCR: the 72nd hour", [ADULT, lab("pcr", "negative", "2022-08-01 08:00")], at("2022-08-04 08:00"), "green", "red"),
    (
        "recovered, 90 days: through day 89",
        [*FULL, ADULT, record("r", RecoveryFact(recovered_ms=at("2022-07-20 13:00")))],
        at("2022-07-20", 90, -1),
        "green",
        "yellow",
    ),
    (
        "recovered, 3 months: to the same date",
        [record("r", RecoveryFact(recovered_ms=at("2021-09-15 13:00")))],
        at("2021-12-15", ms=-1),
        "yellow",
        "red",
    ),
    (
        "recovered on 30 November, 3 months: to the last of February, but other rules hold by then",
        [record("r", RecoveryFact(recovered_ms=at("2021-11-30 13:00")))],
        at("2022-02-15", ms=-1),
        "yellow",
        "red",
    ),
    ("a case of before is recovered 3 months from day 14 on", [CASE], at("2022-01-16", ms=-1), "yellow", "red"),
    ("quarantine, July 2021: 8 x 24 h", [*FULL, arrival("2021-09-01 10:00")], at("2021-09-09 10:00", ms=-1), "black", "green"),
    ("quarantine, October: 5 x 24 h", [*FULL, arrival("2021-10-14 10:00")], at("2021-10-19 10:00", ms=-1), "black", "green"),
    ("November: 3 x 24 h", [*FULL, arrival("2021-11-02 10:00")], at("2021-11-05 10:00", ms=-1), "black", "green"),
    ("5 x 24 h after one dose", [*HALF, arrival("2021-11-02 10:00")], at("2021-11-07 10:00", ms=-1), "black", "yellow"),
    ("Omicron: 7 x 24 h", [*FULL, arrival("2021-11-29 10:00")], at("2021-12-06 10:00", ms=-1), "black", "green"),
    ("from South Africa 14 x 24 h", [*FULL, arrival("2021-11-29 10:00", "ZA")], at("2021-12-13 10:00", ms=-1), "black", "green"),
    ("December: 10 x 24 h", [*FULL, arrival("2021-12-03 10:00")], at("2021-12-13 10:00", ms=-1), "black", "green"),
    ("January: 7 x 24 h", [*FULL, arrival("2022-01-07 10:00")], at("2022-01-14 10:00", ms=-1), "black", "green"),
    ("1 February: 5 x 24 h", [*FULL, arrival("2022-02-01 10:00")], at("2022-02-06 10:00", ms=-1), "black", "green"),
    ("16 February, booster: 3 x 24 h", [*BOOSTED, arrival("2022-02-16 10:00")], at("2022-02-19 10:00", ms=-1), "black", "green"),
    ("8 March: 24 h", [*FULL, arrival("2022-03-08 10:00")], at("2022-03-09 10:00", ms=-1), "black", "green"),
    ("23 March, no dose: 5 x 24 h", [ADULT, arrival("2022-03-23 10:00")], at("2022-03-28 10:00", ms=-1), "black", "red"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "last_ms", "before", "after"), [case[1:] for case in EXPIRING], ids=[case[0] for case in EXPIRING]
)
def test_expiry(records: list[HealthRecord], last_ms: int, before: str, after: str) -> None:
    """What expires holds to its last millisecond; `until` is the next one."""
    facts = facts_of(*records)
    found = colour_of(facts, last_ms, RULES, ZONE)
    assert (found.colour, found.until_ms) == (before, last_ms + 1)
    assert colour_of(facts, last_ms + 1, RULES, ZONE).colour == after


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
