"""What a page shows of a count and of a ticket: words, signs and numbers, ready for a template."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from gateway.copies import Count
from gateway.pages.texts import Language, texts
from gateway.parts import Parts

SIGNS: Final = {"admit": "✓", "check": "?", "refuse": "✕", "full": "■", "out": "✓"}
_NEAR_SHARE: Final = 0.9
_MINUTE_MS: Final = 60_000


def load_view(count: Count, text: dict[str, str], stale_ms: float) -> dict[str, Any]:
    """How full a place is: `state` is room, near, full or old, `word` says it."""
    allowed, age = count.allowed, count.age_ms
    inside = None if age is None and count.inside == 0 else count.inside
    old = inside is not None and (age is None or age > stale_ms)
    state = "room"
    if inside is not None and allowed is not None:
        state = "full" if inside >= allowed else "near" if inside >= _NEAR_SHARE * allowed else "room"
    word = {"room": text["room"], "near": text["nearly_full"], "full": text["full"]}[state]
    if inside is None:
        line = text["inside_unknown"]
    elif allowed is None:
        line = text["inside"].format(inside=inside)
    else:
        line = text["inside_of"].format(inside=inside, allowed=allowed)
    return {
        "inside": inside,
        "allowed": allowed,
        "percent": min(100, round(100 * inside / allowed)) if inside is not None and allowed else 0,
        "state": state,
        "word": text["old"] if old else word,
        "old": old,
        "age": age_words(age),
        "line": line,
        "of": f"/ {allowed}" if allowed is not None else "",
    }


def load_of(parts: Parts, venue: str, language: Language) -> dict[str, Any]:
    """How full a venue is now, as `load_view` shows it."""
    stale_ms = parts.settings.copies.counts_stale_seconds * 1000
    return load_view(parts.copies.count(venue), texts(language), stale_ms)


def venue_of(parts: Parts, venue: str) -> dict[str, str]:
    """A venue's id and its name; one that is not registered is named by its id."""
    record = parts.copies.venue(venue)
    return {"venue": venue, "name": (record.name if record is not None else "") or venue}


def age_words(age_ms: int | None) -> str:
    """An age in whole minutes, hours or days: `3 min`, `2 h`, `5 d`."""
    minutes = (age_ms or 0) // _MINUTE_MS
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} d"


def time_words(at_ms: int, zone: ZoneInfo) -> str:
    """A moment of the deployment's zone: `2021-10-21 09:30`."""
    return datetime.fromtimestamp(at_ms / 1000, zone).strftime("%Y-%m-%d %H:%M")


def offset_minutes(at_ms: int, zone: ZoneInfo) -> int:
    """How far the zone is ahead of UTC at a moment."""
    ahead = datetime.fromtimestamp(at_ms / 1000, zone).utcoffset()
    return round(ahead.total_seconds() / 60) if ahead is not None else 0


def short_number(ticket_id: str) -> str:
    """What a visitor and the guard compare: six letters and digits of a ticket's id."""
    return "".join(letter for letter in ticket_id.upper() if letter.isalnum())[-6:]
