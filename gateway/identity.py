"""The identity service, as a gateway sees it: who is behind a one-time code or a card. Its local form is
gateway.register; docs/identity.md has the same as HTTP.

An officer sees somebody's papers, registers them, and hands them a one-time code or a card. The code binds one browser
to their pseudonym, once (gateway.bindings). No name or number ever comes out of the service but to an officer, audited.
"""

from __future__ import annotations

import secrets
from typing import Literal, Protocol

import msgspec

from schemas.bounds import TimeMs
from schemas.messages import Message

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0", " ": None, "-": None})
CODE_LETTERS = 10
_GROUP = 5

Refusal = Literal["wrong", "used", "expired", "too_many", "bound", "spent"]

REFUSALS: dict[Refusal, dict[str, str]] = {
    "wrong": {
        "en": "There is no such code: look at it again.",
        "id": "Kode itu tidak ada: periksa sekali lagi.",
    },
    "used": {
        "en": "This code was used already, in another browser: ask the officer for a new one.",
        "id": "Kode ini sudah dipakai di peramban lain: mintalah kode baru kepada petugas.",
    },
    "expired": {
        "en": "This code has run out: ask the officer for a new one.",
        "id": "Kode ini sudah lewat waktunya: mintalah kode baru kepada petugas.",
    },
    "too_many": {
        "en": "Too many wrong codes came from here: try again later, or ask the officer.",
        "id": "Terlalu banyak kode yang salah: coba lagi nanti, atau tanyakan kepada petugas.",
    },
    "bound": {
        "en": "This browser is linked to an identity already: unlink it first.",
        "id": "Peramban ini sudah terhubung dengan suatu identitas: putuskan dahulu.",
    },
    "spent": {
        "en": "This browser was unlinked: open the page again, then type a new code.",
        "id": "Hubungan peramban ini sudah diputus: buka halamannya lagi, lalu ketik kode baru.",
    },
}
"""Why a browser is not bound, in a sentence for whoever sits before it, by language."""


class BadBinding(ValueError):
    """A code that binds nothing here. `reason` is a key of REFUSALS; the message is its sentence in English."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(REFUSALS[reason]["en"])
        self.reason: Refusal = reason

    def sentence(self, language: str) -> str:
        """Why, in a language ("en" or "id")."""
        return REFUSALS[self.reason][language]


class IdentitySettings(msgspec.Struct, frozen=True):
    """How long a one-time code is good, and how many wrong ones are taken within `guess_minutes`.

    A code has 50 random bits: with 10 000 codes open, 2000 guesses find one with a chance of 2 in 100 million.
    """

    code_minutes: int = 60
    guess_minutes: int = 15
    guesses_most: int = 10
    guesses_most_of_all: int = 2000


class Withdrawal(Message, frozen=True, omit_defaults=True, kw_only=True):
    """Something that holds no more since `at_ms`: a card (its `serial`), or all browsers bound to a person.

    They are numbered from 1 on, without end; a gateway asks for those after the last it has.
    """

    number: int
    at_ms: TimeMs
    person: str
    serial: str = ""


class Identity(Protocol):
    """The service. Every call may block for a round trip; none is made at a door: see Bindings."""

    def redeem(self, code: str, browser: str, source: str, now_ms: int) -> str:
        """The person whose one-time code this is, for the browser of this hash, once.

        The same code by the same browser gives the same person again, so that a gateway that fell between this answer
        and its binding may ask again. `source` is whose guesses are counted together: the caller's network address.
        Raises BadBinding.
        """
        ...

    def card(self, token: str, now_ms: int) -> str:
        """The person of a card, its signature, its date and its revocation looked at. Raises gateway.codes.BadCode."""
        ...

    def withdrawn(self, after: int) -> tuple[Withdrawal, ...]:
        """What was withdrawn after this number, in order."""
        ...


def make_code() -> str:
    """A new one-time code, `XXXXX-XXXXX`."""
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_LETTERS))
    return f"{letters[:_GROUP]}-{letters[_GROUP:]}"


def read_code(text: str) -> str | None:
    """A typed code without its dash, whatever its case; I and L are read as 1, O as 0. None: it can be no code."""
    code = text.strip().upper().translate(_READ_AS) if len(text) < 100 else ""
    return code if len(code) == CODE_LETTERS and all(letter in _ALPHABET for letter in code) else None
