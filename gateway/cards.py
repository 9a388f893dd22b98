"""A person's card: as large as a bank card, in Indonesian and English, to be printed and cut out.

It holds a pseudonym, a serial number and a date; no name and no number. Whoever is handed it writes their name on it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.codes import card_text
from gateway.sheet import Box, Item, Sheet, Square, Words

_WIDE, _HIGH = 85.6, 53.98  # ID-1 of ISO/IEC 7810
_SIDE = 46.0
_INK, _QUIET, _DEEP, _WHITE = "#12262b", "#4a5a60", "#0b4f5c", "#ffffff"


def card(token: str, serial: str, until_ms: int, zone: ZoneInfo) -> Sheet:
    """The card of a token (gateway.codes.sign_card), good before `until_ms`; `.pdf()` and `.svg()` write it."""
    last = datetime.fromtimestamp((until_ms - 1) / 1000, UTC).astimezone(zone).date()
    x = 50.0
    items: list[Item] = [
        Box(0, 0, _WIDE, _HIGH, _WHITE),
        Box(0, 0, 2, _HIGH, _DEEP),
        Square(3, (_HIGH - _SIDE) / 2, _SIDE, card_text(token)),
        Words(x, 9, 4.6, "Kartu masuk", _DEEP, True),
        Words(x, 13.5, 3.3, "Entry card", _DEEP),
        Words(x, 21, 2.4, "Nama / Name", _QUIET),
        Box(x, 28, 31, 0.2, _QUIET),
        Words(x, 33, 2.4, "Berlaku sampai / Good until", _QUIET),
        Words(x, 37, 3.6, last.isoformat(), _INK, True),
        Words(x, 41.5, 2.4, f"No. {serial}", _QUIET),
        Words(x, 46, 2.15, "Tunjukkan kepada petugas di pintu.", _INK),
        Words(x, 49, 2.15, "Show it to the staff at the door.", _INK),
    ]
    return Sheet(_WIDE, _HIGH, f"Kartu masuk / Entry card {serial}", "id", items)
