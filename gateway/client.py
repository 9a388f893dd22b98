"""A gateway's way in: ten lines from a door to the topic `scans` (docs/publishing.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, Self

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from contacts.registry import is_name
from gateway.packing import BLOCK_SCANS, KIND_NUMBERS, Record, packed, single
from gateway.pseudonyms import Key
from schemas.blocks import CONTROL_MAGIC, Tick, frame
from schemas.bounds import TIME_MOST
from schemas.messages import Scan, ScanKind
from schemas.partitions import partitions_of
from security.brokers import BrokerAccess
from security.refusal import why_refused
from security.settings import SecurityError

_CHUNK = 5_000
_NAMES = 100_000
_OUTSTANDING = 2_000


class BadScan(ValueError):
    """A scan that cannot be published; the message says why."""


class GatewayError(RuntimeError):
    """The broker does not answer, or the topic is not there; the message says which."""


class Report(msgspec.Struct):
    """What became of the scans: `sent` were handed over, `acknowledged` are with the broker, `failed` are not.

    `reasons` counts the failed by the error's name; `seconds` is from the first scan to the last acknowledgement seen.
    """

    sent: int = 0
    acknowledged: int = 0
    failed: int = 0
    reasons: dict[str, int] = {}
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"{self.acknowledged} of {self.sent} scans acknowledged"
        return text if not self.failed else f"{text}, {self.failed} failed: {', '.join(sorted(self.reasons))}"


def check_scan(scan: Scan) -> None:
    """Raises BadScan where the pipeline would not accept the scan's names or times."""
    for what, name in (("person", scan.person), ("venue", scan.venue)):
        if not is_name(name):
            raise BadScan(f"a {what} is 1 to 200 characters, none of them a control character: {name[:40]!r}")
        if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise BadScan(f"a {what} holds half a character, which UTF-8 cannot write: {name[:40]!r}")
    if not -TIME_MOST <= scan.at_ms <= TIME_MOST:
        raise BadScan(f"{scan.at_ms} is no time in milliseconds")
    if scan.kind not in KIND_NUMBERS:
        raise BadScan(f"the kind {scan.kind!r} is not in, out or refused")


class Gateway:
    """Publishes scans, keyed by person, so that those of one person keep their order.

    With a `key`, persons are identities, and only their pseudonyms leave this object; without, they are tokens and pass
    as they are. `publish` puts many scans in a record (`blocks`), and lets an unfinished block wait for more, at most
    `linger_seconds` to the next call: call `flush` when there is no more. `check_in` and `check_out` go at once.

    `brokers` are addresses, or a BrokerAccess, which says how to connect to them (TLS, a login: docs/security.md).

    Use it as a context manager: leaving it delivers what waits. Not for several threads at once.
    Raises GatewayError when the broker does not answer.
    """

    def __init__(
        self,
        brokers: str | BrokerAccess,
        *,
        key: Key | None = None,
        topic: str = "scans",
        partitions: int | None = None,
        blocks: bool = True,
        gateway: str = "",
        linger_seconds: float = 0.2,
        timeout_seconds: float = 30.0,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._key, self._topic, self._blocks, self._gateway = key, topic, blocks, gateway
        self._linger, self._timeout, self._clock = linger_seconds, timeout_seconds, clock
        self._report = Report()
        self._began: float | None = None
        self._pseudonyms: dict[str, str] = {}
        self._waiting: dict[int, list[Scan]] = {}
        self._waiting_since: float | None = None
        self._futures: list[tuple[Any, int]] = []
        timeout_ms = int(timeout_seconds * 1000)
        access = BrokerAccess(brokers) if isinstance(brokers, str) else brokers
        brokers = access.brokers
        try:
            self._producer = KafkaProducer(
                **access.arguments(),
                acks="all",
                # Order by one request at a time: a second copy of a record changes nothing here, and an idempotent
                # producer of kafka-python waits for its id without end when the broker goes before its first record.
                enable_idempotence=False,
                max_in_flight_requests_per_connection=1,
                allow_auto_create_topics=False,
                linger_ms=5,
                compression_type="lz4",
                batch_size=1 << 18,
                max_request_size=8 << 20,
                bootstrap_timeout_ms=min(timeout_ms, 10_000),
                max_block_ms=timeout_ms,
                request_timeout_ms=min(timeout_ms, 30_000),
                delivery_timeout_ms=timeout_ms + 1000,
            )
        except SecurityError as error:
            raise GatewayError(str(error)) from error
        except (KafkaError, ValueError, OSError) as error:
            raise GatewayError(f"No broker can be used at {brokers}: {why_refused(access)}.") from error
        try:
            there = self._producer.partitions_for(topic)
        except KafkaError as error:
            self._producer.close(timeout=0)
            raise GatewayError(f"The broker at {brokers} does not know the topic {topic!r}: is Lacak up?") from error
        if not there or (partitions is not None and len(there) != partitions):
            self._producer.close(timeout=0)
            found = (
                f"has {len(there)} partitions of {topic!r}, not {partitions}" if there else f"has no topic {topic!r}"
            )
            raise GatewayError(f"The broker at {brokers} {found}: is it the right Lacak, and is it up?")
        self.partitions = len(there)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def report(self) -> Report:
        """What became of the scans so far. After `flush` every one is either acknowledged or failed."""
        return self._report

    def check_in(self, person: str, venue: str, at_ms: int | None = None) -> None:
        """Somebody came in, now or at `at_ms` (ms since the epoch). Raises BadScan."""
        self._at_once(person, venue, "in", at_ms)

    def check_out(self, person: str, venue: str, at_ms: int | None = None) -> None:
        """Somebody left. Raises BadScan."""
        self._at_once(person, venue, "out", at_ms)

    def _at_once(self, person: str, venue: str, kind: ScanKind, at_ms: int | None) -> None:
        scan = self._ready(Scan(person=person, venue=venue, kind=kind, at_ms=self._clock() if at_ms is None else at_ms))
        partition = int(partitions_of([scan.person], self.partitions)[0])
        self._send_waiting(partition)  # what came before goes before
        self._send(partition, single(scan))

    def check(self, scan: Scan) -> None:
        """Raises BadScan where `publish` would."""
        self._ready(scan)

    def publish(self, scans: Iterable[Scan]) -> None:
        """Hand scans over, identities as persons where there is a key. Raises BadScan at the first that is bad: those
        before it are handed over.
        """
        rows = iter(scans)
        while chunk := list(islice(rows, _CHUNK)):
            ready: list[Scan] = []
            try:
                ready.extend(self._ready(scan) for scan in chunk)
            finally:
                self._hand_over(ready)

    def end_run(self, at_ms: int) -> None:
        """End a file run: everything waiting goes out, then the log time of every partition moves to `at_ms`.

        Raises GatewayError when a partition could not be told.
        """
        self.flush()
        tick = frame(CONTROL_MAGIC, Tick(at_ms, final=True))
        try:
            ends = [self._producer.send(self._topic, value=tick, partition=each) for each in range(self.partitions)]
            self._producer.flush()
            for end in ends:
                end.get(timeout=self._timeout)
        except KafkaError as error:
            raise GatewayError(f"The end of the run did not reach every partition: {type(error).__name__}.") from error

    def flush(self) -> Report:
        """Deliver what waits, and see what became of everything sent."""
        for partition in list(self._waiting):
            self._send_waiting(partition)
        self._waiting_since = None
        with suppress(KafkaError):  # each record says for itself what became of it
            self._producer.flush(timeout=self._timeout + 5)
        self._settle(0)
        return self._report

    def close(self) -> None:
        """Deliver what waits and disconnect."""
        try:
            self.flush()
        finally:
            with suppress(KafkaError):
                self._producer.close(timeout=5)

    def _ready(self, scan: Scan) -> Scan:
        """The scan as it may travel: checked, under a pseudonym, with this gateway's name."""
        if self._key is not None:
            scan = msgspec.structs.replace(scan, person=self._pseudonym(scan.person))
        if self._gateway and scan.gateway is None:
            scan = msgspec.structs.replace(scan, gateway=self._gateway)
        check_scan(scan)
        return scan

    def _pseudonym(self, identity: str) -> str:
        assert self._key is not None
        known = self._pseudonyms.get(identity)
        if known is None:
            if len(self._pseudonyms) >= _NAMES:
                self._pseudonyms.clear()
            try:
                known = self._key.pseudonym(identity)
            except ValueError as error:
                raise BadScan(str(error)) from None
            self._pseudonyms[identity] = known
        return known

    def _hand_over(self, scans: list[Scan]) -> None:
        if not scans:
            return
        homes = partitions_of([scan.person for scan in scans], self.partitions).tolist()
        if not self._blocks:
            for scan, partition in zip(scans, homes, strict=True):
                self._send(partition, single(scan))
            return
        waiting = self._waiting
        for scan, partition in zip(scans, homes, strict=True):
            block = waiting.setdefault(partition, [])
            block.append(scan)
            if len(block) >= BLOCK_SCANS:
                self._send_waiting(partition)
        now = time.monotonic()
        if not any(waiting.values()):
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since > self._linger:
            for partition in list(waiting):
                self._send_waiting(partition)
            self._waiting_since = None

    def _send_waiting(self, partition: int) -> None:
        """Send what waits for a partition, in order."""
        scans = self._waiting.pop(partition, None)
        if not scans:
            return
        for record in packed(scans):
            self._send(partition, record)

    def _send(self, partition: int, record: Record) -> None:
        self._begin()
        self._report.sent += record.scans
        try:
            future = self._producer.send(self._topic, value=record.value, key=record.key, partition=partition)
        except KafkaError as error:  # too large, or no room for so long that the broker is gone
            self._fail(error, record.scans)
            return
        self._futures.append((future, record.scans))
        if len(self._futures) >= _OUTSTANDING:
            self._settle(_OUTSTANDING // 2)

    def _settle(self, keep: int) -> None:
        """See what became of all records but the last `keep`."""
        done = len(self._futures) - keep
        settled, self._futures = self._futures[:done], self._futures[done:]
        deadline = time.monotonic() + self._timeout + 5
        for future, count in settled:
            try:
                future.get(timeout=max(0.0, deadline - time.monotonic()))
                self._report.acknowledged += count
            except KafkaError as error:
                self._fail(error, count)
        if self._began is not None:
            self._report.seconds = time.monotonic() - self._began

    def _fail(self, error: KafkaError, count: int) -> None:
        reason = type(error).__name__
        self._report.failed += count
        self._report.reasons[reason] = self._report.reasons.get(reason, 0) + count

    def _begin(self) -> None:
        if self._began is None:
            self._began = time.monotonic()
