"""Pseudonyms made at the edge, by whoever holds the key: keyed BLAKE2b (RFC 7693), 128 bits, with the key's id."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
_SECRET_BYTES = 32
_SECRET_LEAST, _SECRET_MOST = 16, 64  # BLAKE2b takes no more
_IDENTITY_MOST = 1000
_GROUPING = str.maketrans("", "", " .-")
_NIK_DIGITS = 16


class KeyFileError(ValueError):
    """A key file that cannot be used; the message says what to do."""


class Key:
    """A secret with its id. The id travels in every pseudonym; the secret never leaves the process."""

    __slots__ = ("_secret", "id")

    def __init__(self, key_id: str, secret: bytes) -> None:
        if not _ID.fullmatch(key_id):
            raise KeyFileError(f"The key id {key_id!r} is not usable: 1 to 16 of a-z, 0-9 and -.")
        if not _SECRET_LEAST <= len(secret) <= _SECRET_MOST:
            raise KeyFileError("A key's secret has 16 to 64 bytes: make one with `Key.make`.")
        self.id = key_id
        self._secret = secret

    def __repr__(self) -> str:
        return f"<Key {self.id}>"

    @classmethod
    def make(cls, path: str | os.PathLike[str], key_id: str) -> Key:
        """Write a new key to a file that only its owner may read. Raises KeyFileError; never writes over a key."""
        key = cls(key_id, secrets.token_bytes(_SECRET_BYTES))
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise KeyFileError(
                f"The file {path} is there already: a lost key loses its pseudonyms, so keep it."
            ) from None
        except OSError as error:
            raise KeyFileError(
                f"The key file {path} cannot be written: {(error.strerror or str(error)).lower()}."
            ) from error
        with os.fdopen(handle, "w") as file:
            file.write(f"{key.id}:{key._secret.hex()}\n")
        return key

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Key:
        """Read a key from a file of one line, `ID:HEX`. Raises KeyFileError when it is open to others, or is no key."""
        file = Path(path)
        try:
            mode = file.stat().st_mode
            text = file.read_text("utf-8").strip()
        except OSError as error:
            raise KeyFileError(
                f"The key file {path} cannot be read: {(error.strerror or str(error)).lower()}."
            ) from error
        except UnicodeDecodeError:
            raise KeyFileError(f"The key file {path} is no key: one line, ID:HEX.") from None
        if mode & 0o077:
            raise KeyFileError(f"The key file {path} may be read by others: run `chmod 600 {path}`.")
        key_id, colon, secret = text.partition(":")
        try:
            return cls(key_id, bytes.fromhex(secret) if colon else b"")
        except ValueError as error:
            if isinstance(error, KeyFileError):
                raise
            raise KeyFileError(f"The key file {path} is no key: one line, ID:HEX.") from None

    def pseudonym(self, identity: str) -> str:
        """`KEY_ID:32 hex digits` for an identity, the same whatever blanks surround it. Raises ValueError.

        A number of 16 digits (Indonesia's NIK) is the same however they are grouped: by blanks, dots or dashes.
        """
        identity = identity.strip()
        digits = identity.translate(_GROUPING)
        if len(digits) == _NIK_DIGITS and digits.isascii() and digits.isdigit():
            identity = digits
        if not identity or len(identity) > _IDENTITY_MOST or not identity.isprintable():
            raise ValueError("an identity is 1 to 1000 characters, none of them a control character")
        digest = hashlib.blake2b(identity.encode("utf-8"), key=self._secret, digest_size=16)
        return f"{self.id}:{digest.hexdigest()}"
