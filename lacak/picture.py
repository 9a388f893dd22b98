"""The operators' picture, worked out from what the processes told at two times: rates, lag, latency, who is where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from lacak.scrapes import Round, Scrape

STAGES: Final = ("gateway", "registry", "visits", "places", "tracing", "status", "recorder")
"""In the order in which what a door sees goes through them."""

_MAIN: Final = {
    "visits": ("scans",),
    "places": ("visits",),
    "tracing": ("test-results", "trace-requests", "contact-decisions", "interview-contacts"),
    "status": ("health-records",),
    "registry": ("venues", "erasures", "rules", "recounts"),
}
"""The topics whose events are a stage's work; of others all."""


class Stage(NamedTuple):
    """One stage: processes heard and not heard, events a second, what waits, time a batch takes (99 of 100 are faster),
    and the age of its oldest heartbeat. None: nothing is known."""

    name: str
    alive: int
    missing: int
    in_rate: float | None
    out_rate: float | None
    lag: float | None
    lag_seconds: float
    batch_seconds: float | None
    heartbeat_seconds: float | None


class Process(NamedTuple):
    """One process: its partitions by topic, CPU as a share of a core, memory in bytes, how long it has run (s), how far
    a recovery is (0 to 1), and `fault` where it was not heard."""

    name: str
    stage: str
    fault: str
    partitions: tuple[tuple[str, tuple[int, ...]], ...]
    cpu: float | None
    memory: float | None
    up_seconds: float | None
    recovery: float | None


class Latency(NamedTuple):
    """How long something took: the half and 99 of 100 took no longer; of how many, and whether of the last minute."""

    half: float
    most: float
    of: int
    lately: bool


class Picture(NamedTuple):
    """Everything. `alive` is the age of the oldest heartbeat at the end of the way; `letters`: dead letters set aside
    since the processes began, by topic and reason; `traces` by state."""

    stages: tuple[Stage, ...]
    processes: tuple[Process, ...]
    to_count: Latency | None
    to_report: Latency | None
    to_door: Latency | None
    letters: tuple[tuple[str, str, int], ...]
    traces: tuple[tuple[str, int], ...]
    inside: int
    database_connected: bool | None


def picture(rounds: Sequence[Round], now_s: float) -> Picture:
    """What is so at the last of the rounds; rates and latencies over all of them. `now_s`: seconds since the epoch."""
    last = rounds[-1]
    stage_of = {name: scrape.stage for each in rounds for name, scrape in each.items() if scrape.stage}
    stages = [_stage(name, rounds, stage_of) for name in STAGES if name in stage_of.values() or _missing(name, last)]
    heard = [scrape for scrape in last.values() if not scrape.fault]
    connected = [bool(value) for scrape in heard for _, value in scrape.each("lacak_database_connected")]
    return Picture(
        tuple(stages),
        tuple(_process(scrape, rounds, stage_of, now_s) for scrape in sorted(last.values(), key=_order(stage_of))),
        _latency(rounds, "lacak_occupancy_seconds"),
        _latency(rounds, "lacak_report_seconds"),
        _latency(rounds, "lacak_status_seconds"),
        tuple(_letters(heard)),
        tuple(_traces(heard)),
        int(sum(scrape.sum("lacak_people_inside") for scrape in heard)),
        all(connected) if connected else None,
    )


def _order(stage_of: dict[str, str]) -> Callable[[Scrape], tuple[int, str]]:
    def key(scrape: Scrape) -> tuple[int, str]:
        stage = stage_of.get(scrape.name) or scrape.name.rpartition("-")[0]
        return (STAGES.index(stage) if stage in STAGES else len(STAGES)), scrape.name

    return key


def _missing(stage: str, last: Round) -> bool:
    return any(scrape.fault and name.rpartition("-")[0] == stage for name, scrape in last.items())


def _is_of(stage: str, name: str, stage_of: dict[str, str]) -> bool:
    return stage_of.get(name, name.rpartition("-")[0]) == stage


def _stage(stage: str, rounds: Sequence[Round], stage_of: dict[str, str]) -> Stage:
    own = [scrape for name, scrape in rounds[-1].items() if _is_of(stage, name, stage_of)]
    heard = [scrape for scrape in own if not scrape.fault]
    if stage == "gateway":
        into, out = ("lacak_gateway_requests_total",), ("lacak_gateway_sent_total",)
        lag = sum(scrape.sum("lacak_gateway_spool_messages") for scrape in heard) if heard else None
        lag_seconds = max((scrape.most("lacak_gateway_brokers_away_seconds") or 0.0 for scrape in heard), default=0.0)
        batch = _latency(rounds, "lacak_gateway_request_seconds")
    else:
        into, out = ("lacak_events_in_total",), ("lacak_events_out_total",)
        told = [value for scrape in heard for _, value in scrape.each("lacak_lag_records")]
        lag = sum(told) if told else None
        lag_seconds = max((scrape.most("lacak_lag_seconds") or 0.0 for scrape in heard), default=0.0)
        batch = _latency(rounds, "lacak_batch_seconds", stage)
    topics = _MAIN.get(stage, ())
    beats = [age for scrape in heard if (age := scrape.most("lacak_heartbeat_age_seconds")) is not None]
    return Stage(
        stage,
        len(heard),
        len(own) - len(heard),
        _rate(rounds, into[0], stage, topics),
        _rate(rounds, out[0], stage, ()),
        lag,
        lag_seconds,
        batch.most if batch is not None else None,
        max(beats, default=None),
    )


def _rate(rounds: Sequence[Round], name: str, stage: str, topics: Sequence[str]) -> float | None:
    """Events a second of a stage. A counter that has fallen began anew with its process."""
    more = seconds = 0.0
    for before, after in pairwise(rounds):
        times = []
        for scrape in after.values():
            old = before.get(scrape.name)
            if old is None or scrape.fault or old.fault or scrape.stage != stage:
                continue
            was, now = (_counted(each, name, topics) for each in (old, scrape))
            more += now - was if now >= was else now
            times.append(scrape.at - old.at)
        seconds += max(times, default=0.0)
    return more / seconds if seconds > 0 else None


def _counted(scrape: Scrape, name: str, topics: Sequence[str]) -> float:
    return sum(value for labels, value in scrape.each(name) if not topics or labels.get("topic") in topics)


def _latency(rounds: Sequence[Round], name: str, stage: str = "") -> Latency | None:
    """What was measured between the first round and the last; where that is nothing, since the processes began."""
    lately = _buckets(rounds[-1], name, stage)
    for bound, count in _buckets(rounds[0], name, stage).items():
        lately[bound] = lately.get(bound, 0.0) - count
    for buckets in (lately, _buckets(rounds[-1], name, stage)):
        ordered = sorted(buckets.items())
        total = ordered[-1][1] if ordered else 0.0
        if total > 0 and all(count >= 0 for _, count in ordered):
            return Latency(_quantile(ordered, 0.5), _quantile(ordered, 0.99), int(total), buckets is lately)
    return None


def _buckets(of: Round, name: str, stage: str) -> dict[float, float]:
    found: dict[float, float] = defaultdict(float)
    for scrape in of.values():
        for labels, value in scrape.each(f"{name}_bucket"):
            if not stage or labels.get("stage") == stage:
                found[float(labels["le"])] += value
    return dict(found)


def _quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """As Prometheus does: straight within a bucket; above the last bound, that bound."""
    wanted, low, below = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = (bound if bound != float("inf") else low), count
    return low


def _process(scrape: Scrape, rounds: Sequence[Round], stage_of: dict[str, str], now_s: float) -> Process:
    stage = stage_of.get(scrape.name) or scrape.name.rpartition("-")[0]
    held: dict[str, set[int]] = defaultdict(set)
    for labels, _ in scrape.each("lacak_lag_records"):
        if labels["topic"] in _MAIN.get(stage, (labels["topic"],)):
            held[labels["topic"]].add(int(labels["partition"]))
    recovering = [
        (labels["topic"], labels["partition"]) for labels, value in scrape.each("lacak_recovery_in_progress") if value
    ]
    ratios = [
        value
        for labels, value in scrape.each("lacak_recovery_ratio")
        if (labels["topic"], labels["partition"]) in recovering
    ]
    began = scrape.most("process_start_time_seconds")
    return Process(
        scrape.name,
        stage,
        scrape.fault,
        tuple((topic, tuple(sorted(numbers))) for topic, numbers in sorted(held.items())),
        _cpu(scrape, rounds),
        scrape.most("process_resident_memory_bytes"),
        max(now_s - began, 0.0) if began is not None else None,
        min(ratios, default=None),
    )


def _cpu(scrape: Scrape, rounds: Sequence[Round]) -> float | None:
    for before in rounds[:-1]:
        old = before.get(scrape.name)
        if old is not None and not old.fault and not scrape.fault and scrape.at > old.at:
            used = scrape.sum("process_cpu_seconds_total") - old.sum("process_cpu_seconds_total")
            return used / (scrape.at - old.at) if used >= 0 else None
    return None


def _letters(heard: Iterable[Scrape]) -> Iterator[tuple[str, str, int]]:
    found: dict[tuple[str, str], float] = defaultdict(float)
    for scrape in heard:
        for labels, value in scrape.each("lacak_dead_letters_total"):
            found[labels["topic"], labels["reason"]] += value
    for (topic, reason), count in sorted(found.items(), key=lambda each: -each[1]):
        if count:
            yield topic, reason, int(count)


def _traces(heard: Iterable[Scrape]) -> Iterator[tuple[str, int]]:
    found: dict[str, float] = defaultdict(float)
    for scrape in heard:
        for labels, value in scrape.each("lacak_traces"):
            found[labels["state"]] += value
    for state, count in sorted(found.items()):
        if count:
            yield state, int(count)
