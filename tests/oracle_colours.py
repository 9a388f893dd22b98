"""What colour a person is, read naively from the published table: every rule written out, every day counted by dates.

It shares no code and no file with contacts/: the numbers stand here a second time, so that it judges the rules' file
too. Records of the same id must differ in the time they were told, or in being withdrawn.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.health import (
    ContactFact,
    HealthRecord,
    PersonFact,
    RecoveryFact,
    TestFact,
    TravelFact,
    VaccinationFact,
)

DATES = (date(2021, 8, 1), date(2021, 8, 30), date(2022, 2, 5), date(2022, 2, 15), date(2022, 7, 17))
COURSES = {"Ad26.COV2.S": 1, "Zifivax": 3}
OMICRON = {"AO", "BW", "LS", "MW", "MZ", "NA", "SZ", "ZA", "ZM", "ZW"}
HOUR = 3_600_000


def standing(records: Iterable[HealthRecord]) -> dict[str, HealthRecord]:
    """The records that hold, by id."""
    by_id: dict[str, list[HealthRecord]] = {}
    for record in records:
        by_id.setdefault(record.record_id, []).append(record)
    last = {rid: max(each, key=lambda r: (r.told_at_ms, _gone(r))) for rid, each in by_id.items()}
    return {rid: record for rid, record in last.items() if not _gone(record)}


def _gone(record: HealthRecord) -> bool:
    return record.withdrawn or (isinstance(record.fact, TestFact) and record.fact.outcome == "withdrawn")


class Oracle:
    """One person's records, in a zone."""

    def __init__(self, records: Iterable[HealthRecord], zone: ZoneInfo) -> None:
        self.zone = zone
        self.records = standing(records)
        facts = [record.fact for record in self.records.values()]
        shots = [f for f in facts if isinstance(f, VaccinationFact)]
        numbered = {(f.at_ms, f.product) for f in shots if f.dose}
        self.doses = sorted(
            (f.at_ms, f.dose or 0, f.product) for f in shots if f.dose or (f.at_ms, f.product) not in numbered
        )
        tests = [f for f in facts if isinstance(f, TestFact)]
        self.positives = [f for f in tests if f.outcome == "positive"]
        self.negatives = [f for f in tests if f.outcome == "negative"]
        self.recoveries = [f.recovered_ms for f in facts if isinstance(f, RecoveryFact)]
        self.contacts = [f for f in facts if isinstance(f, ContactFact)]
        self.arrivals = [(f.end_ms, f.country) for f in facts if isinstance(f, TravelFact) and f.country != "ID"]
        held = self.records.values()
        ages = [(r.told_at_ms, r.fact.age_band, r.record_id) for r in held if isinstance(r.fact, PersonFact)]
        self.age = max(ages)[1] if ages else None

    def day(self, at_ms: int) -> date:
        """The date of a time."""
        return datetime.fromtimestamp(at_ms // 1000, UTC).astimezone(self.zone).date()

    def midnight(self, day: date) -> int:
        """When a date begins."""
        return round(datetime.combine(day, time(), self.zone).timestamp() * 1000)

    def days_between(self, first_ms: int, last_ms: int) -> int:
        """Which day a time is, day 0 being that of the first."""
        return (self.day(last_ms) - self.day(first_ms)).days

    def rules_at(self, at_ms: int) -> date | None:
        """Which line of the table is in force."""
        return max((since for since in DATES if self.midnight(since) <= at_ms), default=None)

    def judge(self, at_ms: int) -> tuple[str, date | None, str]:
        """(colour, line of the table, reason) at a time."""
        rules = self.rules_at(at_ms)
        if rules is None:
            return "unknown", None, "no_rules"
        colour, reason = self._judge(at_ms, DATES.index(rules))
        return colour, rules, reason

    def _judge(self, at_ms: int, line: int) -> tuple[str, str]:
        if line > 0:
            if any(p.result_ms <= at_ms and not self._case_over(p.result_ms, at_ms, line) for p in self.positives):
                return "black", "case"
            confirmed = [c.registered_ms for c in self.contacts if c.grade == "confirmed"]
            if any(c <= at_ms and not self._contact_over(c, at_ms, line) for c in confirmed):
                return "black", "contact"
            if any(end <= at_ms < end + self.quarantine_hours(end, land) * HOUR for end, land in self.arrivals):
                return "black", "arrival"
        if not self._known(at_ms):
            return "unknown", "no_record"
        doses, full, booster = self.had(at_ms)
        recovered = self._recovered(at_ms, line)
        if line in (0, 1, 2):
            if doses >= 2 or full:
                return "green", "doses"
            if doses == 1:
                return "yellow", "doses"
            if line > 0 and recovered:
                return "yellow", "recovered"
            return "red", "doses"
        if line == 3:
            return ("green" if full else "yellow" if doses else "red"), "doses"
        child = self.age in ("6-11", "12-17")
        infant = self.age == "0-5"
        if not child and not infant and booster:
            return "green", "booster"
        if child and (doses >= 2 or full):
            return "green", "doses"
        if full and recovered:
            return "green", "recovered"
        if self._negative(at_ms):
            return "green", "test"
        if infant:
            return "unknown", "no_row"
        enough = doses >= 1 if child else doses >= 2 or full
        return ("yellow" if enough else "red"), "doses"

    def _case_over(self, result_ms: int, at_ms: int, line: int) -> bool:
        today = self.days_between(result_ms, at_ms)
        there = [n for n in self.negatives if n.result_ms <= at_ms and n.test != "other"]
        pcrs = [n for n in there if n.test == "pcr"]

        def day(n: TestFact) -> int:
            return self.days_between(result_ms, n.specimen_ms)

        if line == 1:
            return today >= 14
        if line == 2:
            return today >= 15 or (today >= 11 and any(day(n) >= 10 for n in there))
        if line == 3:
            return today >= 10 or any(
                day(a) >= 5 and day(b) >= 6 and b.specimen_ms - a.specimen_ms >= 24 * HOUR for a in pcrs for b in pcrs
            )
        return today >= 10 or any(day(n) >= 5 for n in pcrs)

    def _contact_over(self, registered_ms: int, at_ms: int, line: int) -> bool:
        today = self.days_between(registered_ms, at_ms)
        days = [
            self.days_between(registered_ms, n.specimen_ms)
            for n in self.negatives
            if n.result_ms <= at_ms and n.test != "other"
        ]
        if line == 2:
            return today >= 15 or (today >= 6 and 1 in days and any(day >= 5 for day in days))
        if line == 3:
            return today >= 10 or any(5 <= day <= 9 for day in days)
        return today >= 14

    def _recovered(self, at_ms: int, line: int) -> bool:
        if line in (0, 3):
            return False
        since = [at for at in self.recoveries if at <= at_ms]
        for positive in self.positives:
            # the first moment at which the case was over by the rules of this line: a midnight, or a result
            moments = [self.midnight(self.day(positive.result_ms) + timedelta(days=n)) for n in range(17)]
            moments += [n.result_ms for n in self.negatives]
            over = [
                at
                for at in (*moments, positive.result_ms)
                if positive.result_ms <= at and self._case_over(positive.result_ms, at, line)
            ]
            first = min(over)
            if positive.result_ms < first <= at_ms:
                since.append(first)
        return any(at_ms < self._recovered_until(at, line) for at in since)

    def _recovered_until(self, at_ms: int, line: int) -> int:
        day = self.day(at_ms)
        if line == 4:
            return self.midnight(day + timedelta(days=90))
        year, month = (day.year, day.month + 3) if day.month <= 9 else (day.year + 1, day.month - 9)
        return self.midnight(date(year, month, min(day.day, calendar.monthrange(year, month)[1])))

    def _negative(self, at_ms: int) -> bool:
        hours = {"antigen": 24, "pcr": 72, "other": -1}
        return any(n.result_ms <= at_ms <= n.specimen_ms + hours[n.test] * HOUR for n in self.negatives)

    def _known(self, at_ms: int) -> bool:
        tests = [*self.positives, *self.negatives]
        return (
            self.age is not None
            or any(dose[0] <= at_ms for dose in self.doses)
            or any(test.result_ms <= at_ms for test in tests)
            or any(at <= at_ms for at in self.recoveries)
        )

    def had(self, at_ms: int) -> tuple[int, bool, bool]:
        """(doses, full, booster) at a time."""
        had = [dose for dose in self.doses if dose[0] <= at_ms]
        completing = None
        for number in range(1, len(had) + 1):
            course = min(COURSES.get(product, 2) for _, _, product in had[:number])
            if completing is None and self._count(had[:number]) >= course:
                completing = max(course, self._count(had[: number - 1]) + 1)
        return self._count(had), completing is not None, completing is not None and self._count(had) > completing

    @staticmethod
    def _count(had: list[tuple[int, int, str]]) -> int:
        numbers = {number for _, number, _ in had if number}
        others = {(at, product) for at, number, product in had if not number}
        return max(len(numbers) + len(others), max(numbers, default=0))

    def quarantine_hours(self, arrival_ms: int, country: str) -> int:
        """The quarantine of who arrived then."""
        day = self.day(arrival_ms)
        _, full, booster = self.had(arrival_ms)
        if day < date(2021, 7, 6):
            return 0
        if day < date(2021, 10, 14):
            return 8 * 24
        if day < date(2021, 11, 2):
            return 5 * 24
        if day < date(2021, 11, 29):
            return 3 * 24 if full else 5 * 24
        if day < date(2021, 12, 3):
            return 14 * 24 if country in OMICRON | {"HK"} else 7 * 24
        if day < date(2022, 1, 1):
            return 14 * 24 if country in OMICRON | {"HK"} else 10 * 24
        if day < date(2022, 1, 7):
            return 14 * 24 if country in OMICRON | {"GB", "NO", "DK"} else 10 * 24
        if day < date(2022, 1, 12):
            return 10 * 24 if country in OMICRON | {"GB", "NO", "DK"} else 7 * 24
        if day < date(2022, 2, 1):
            return 7 * 24
        if day < date(2022, 2, 16):
            return 5 * 24 if full else 7 * 24
        if day < date(2022, 3, 2):
            return 3 * 24 if booster else 5 * 24 if full else 7 * 24
        if day < date(2022, 3, 8):
            return 3 * 24 if full else 7 * 24
        if day < date(2022, 3, 23):
            return 24 if full else 7 * 24
        return 0 if full else 5 * 24
