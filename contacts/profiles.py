"""Profiles: dated, versioned sets of the numbers that make somebody a contact, each with its source.

Windows are whole days of the deployment's zone (docs/visits.md): "a days before to b days after onset" is
`[start of day(onset - a), start of day(onset + b + 1))`.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from contacts.registry import category_key

_MINUTE_MS = 60_000


class ProfileError(ValueError):
    """A profile that cannot be used, or is not there; the message names the file or those there are."""


class ContactRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long two people must have been together: in one stay, or as a sum over any 24 hours."""

    minimum_minutes: float
    comparison: Literal["at_least", "more_than"]
    per: Literal["stay", "24h"]
    linger_minutes: float = 0.0
    without_minimum: tuple[str, ...] = ()


class Days(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A span of whole days around a day: `days_after` may be negative."""

    days_before: int
    days_after: int


class Infectious(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a case may infect: around the onset, or, without symptoms, around the specimen's day."""

    days_before: int
    days_after: int
    without_symptoms: Days


class Exposure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a case may have been infected: around the onset, or this many days before the specimen."""

    days_before: int
    days_after: int
    days_before_specimen: int


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One profile. `valid_from` is also its version; `default` profiles of a country are taken by date."""

    name: str
    source: str
    valid_from: date
    contact: ContactRule
    infectious: Infectious
    exposure: Exposure
    id: str = ""
    country: str = ""
    default: bool = True

    @property
    def version(self) -> str:
        """The date from which these numbers hold."""
        return self.valid_from.isoformat()

    @property
    def rule(self) -> str:
        """The rule's short name in evidence, with its version."""
        return f"{self.id}@{self.version}"

    @property
    def linger_ms(self) -> int:
        """How long the air stays infectious after the infectious one has left."""
        return round(self.contact.linger_minutes * _MINUTE_MS)

    def infectious_window(
        self, onset_ms: int | None, specimen_ms: int | None, isolated_ms: int | None, zone: ZoneInfo
    ) -> tuple[int, int]:
        """When the case may have infected others, `[start, end)` in ms; an empty window where it was isolated before.

        Raises ProfileError when neither onset nor specimen is known.
        """
        if onset_ms is not None:
            start, end = _around(onset_ms, self.infectious.days_before, self.infectious.days_after, zone)
        elif specimen_ms is not None:
            days = self.infectious.without_symptoms
            start, end = _around(specimen_ms, days.days_before, days.days_after, zone)
        else:
            raise ProfileError("a window needs the onset's or the specimen's date")
        if isolated_ms is not None:
            end = min(end, _midnight(_day(isolated_ms, zone), zone))
        return start, max(start, end)

    def exposure_window(
        self, onset_ms: int | None, specimen_ms: int | None, isolated_ms: int | None, zone: ZoneInfo
    ) -> tuple[int, int]:
        """When the case may have been infected, `[start, end)` in ms. Raises ProfileError as above."""
        if onset_ms is not None:
            start, end = _around(onset_ms, self.exposure.days_before, self.exposure.days_after, zone)
        elif specimen_ms is not None:
            start, end = _around(specimen_ms, self.exposure.days_before_specimen, -1, zone)
        else:
            raise ProfileError("a window needs the onset's or the specimen's date")
        if isolated_ms is not None:
            end = min(end, _midnight(_day(isolated_ms, zone), zone))
        return start, max(start, end)

    def enough(self, minutes: float, category: str) -> bool:
        """Whether that much time together is enough at a venue of this category."""
        if category_key(category) in self.contact.without_minimum:
            return minutes > 0
        if self.contact.comparison == "more_than":
            return minutes > self.contact.minimum_minutes
        return minutes >= self.contact.minimum_minutes


def _day(at_ms: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone).date()


def _midnight(day: date, zone: ZoneInfo) -> int:
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp() * 1000)


def _around(at_ms: int, before: int, after: int, zone: ZoneInfo) -> tuple[int, int]:
    day = _day(at_ms, zone)
    return _midnight(day - timedelta(days=before), zone), _midnight(day + timedelta(days=after + 1), zone)


def load_profiles(folder: Path | None = None) -> dict[str, Profile]:
    """The profiles of Lacak, and those of `folder`, which overrule them by id. Raises ProfileError."""
    found = dict(_shipped())
    if folder is not None:
        paths = sorted(folder.glob("*.toml"))
        if not paths:
            raise ProfileError(f"The folder {folder} holds no profiles (*.toml).")
        for path in paths:
            found[path.stem] = _read(path.stem, path.read_text("utf-8"), str(path))
    return found


@cache
def _shipped() -> dict[str, Profile]:
    folder = files("contacts.data").joinpath("profiles")
    found = {}
    for path in folder.iterdir():
        if path.name.endswith(".toml"):
            name = path.name.removesuffix(".toml")
            found[name] = _read(name, path.read_text("utf-8"), path.name)
    return found


def _read(profile_id: str, text: str, where: str) -> Profile:
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ProfileError(f"The profile {where} cannot be used: {error}") from error
    return msgspec.structs.replace(profile, id=profile_id)


def find_profile(profiles: dict[str, Profile], profile_id: str) -> Profile:
    """A profile by its id. Raises ProfileError that names those there are."""
    try:
        return profiles[profile_id]
    except KeyError:
        raise ProfileError(f"There is no profile {profile_id!r}; there are {', '.join(sorted(profiles))}.") from None


def default_profile(profiles: dict[str, Profile], at_ms: int, zone: ZoneInfo, country: str = "ID") -> Profile:
    """The profile in force in a country at a date: the latest of its defaults valid by then, else the first."""
    day = _day(at_ms, zone)
    own = sorted((p for p in profiles.values() if p.country == country and p.default), key=lambda p: p.valid_from)
    if not own:
        raise ProfileError(f"No profile is a default of {country}.")
    return ([p for p in own if p.valid_from <= day] or own[:1])[-1]


def profile_to_json(profile: Profile) -> bytes:
    """The whole profile, for a question that every partition must read the same way."""
    return msgspec.json.encode(profile)


def profile_from_json(data: bytes) -> Profile:
    """The profile of a question. Raises ProfileError."""
    try:
        return msgspec.json.decode(data, type=Profile)
    except msgspec.MsgspecError as error:
        raise ProfileError(f"the profile of the question cannot be read: {error}") from error
