"""`lacak profiles`: the numbers that make a contact, shown, and an office's own checked."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from contacts.profile_words import describe, minimum, window
from contacts.profiles import Profile, ProfileError, find_profile, load_profiles, profile_text, read_profile
from contacts.rules.vectors import VectorError, read_vectors, run_vectors
from lacak.checking import check_files
from lacak.settings import load_settings


@click.group()
def profiles() -> None:
    """The profiles: which numbers make somebody a contact.

    Lacak brings the published ones; files of your own in the folder LACAK_RULES_FOLDER are added to them, and overrule
    one of the same name. docs/profiles.md explains each, with its source, and every key of a file.
    """


def _load() -> dict[str, Profile]:
    try:
        return load_profiles(load_settings(need_servers=False).rules_folder)
    except (ProfileError, OSError) as error:
        raise click.ClickException(str(error)) from error


@profiles.command("list", short_help="List the profiles with their numbers and sources.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_profiles(as_json: bool) -> None:
    """List the profiles: minutes, over what, the infectious window around the onset, and where it is written."""
    found = sorted(_load().values(), key=lambda profile: profile.id)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    table = Table(box=None, header_style="bold")
    for name in ("id", "name", "valid from", "minutes", "in", "infectious"):
        table.add_column(name, no_wrap=name != "name", overflow="fold")
    for each in found:
        table.add_row(each.id, each.name, each.version, minimum(each), each.contact.per, window(each))
    Console().print(table)
    click.echo("\nSources:")
    for each in found:
        click.echo(f"  {each.id}: {each.source}")


@profiles.command("show")
@click.argument("profile_id", metavar="ID")
def show_profile(profile_id: str) -> None:
    """Show the profile ID in words, and its file to copy and edit."""
    try:
        profile = find_profile(_load(), profile_id)
        where, text = profile_text(profile_id, load_settings(need_servers=False).rules_folder)
    except (ProfileError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.secho(f"{profile.id}: {profile.name}, valid from {profile.version}", bold=True)
    click.echo(f"{profile.source}\n")
    for sentence in describe(profile):
        click.echo(f"  {sentence}")
    click.echo(f"\n# {where}\n{text.rstrip()}")


@profiles.command("check", short_help="Check profile files before they are used.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
def check_profile(files: tuple[str, ...]) -> None:
    """Check profile files before they are used: each fault with its line and what to do.

    Exit code 1 says that a file cannot be used.
    """

    def read(name: str) -> list[str]:
        path = Path(name)
        if path.suffix != ".toml":
            raise click.ClickException(f"{name}: a profile's file is called ID.toml, after the profile.")
        profile = read_profile(path.stem, path.read_text("utf-8"))
        used = f"{name} can be used: {profile.id}, {profile.name}, valid from {profile.version}."
        return [used, *(f"  {sentence}" for sentence in describe(profile))]

    check_files(files, read)


@profiles.command("vectors", short_help="Run test vectors against the published rules.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def run_file_of_vectors(file: str) -> None:
    """Run a FILE of test vectors (JSON) against the published rules; docs/profiles.md describes its shape.

    Exit code 1 says that one of them does not hold.
    """
    try:
        outcomes = list(run_vectors(read_vectors(Path(file).read_bytes())))
    except (VectorError, OSError) as error:
        raise click.ClickException(f"{file}: {error}.") from error
    for number, outcome in enumerate(outcomes, 1):
        if not outcome.holds:
            case = outcome.case
            told = f"{number}: {case.description or case.function}"
            click.secho(f"{told}: {outcome.found!r}, expected {case.expected!r}", fg="red", err=True)
    held = sum(outcome.holds for outcome in outcomes)
    click.echo(f"{held} of {len(outcomes)} vectors hold.")
    if held < len(outcomes):
        sys.exit(1)
