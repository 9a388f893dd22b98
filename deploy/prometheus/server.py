"""A real Prometheus over a folder of its own: for the tests of rules and dashboards, and for docs/dashboards.md."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec
import yaml

from deploy.embedded import Child, ServerError
from deploy.ports import free_port

HERE: Final = Path(__file__).parent
CONFIGURATION: Final = HERE / "prometheus.yaml"
RULES: Final = HERE / "rules"
CASES: Final = RULES / "cases"

_ANSWER_SECONDS: Final = 30.0
_PROMTOOL_SECONDS: Final = 120.0


class QueryError(RuntimeError):
    """Prometheus refuses a query; the message is its own."""


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant answer: its labels, `__name__` among them, and its value."""

    labels: dict[str, str]
    value: float


class Prometheus(AbstractContextManager["Prometheus"]):
    """The server for the length of a `with` block. Raises ServerError when it does not come up.

    `targets` are the addresses of each job of deploy/prometheus/prometheus.yaml; `rules` is a folder of rule files, and
    `interval` (such as `1s`) how often it scrapes and evaluates, where these are to differ from the deployment's.
    """

    def __init__(
        self,
        folder: Path,
        targets: Mapping[str, Sequence[str]],
        *,
        rules: Path = RULES,
        interval: str | None = None,
    ) -> None:
        self._folder, self._targets, self._rules, self._interval = folder.absolute(), targets, rules, interval
        self._child = Child("Prometheus", self._folder / "prometheus.log")
        self._port = free_port()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Prometheus:
        program = shutil.which("prometheus")
        if program is None:
            raise ServerError("Prometheus is not installed here (Debian, Ubuntu: apt install prometheus).")
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(self._configuration(), sort_keys=False), "utf-8")
        command = [program, f"--config.file={path}", f"--storage.tsdb.path={self._folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{self._port}", "--log.level=warn"]
        self._child.start(command, self._ready)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop()

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The instant answer to a query, `at` a time in seconds since the epoch or now; a scalar has no labels.

        Raises QueryError.
        """
        given = {"query": expression} | ({"time": str(at)} if at is not None else {})
        data = self._ask("query", given)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def value(self, expression: str) -> float | None:
        """The one number that a query answers; nothing where it has none. Raises QueryError, ValueError."""
        found = self.query(expression)
        if len(found) > 1:
            raise ValueError(f"{expression} has {len(found)} answers")
        return found[0].value if found else None

    def curve(self, expression: str, begin: float, end: float, step: float) -> list[tuple[dict[str, str], list[float]]]:
        """The series of a query over a span, each with its values at every step that has one. Raises QueryError."""
        given = {"query": expression, "start": str(begin), "end": str(end), "step": str(step)}
        found = self._ask("query_range", given)["result"]
        return [(each["metric"], [float(value) for _, value in each["values"]]) for each in found]

    def firing(self) -> dict[str, str]:
        """The state (`pending` or `firing`) of each alert that is up, by name; firing wins."""
        found: dict[str, str] = {}
        for each in self._ask("alerts", {})["alerts"]:
            name = each["labels"]["alertname"]
            if found.get(name) != "firing":
                found[name] = each["state"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health and last error, as the server tells it."""
        return [rule for group in self._ask("rules", {})["groups"] for rule in group["rules"]]

    def down(self) -> dict[str, str]:
        """The targets that do not answer now, each with what Prometheus says of it."""
        targets = self._ask("targets", {"state": "active"})["activeTargets"]
        return {
            each["labels"]["instance"]: each["lastError"] or "not asked yet"
            for each in targets
            if each["health"] != "up"
        }

    def _ask(self, what: str, given: Mapping[str, str]) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(given)}"
        try:
            with urllib.request.urlopen(url, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
                return msgspec.json.decode(answer.read())["data"]
        except urllib.error.HTTPError as error:
            told = msgspec.json.decode(error.read())
            raise QueryError(f"{given.get('query', what)}: {told.get('error', error)}") from error

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2.0) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    def _configuration(self) -> dict[str, Any]:
        """The deployment's configuration with targets, rules and intervals of our own."""
        tree: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
        jobs = {job["job_name"]: job for job in tree["scrape_configs"]}
        for name in jobs.keys() - self._targets.keys():
            del jobs[name]
        for name, addresses in self._targets.items():
            job = jobs[name]
            job.pop("file_sd_configs", None)
            job["static_configs"] = [{"targets": list(addresses)}]
        tree["scrape_configs"] = list(jobs.values())
        tree["rule_files"] = [str(self._rules.absolute() / "*.yaml")]
        tree.pop("alerting", None)
        if self._interval is not None:
            tree["global"] |= {"scrape_interval": self._interval, "evaluation_interval": self._interval}
            tree["global"]["scrape_timeout"] = self._interval
        return tree


def promtool(*arguments: str | Path) -> str:
    """Run promtool and return what it says. Raises ServerError with that where it finds a fault."""
    program = shutil.which("promtool")
    if program is None:
        raise ServerError("promtool is not installed here (Debian, Ubuntu: apt install prometheus).")
    done = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        timeout=_PROMTOOL_SECONDS,
    )  # fmt: skip
    told = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise ServerError(told)
    return told
