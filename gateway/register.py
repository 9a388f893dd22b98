"""The health office's identity register: the identity service in its local form, one folder that nobody else may read.

`register.sqlite` holds who was registered, their codes and cards, and the audit; `register.key` the secret that seals
what must not be read from the file alone: national ids are encrypted (Fernet), one-time codes and the sources of
guesses kept as keyed hashes. A deed and its line in the audit are one transaction, durable before it is answered.

Safe for several processes and threads: the officers' commands and a gateway may hold it at once.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.codes import BadCode, CodeSettings, Verifier, sign_card
from gateway.identity import BadBinding, IdentitySettings, Refusal, Withdrawal, make_code, read_code
from gateway.keyring import Keyring
from gateway.private_file import open_private, transaction
from gateway.pseudonyms import Key

_MINUTE_MS, _DAY_MS = 60_000, 86_400_000
_OTHERS_MAY = 0o077
_NUMBER = re.compile(r"\d{12}")
_SCHEMA = """
create table if not exists people (
    person text primary key, sealed blob not null, registered_ms integer not null, officer text not null) strict;
create table if not exists codes (
    hash blob primary key, person text not null, until_ms integer not null, browser text) strict;
create index if not exists codes_of on codes (person);
create table if not exists cards (
    serial text primary key, person text not null, issued_ms integer not null, until_ms integer not null,
    revoked_ms integer) strict;
create index if not exists cards_of on cards (person);
create table if not exists withdrawals (
    number integer primary key autoincrement, at_ms integer not null, person text not null, serial text not null
    ) strict;
create table if not exists guesses (source blob not null, at_ms integer not null) strict;
create index if not exists guesses_at on guesses (at_ms);
create table if not exists audit (
    number integer primary key autoincrement, at_ms integer not null, officer text not null, purpose text not null,
    action text not null, person text not null, detail text not null) strict;
"""


class RegisterError(ValueError):
    """What cannot be done with the register; the message is a sentence for an officer."""


class By(NamedTuple):
    """Who does something, why, and when (ms): what stands in the audit."""

    officer: str
    purpose: str
    at_ms: int


class Issued(NamedTuple):
    """A one-time code as it is handed over; it is nowhere kept. Good before `until_ms`."""

    code: str
    until_ms: int


class IssuedCard(NamedTuple):
    """A card as it is handed over: its token (for gateway.cards), its serial number, good before `until_ms`."""

    token: str
    serial: str
    until_ms: int


class Listed(NamedTuple):
    """A registered person, with the serial numbers of the cards that stand and whether a code waits to be redeemed."""

    person: str
    registered_ms: int
    officer: str
    cards: tuple[str, ...]
    code_waits: bool


class AuditLine(NamedTuple):
    """Who did what, why and when. Never an identity, a code or a token."""

    at_ms: int
    officer: str
    purpose: str
    action: str
    person: str
    detail: str


class Register:
    """The register of a folder, made if it is not there. Implements gateway.identity.Identity.

    `verifier` is for cards: those of the programme's keys. Raises RegisterError when the folder cannot be used.
    """

    def __init__(
        self, folder: Path, verifier: Verifier | None = None, settings: IdentitySettings | None = None
    ) -> None:
        self.verifier, self._settings = verifier, settings or IdentitySettings()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            secret = _secret(folder / "register.key")
            path = folder / "register.sqlite"
            path.touch(mode=0o600)
            _check_mode(path)
            self._file = open_private(path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise RegisterError(f"The identity register {folder} cannot be used: {error}.") from error
        self._lock = Lock()
        self._fernet = Fernet(urlsafe_b64encode(_derived(secret, b"lacak register: identities")))
        self._hash_key = _derived(secret, b"lacak register: codes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def register(self, identity: str, key: Key, by: By) -> str:
        """The pseudonym of somebody whose papers an officer has seen; the same however often. Raises ValueError."""
        person = key.pseudonym(identity)
        sealed = self._fernet.encrypt(identity.strip().encode())
        with self._audited(by, "register", person) as file:
            file.execute("insert or ignore into people values (?, ?, ?, ?)", (person, sealed, by.at_ms, by.officer))
        return person

    def resolve(self, person: str, by: By) -> str:
        """The identity behind a pseudonym. Audited whether it is found or not. Raises RegisterError."""
        with self._audited(by, "resolve", person) as file:
            row = file.execute("select sealed from people where person = ?", (person,)).fetchone()
        if row is None:
            raise _unknown(person)
        try:
            return self._fernet.decrypt(row[0]).decode()
        except InvalidToken:
            raise RegisterError("The identity was sealed with another register.key: put back the one it had.") from None

    def code(self, person: str, by: By) -> Issued:
        """A one-time code for a registered person; one that they had and did not use is void. Raises RegisterError."""
        code, until_ms = make_code(), by.at_ms + self._settings.code_minutes * _MINUTE_MS
        with self._audited(by, "code", person, until_ms) as file:
            self._need(file, person)
            file.execute("delete from codes where person = ? and browser is null", (person,))
            file.execute("delete from codes where until_ms < ?", (by.at_ms - _DAY_MS,))
            hashed = self._hash(read_code(code) or "")
            file.execute("insert into codes values (?, ?, ?, null)", (hashed, person, until_ms))
        return Issued(code, until_ms)

    def issue_card(self, person: str, ring: Keyring, by: By, card_days: int = CodeSettings().card_days) -> IssuedCard:
        """A card for a registered person, signed. Raises RegisterError."""
        serial = secrets.token_hex(4)
        token = sign_card(ring, person, serial, by.at_ms, card_days)
        until_ms = (by.at_ms // 1000 + card_days * 86_400) * 1000
        with self._audited(by, "card", person, serial) as file:
            self._need(file, person)
            file.execute("insert into cards values (?, ?, ?, ?, null)", (serial, person, by.at_ms, until_ms))
        return IssuedCard(token, serial, until_ms)

    def revoke_card(self, serial: str, by: By) -> str:
        """Let a card hold no more; whose it was. Raises RegisterError."""
        with self._audited(by, "revoke card", "", serial) as file:
            row = file.execute("select person, revoked_ms from cards where serial = ?", (serial,)).fetchone()
            if row is None:
                raise RegisterError(f"There is no card {serial!r}: `lacak identity list` shows those that stand.")
            if row[1] is None:
                file.execute("update cards set revoked_ms = ? where serial = ?", (by.at_ms, serial))
                file.execute("insert into withdrawals values (null, ?, ?, ?)", (by.at_ms, row[0], serial))
        return str(row[0])

    def unbind(self, person: str, by: By) -> None:
        """Let all browsers bound to a person be bound no more, and their codes be void. Raises RegisterError."""
        with self._audited(by, "unbind", person) as file:
            self._need(file, person)
            file.execute("delete from codes where person = ?", (person,))
            file.execute("insert into withdrawals values (null, ?, ?, '')", (by.at_ms, person))

    def people(self, by: By) -> list[Listed]:
        """Who is registered, by pseudonym, the newest first."""
        with self._audited(by, "list", "") as file:
            cards: dict[str, list[str]] = {}
            for serial, person in file.execute(
                "select serial, person from cards where revoked_ms is null and until_ms > ? order by serial",
                (by.at_ms,),
            ):
                cards.setdefault(person, []).append(serial)
            waiting = {
                row[0]
                for row in file.execute("select person from codes where browser is null and until_ms > ?", (by.at_ms,))
            }
            rows = file.execute("select person, registered_ms, officer from people order by registered_ms desc, person")
            return [
                Listed(person, at_ms, officer, tuple(cards.get(person, ())), person in waiting)
                for person, at_ms, officer in rows
            ]

    def audit(self, by: By, most: int = 100) -> list[AuditLine]:
        """The newest lines of the audit, newest first; this look is one of them."""
        with self._audited(by, "audit", "") as file:
            rows = file.execute(
                "select at_ms, officer, purpose, action, person, detail from audit order by number desc limit ?",
                (most,),
            )
            return [AuditLine(*row) for row in rows]

    def redeem(self, code: str, browser: str, source: str, now_ms: int) -> str:
        """As gateway.identity.Identity says. A code, right or wrong, is refused where too many wrong ones came from."""
        read, hashed_source = read_code(code), self._hash(source)
        since_ms = now_ms - self._settings.guess_minutes * _MINUTE_MS
        refused: Refusal
        with self._transaction() as file:
            file.execute("delete from guesses where at_ms <= ?", (since_ms,))
            of_all, here = file.execute(
                "select count(*), count(*) filter (where source = ?) from guesses", (hashed_source,)
            ).fetchone()
            row = file.execute(
                "select hash, person, until_ms, browser from codes where hash = ?", (self._hash(read or ""),)
            ).fetchone()
            if here >= self._settings.guesses_most or of_all >= self._settings.guesses_most_of_all:
                refused = "too_many"
            elif row is not None and row[3] == browser:
                return str(row[1])
            elif row is not None and row[3] is None and now_ms < row[2]:
                file.execute("update codes set browser = ? where hash = ?", (browser, row[0]))
                self._note(file, By("system", "code redeemed", now_ms), "redeem", row[1], "")
                return str(row[1])
            else:
                refused = "wrong" if row is None else "expired" if row[3] is None else "used"
                file.execute("insert into guesses values (?, ?)", (hashed_source, now_ms))
        raise BadBinding(refused)

    def card(self, token: str, now_ms: int) -> str:
        """As gateway.identity.Identity says. A card that this register did not issue is as good as a revoked one."""
        if self.verifier is None:
            raise RegisterError("The register was opened without the keys that verify cards.")
        code = self.verifier.card(token, now_ms)
        with self._lock:
            row = self._file.execute("select person, revoked_ms from cards where serial = ?", (code.serial,)).fetchone()
        if row is None or row[0] != code.person or row[1] is not None:
            raise BadCode("revoked")
        return code.person

    def withdrawn(self, after: int) -> tuple[Withdrawal, ...]:
        """As gateway.identity.Identity says."""
        with self._lock:
            rows = self._file.execute("select * from withdrawals where number > ? order by number", (after,)).fetchall()
        return tuple(Withdrawal(number=n, at_ms=at, person=person, serial=serial) for n, at, person, serial in rows)

    def _hash(self, text: str) -> bytes:
        return blake2b(text.encode(), key=self._hash_key, digest_size=32).digest()

    def _need(self, file: sqlite3.Connection, person: str) -> None:
        if file.execute("select 1 from people where person = ?", (person,)).fetchone() is None:
            raise _unknown(person)

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._file, self._lock)

    @contextmanager
    def _audited(self, by: By, action: str, person: str, detail: object = "") -> Iterator[sqlite3.Connection]:
        """A deed with its line in the audit, both or neither."""
        for what, text in (("officer", by.officer), ("purpose", by.purpose)):
            if not text.strip() or not text.isprintable():
                raise RegisterError(f"Say the {what}: it stands in the audit.")
            if _NUMBER.search(text):
                raise RegisterError(f"The {what} holds a long number: nobody's number stands in the audit.")
        with self._transaction() as file:
            self._note(file, by, action, person, str(detail))
            yield file

    def _note(self, file: sqlite3.Connection, by: By, action: str, person: str, detail: str) -> None:
        row: tuple[Any, ...] = (by.at_ms, by.officer, by.purpose, action, person, detail)
        file.execute("insert into audit values (null, ?, ?, ?, ?, ?, ?)", row)


def _unknown(person: str) -> RegisterError:
    return RegisterError(f"{person} is not registered: `lacak identity register` does, after seeing papers.")


def _derived(secret: bytes, what: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, what).derive(secret)


def _secret(path: Path) -> bytes:
    """The register's secret, made where there is none. Raises RegisterError and OSError."""
    if not path.exists():
        temporary = path.with_name(f".register.key.{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was first: its secret it is
                path.hardlink_to(temporary)
        finally:
            temporary.unlink()
    _check_mode(path)
    try:
        secret = bytes.fromhex(path.read_text("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise RegisterError(f"The file {path} is no key of a register.")
    return secret


def _check_mode(path: Path) -> None:
    if path.stat().st_mode & _OTHERS_MAY:
        raise RegisterError(f"The file {path} may be read by others: run `chmod 600 {path}`.")
