"""Browsers bound to people: what lets a gateway know at the door whom a cookie stands for, without asking anybody.

A browser has a random token of 256 bits in an HttpOnly cookie, of which only a hash is kept here. Unbound, it stands
for nobody: its scans carry a token of its own, and the rules know nothing of it. Bound once to a person, it stays so
until it is unbound, and then that token is spent for good.

For the pages: give a browser its token (`new_token`) before it may type a code; then `redeem`. At the door: `visitor`.
Every second or so, away from the requests: `follow`, which takes in what officers have withdrawn.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self

from gateway.identity import BadBinding, Identity, read_code
from gateway.private_file import open_private, transaction

WEB = "web"
"""What stands before the token of an unbound browser, where a pseudonym has the id of its key."""

_TOKEN_BYTES = 32
_TOKEN_LETTERS = 43
_SCHEMA = """
create table if not exists bindings (
    browser text primary key, person text not null, bound_ms integer not null, unbound_ms integer,
    code_hash blob not null, since integer not null) strict;
create index if not exists bindings_of on bindings (person);
create table if not exists revoked (serial text primary key) strict;
create table if not exists followed (one integer primary key check (one = 1), number integer not null) strict;
insert or ignore into followed values (1, 0);
"""


class BindingsError(ValueError):
    """A file of bindings that cannot be used; the message says why."""


class Visitor(NamedTuple):
    """Whom a browser stands for; `verified`: it is bound, else `person` is a token of its own, `web:...`."""

    person: str
    verified: bool


class Bindings:
    """The bindings of one gateway, a SQLite file. Safe for several threads and processes.

    What is answered is durable. Raises BindingsError when the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            if path.stat().st_mode & 0o077:
                raise BindingsError(f"The file {path} may be read by others: run `chmod 600 {path}`.")
            self._file = open_private(path, _SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise BindingsError(f"The bindings {path} cannot be used: {error}.") from error
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @staticmethod
    def new_token() -> str:
        """A token for a browser's cookie: 256 random bits, 43 letters."""
        return secrets.token_urlsafe(_TOKEN_BYTES)

    def visitor(self, token: str) -> Visitor:
        """Whom a browser stands for; some 10 us. Raises ValueError where the token is none."""
        person = self.person(token)
        if person is not None:
            return Visitor(person, True)
        return Visitor(f"{WEB}:{sha256(b'visitor ' + token.encode()).hexdigest()[:32]}", False)

    def person(self, token: str) -> str | None:
        """The person a browser is bound to. Raises ValueError where the token is none."""
        row = self._row(browser_of(token))
        return None if row is None or row[1] is not None else row[0]

    def redeem(self, identity: Identity, code: str, token: str, source: str, now_ms: int) -> str:
        """Bind a browser to the person of a one-time code; the person. Raises BadBinding, and ValueError for no token.

        The browser must have its token already: where it loses the answer it asks again with the same, and so it does
        when this process falls anywhere in between. The code is then neither lost nor used twice.
        """
        browser, code_hash = browser_of(token), sha256(f"{token} {read_code(code)}".encode()).digest()
        row = self._row(browser)
        if row is not None:
            if row[1] is None and row[2] == code_hash:
                return row[0]  # asked again after it was done
            raise BadBinding("bound" if row[1] is None else "spent")
        self.follow(identity)
        since = self._followed()
        person = identity.redeem(code, browser, source, now_ms)
        self._bind((browser, person, now_ms, code_hash, since))
        return person

    def unbind(self, token: str, now_ms: int) -> str | None:
        """Unbind a browser at its own wish; the person it was bound to. The token is spent: give it a new one."""
        person = self.person(token)
        if person is not None:
            with self._transaction() as file:
                file.execute("update bindings set unbound_ms = ? where browser = ?", (now_ms, browser_of(token)))
        return person

    def browsers(self, person: str) -> int:
        """How many browsers are bound to a person."""
        with self._lock:
            row = self._file.execute(
                "select count(*) from bindings where person = ? and unbound_ms is null", (person,)
            ).fetchone()
        return int(row[0])

    def revoked(self, serial: str) -> bool:
        """Whether a card was revoked, as far as `follow` has come; some 10 us."""
        with self._lock:
            return self._file.execute("select 1 from revoked where serial = ?", (serial,)).fetchone() is not None

    def follow(self, identity: Identity) -> int:
        """Take in what was withdrawn since the last call; how much that was."""
        found = identity.withdrawn(self._followed())
        if not found:
            return 0
        with self._transaction() as file:
            for each in found:
                if each.serial:
                    file.execute("insert or ignore into revoked values (?)", (each.serial,))
                else:
                    file.execute(
                        "update bindings set unbound_ms = ? where person = ? and unbound_ms is null and since < ?",
                        (each.at_ms, each.person, each.number),
                    )
            file.execute("update followed set number = max(number, ?)", (found[-1].number,))
        return len(found)

    def _followed(self) -> int:
        """The number of the last withdrawal taken in."""
        with self._lock:
            (number,) = self._file.execute("select number from followed").fetchone()
        return int(number)

    def _row(self, browser: str) -> tuple[str, int | None, bytes] | None:
        with self._lock:
            row: tuple[str, int | None, bytes] | None = self._file.execute(
                "select person, unbound_ms, code_hash from bindings where browser = ?", (browser,)
            ).fetchone()
        return row

    def _bind(self, row: tuple[str, str, int, bytes, int]) -> None:
        """Write a binding. What was withdrawn while the service was asked is taken in once more: it may be about it.

        A withdrawal ends the bindings whose code was redeemed before it, by its number and no clock: those made when
        a lower number was known here.
        """
        with self._transaction() as file:
            file.execute("insert or ignore into bindings values (?, ?, ?, null, ?, ?)", row)
            file.execute("update followed set number = min(number, ?)", (row[-1],))
            held = file.execute("select person, unbound_ms from bindings where browser = ?", (row[0],)).fetchone()
        if held != (row[1], None):  # another request of this browser came first
            raise BadBinding("bound")

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._file, self._lock)


def browser_of(token: str) -> str:
    """The hash by which a browser is kept and told to the identity service. Raises ValueError where it is no token."""
    if len(token) != _TOKEN_LETTERS or not token.isascii():
        raise ValueError("a browser's token has 43 letters")
    return sha256(b"browser " + token.encode()).hexdigest()
