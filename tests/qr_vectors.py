"""The test vectors of QR codes: made from fixed keys, and read by an independent reading of docs/qr.md.

`python -m tests.qr_vectors` writes tests/vectors/qr.json. The keys are those of RFC 8032, section 7.1, tests 1 to 3:
known to everybody, so never a deployment's. What is made here and how it is judged share no code with gateway.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FILE = Path(__file__).parent / "vectors" / "qr.json"
SECRETS = {
    "signs": "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "verifies": "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "retired": "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
}
NOW_MS = 1_634_797_020_000  # 2021-10-21 13:17:00 in Jakarta
GRACE_SECONDS = 60
VENUE = "mall-kartini"
PERSON = "p1:6b2a969ea474f7736f5544225f4ea45f"


def b64(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Back again. Raises ValueError unless it is the one canonical writing."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64(data) != text:
        raise ValueError("not canonical")
    return data


def jwk(private: Ed25519PrivateKey) -> dict[str, str]:
    """A public key as docs/qr.md writes it: its id is the thumbprint's first 8 hex digits."""
    x = b64(private.public_key().public_bytes_raw())
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).hexdigest()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": thumbprint[:8], "x": x}


KEYS = {name: Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)) for name, secret in SECRETS.items()}
JWKS: dict[str, Any] = {"keys": [jwk(KEYS["signs"]), jwk(KEYS["verifies"])]}


def token(claims: Any, key: str = "signs", **header: Any) -> str:
    """A compact JWS; fields of the header may be set, or left out with None."""
    fields = {"alg": "EdDSA", "kid": jwk(KEYS[key])["kid"], **header}
    head = json.dumps({name: value for name, value in fields.items() if value is not None}, separators=(",", ":"))
    body = (
        claims if isinstance(claims, bytes) else json.dumps(claims, separators=(",", ":"), ensure_ascii=False).encode()
    )
    signed = f"{b64(head.encode())}.{b64(body)}"
    return f"{signed}.{b64(KEYS[key].sign(signed.encode()))}"


def read(jwks: dict[str, Any], text: str, now_ms: int, grace_seconds: int = GRACE_SECONDS) -> dict[str, Any]:
    """What a token says, by docs/qr.md. Raises ValueError when it is refused."""
    head, body, signature = text.split(".")
    header = json.loads(unb64(head))
    if set(header) != {"alg", "kid"} or header["alg"] != "EdDSA":
        raise ValueError("the header")
    x = next((key["x"] for key in jwks["keys"] if key["kid"] == header["kid"]), None)
    if x is None:
        raise ValueError("the key")
    try:
        Ed25519PublicKey.from_public_bytes(unb64(x)).verify(unb64(signature), f"{head}.{body}".encode())
    except InvalidSignature:
        raise ValueError("the signature") from None
    claims: dict[str, Any] = json.loads(unb64(body))
    fields = {"s": {"t", "sub"}, "r": {"t", "sub", "nbf", "exp"}, "p": {"t", "sub", "jti", "exp"}}
    if set(claims) != fields.get(claims.get("t", "")):
        raise ValueError("the claims")
    for name in (claims["sub"], claims.get("jti", "-")):
        if not 1 <= len(name) <= 200 or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
            raise ValueError("the name")
    grace_ms = grace_seconds * 1000 if claims["t"] == "r" else 0
    if now_ms >= claims.get("exp", 2**53) * 1000 + grace_ms or now_ms < claims.get("nbf", -(2**53)) * 1000 - grace_ms:
        raise ValueError("the time")
    return claims


def _as_hmac() -> str:
    """The attack of RFC 8725, section 2.1: HS256 with the public key as the secret."""
    public = KEYS["signs"].public_key().public_bytes_raw()
    head = b64(json.dumps({"alg": "HS256", "kid": jwk(KEYS["signs"])["kid"]}, separators=(",", ":")).encode())
    signed = f"{head}.{b64(json.dumps({'t': 's', 'sub': VENUE}, separators=(',', ':')).encode())}"
    return f"{signed}.{b64(hmac.new(public, signed.encode(), hashlib.sha256).digest())}"


def made() -> dict[str, Any]:
    """All vectors."""
    static, begin = {"t": "s", "sub": VENUE}, NOW_MS // 1000 // 180 * 180
    rotating = {"t": "r", "sub": VENUE, "nbf": begin, "exp": begin + 180}
    card = {"t": "p", "sub": PERSON, "jti": "k3v9q2m4", "exp": NOW_MS // 1000 + 365 * 86_400}
    good = token(static)
    first, second, third = good.split(".")
    flipped = bytearray(unb64(third))
    flipped[10] ^= 1
    last = "AQgw".index(third[-1])  # 86 characters for 64 bytes: the last four bits mean nothing
    other_writing = third[:-1] + "BRhx"[last]
    kid = JWKS["keys"][0]["kid"]
    foreign = {"t": "s", "sub": "pasar-ñ-市"}
    another = b64(b'{"t":"s","sub":"mall-kartono"}')
    unsigned = b64(f'{{"alg":"none","kid":"{kid}"}}'.encode())
    rows: list[tuple[str, str, int, Any]] = [
        ("a venue's static code", good, NOW_MS, static),
        ("by a key that only verifies any more", token(static, "verifies"), NOW_MS, static),
        ("a venue's id in letters of its own", token(foreign), NOW_MS, foreign),
        ("a static code, ten years on", good, NOW_MS + 315_360_000_000, static),
        ("a rotating code in its step", token(rotating), NOW_MS, rotating),
        ("in the last ms of its grace", token(rotating), (begin + 180 + GRACE_SECONDS) * 1000 - 1, rotating),
        ("after its grace", token(rotating), (begin + 180 + GRACE_SECONDS) * 1000, "old"),
        ("as early as clocks may differ", token(rotating), (begin - GRACE_SECONDS) * 1000, rotating),
        ("earlier still", token(rotating), (begin - GRACE_SECONDS) * 1000 - 1, "early"),
        ("a person's card", token(card), NOW_MS, card),
        ("in its last ms", token(card), card["exp"] * 1000 - 1, card),
        ("after it", token(card), card["exp"] * 1000, "expired"),
        ("by a retired key", token(static, "retired"), NOW_MS, "unknown_key"),
        ("by a retired key under the id of another", token(static, "retired", kid=kid), NOW_MS, "not_ours"),
        ("a bit of the signature flipped", f"{first}.{second}.{b64(bytes(flipped))}", NOW_MS, "not_ours"),
        ("another venue under the same signature", f"{first}.{another}.{third}", NOW_MS, "not_ours"),
        ("the signature in another writing of the same bytes", f"{first}.{second}.{other_writing}", NOW_MS, "not_ours"),
        ("alg none, signed by nobody", f"{unsigned}.{second}.", NOW_MS, "no_code"),
        ("alg none, with a signature", token(static, alg="none"), NOW_MS, "not_ours"),
        ("HS256 with the public key as the secret", _as_hmac(), NOW_MS, "not_ours"),
        ("no kid", token(static, kid=None), NOW_MS, "not_ours"),
        ("a header with more in it", token(static, crit=["exp"]), NOW_MS, "not_ours"),
        ("a kind that does not exist", token({"t": "x", "sub": VENUE}), NOW_MS, "not_ours"),
        ("a kind left out", token({"sub": VENUE}), NOW_MS, "not_ours"),
        ("a static code with an end", token({**static, "exp": 9_999_999_999}), NOW_MS, "not_ours"),
        ("a rotating code without one", token({"t": "r", "sub": VENUE, "nbf": begin}), NOW_MS, "not_ours"),
        ("a card without a serial number", token({"t": "p", "sub": PERSON, "exp": card["exp"]}), NOW_MS, "not_ours"),
        ("a venue without a name", token({"t": "s", "sub": ""}), NOW_MS, "not_ours"),
        ("something else that is signed", token(b"mall-kartini"), NOW_MS, "not_ours"),
        ("two parts of three", f"{first}.{second}", NOW_MS, "no_code"),
        ("another programme's code", "HC1:6BFOXN%TS3DH0YOJ58S S-W5HDC *M0II5XHC9B5G2+$N IOP-IA", NOW_MS, "no_code"),
        ("nothing", "", NOW_MS, "no_code"),
    ]  # fmt: skip
    vectors = [
        {
            "about": about,
            "token": text,
            "now_ms": at,
            **({"refused": says} if isinstance(says, str) else {"says": says}),
        }
        for about, text, at, says in rows
    ]
    return {"jwks": JWKS, "secrets": SECRETS, "grace_seconds": GRACE_SECONDS, "vectors": vectors}


if __name__ == "__main__":
    FILE.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
