"""What stands in a QR code: a short claim, signed by the programme, that anybody with the public keys can verify.

Three kinds (docs/qr.md has the format to the byte, and tests/vectors/qr.json its vectors):

- the static code of a venue, for its poster: good until its key is retired;
- the rotating code of a venue, for a screen: good in its own step and a short grace after, so that a photograph of it
  soon stops working;
- a person's card, for people without a phone: good until a date; the identity service can revoke it by its serial
  number (gateway.identity).

Each is a compact JWS (RFC 7515) with the algorithm EdDSA (RFC 8037) and an Ed25519 key; PyJWT makes it, any library of
JWS reads it. It is read here to the letter: one writing of each token, two fields in its header, nothing unknown.
`Verifier` needs the public keys and the time, and asks nobody. The claim `t` says the kind, so that none passes for
another.

For the gateway: keep one `Verifier` of the key ring's `jwks()`, make a new one when the ring has changed, and give it
what `token_in` finds in a scanned text. A code verified before costs about a microsecond, a new one little more than
its signature.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contacts.registry import is_name
from gateway.keyring import ALGORITHM, Jwks, Keyring

CARD_PREFIX = "LACAK:"
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TOKEN_MOST = 2_000  # a venue's id has 200 characters of up to 4 bytes
_REMEMBERED = 20_000
_DAY_SECONDS = 86_400

Reason = Literal["no_code", "not_ours", "unknown_key", "wrong_kind", "old", "early", "expired", "revoked"]

REASONS: dict[Reason, dict[str, str]] = {
    "no_code": {
        "en": "This is not a code of the programme.",
        "id": "Ini bukan kode dari program ini.",
    },
    "not_ours": {
        "en": "This code was not made by the programme, or it was damaged.",
        "id": "Kode ini tidak dibuat oleh program ini, atau rusak.",
    },
    "unknown_key": {
        "en": "This code is no longer in use: ask for the new one.",
        "id": "Kode ini sudah tidak berlaku: mintalah kode yang baru.",
    },
    "wrong_kind": {
        "en": "This code is of another kind: a venue's code and a person's card are not the same.",
        "id": "Jenis kode ini keliru: kode tempat dan kartu orang tidak sama.",
    },
    "old": {
        "en": "This code has changed since: scan the screen again.",
        "id": "Kode ini sudah berganti: pindai layar sekali lagi.",
    },
    "early": {
        "en": "This code is not in use yet: is the clock right?",
        "id": "Kode ini belum berlaku: apakah jamnya benar?",
    },
    "expired": {
        "en": "This card has expired: ask the health office for a new one.",
        "id": "Kartu ini sudah kedaluwarsa: mintalah yang baru di kantor kesehatan.",
    },
    "revoked": {
        "en": "This card was withdrawn: ask the health office for a new one.",
        "id": "Kartu ini sudah dicabut: mintalah yang baru di kantor kesehatan.",
    },
}
"""Why a code is refused, in a sentence for whoever holds it, by language."""


class BadCode(ValueError):
    """A code that is refused. `reason` is a key of REASONS; the message is its sentence in English."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(REASONS[reason]["en"])
        self.reason: Reason = reason

    def sentence(self, language: str) -> str:
        """Why, in a language ("en" or "id")."""
        return REASONS[self.reason][language]


class CodeSettings(msgspec.Struct, frozen=True):
    """How long codes are good: a deployment's choice. A screen's code changes every `step_seconds`.

    `grace_seconds` is for a code scanned at the end of its step, and for clocks that differ.
    """

    step_seconds: int = 180
    grace_seconds: int = 60
    card_days: int = 365


class VenueCode(msgspec.Struct, frozen=True):
    """A venue's code, verified. A rotating one is refused from `until_ms` on; a static one has None."""

    venue: str
    rotating: bool
    kid: str
    until_ms: int | None = None


class CardCode(msgspec.Struct, frozen=True):
    """A person's card, verified, but for whether it was revoked. It is refused from `until_ms` on."""

    person: str
    serial: str
    kid: str
    until_ms: int


class _Static(msgspec.Struct, frozen=True, tag_field="t", tag="s", forbid_unknown_fields=True):
    sub: str


class _Rotating(msgspec.Struct, frozen=True, tag_field="t", tag="r", forbid_unknown_fields=True):
    sub: str
    nbf: int
    exp: int


class _Card(msgspec.Struct, frozen=True, tag_field="t", tag="p", forbid_unknown_fields=True):
    sub: str
    jti: str
    exp: int


_Claims = _Static | _Rotating | _Card
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Claims).decode


def sign_static(ring: Keyring, venue: str) -> str:
    """The code of a venue's poster. Raises ValueError where the venue's id is no name."""
    return ring.sign(_encode(_Static(_name(venue))))


def sign_rotating(ring: Keyring, venue: str, now_ms: int, step_seconds: int = CodeSettings().step_seconds) -> str:
    """The code of a venue's screen at a time: the same throughout a step. Raises ValueError."""
    begin = now_ms // 1000 // step_seconds * step_seconds
    return ring.sign(_encode(_Rotating(_name(venue), begin, begin + step_seconds)))


def next_step_ms(now_ms: int, step_seconds: int = CodeSettings().step_seconds) -> int:
    """When a screen's code changes next (ms)."""
    return (now_ms // 1000 // step_seconds + 1) * step_seconds * 1000


def sign_card(ring: Keyring, person: str, serial: str, now_ms: int, card_days: int = CodeSettings().card_days) -> str:
    """The code of a person's card, good for so many days. Raises ValueError where a name is none."""
    return ring.sign(_encode(_Card(_name(person), _name(serial), now_ms // 1000 + card_days * _DAY_SECONDS)))


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError("a name is 1 to 200 characters, none of them a control character")
    return text


def venue_text(base_url: str, token: str) -> str:
    """What stands in a venue's QR code: the address of its page."""
    return f"{base_url.rstrip('/')}/v/{token}"


def card_text(token: str) -> str:
    """What stands in a card's QR code: no address, so that a stranger's phone sends it nowhere."""
    return CARD_PREFIX + token


def token_in(text: str) -> str:
    """The token in what a scanner read: an address `.../v/TOKEN`, a card `LACAK:TOKEN`, or a token. Raises BadCode."""
    text = text.strip()
    if len(text) > 2 * _TOKEN_MOST:
        raise BadCode("no_code")
    if text.startswith(CARD_PREFIX):
        token = text[len(CARD_PREFIX) :]
    elif text.startswith(("https://", "http://")):
        try:
            head, _, token = urlsplit(text).path.rpartition("/")
        except ValueError:
            raise BadCode("no_code") from None
        if not head.endswith("/v"):
            raise BadCode("no_code")
    else:
        token = text
    if len(token) > _TOKEN_MOST or not _TOKEN.fullmatch(token):
        raise BadCode("no_code")
    return token


class Verifier:
    """Verifies codes with the public keys of a key set.

    What it has verified it remembers, up to 20 000 codes: a poster's code is one code, scanned all day.
    Raises ValueError when the key set is none; keys of other kinds than Ed25519 for signatures are passed over.
    """

    def __init__(self, jwks: Jwks, grace_seconds: int = CodeSettings().grace_seconds) -> None:
        self._keys = _public_keys(jwks)
        self._grace_ms = grace_seconds * 1000
        self._known: OrderedDict[str, tuple[str, _Claims]] = OrderedDict()

    def venue(self, token: str, now_ms: int) -> VenueCode:
        """The venue whose code this is. Raises BadCode."""
        code = self.verify(token, now_ms)
        if not isinstance(code, VenueCode):
            raise BadCode("wrong_kind")
        return code

    def card(self, token: str, now_ms: int) -> CardCode:
        """The card that this is. Raises BadCode. Whether it was revoked, the identity service knows."""
        code = self.verify(token, now_ms)
        if not isinstance(code, CardCode):
            raise BadCode("wrong_kind")
        return code

    def verify(self, token: str, now_ms: int) -> VenueCode | CardCode:
        """What a token says, its signature and its times verified. Raises BadCode."""
        kid, claims = self._known.get(token) or self._signed(token)
        match claims:
            case _Static(venue):
                return VenueCode(venue, False, kid)
            case _Rotating(venue, begin, end):
                if now_ms < begin * 1000 - self._grace_ms:
                    raise BadCode("early")
                if now_ms >= end * 1000 + self._grace_ms:
                    raise BadCode("old")
                return VenueCode(venue, True, kid, end * 1000 + self._grace_ms)
            case _Card(person, serial, end):
                if now_ms >= end * 1000:
                    raise BadCode("expired")
                return CardCode(person, serial, kid, end * 1000)

    def _signed(self, token: str) -> tuple[str, _Claims]:
        """The key and the claims of a token never seen before. Raises BadCode."""
        if len(token) > _TOKEN_MOST or not _TOKEN.fullmatch(token):
            raise BadCode("no_code")
        signed, _, signature = token.rpartition(".")
        header_text, _, payload = signed.partition(".")
        try:
            header = _decode_header(_bytes(header_text))
            if header.alg != ALGORITHM:
                raise BadCode("not_ours")
            key = self._keys.get(header.kid)
            if key is None:
                raise BadCode("unknown_key")
            key.verify(_bytes(signature), signed.encode())
            claims = _decode(_bytes(payload))
        except BadCode:
            raise
        except (InvalidSignature, ValueError):  # msgspec's errors are ValueErrors
            raise BadCode("not_ours") from None
        if not is_name(claims.sub) or (isinstance(claims, _Card) and not is_name(claims.jti)):
            raise BadCode("not_ours")
        known = header.kid, claims
        self._known[token] = known
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known


def _bytes(text: str) -> bytes:
    """Base64url without padding, in its one canonical writing: another one is another token. Raises ValueError."""
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise ValueError("not canonical")
    return data


def verify(
    jwks: Jwks, token: str, now_ms: int, grace_seconds: int = CodeSettings().grace_seconds
) -> VenueCode | CardCode:
    """What one token says. Raises BadCode. Whoever verifies many keeps a `Verifier`."""
    return Verifier(jwks, grace_seconds).verify(token, now_ms)


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a token: these two and nothing else, so that nothing critical is ever overlooked."""

    alg: str
    kid: str


_decode_header = msgspec.json.Decoder(_Header).decode


def _public_keys(jwks: Jwks) -> dict[str, Ed25519PublicKey]:
    listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(listed, list):
        raise ValueError('a key set is an object with a list called "keys" (RFC 7517)')
    keys: dict[str, Ed25519PublicKey] = {}
    for each in listed:
        if not isinstance(each, Mapping) or each.get("crv") != "Ed25519" or each.get("use", "sig") != "sig":
            continue
        kid, x = each.get("kid"), each.get("x")
        if each.get("kty") != "OKP" or each.get("alg", ALGORITHM) != ALGORITHM or not isinstance(kid, str):
            continue
        try:
            keys[kid] = Ed25519PublicKey.from_public_bytes(_bytes(str(x)))
        except ValueError as error:
            raise ValueError(f"the key {kid!r} of the key set is no Ed25519 key") from error
    return keys
