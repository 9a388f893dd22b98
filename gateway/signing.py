"""The programme's keys as a running gateway uses them: codes signed and verified, the key set for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from gateway.codes import BadCode, CardCode, VenueCode, Verifier, token_in
from gateway.keyring import Jwks, Keyring, KeyringError
from gateway.problems import Fault, Problem

_LOOK_SECONDS: Final = 1.0


class Signing:
    """A key ring that is looked at again, at most once a second, so that `lacak keys rotate` needs no restart."""

    def __init__(self, folder: Path, grace_seconds: int) -> None:
        self._folder, self._grace_seconds = folder, grace_seconds
        self._looked = float("-inf")
        self._ring: Keyring | None = None
        self._verifier: Verifier | None = None

    def ring(self, now: float) -> Keyring:
        """The ring. Raises Problem where there is none."""
        if self._look(now) is None or self._ring is None:
            raise Problem("unavailable", "This gateway has no key ring: run `lacak keys make`.")
        return self._ring

    def jwks(self, now: float) -> Jwks:
        """The key set that verifies codes; empty without a ring."""
        self._look(now)
        return self._ring.jwks() if self._ring is not None else {"keys": []}

    def venue(self, text: str, path: str, now: float, now_ms: int) -> VenueCode:
        """The venue of a scanned code. Raises Problem that names `path`."""
        try:
            return self._verify(now).venue(token_in(text), now_ms)
        except BadCode as error:
            raise bad_code(error, path) from error

    def card(self, text: str, path: str, now: float, now_ms: int) -> CardCode:
        """The card of a scanned code. Raises Problem that names `path`."""
        try:
            return self._verify(now).card(token_in(text), now_ms)
        except BadCode as error:
            raise bad_code(error, path) from error

    def _verify(self, now: float) -> Verifier:
        verifier = self._look(now)
        if verifier is None:
            raise Problem("unavailable", "This gateway has no key ring and can verify no code: run `lacak keys make`.")
        return verifier

    def _look(self, now: float) -> Verifier | None:
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            try:
                ring = self._ring.refreshed() if self._ring is not None else Keyring.load(self._folder)
            except KeyringError:
                return self._verifier  # what was good a second ago is better than nothing
            if ring is not self._ring:
                self._ring, self._verifier = ring, Verifier(ring.jwks(), self._grace_seconds)
        return self._verifier


def bad_code(error: BadCode, path: str) -> Problem:
    """The problem of a code that is refused."""
    return Problem("bad-code", str(error), errors=(Fault(path, str(error)),))
