"""Keys that are made of more than one name."""

from __future__ import annotations


def health_key(person: str, record_id: str) -> bytes:
    """The key of a health record. No person has a bar in their name; without a record's id it is an erasure's."""
    return f"{person}|{record_id}".encode()


def venue_key(venue: str, valid_from_ms: int) -> bytes:
    """The key of a venue's record: each date on which it changes has its own."""
    return f"{venue}\x1f{valid_from_ms}".encode()


def rules_key(kind: str, rules_id: str) -> bytes:
    """The key of a file of rules."""
    return f"{kind}/{rules_id}".encode()
