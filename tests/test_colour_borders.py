"""The milliseconds around each limit of the colour rules: the last of black, the last of what expires."""

from __future__ import annotations

import pytest

from contacts.colours import colour_of, load_colour_rules
from schemas.health import HealthRecord, RecoveryFact
from tests.health_records import (
    ADULT,
    BOOSTED,
    FULL,
    HALF,
    HOUR,
    JANSSEN,
    ZONE,
    arrival,
    at,
    contact,
    facts_of,
    lab,
    record,
)  # fmt: skip

RULES = load_colour_rules()

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
    *[
        (
            f"5 Feb, contact: {why}",
            [*FULL, CONTACT_5_FEB, *(lab(kind, "negative", day) for kind, day in tests)],
            end,
            "green",
        )
        for why, tests, end in (
            ("a PCR and an antigen test", [("pcr", "2022-02-06 00:00"), ("antigen", "2022-02-10 00:00")], "2022-02-11"),
            ("no test of day 0", [("pcr", "2022-02-05 23:58"), ("pcr", "2022-02-10 08:00")], "2022-02-15"),
            ("no test of day 2", [("pcr", "2022-02-07 00:00"), ("pcr", "2022-02-10 08:00")], "2022-02-15"),
            ("no test of day 4", [("pcr", "2022-02-06 08:00"), ("pcr", "2022-02-09 23:59")], "2022-02-15"),
        )
    ],
    (
        "5 Feb, case: a PCR clears too",
        [*FULL, CASE_5_FEB, lab("pcr", "negative", "2022-02-07 12:00")],
        "2022-02-08",
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
    ),
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
    (
        "antigen: the 24th hour",
        [ADULT, lab("antigen", "negative", "2022-08-01 08:00")],
        at("2022-08-02 08:00"),
        "green",
        "red",
    ),
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
    (
        "recovered, 3 months, under the rules of 5 February",
        [record("r", RecoveryFact(recovered_ms=at("2021-11-10 13:00")))],
        at("2022-02-10", ms=-1),
        "yellow",
        "red",
    ),
    ("a case of before is recovered 3 months from day 14 on", [CASE], at("2022-01-16", ms=-1), "yellow", "red"),
]


@pytest.mark.parametrize(
    ("records", "last_ms", "before", "after"), [case[1:] for case in EXPIRING], ids=[case[0] for case in EXPIRING]
)
def test_expiry(records: list[HealthRecord], last_ms: int, before: str, after: str) -> None:
    """What expires holds to its last millisecond; `until` is the next one."""
    facts = facts_of(*records)
    found = colour_of(facts, last_ms, RULES, ZONE)
    assert (found.colour, found.until_ms) == (before, last_ms + 1)
    assert colour_of(facts, last_ms + 1, RULES, ZONE).colour == after


QUARANTINES = [
    # who, arrives when, from where, black for so many hours, then
    (FULL, "2021-09-01 10:00", "SG", 8 * 24, "green"),
    (FULL, "2021-10-13 23:59", "SG", 8 * 24, "green"),
    (FULL, "2021-10-14 00:00", "SG", 5 * 24, "green"),
    (FULL, "2021-11-01 23:59", "SG", 5 * 24, "green"),
    (FULL, "2021-11-02 00:00", "SG", 3 * 24, "green"),
    (JANSSEN, "2021-11-02 00:00", "SG", 3 * 24, "green"),
    (HALF, "2021-11-02 00:00", "SG", 5 * 24, "yellow"),
    (FULL, "2021-11-28 23:59", "ZA", 3 * 24, "green"),
    (FULL, "2021-11-29 00:00", "SG", 7 * 24, "green"),
    (FULL, "2021-12-02 23:59", "SG", 7 * 24, "green"),
    (FULL, "2021-11-29 00:00", "ZA", 14 * 24, "green"),
    (FULL, "2021-12-03 00:00", "SG", 10 * 24, "green"),
    (FULL, "2021-12-03 00:00", "HK", 14 * 24, "green"),
    (FULL, "2022-01-01 00:00", "HK", 10 * 24, "green"),
    (FULL, "2022-01-01 00:00", "GB", 14 * 24, "green"),
    (FULL, "2021-12-31 23:59", "GB", 10 * 24, "green"),
    (FULL, "2022-01-06 23:59", "SG", 10 * 24, "green"),
    (FULL, "2022-01-07 00:00", "GB", 10 * 24, "green"),
    (FULL, "2022-01-07 00:00", "SG", 7 * 24, "green"),
    (FULL, "2022-01-11 23:59", "GB", 10 * 24, "green"),
    (FULL, "2022-01-12 00:00", "GB", 7 * 24, "green"),
    (FULL, "2022-02-01 00:00", "SG", 5 * 24, "green"),
    (HALF, "2022-02-01 00:00", "SG", 7 * 24, "yellow"),
    (BOOSTED, "2022-02-15 23:59", "SG", 5 * 24, "green"),
    (HALF, "2022-02-16 00:00", "SG", 7 * 24, "yellow"),
    (BOOSTED, "2022-02-16 00:00", "SG", 3 * 24, "green"),
    (FULL, "2022-02-16 00:00", "SG", 5 * 24, "green"),
    (FULL, "2022-03-01 23:59", "SG", 5 * 24, "green"),
    (HALF, "2022-03-02 00:00", "SG", 7 * 24, "yellow"),
    (FULL, "2022-03-07 23:59", "SG", 3 * 24, "green"),
    (FULL, "2022-03-22 23:59", "SG", 24, "green"),
    (FULL, "2022-03-02 00:00", "SG", 3 * 24, "green"),
    (FULL, "2022-03-08 00:00", "SG", 24, "green"),
    (HALF, "2022-03-08 00:00", "SG", 7 * 24, "yellow"),
    (HALF, "2022-03-23 00:00", "SG", 5 * 24, "yellow"),
    (FULL, "2022-03-23 00:00", "SG", 0, "green"),
]


@pytest.mark.parametrize(("records", "arrives", "country", "hours", "after"), QUARANTINES)
def test_quarantine(records: list[HealthRecord], arrives: str, country: str, hours: int, after: str) -> None:
    """Who arrives from abroad is black for the hours in force on arrival, to the millisecond."""
    facts = facts_of(*records, arrival(arrives, country))
    end_ms = at(arrives) + hours * HOUR
    assert colour_of(facts, end_ms, RULES, ZONE).colour == after
    if hours:
        last = colour_of(facts, end_ms - 1, RULES, ZONE)
        assert (last.colour, last.reason, last.until_ms) == ("black", "arrival", end_ms)
