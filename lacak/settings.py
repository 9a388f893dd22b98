"""The settings in force: defaults, then the running `lacak up` of this folder, then `LACAK_...` variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.environment import SettingsError, check_zone, decode, read_tree
from gateway.environment import variables as variables_of
from streams.settings import Settings

PREFIX = "LACAK_"
RUN_FILE = "run.json"


class Run(msgspec.Struct, frozen=True):
    """What a running `lacak up` tells other terminals: its servers, its process, how it was set, and where its
    processes (`visits-0`) tell their metrics."""

    pid: int
    brokers: str
    database: str
    environment: dict[str, str] = {}
    metrics: dict[str, str] = {}


def variables() -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every variable that is read: (`LACAK_TIMES_HORIZON_DAYS`, ("times", "horizon_days"), type)."""
    return variables_of(Settings, PREFIX)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings an environment asks for. Raises click.UsageError that names the variable and what it takes."""
    try:
        tree = read_tree(Settings, PREFIX, environment)
    except SettingsError as error:
        raise click.UsageError(f"{error} See `lacak config` for the settings.") from error
    settings = msgspec.convert(tree, Settings, dec_hook=decode)
    try:
        check_zone(f"{PREFIX}ZONE", settings.zone)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    for name, count in msgspec.structs.asdict(settings.partitions).items():
        if count < 1:
            raise click.UsageError(f"LACAK_PARTITIONS_{name.upper()}={count}: a topic has at least 1 partition.")
    return settings


def running(data_dir: Path) -> Run | None:
    """The `lacak up` (or demo) that runs over this data folder, if one does."""
    try:
        run = msgspec.json.decode((data_dir / RUN_FILE).read_bytes(), type=Run)
        os.kill(run.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return run


def load_settings(*, need_servers: bool = True) -> Settings:
    """The settings in force here. Raises click.ClickException when servers are needed and none is known."""
    settings = read_settings(os.environ)
    if not (settings.brokers and settings.database):
        run = running(settings.data_dir)
        if run is not None:
            settings = read_settings(
                {**run.environment, PREFIX + "BROKERS": run.brokers, PREFIX + "DATABASE": run.database, **os.environ}
            )
    if need_servers and not (settings.brokers and settings.database):
        raise click.ClickException(
            "No Lacak is running over this folder. Start one with `lacak up` in another terminal, "
            "or name your servers in LACAK_BROKERS and LACAK_DATABASE."
        )
    return settings


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables that give `settings` again: what a worker process is started with."""
    tree = msgspec.to_builtins(settings, enc_hook=str)
    found: dict[str, str] = {}
    for name, path, _ in variables():
        node = tree
        for part in path:
            node = node[part]
        if node is not None and node != "":
            found[name] = str(node)
    return found
