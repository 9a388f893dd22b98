"""Asking workers and gateways for their metrics, or a Prometheus that has asked them."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

Fault = Literal["", "gone", "silent"]
"""Why a process was not heard: nothing listens there, or what listens does not answer."""

Sample = tuple[Mapping[str, str], float]

_TIMEOUT_SECONDS: Final = 2.0
_RATE_SECONDS: Final = 60.0
_AT_ONCE: Final = 16
_JOBS: Final = "lacak"  # the jobs of deploy/prometheus begin so


class Target(NamedTuple):
    """A process that tells metrics: what to call it, and the address of its `/metrics`."""

    name: str
    url: str


class Scrape(NamedTuple):
    """What one process told at a time (s, of a clock that never goes back): samples by the name of the metric."""

    name: str
    at: float
    samples: Mapping[str, Sequence[Sample]]
    fault: Fault = ""

    def each(self, name: str, **labels: str) -> Iterator[Sample]:
        """The samples of a metric that have these labels."""
        for found, value in self.samples.get(name, ()):
            if all(found.get(label) == wanted for label, wanted in labels.items()):
                yield found, value

    def sum(self, name: str, **labels: str) -> float:
        """The sum of those."""
        return sum(value for _, value in self.each(name, **labels))

    def most(self, name: str, **labels: str) -> float | None:
        """The greatest of those; None: there is none."""
        return max((value for _, value in self.each(name, **labels)), default=None)

    @property
    def stage(self) -> str:
        """Which stage it is; empty where it told nothing."""
        return next((labels.get("stage", "") for labels, _ in self.each("lacak_build_info")), "")


Round = Mapping[str, Scrape]
"""What all processes told at about one time, by name."""


class ScrapeError(RuntimeError):
    """Nobody could be asked; the message says what to do."""


def ask_all(targets: Sequence[Target]) -> Round:
    """Ask every process, side by side."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return {scrape.name: scrape for scrape in threads.map(_ask, targets)}


def _ask(target: Target) -> Scrape:
    try:
        with urllib.request.urlopen(target.url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - of the user's own
            text = answer.read().decode()
    except TimeoutError:
        return Scrape(target.name, time.monotonic(), {}, "silent")
    except URLError as error:
        silent = isinstance(error.reason, TimeoutError)
        return Scrape(target.name, time.monotonic(), {}, "silent" if silent else "gone")
    except OSError:
        return Scrape(target.name, time.monotonic(), {}, "gone")
    return Scrape(target.name, time.monotonic(), parsed(text))


def parsed(text: str) -> dict[str, list[Sample]]:
    """The samples of an exposition, by name."""
    found: dict[str, list[Sample]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append((sample.labels, sample.value))
    return dict(found)


def ask_prometheus(url: str, at: float) -> list[Round]:
    """What a Prometheus has of every process now, and had a minute ago. Raises ScrapeError.

    `at` is the present by a clock that never goes back.
    """
    query = '{__name__=~"lacak_.+|process_.+|up"}'
    rounds = []
    for ago in (_RATE_SECONDS, 0.0):
        asked = urllib.parse.urlencode({"query": query, "time": f"{time.time() - ago:.3f}"})
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/api/v1/query?{asked}", timeout=10.0) as answer:  # noqa: S310
                result = json.load(answer)["data"]["result"]
        except (OSError, ValueError, KeyError) as error:
            raise ScrapeError(f"Prometheus cannot be asked at {url}: {error}.") from error
        rounds.append(_by_process(result, at - ago))
    return rounds


def _by_process(result: Iterable[Mapping[str, Any]], at: float) -> Round:
    """The answer of Prometheus, by process."""
    found: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for series in result:
        labels = dict(series["metric"])
        found[labels.get("instance", "")][labels.pop("__name__")].append((labels, float(series["value"][1])))
    rounds = {}
    for instance, samples in found.items():
        ours = any(labels.get("job", "").startswith(_JOBS) for labels, _ in samples.get("up", ()))
        up = any(value for _, value in samples.get("up", ())) or "up" not in samples
        if "lacak_build_info" not in samples and (up or not ours):
            continue  # another program's
        scrape = Scrape(instance, at, dict(samples) if up else {}, "" if up else "gone")
        rounds[instance] = scrape
    return rounds
