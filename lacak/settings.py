"""The settings in force: defaults, then the running `lacak up` of this folder, then `LACAK_...` variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
import msgspec

from streams.settings import Settings

PREFIX = "LACAK_"
RUN_FILE = "run.json"


class Run(msgspec.Struct, frozen=True):
    """What a running `lacak up` tells other terminals: its servers, its process, and how it was set."""

    pid: int
    brokers: str
    database: str
    environment: dict[str, str] = {}


def variables(
    kind: type[msgspec.Struct] = Settings, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Every variable that is read: (`LACAK_TIMES_HORIZON_DAYS`, ("times", "horizon_days"), type)."""
    for field in msgspec.structs.fields(kind):
        here = (*path, field.name)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from variables(field.type, here)
        else:
            yield PREFIX + "_".join(here).upper(), here, field.type


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings an environment asks for. Raises click.UsageError that names the variable and what it takes."""
    tree: dict[str, Any] = {}
    for name, path, kind in variables():
        text = environment.get(name)
        if text is None or text == "":
            continue
        try:
            value = msgspec.convert(text, kind, strict=False, dec_hook=_decode)
        except (msgspec.ValidationError, ValueError) as error:
            raise click.UsageError(
                f"{name}={text!r} is not usable: {error}. See `lacak config` for the settings."
            ) from error
        node = tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = msgspec.to_builtins(value, enc_hook=str)
    settings = msgspec.convert(tree, Settings, dec_hook=_decode)
    try:
        ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.UsageError(f"LACAK_ZONE={settings.zone!r} is not a time zone, such as Asia/Jakarta.") from error
    for name, count in msgspec.structs.asdict(settings.partitions).items():
        if count < 1:
            raise click.UsageError(f"LACAK_PARTITIONS_{name.upper()}={count}: a topic has at least 1 partition.")
    return settings


def _decode(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


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
