"""`lacak keys`: the programme's key ring, whose keys sign the QR codes of venues and cards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from gateway.keyring import Keyring, KeyringError
from gateway.times import format_time
from lacak.clock import SystemClock
from lacak.settings import load_settings


def in_keyring(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --keys: the folder of the key ring."""
    return click.option(
        "--keys",
        type=click.Path(file_okay=False, path_type=Path),
        default=_folder,
        show_default="keys in LACAK_GATEWAY_DATA_DIR, or gateway/keys in the deployment's folder",
        metavar="FOLDER",
        help="The folder of the key ring.",
    )(command)


def _folder() -> Path:
    """Where a gateway that is started here looks for its keys."""
    own = os.environ.get("LACAK_GATEWAY_DATA_DIR")
    return Path(own) / "keys" if own else load_settings(need_servers=False).data_dir / "gateway" / "keys"


@click.group()
def keys() -> None:
    """The keys that sign the QR codes of venues and of people's cards (docs/qr.md).

    One key signs. After `rotate` a new one does, and what the old one signed stays good until `retire`: replace posters
    and cards in between. Anybody may have the public halves, which `jwks` prints; the folder is for nobody else.
    """


@keys.command()
@in_keyring
def make(keys: Path) -> None:
    """Make a key ring with its first key."""
    ring = _done(lambda: Keyring.make(keys, SystemClock().now_ms()))
    click.echo(f"The key ring is in {keys}; {ring.signer.kid} signs. Keep a copy of it where nobody else comes.")


@keys.command()
@in_keyring
def rotate(keys: Path) -> None:
    """Make a new key, which signs from now on; the old one verifies, and signs no more."""
    ring = _done(lambda: Keyring.load(keys).rotate(SystemClock().now_ms()))
    click.echo(f"{ring.signer.kid} signs. What older keys signed is good until they are retired (`lacak keys retire`).")


@keys.command()
@click.argument("kid")
@in_keyring
@click.option("--yes", is_flag=True, help="Do not ask.")
def retire(kid: str, keys: Path, yes: bool) -> None:
    """Let the key KID verify no more: posters and cards that it signed stop working at every door, for good."""
    ring = _done(lambda: Keyring.load(keys))
    if not yes:
        click.confirm(f"Posters and cards signed by {kid} stop working, for good. Retire it?", abort=True)
    _done(lambda: ring.retire(kid, SystemClock().now_ms()))
    click.echo(f"{kid} is retired.")


@keys.command("list")
@in_keyring
def list_keys(keys: Path) -> None:
    """List the keys, newest first, and what each does."""
    ring = _done(lambda: Keyring.load(keys))
    table = Table("key", "does", "made", "rotated", "retired", box=None, header_style="bold")
    for key in reversed(ring.keys):
        times = (key.made_ms, key.rotated_ms, key.retired_ms)
        told = ("" if at_ms is None else format_time(at_ms)[:16] + "Z" for at_ms in times)
        table.add_row(key.kid, {"retired": "nothing"}.get(ring.state(key), ring.state(key)), *told)
    Console().print(table)


@keys.command()
@in_keyring
def jwks(keys: Path) -> None:
    """Print the public halves as a JSON Web Key Set (RFC 7517): with it anybody verifies codes, offline."""
    click.echo(msgspec.json.format(msgspec.json.encode(_done(lambda: Keyring.load(keys)).jwks())).decode())


def _done(act: Callable[[], Keyring]) -> Keyring:
    try:
        return act()
    except KeyringError as error:
        raise click.ClickException(str(error)) from error
