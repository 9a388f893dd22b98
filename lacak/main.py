"""The `lacak` command: its subcommands, loaded only when they are asked for."""

from __future__ import annotations

import sys
from importlib import import_module

import click

_COMMANDS = {
    "Begin": {
        "demo": ("lacak.demo:demo", "Run a small city through the whole pipeline and look at what comes out."),
        "up": ("lacak.up:up", "Run everything here, in the foreground: servers and workers."),
        "down": ("lacak.up:down", "Stop what `lacak up` started in another terminal."),
        "city": ("lacak.city.command:city", "Make a city's scans and venues as files to play with."),
    },
    "Publish": {
        "publish": ("lacak.publish:publish", "Publish a file of scans (CSV, NDJSON, gzip, or - for standard input)."),
        "venues": ("lacak.venues:venues", "Register venues, and make the posters for their doors."),
    },
    "Run doors": {
        "rules": (
            "lacak.rules_commands:rules",
            "Who may come in and how many: list, check, publish and explain the rules of doors.",
        ),
        "keys": ("lacak.key_commands:keys", "The keys that sign QR codes: make, rotate, retire, publish."),
        "identity": (
            "lacak.identity_commands:identity",
            "The identity register: one-time codes and cards for people whose papers were seen.",
        ),
        "gateway": ("lacak.gateway_commands:gateway", "Run a gateway: decisions at doors, over HTTP."),
        "devices": ("lacak.gateway_commands:devices", "Say who may call the gateway: keys, scopes, revocation."),
    },
    "Trace": {
        "test-result": (
            "lacak.officer_commands:test_result",
            "Report a test: a positive one opens a case and traces it.",
        ),
        "health": (
            "lacak.health_commands:health",
            "Import FHIR files and lists of health facts; tell a vaccination, a recovery, where somebody was.",
        ),
        "trace": ("lacak.officer_commands:trace", "Ask for a trace of your own choosing."),
        "traces": ("lacak.officer_commands:traces", "List the traces."),
        "show": (
            "lacak.officer_commands:show",
            "Show a trace with its evidence: tree, JSON, CSV, GraphML or a picture.",
        ),
        "confirm": ("lacak.officer_commands:confirm", "Confirm a contact of a trace."),
        "dismiss": ("lacak.officer_commands:dismiss", "Dismiss a contact of a trace."),
        "sources": ("lacak.source_commands:sources", "Find where and by whom several cases may have been infected."),
        "clusters": ("lacak.cluster_commands:clusters", "Show where several cases were together, once or live."),
        "status": ("lacak.status_commands:status", "Show the colour that doors are told of a person, and why."),
        "occupancy": ("lacak.officer_commands:occupancy", "Show how many people are inside, once or live."),
    },
    "Offline, on files": {
        "visits": ("lacak.offline:visits", "Derive visits from a file of scans."),
        "windows": ("lacak.offline:windows", "Count 10-minute windows from a file of scans."),
        "contacts": (
            "lacak.interviews:contacts",
            "Find a person's contacts in a file of visits; `contacts add`: put those of an interview into a trace.",
        ),
        "profiles": (
            "lacak.profile_commands:profiles",
            "List, show and check the numbers that make somebody a contact.",
        ),
        "colours": ("lacak.colour_commands:colours", "List, show and check the rules of green, yellow, red and black."),
        "reach": ("lacak.reach:reach", "Follow a dated contact list over any number of steps, to or from a person."),
    },
    "Operate": {
        "migrate": ("lacak.migrating:command", "Make topics and tables, or bring them up to date, and end."),
        "worker": ("lacak.worker:worker", "Run one worker process of one role."),
        "topics": ("lacak.topic_commands:topics", "Show the topics, and check them."),
        "tail": ("lacak.topic_commands:tail", "Print the records of a topic, blocks decoded."),
        "dead-letters": ("lacak.deadletter_commands:dead_letters", "List, show and replay what could not be accepted."),
        "config": ("lacak.config:config", "Show the settings in force."),
    },
}


class _Lazy(click.Group):
    """A group that imports a command when it is used, and lists them by what they are for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [name for section in _COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for section in _COMMANDS.values():
            if cmd_name in section:
                module, attribute = section[cmd_name][0].split(":")
                command: click.Command = getattr(import_module(module), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, section in _COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, short) for name, (_, short) in section.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="lacak")
def cli() -> None:
    """Contact tracing over an event stream: scans at doors become live occupancy, and a positive test becomes a list
    of contacts with evidence.

    New here? `lacak demo` shows all of it in two minutes. To run your own: `lacak up` in one terminal, then
    `lacak publish SCANS.csv`, `lacak occupancy` and `lacak test-result PERSON --positive ...` in another.
    """


def main() -> None:
    """The entry point: errors are sentences, Ctrl-C is no traceback."""
    try:
        code = cli(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)  # click gives back the code of its own Exit
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
