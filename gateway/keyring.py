"""The programme's signing keys: a folder of Ed25519 keys (RFC 8032), of which one signs and the others still verify.

Each key is a file `KID.json` that only its owner may read: a JSON Web Key (RFC 7517, RFC 8037) with the times that
matter to it. The newest key signs. `rotate` makes a new one and destroys the old one's private half, so that nobody can
sign with it again; what it signed stays good until it is retired. A retired key's file stays, so that its id is known.

`jwks` is what the world may see: the public halves of the keys that verify. Whoever holds it can verify every code
without asking anybody (gateway.codes).
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Literal

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.utils import base64url_decode, base64url_encode

from schemas.bounds import TimeMs

ALGORITHM = "EdDSA"
_KID = re.compile(r"[0-9a-f]{8}")
_OTHERS_MAY = 0o077

Jwks = dict[str, Any]
"""A JSON Web Key Set (RFC 7517): `{"keys": [...]}`, public halves only."""

State = Literal["signs", "verifies", "retired"]


class KeyringError(ValueError):
    """A key ring that cannot be used; the message says what to do."""


class RingKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One key of a ring. `x` and `d` are the public and the private half, base64url; without `d` it never signs."""

    kid: str
    x: str
    d: str | None = None
    made_ms: TimeMs
    rotated_ms: TimeMs | None = None
    retired_ms: TimeMs | None = None
    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"

    def __repr__(self) -> str:
        return f"<RingKey {self.kid}>"

    @property
    def public(self) -> dict[str, str]:
        """The public half as a JSON Web Key."""
        return {"kty": self.kty, "crv": self.crv, "use": "sig", "alg": ALGORITHM, "kid": self.kid, "x": self.x}


class Keyring:
    """The keys of one folder, as they were when it was loaded.

    Not for writing from several processes at once; reading while another process rotates is safe.
    """

    def __init__(self, folder: Path, keys: list[RingKey]) -> None:
        self.folder = folder
        self.keys = tuple(sorted(keys, key=lambda key: (key.made_ms, key.kid)))
        self._looked = _look(folder)
        signing = [key for key in self.keys if key.d is not None and key.retired_ms is None]
        if not signing:
            raise KeyringError(f"The key ring {folder} has no key that signs: run `lacak keys make`.")
        self.signer = signing[-1]
        assert self.signer.d is not None
        self._private = Ed25519PrivateKey.from_private_bytes(base64url_decode(self.signer.d))

    def __repr__(self) -> str:
        return f"<Keyring {self.folder} {self.signer.kid}>"

    @classmethod
    def make(cls, folder: str | os.PathLike[str], now_ms: int) -> Keyring:
        """A new ring with one key, in a folder that only its owner may read. Raises KeyringError where there is one."""
        path = Path(folder)
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(path.glob("*.json")):
                raise KeyringError(f"There is a key ring in {path} already: `lacak keys rotate` gives it a new key.")
            _write(path, _made(now_ms))
        except OSError as error:
            raise KeyringError(f"The key ring {path} cannot be written: {_why(error)}.") from error
        return cls.load(path)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Keyring:
        """Read a ring. Raises KeyringError when it is not there, is open to others, or holds something else."""
        path = Path(folder)
        try:
            keys = [_read(file) for file in sorted(path.glob("*.json"))]
        except OSError as error:
            raise KeyringError(f"The key ring {path} cannot be read: {_why(error)}.") from error
        if not keys:
            raise KeyringError(f"There is no key ring in {path}: make one with `lacak keys make`.")
        return cls(path, keys)

    def rotate(self, now_ms: int) -> Keyring:
        """The ring with a new key that signs. The old ones verify; their private halves are gone. Raises KeyringError.

        The new key is durable before an old one loses its private half: cut anywhere, the ring still signs.
        """
        new = _made(max(now_ms, self.keys[-1].made_ms + 1))
        try:
            _write(self.folder, new)
            for key in self.keys:
                if key.d is not None:
                    _write(self.folder, msgspec.structs.replace(key, d=None, rotated_ms=now_ms))
        except OSError as error:
            raise KeyringError(f"The key ring {self.folder} cannot be written: {_why(error)}.") from error
        return Keyring.load(self.folder)

    def retire(self, kid: str, now_ms: int) -> Keyring:
        """The ring in which a key verifies no more: posters and cards that it signed stop working. Raises KeyringError.

        The key that signs cannot be retired: rotate first.
        """
        found = next((key for key in self.keys if key.kid == kid), None)
        if found is None:
            raise KeyringError(f"The key ring {self.folder} has no key {kid!r}: `lacak keys list` shows those it has.")
        if found is self.signer:
            raise KeyringError(f"{kid} is the key that signs: run `lacak keys rotate` first.")
        if found.retired_ms is None:
            try:
                _write(self.folder, msgspec.structs.replace(found, d=None, retired_ms=now_ms))
            except OSError as error:
                raise KeyringError(f"The key ring {self.folder} cannot be written: {_why(error)}.") from error
        return Keyring.load(self.folder)

    def refreshed(self) -> Keyring:
        """This ring, or the folder's ring as it is now if it was changed since. Raises KeyringError."""
        return self if _look(self.folder) == self._looked else Keyring.load(self.folder)

    def state(self, key: RingKey) -> State:
        """What a key does: it signs (and verifies), it only verifies, or nothing any more."""
        if key.retired_ms is not None:
            return "retired"
        return "signs" if key is self.signer else "verifies"

    def jwks(self) -> Jwks:
        """The public halves of the keys that verify, newest first: what `/.well-known/jwks.json` serves."""
        return {"keys": [key.public for key in reversed(self.keys) if key.retired_ms is None]}

    def sign(self, payload: bytes) -> str:
        """A compact JWS (RFC 7515) of the payload by the key that signs; its header is `alg` and `kid` alone."""
        headers = {"kid": self.signer.kid, "typ": ""}  # an empty typ is left out
        return jwt.PyJWS(["EdDSA"]).encode(payload, self._private, ALGORITHM, headers)


def _made(now_ms: int) -> RingKey:
    private = Ed25519PrivateKey.generate()
    x = base64url_encode(private.public_key().public_bytes_raw()).decode()
    return RingKey(kid=key_id(x), x=x, d=base64url_encode(private.private_bytes_raw()).decode(), made_ms=now_ms)


def key_id(x: str) -> str:
    """The id of a key: the first 8 hex digits of its thumbprint (RFC 7638, RFC 8037 appendix A.3)."""
    canonical = msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": x})
    return hashlib.sha256(canonical).hexdigest()[:8]


def _read(file: Path) -> RingKey:
    if file.stat().st_mode & _OTHERS_MAY:
        raise KeyringError(f"The key file {file} may be read by others: run `chmod 600 {file}`.")
    try:
        key = msgspec.json.decode(file.read_bytes(), type=RingKey)
        halves = [base64url_decode(half) for half in (key.x, key.d) if half is not None]
    except ValueError:  # msgspec's errors and base64's are ValueErrors
        raise KeyringError(f"The file {file} is no key of a ring.") from None
    if not _KID.fullmatch(key.kid) or key.kid != key_id(key.x) or any(len(half) != 32 for half in halves):
        raise KeyringError(f"The file {file} is no key of a ring: its id or its length is wrong.")
    if key.d is not None:
        own = Ed25519PrivateKey.from_private_bytes(halves[1]).public_key().public_bytes_raw()
        if own != halves[0]:
            raise KeyringError(f"The file {file} is no key of a ring: its two halves do not belong together.")
    return key


def _write(folder: Path, key: RingKey) -> None:
    """Put a key's file in its place, whole or not at all, durably."""
    target, temporary = folder / f"{key.kid}.json", folder / f".{key.kid}.{os.getpid()}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _look(folder: Path) -> tuple[tuple[str, int], ...]:
    try:
        return tuple(sorted((file.name, file.stat().st_mtime_ns) for file in folder.glob("*.json")))
    except OSError:
        return ()


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
