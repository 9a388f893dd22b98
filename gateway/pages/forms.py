"""Forms as browsers send them."""

from __future__ import annotations

import secrets
from datetime import datetime
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from gateway.parts import Asked
from gateway.problems import Problem
from schemas.health import Declaration

_FIELDS_MOST = 30
_DAY_MS = 86_400_000
_PLACE_MOST = 200


async def form_of(request: Asked) -> dict[str, str]:
    """The fields of a form. Raises Problem where it is none."""
    try:
        body = (await request.body()).decode()
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError as error:
        raise Problem("malformed", "This is no form.") from error


def read_travel(form: dict[str, str], person: str, now_ms: int, zone: ZoneInfo) -> Declaration | None:
    """What somebody tells of where they were, in times of the deployment's zone; None where it cannot be."""
    try:
        start_ms, end_ms = (_ms(form[name], zone) for name in ("from", "to"))
    except (KeyError, ValueError):
        return None
    place, country = form.get("place", "").strip(), form.get("country", "").strip().upper()
    if not (start_ms < end_ms <= now_ms + _DAY_MS // 24) or not place or len(place) > _PLACE_MOST:
        return None
    if len(country) != 2 or not (country.isascii() and country.isalpha()):
        return None
    return Declaration(
        person=person,
        declaration_id=f"web-{secrets.token_hex(8)}",
        start_ms=start_ms,
        end_ms=end_ms,
        told_at_ms=now_ms,
        place=place,
        country=country,
    )


def _ms(text: str, zone: ZoneInfo) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)
