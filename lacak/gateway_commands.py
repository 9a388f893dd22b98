"""`lacak gateway`: run the door's service; `lacak devices`: who may call it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from gateway.bindings import BindingsError
from gateway.devices import SCOPES, Device, DeviceError, Devices
from gateway.running import DEVICES_FILE, run_gateway
from gateway.serve import ServeError
from gateway.settings import GatewaySettings, SettingsError, printed, read_settings
from gateway.spool import SpoolError
from gateway.times import format_time
from lacak.clock import SystemClock
from lacak.settings import environment_of, load_settings
from security.brokers import PREFIX as SECURITY
from security.settings import SecurityError

_DATA = click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The gateway's folder: spool, copies, devices, keys. Default: LACAK_GATEWAY_DATA_DIR, or `gateway` in the "
    "deployment's folder.",
)


def gateway_settings(data_dir: Path | None = None) -> GatewaySettings:
    """The gateway's settings in force here: its variables, else the running `lacak up`'s. Raises click.UsageError."""
    shared = load_settings(need_servers=False)
    environment = {
        **{name: value for name, value in environment_of(shared).items() if name.startswith(SECURITY)},
        "LACAK_BROKERS": shared.brokers,
        "LACAK_TOPIC_PREFIX": shared.topic_prefix,
        "LACAK_ZONE": shared.zone,
        "LACAK_GATEWAY_DATA_DIR": str(shared.data_dir / "gateway"),
        "LACAK_GATEWAY_RULES_FOLDER": str(shared.rules_folder or ""),
        "LACAK_GATEWAY_IDENTITY_FOLDER": os.environ.get("LACAK_IDENTITY", str(shared.data_dir / "identity")),
        **os.environ,
    }
    try:
        settings = read_settings(environment)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    return settings if data_dir is None else msgspec.structs.replace(settings, data_dir=data_dir)


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen. Default: 127.0.0.1; 0.0.0.0 for all addresses.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 0: any free one. Default: 8600.")
@_DATA
@click.option("--name", help="The gateway's name, in every scan it sends. Default: `gateway`.")
@click.option("--base-url", metavar="URL", help="How phones reach it, such as https://masuk.example.go.id: in posters.")
@click.option(
    "--tls-certificate", type=click.Path(dir_okay=False, path_type=Path), help="The certificate and its chain (PEM)."
)
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="The certificate's key (PEM).")
@click.option("--behind-proxy", is_flag=True, help="Something in front of it on this machine or network ends TLS.")
def gateway(data_dir: Path | None, name: str | None, **given: Any) -> None:
    """Run a gateway: it decides at doors, writes down what happens, and sends it when it can.

    It needs no broker to start: it decides by the copies of its last run, keeps scans in its spool, and sends them in
    order when the broker is there. Callers need a key each: `lacak devices add`. Codes need the programme's keys:
    `lacak keys make`.

    \b
        lacak devices add door-1 --scope scan
        lacak gateway --port 8600
        curl http://127.0.0.1:8600/readyz

    The address /openapi.json describes every route. All settings have variables, LACAK_GATEWAY_...: docs/gateway.md.
    """
    settings = gateway_settings(data_dir)
    changes = {key: value for key, value in given.items() if value is not None and value is not False}
    if name is not None:
        settings = msgspec.structs.replace(settings, name=name)
    settings = msgspec.structs.replace(settings, http=msgspec.structs.replace(settings.http, **changes))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not settings.brokers:
        click.echo("No broker is named and no `lacak up` runs here: scans stay in the spool until one is.", err=True)

    try:
        settings.broker_access.credentials()  # rather now than in a log line, while scans gather in the spool
    except SecurityError as error:
        raise click.ClickException(str(error)) from error
    for variable, value in printed(settings):
        click.echo(f"{variable}={value}", err=True)

    def started(sockets: Sequence[socket.socket]) -> None:
        host, port = sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if settings.http.tls_certificate else "http"
        click.echo(f"The gateway {settings.name} listens on {scheme}://{shown}:{port}", err=True)

    try:
        uvloop.run(run_gateway(settings, SystemClock(), started))
    except (BindingsError, DeviceError, ServeError, SpoolError) as error:
        raise click.ClickException(str(error)) from error
    except SystemExit as error:  # uvicorn has said why
        raise click.ClickException(
            f"Nothing can listen on {settings.http.host} port {settings.http.port}: is another gateway there?"
        ) from error


@click.group()
def devices() -> None:
    """The devices that may call the gateway, each with a key and what it may do.

    They stand in the gateway's own folder; changes hold at once, without a restart.
    """


@devices.command("add", short_help="Register a device and show its key, once.")
@click.argument("device")
@click.option(
    "--scope", "scopes", multiple=True, required=True, type=click.Choice(list(SCOPES)), help="What it may do."
)
@click.option("--venue", "venues", multiple=True, help="A venue it is for; without, it is for all.")
@click.option("--rate", type=float, metavar="N", help="Scans a second. Default: LACAK_GATEWAY_LIMITS_SCANS_PER_SECOND.")
@click.option("--burst", type=int, metavar="N", help="Scans at once. Default: LACAK_GATEWAY_LIMITS_SCANS_BURST.")
@_DATA
def add_device(
    device: str,
    scopes: tuple[str, ...],
    venues: tuple[str, ...],
    rate: float | None,
    burst: int | None,
    data_dir: Path | None,
) -> None:
    """Register DEVICE and print its key. The key is shown this once and kept nowhere: put it into the device now.

    \b
    scan     ask at a door for people who are known by token, and check them out
    staff    answer a check, read cards, type an id, recount, say that everyone is out
    venue    register venues and make their posters and screens
    declare  tell where a person says that they were
    admin    all of these
    """
    with _register(data_dir) as register:
        try:
            key = register.add(
                device,
                scopes,  # type: ignore[arg-type]
                SystemClock().now_ms(),
                venues=venues,
                per_second=rate,
                burst=burst,
            )
        except DeviceError as error:
            raise click.ClickException(str(error)) from error
    click.echo(key)
    click.echo("This key is shown once. Send it as `Authorization: Bearer KEY`.", err=True)


@devices.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@_DATA
def list_devices(as_json: bool, data_dir: Path | None) -> None:
    """List the devices; never their keys, which nobody has but they."""
    with _register(data_dir) as register:
        found = register.all()
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode([_shown(device) for device in found])).decode())
        return
    table = Table("device", "scopes", "venues", "scans/s", "since", "revoked", box=None, header_style="bold")
    for device in found:
        table.add_row(
            device.device,
            " ".join(sorted(device.scopes)),
            ", ".join(sorted(device.venues)) or "all",
            "" if device.per_second is None else f"{device.per_second:g}",
            format_time(device.made_ms)[:10],
            "" if device.revoked_ms is None else format_time(device.revoked_ms)[:19],
        )
    Console().print(table)


def _shown(device: Device) -> dict[str, Any]:
    return {
        "device": device.device,
        "key_id": device.key_id,
        "scopes": sorted(device.scopes),
        "venues": sorted(device.venues),
        "made_ms": device.made_ms,
        "revoked_ms": device.revoked_ms,
        "per_second": device.per_second,
        "burst": device.burst,
    }


@devices.command("revoke")
@click.argument("device")
@_DATA
def revoke_device(device: str, data_dir: Path | None) -> None:
    """End DEVICE's key: its next request is refused, and its open streams end."""
    with _register(data_dir) as register:
        try:
            register.revoke(device, SystemClock().now_ms())
        except DeviceError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"The key of {device} is revoked.")


@devices.command("rotate")
@click.argument("device")
@_DATA
def rotate_device(device: str, data_dir: Path | None) -> None:
    """Give DEVICE a new key and print it; the old one ends at once. It takes back a revocation."""
    with _register(data_dir) as register:
        try:
            key = register.rotate(device, SystemClock().now_ms())
        except DeviceError as error:
            raise click.ClickException(str(error)) from error
    click.echo(key)
    click.echo("This key is shown once; the old one is refused from now on.", err=True)


def _register(data_dir: Path | None) -> Devices:
    try:
        return Devices(gateway_settings(data_dir).data_dir / DEVICES_FILE)
    except DeviceError as error:
        raise click.ClickException(str(error)) from error
