"""The ticket that a browser keeps: signed, in its own cookie, so that it outlives a restart of the gateway.

What it says is the person's own: the decision, its reason and, for a bound browser, the colour.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import jwt
import msgspec

from contacts.admission import Decision
from contacts.doortexts import Language, Said, for_person
from gateway.pages.views import SIGNS, short_number
from gateway.tickets import Ticket
from schemas.health import Colour

_ALGORITHM: Final = "HS256"
_HOURS_MS: Final = 3_600_000
_WELCOME: Final = Decision("admit", "welcome")
_TURNED_AWAY: Final = Decision("refuse", "staff")
Shown = Literal["admit", "check", "refuse", "full", "out"]
KEPT_MS: Final = 24 * _HOURS_MS
"""How long a ticket is shown: no stay is longer (docs/visits.md)."""


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a ticket. `colour`: of a verified person only. `out`: they have checked out."""

    id: str
    venue: str
    person: str
    decision: Decision
    at_ms: int
    colour: Colour | None = None
    party: tuple[str, ...] = ()
    admitted: bool | None = None
    out: bool = False

    @property
    def waiting(self) -> bool:
        """Whether the staff have still to answer."""
        return self.shown == "check"

    @property
    def inside(self) -> bool:
        """Whether its holder went in and has not left."""
        return self.shown == "admit"

    @property
    def shown(self) -> Shown:
        """The outcome as it now is."""
        if self.out:
            return "out"
        if self.admitted is not None:
            return "admit" if self.admitted else "refuse"
        return self.decision.outcome


def held_of(ticket: Ticket, bound: bool) -> Held:
    """What a browser keeps of the door's answer to a check-in. An unbound one is told no colour."""
    assert ticket.decision is not None
    return Held(
        id=ticket.ticket_id,
        venue=ticket.venue,
        person=ticket.person,
        decision=ticket.decision,
        at_ms=ticket.at_ms,
        colour=ticket.colours[0] if bound and ticket.colours else None,
        party=ticket.party,
        admitted=ticket.admitted,
    )


def seal(held: Held, secret: bytes) -> str:
    """The ticket as a cookie's value."""
    return jwt.encode(msgspec.to_builtins(held), secret, _ALGORITHM)


def unseal(text: str, secret: bytes, person: str, now_ms: int) -> Held | None:
    """The ticket of a cookie; None where it is none, another's, or older than a day."""
    try:
        claims: dict[str, Any] = jwt.decode(text, secret, [_ALGORITHM])
        held = msgspec.convert(claims, Held)
    except (jwt.InvalidTokenError, msgspec.ValidationError):
        return None
    return held if held.person == person and now_ms - held.at_ms < KEPT_MS else None


def ticket_view(held: Held, text: dict[str, str], language: Language, time: str) -> dict[str, Any]:
    """What the ticket's page shows."""
    said = for_person(held.decision, language)
    if held.out:
        said = Said(text["checked_out"], "")
    elif held.admitted is not None:  # the staff have answered: what stood in the way before is of no matter
        said = for_person(_WELCOME if held.admitted else _TURNED_AWAY, language)
    return {
        "id": held.id,
        "sign": SIGNS[held.shown],
        "word": said.title,
        "reason": said.sentence,
        "shade": _shade(held),
        "colour_word": text[held.colour] if held.colour else "",
        "number": short_number(held.id),
        "waiting": held.waiting,
        "inside": held.inside,
        "time": time,
    }


def _shade(held: Held) -> str:
    """The colour of the answer: that of the status for those who go in, and none for whom no status is known."""
    if held.shown == "full":
        return "full"
    if held.colour is None or held.shown == "check":
        return "unknown"
    return "red" if held.shown == "refuse" and held.colour != "black" else held.colour
