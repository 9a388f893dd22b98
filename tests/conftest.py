"""The servers that tests share: started when the first test wants them, stopped at the end of the run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.embedded import Postgres, Tansu
from tests.pipeline import Broker

if TYPE_CHECKING:
    from tests.secured import Secured

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def servers_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where the servers keep their files; left behind for a look when a test has failed.

    Not in pytest's own folder: PostgreSQL may run as another user, who must get there, and every start of pytest by the
    same user closes that folder to others.
    """
    folder = Path(tempfile.mkdtemp(prefix="lacak-servers-"))
    folder.chmod(0o711)
    yield folder
    if not request.session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def broker(servers_folder: Path) -> Iterator[Broker]:
    """The broker: Tansu, or Apache Kafka where LACAK_TEST_BROKER=kafka."""
    if os.environ.get("LACAK_TEST_BROKER") == "kafka":
        from deploy.kafka import Kafka

        kafka = Kafka(servers_folder / "kafka")
        kafka.start()
        yield kafka
        kafka.stop()
    else:
        tansu = Tansu(servers_folder / "tansu")
        tansu.start()
        yield tansu
        tansu.stop()


@pytest.fixture(scope="session")
def database(servers_folder: Path) -> Iterator[str]:
    """The address of a PostgreSQL in which each test makes its own database."""
    postgres = Postgres(servers_folder / "postgres")
    postgres.start()
    yield postgres.url
    postgres.stop()


@pytest.fixture(scope="session")
def secured() -> Iterator[Secured]:
    """Apache Kafka and PostgreSQL that know who comes; every test leaves users and grants as they are."""
    from tests.secured import secured_servers

    with secured_servers() as found:
        yield found


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real check-ins; tests that want it are skipped where it is not."""
    if not REAL_DATA.is_dir():
        pytest.skip("the folder of real check-ins is not here")
    return REAL_DATA
