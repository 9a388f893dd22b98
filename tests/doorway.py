"""A gateway as a process of its own beside a running pipeline, as it runs at a mall, and a browser before it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import msgspec
import pytest
from kafka import KafkaProducer
from playwright.sync_api import Browser, sync_playwright

from gateway.codes import sign_static, venue_text
from gateway.keyring import Keyring
from lacak.settings import environment_of
from schemas.health import HealthRecord
from schemas.partitions import partition_of
from streams.settings import Settings

_LISTENS = re.compile(rb"listens on (\S+)")


class Doorway:
    """A gateway's process. `url` is where it listens; `kill` and `start` end and begin it as a power cut would."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.url = ""
        self._log = folder.with_name("gateway.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._port = "0"
        self.run("keys", "make", "--keys", str(folder / "keys"))

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **environment_of(self.settings), "LACAK_GATEWAY_DATA_DIR": str(self.folder)}

    def run(self, *arguments: str) -> str:
        """What a `lacak` command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "lacak", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def device(self, name: str, *scopes: str) -> str:
        """The key of a new device."""
        named = [part for scope in scopes for part in ("--scope", scope)]
        return self.run("devices", "add", name, *named, "--data", str(self.folder))

    @property
    def pid(self) -> int:
        """The process's id; 0 when it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def code(self, venue: str) -> str:
        """What stands in the QR code of a venue's poster."""
        return venue_text(self.url, sign_static(Keyring.load(self.folder / "keys"), venue))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._log.touch()
        seen = self._log.stat().st_size
        command = [sys.executable, "-m", "lacak", "gateway", "--port", self._port, "--data", str(self.folder)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            found = _LISTENS.search(self._log.read_bytes()[seen:])
            if found and self._ready(found.group(1).decode()):
                self.url = found.group(1).decode()
                self._port = self.url.rpartition(":")[2]
                return
            time.sleep(0.1)
        raise AssertionError(f"the gateway does not answer: {self._log.read_text()}")

    def _ready(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(30)


@contextmanager
def doorway(settings: Settings, folder: Path) -> Iterator[Doorway]:
    """A running gateway, for the length of a `with` block."""
    door = Doorway(settings, folder)
    door.start()
    try:
        yield door
    finally:
        door.stop()


def tell_health(settings: Settings, *records: HealthRecord) -> None:
    """Publish facts about people."""
    producer = KafkaProducer(bootstrap_servers=settings.brokers, acks="all")
    for each in records:
        producer.send(
            settings.topic("health-records"),
            key=f"{each.person}|{each.record_id}".encode(),
            value=msgspec.json.encode(each),
            partition=partition_of(each.person, settings.partitions.cases),
        ).get(30)
    producer.close()


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Debian's Chromium without a screen. Without one the test is left out, unless LACAK_TEST_BROWSER=required."""
    path = which("chromium")
    if path is None:
        if os.environ.get("LACAK_TEST_BROWSER") == "required":
            raise AssertionError("no chromium is installed")
        pytest.skip("no chromium is installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*quiet, *flags])
        try:
            yield browser
        finally:
            browser.close()
