"""Profiles: dated, versioned sets of the numbers that make somebody a contact, each with its source.

Windows are whole days of the deployment's zone (docs/visits.md): "a days before to b days after onset" is
`[start of day(onset - a), start of day(onset + b + 1))`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from contacts.air import Air
from contacts.categories import any_matches, rule_for, same_pattern, segments
from contacts.scoring import Course, Score, whole_minutes
from contacts.tomlfaults import Fault, read_toml
from schemas.bounds import UNDECODABLE

_MINUTE_MS = 60_000
_MOST_MINUTES = 30 * 24 * 60


class ProfileError(ValueError):
    """A profile that cannot be used, or is not there; the message names the file or those there are."""


class ContactRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long two people must have been together: in one stay, or as a sum over any 24 hours.

    The air stays infectious for `linger_minutes` after the infectious one has left, or with `linger_at_most_stay` as
    long as they stayed, if that is less. Stays of theirs below `shortest_stay_minutes` do not count. The interval
    that comes out is aligned to `grid_minutes` (contacts/air.py). Minutes are exact, or `whole_minutes`: rounded half
    up in each day of UTC. `without_minimum` and `venue_factors` go by category (contacts/categories.py): no minimum
    there, and what a minute there counts.
    """

    minimum_minutes: float
    comparison: Literal["at_least", "more_than"]
    per: Literal["stay", "24h"]
    linger_minutes: float = 0.0
    linger_at_most_stay: bool = False
    shortest_stay_minutes: float = 0.0
    grid_minutes: float = 0.0
    grid: Literal["outward", "nearest"] = "outward"
    whole_minutes: bool = False
    without_minimum: tuple[str, ...] = ()
    venue_factors: dict[str, float] = {}


class SlotRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many people's visits make a slot at a venue risky, and how much: visits after which others may have been
    infected (forward), and visits at which the cases may have been (backward)."""

    forward_visits: int
    forward_risk: float
    backward_visits: int
    backward_risk: float


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
    score: Score | None = None
    slots: dict[str, SlotRule] = {}

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
        """How long the air stays infectious after the infectious one has left; `air` says all of it."""
        return _ms(self.contact.linger_minutes)

    @property
    def air(self) -> Air:
        """What interval an infectious person's stay makes."""
        rule = self.contact
        return Air(
            self.linger_ms,
            rule.linger_at_most_stay,
            _ms(rule.shortest_stay_minutes),
            _ms(rule.grid_minutes),
            rule.grid == "nearest",
        )

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

    def course(self, onset_ms: int | None, specimen_ms: int | None, zone: ZoneInfo) -> Course:
        """The dates of a case that a score's levels are counted from."""
        onset, specimen = (None if at_ms is None else _day(at_ms, zone) for at_ms in (onset_ms, specimen_ms))
        return Course(onset, specimen)

    def minutes(self, start_ms: int, end_ms: int) -> float:
        """The minutes that `[start, end)` together counts as, before any venue's factor."""
        return whole_minutes(start_ms, end_ms) if self.contact.whole_minutes else (end_ms - start_ms) / _MINUTE_MS

    def enough(self, minutes: float, category: str) -> bool:
        """Whether that much time together is enough at a venue of this category."""
        rule = self.contact
        if any_matches(rule.without_minimum, category):
            return minutes > 0
        factor = rule_for(rule.venue_factors, category)
        counted = minutes if factor is None else minutes * factor
        return counted > rule.minimum_minutes if rule.comparison == "more_than" else counted >= rule.minimum_minutes

    @property
    def least_ms(self) -> int:
        """Two stays that share less never count, whatever else is so; 0 where nothing can be said."""
        rule = self.contact
        if rule.per != "stay" or rule.whole_minutes or rule.without_minimum:
            return 0
        most = max(1.0, *rule.venue_factors.values()) if rule.venue_factors else 1.0
        return max(0, math.floor(rule.minimum_minutes * _MINUTE_MS / most) - 1)  # less, for what dividing may do to it

    @property
    def by_category(self) -> bool:
        """Whether venues of different categories are treated differently."""
        return any(
            segments(each) != ("*",)
            for each in (*self.contact.without_minimum, *self.contact.venue_factors, *self.slots)
        )

    def slot_rule(self, category: str) -> SlotRule | None:
        """The rule for slots at a venue of this category, where the profile has such rules."""
        return rule_for(self.slots, category)


def _ms(minutes: float) -> int:
    return round(minutes * _MINUTE_MS)


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
        if not folder.is_dir():
            raise ProfileError(f"There is no folder {folder} to read profiles (ID.toml) from.")
        for path in sorted(folder.glob("*.toml")):
            found[path.stem] = _read(path.stem, path.read_text("utf-8"), str(path))
    return found


def profile_text(profile_id: str, folder: Path | None = None) -> tuple[str, str]:
    """Where the profile of this id is written, and what: the folder's, else that of Lacak."""
    name = f"{profile_id}.toml"
    if folder is not None and (folder / name).exists():
        return str(folder / name), (folder / name).read_text("utf-8")
    return f"contacts/data/profiles/{name}", files("contacts.data").joinpath("profiles", name).read_text("utf-8")


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
        return read_profile(profile_id, text)
    except Fault as fault:
        raise ProfileError(f"The profile {where} cannot be used: {fault}") from fault


def read_profile(profile_id: str, text: str) -> Profile:
    """A profile from the text of its file. Raises Fault, which knows the line and what to do."""
    profile: Profile = read_toml(text, Profile)
    for path, wrong in _wrong(profile):
        raise Fault(text, path, wrong)
    return msgspec.structs.replace(profile, id=profile_id)


def _wrong(profile: Profile) -> Iterator[tuple[tuple[str, ...], str]]:
    """What types cannot say of a profile: where it is wrong, and how."""
    rule, score = profile.contact, profile.score
    for name in ("minimum_minutes", "linger_minutes", "shortest_stay_minutes", "grid_minutes"):
        minutes = getattr(rule, name)
        if not 0 <= minutes <= _MOST_MINUTES:
            yield ("contact", name), f"{name} is {minutes:g}: write minutes from 0 to {_MOST_MINUTES} (30 days)."
    if rule.per == "24h":
        for name in ("without_minimum", "venue_factors"):
            if getattr(rule, name):
                yield ("contact", name), f'{name} goes with per = "stay": a sum over 24 hours is over all venues.'
    for pattern, factor in rule.venue_factors.items():
        if not 0 <= factor < math.inf:
            yield ("contact", "venue_factors", pattern), f"a factor is 0 or more, not {factor:g}."
    keyed: tuple[tuple[tuple[str, ...], Collection[str]], ...] = (
        (("contact", "without_minimum"), rule.without_minimum),
        (("contact", "venue_factors"), rule.venue_factors),
        (("slots",), profile.slots),
    )
    for path, each in keyed:
        if any(not all(segments(pattern)) for pattern in each):
            yield path, 'a category is names with / between them, such as "shop", "shop/*" or "*".'
        twice = same_pattern(each)
        if twice is not None:
            yield (*path, twice), f"the category {twice!r} is there twice: keep one."
    for name, around in (
        ("infectious", profile.infectious),
        ("infectious.without_symptoms", profile.infectious.without_symptoms),
        ("exposure", profile.exposure),
    ):
        if around.days_before + around.days_after < 0 or max(abs(around.days_before), abs(around.days_after)) > 366:
            path = (*name.split("."), "days_after")
            yield path, f"[{name}] ends before it begins, or is longer than a year: see days_before and days_after."
    if profile.exposure.days_before_specimen < 1:
        yield ("exposure", "days_before_specimen"), "days_before_specimen is 1 or more: the day before is the last."
    for pattern, slot in profile.slots.items():
        if min(slot.forward_visits, slot.backward_visits) < 1:
            yield ("slots", pattern), f"the rule for {pattern!r} needs visits of 1 or more."
    if profile.slots and not rule.grid_minutes:
        yield ("contact",), "slots need their length: add grid_minutes, such as 30."
    if score is not None:
        yield from score.wrong()
        if not rule.whole_minutes:
            yield ("contact",), "a score counts whole minutes: add whole_minutes = true."


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
    except UNDECODABLE as error:
        raise ProfileError(f"the profile of the question cannot be read: {error}") from error
