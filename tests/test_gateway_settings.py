"""The gateway's settings: read once from the environment, wrong ones named, secrets masked."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import GatewaySettings, SettingsError, printed, read_settings, variables


def test_every_setting_has_a_variable_that_sets_it() -> None:
    environment = {
        "LACAK_GATEWAY_NAME": "north",
        "LACAK_GATEWAY_DATA_DIR": "/var/lib/gate",
        "LACAK_GATEWAY_SPOOL_BYTES_MOST": "1000",
        "LACAK_GATEWAY_DOOR_ANSWER_SECONDS": "12.5",
    }
    found = read_settings(environment)
    assert (found.name, found.data_dir, found.spool.bytes_most) == ("north", Path("/var/lib/gate"), 1000)
    assert found.door.answer_seconds == 12.5
    assert read_settings({}) == GatewaySettings()
    assert len({name for name, _, _ in variables()}) == len(list(variables()))


def test_brokers_prefix_and_zone_are_shared_unless_the_gateway_has_its_own() -> None:
    shared = {"LACAK_BROKERS": "b:1", "LACAK_TOPIC_PREFIX": "p-", "LACAK_ZONE": "UTC"}
    found = read_settings(shared)
    assert (found.brokers, found.topic("scans"), found.zone) == ("b:1", "p-scans", "UTC")
    assert read_settings({**shared, "LACAK_GATEWAY_BROKERS": "c:2"}).brokers == "c:2"


@pytest.mark.parametrize(("name", "value"), [("SPOOL_BYTES_MOST", "much"), ("ZONE", "Mars/Olympus")])
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"LACAK_GATEWAY_{name}="):
        read_settings({f"LACAK_GATEWAY_{name}": value})


def test_a_password_is_not_printed() -> None:
    shown = dict(printed(GatewaySettings(brokers="sasl://user:secret@b:1")))
    assert shown["LACAK_GATEWAY_BROKERS"] == "sasl://user:***@b:1"
    assert "secret" not in str(shown)
