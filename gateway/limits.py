"""How much a caller may ask, and that nobody asks twice: token buckets, the clock's tolerance, remembered answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from gateway.problems import Problem

_KEY: Final = re.compile(rb"[\x21-\x7e]{8,128}")
_ENTRY_BYTES: Final = 400
"""What an entry of `Answers` takes beside the answer itself: two keys, the tuple, the dictionary's slot."""


class Limits(msgspec.Struct, frozen=True):
    """What the HTTP edge allows; a device's own rate and burst stand in the register of devices."""

    clock_tolerance_seconds: int = 300
    body_max_bytes: int = 64 << 10
    bulk_max_bytes: int = 8 << 20
    bulk_max_scans: int = 10_000
    head_max_bytes: int = 16 << 10
    answers_max_bytes: int = 64 << 20
    streams_max: int = 200
    scans_per_second: float = 100.0
    scans_burst: int = 1_000
    typed_ids_per_minute: float = 10.0
    typed_ids_burst: int = 20


class Serving(msgspec.Struct, frozen=True):
    """Where the gateway listens. `base_url` is what stands in posters: how phones reach it."""

    host: str = "127.0.0.1"
    port: int = 8600
    base_url: str = ""
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    connections_max: int = 10_000

    @property
    def address(self) -> str:
        """How the gateway is reached: `base_url`, or what follows from the rest."""
        if self.base_url:
            return self.base_url.rstrip("/")
        scheme = "https" if self.tls_certificate else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


class Bucket:
    """A token bucket: `burst` tokens at most, `rate` new ones a second."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = float(burst), now

    def take(self, count: float, now: float) -> float:
        """Take `count` tokens at `now` (monotonic seconds). Returns 0, or in how many seconds they would be there;
        then nothing was taken.

        More than the burst are given when the bucket is full, and leave it in debt: a bulk that is larger than the
        burst is slowed, not shut out.
        """
        tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        self._tokens = tokens
        wanted = min(count, self.burst)
        if tokens >= wanted:
            self._tokens = tokens - count
            return 0.0
        return (wanted - tokens) / self.rate


class Buckets:
    """Buckets of one rate by name (a device, an address), with bounded memory.

    A name that was not asked for while `names_max` others were starts anew, full.
    """

    def __init__(self, rate: float, burst: float, names_max: int = 50_000) -> None:
        self._rate, self._burst, self._most = rate, burst, max(names_max // 2, 1)
        self._young: dict[str, Bucket] = {}
        self._old: dict[str, Bucket] = {}

    def take(self, name: str, count: float, now: float) -> float:
        """As Bucket.take, of the name's bucket."""
        bucket = self._young.get(name)
        if bucket is None:
            bucket = self._old.get(name) or Bucket(self._rate, self._burst, now)
            if len(self._young) >= self._most:
                self._old, self._young = self._young, {}
            self._young[name] = bucket
        return bucket.take(count, now)


def check_time(header: bytes | None, now_ms: int, tolerance_seconds: int) -> None:
    """Raises Problem where X-Lacak-Time is missing, no number, or too far from now.

    The boundary itself is allowed: a request made exactly 300 s ago is taken.
    """
    if header is None:
        raise Problem("time-missing", server_time_ms=now_ms)
    try:
        at_ms = int(header) if len(header) <= 20 and header.isdigit() else None
    except ValueError:
        at_ms = None
    if at_ms is None:
        raise Problem(
            "time-missing", "X-Lacak-Time is no whole number of milliseconds since the epoch.", server_time_ms=now_ms
        )
    shift_ms = at_ms - now_ms
    if abs(shift_ms) > tolerance_seconds * 1000:
        way = "ahead of" if shift_ms > 0 else "behind"
        raise Problem(
            "clock-shifted",
            f"X-Lacak-Time is {abs(shift_ms) / 1000:.0f} s {way} the gateway's clock; at most {tolerance_seconds} s "
            "are taken.",
            server_time_ms=now_ms,
        )


def check_key(header: bytes | None) -> bytes:
    """The Idempotency-Key. Raises Problem where it is missing or not usable."""
    if header is None or _KEY.fullmatch(header) is None:
        raise Problem("nonce-missing")
    return header


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What was answered to a request: HTTP status, headers with small names (without the length), body.

    Answers are remembered by the hundred thousand, and hold no cycles: the collector need not walk them.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class _Asked(msgspec.Struct, frozen=True, gc=False):
    request: int
    answer: Answer | None = None


class Answers:
    """Answers by device and Idempotency-Key, so that a repeated request is answered the same and done once.

    Two generations: when the young one is full (half of the bytes allowed) or as old as a request's time may shift
    twice, it becomes the old one, and the old one is forgotten. So an answer is remembered as long as its request could
    be sent again, unless more came meanwhile than memory is allowed for; a repetition is then asked anew, and is still
    one scan, because the scan's id is made of the same device and key.
    """

    def __init__(self, bytes_max: int, keep_seconds: float) -> None:
        self._most, self._keep = bytes_max // 2, keep_seconds
        self._young: dict[tuple[str, bytes], _Asked] = {}
        self._old: dict[tuple[str, bytes], _Asked] = {}
        self._bytes, self._since = 0, 0.0

    def begin(self, device: str, key: bytes, request: int, now: float) -> Answer | None:
        """The answer given before, or None: then the caller answers, and calls `end` or `forget`.

        `request` is a hash of what is asked. Raises Problem where the key came with another request, or the same is
        being answered at the moment.
        """
        name = (device, key)
        found = self._young.get(name) or self._old.get(name)
        if found is None:
            if now - self._since > self._keep:
                self._turn(now)
            self._young[name] = _Asked(request)
            return None
        if found.request != request:
            raise Problem("nonce-reused")
        if found.answer is None:
            raise Problem("in-progress", headers={"Retry-After": "1"})
        return found.answer

    def end(self, device: str, key: bytes, request: int, answer: Answer, now: float) -> None:
        """Remember the answer."""
        self._old.pop((device, key), None)
        self._young[(device, key)] = _Asked(request, answer)
        self._bytes += _ENTRY_BYTES + len(answer.body)
        if self._bytes > self._most:
            self._turn(now)

    def forget(self, device: str, key: bytes) -> None:
        """The request was not done: it may be sent again with the same key."""
        self._young.pop((device, key), None)
        self._old.pop((device, key), None)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _turn(self, now: float) -> None:
        self._old, self._young = self._young, {}
        self._bytes, self._since = 0, now
