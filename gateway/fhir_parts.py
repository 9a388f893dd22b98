"""Parts of FHIR resources: references, codings, choices of an element, times, ages."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final, get_args
from zoneinfo import ZoneInfo

from gateway.fhir_codes import Coded
from gateway.fhir_files import Entry
from gateway.times import parse_day
from schemas.health import AgeBand

_DAY_MS: Final = 86_400_000


class Wrong(Exception):
    """A fault at an element of the resource in hand; the reason quotes nothing of it."""

    def __init__(self, element: str, reason: str) -> None:
        super().__init__(reason)
        self.element, self.reason = element, reason


def scope_of(file: int, entry: Entry) -> int:
    """References are of the bundle's own; the files of a bulk export have theirs in common."""
    return file + 1 if entry.path.startswith("Bundle") else 0


def forms_of(reference: str, kind: str) -> list[str]:
    """A reference as it stands, and without the server and version."""
    parts = reference.split("/")
    if kind in parts[:-1]:
        place = len(parts) - 1 - parts[::-1].index(kind)
        return list(dict.fromkeys((reference, f"{kind}/{parts[place + 1]}")))
    return [reference]


def first_of(model: Any, stem: str, kinds: tuple[str, ...], *, end: bool = False) -> tuple[str, Any]:
    """Which of the choices of an element there is: its name, and its time (of a period the start, or the end)."""
    for kind in kinds:
        value = getattr(model, stem + kind, None)
        if value is not None:
            if kind != "Period":
                return stem + kind, value
            return f"{stem}Period.{'end' if end else 'start'}", value.end if end else value.start
    return f"{stem}[x]", None


def codings(concept: Any) -> list[Coded]:
    given = listed(concept.coding) if concept is not None else []
    return [Coded(each.system or "", each.code) for each in given if each.code]


def listed(value: Any) -> list[Any]:
    """Some elements are one or several."""
    return value if isinstance(value, list) else [] if value is None else [value]


def ms_of(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def _years(born: date, today: date) -> int:
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _band(years: int) -> AgeBand | None:
    """The band that an age in whole years lies in; None before birth."""
    for band in get_args(AgeBand):
        low, _, high = band.rstrip("+").partition("-")
        if int(low) <= years and (not high or years <= int(high)):
            return band  # type: ignore[no-any-return]
    return None


def age_band(born: date | str, today: date) -> AgeBand:
    """The band on a day. A year or month of birth will do where it leaves no doubt. Raises Wrong."""
    if isinstance(born, date):
        days = [born]
    else:
        year, _, month = str(born).partition("-")
        days = [date(int(year), int(month or 1), 1), date(int(year), int(month or 12), 28)]
    bands = {_band(_years(day, today)) for day in days}
    if len(bands) > 1:
        raise Wrong("birthDate", "without the day two age bands are possible")
    band = bands.pop()
    if band is None:
        raise Wrong("birthDate", "it is in the future")
    return band


def time_of(element: str, at: Any, what: str, zone: ZoneInfo, now_ms: int) -> int:
    """A time in ms; a plain date is the midnight of the zone. Raises Wrong."""
    if at is None:
        raise Wrong(element, f"it is missing: {what}")
    if isinstance(at, datetime):
        at_ms = ms_of(at)
    elif isinstance(at, date):
        try:
            day = parse_day(at.isoformat(), zone)
        except ValueError:
            day = None
        if day is None:
            raise Wrong(element, "it is no day that can be used")
        at_ms = day[0]
    else:
        raise Wrong(element, "it names no day, only a month or a year")
    if at_ms > now_ms + _DAY_MS:
        raise Wrong(element, "it is in the future")
    return at_ms
