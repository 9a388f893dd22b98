"""The servers under the harness: Apache Kafka of one or three brokers, and PostgreSQL, each behind the network of ours.

The pipeline's processes reach them by way of the proxies; the harness itself, which publishes and judges, directly.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import psycopg

from deploy.embedded import Child, Postgres, ServerError
from deploy.kafka import _serves, fetch, find_java
from deploy.ports import PORTS, is_free
from tests.chaos.proxy import Network

_JOBS_MOST: Final = 8
_STOP_SECONDS: Final = 20.0

_PROPERTIES: Final = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=DIRECT://127.0.0.1:{direct},PROXIED://127.0.0.1:{proxy}
listener.security.protocol.map=DIRECT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=DIRECT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={least}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=8
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={least}
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={least}
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
# What is gone is noticed soon, and who comes back is taken back soon.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
replica.lag.time.max.ms=5000
message.max.bytes=16777216
replica.fetch.max.bytes=16777216
"""


class Ports:
    """Ports of loopback, none given twice, nor to two jobs: each has its `number`."""

    def __init__(self, number: int = 0) -> None:
        own = PORTS[number % _JOBS_MOST :: _JOBS_MOST]
        self._left = secrets.SystemRandom().sample(own, len(own))

    def take(self) -> int:
        """One that nobody listens on."""
        while True:
            port = self._left.pop()
            if is_free(port):
                return port


class Broker:
    """One Kafka process, broker and controller in one."""

    def __init__(self, number: int, folder: Path, direct: int) -> None:
        self._child = Child(f"broker {number}", folder / "kafka.log")
        self._properties = folder / "server.properties"
        self.direct = direct

    def start(self) -> None:
        """Start it, without waiting for it. The thread that calls this must live as long as the broker."""
        java = find_java()
        command = [java.program, "-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += ["-cp", str(fetch(java) / "*"), "kafka.Kafka", str(self._properties)]
        self._child.start(command, lambda: True, death=signal.SIGKILL)

    def ready(self) -> bool:
        """Whether it answers."""
        return _serves(self.direct, None)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._child.kill()

    def stop(self) -> None:
        """End it in good order."""
        self._child.stop(seconds=_STOP_SECONDS)


class Cluster:
    """Kafka of `size` brokers over a folder. `bootstrap` is by way of the network, `direct` past it."""

    def __init__(self, size: int, folder: Path, network: Network, ports: Ports) -> None:
        self.size = size
        self.name = f"brokers of {size}"
        given = [(ports.take(), ports.take(), ports.take(), ports.take()) for _ in range(size)]
        voters = ",".join(f"{node}@127.0.0.1:{each[3]}" for node, each in enumerate(given, 1))
        self.brokers: list[Broker] = []
        java = find_java()
        classpath = str(fetch(java) / "*")
        for node, (direct, proxied, proxy, controller) in enumerate(given, 1):
            home = folder / f"broker-{node}"
            home.mkdir(parents=True)
            (home / "server.properties").write_text(
                _PROPERTIES.format(
                    node=node, voters=voters, direct=direct, proxied=proxied, proxy=proxy, controller=controller,
                    data=home / "data", replicas=size, least=min(size, 2),
                )
            )  # fmt: skip
            command = [java.program, "-cp", classpath, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
            command += ["-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", str(home / "server.properties")]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            network.add(self.name, ("127.0.0.1", proxy), ("127.0.0.1", proxied))
            self.brokers.append(Broker(node, home, direct))
        self.bootstrap = ",".join(f"127.0.0.1:{each[2]}" for each in given)
        self.direct = ",".join(f"127.0.0.1:{each[0]}" for each in given)

    def start(self) -> None:
        """Start all of them, and wait until all answer."""
        for broker in self.brokers:
            broker.start()
        self.wait()

    def wait(self, seconds: float = 90.0) -> None:
        """Wait until all answer. Raises ServerError."""
        deadline = time.monotonic() + seconds
        while not all(broker.ready() for broker in self.brokers):
            if time.monotonic() > deadline:
                raise ServerError(f"Kafka of {self.size} did not come up within {seconds:.0f} s.")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop all of them."""
        for broker in self.brokers:
            broker.kill()


class Database:
    """PostgreSQL behind the network. `url` is by way of it, `direct` past it."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.server = Postgres(folder / "postgres")
        self.server.start()
        self.direct = self.server.url
        home = Path(self.direct.partition("host=")[2].partition("&")[0])
        self._near = Path(str(home) + "-proxied")
        self._near.mkdir(exist_ok=True)
        network.add("postgres", self._near / ".s.PGSQL.5432", home / ".s.PGSQL.5432")
        self.url = self.direct.replace(str(home), str(self._near))

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.direct, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        """Stop it, and take its sockets away."""
        self.server.stop()
        shutil.rmtree(self._near, ignore_errors=True)
