"""Keys that are made of more than one name."""

from __future__ import annotations


def health_key(person: str, record_id: str) -> bytes:
    """The key of a health record. No person has a bar in their name; without a record's id it is an erasure's."""
    return f"{person}|{record_id}".encode()
