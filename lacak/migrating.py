"""`lacak migrate`: what has to be there before workers start, made by one process and not by all of them."""

from __future__ import annotations

import click
from kafka.errors import KafkaError

from contacts.doorrules import DoorRulesError
from deploy.migrate import MigrationError, migrate
from lacak.clock import SystemClock
from lacak.published import publish_first
from lacak.settings import load_settings
from streams.postgres import adopt
from streams.topics import TopicError, cluster_id, ensure_topics


@click.command("migrate")
def command() -> None:
    """Make the topics that are missing, bring the tables up to date, and end.

    `lacak up` does this by itself. On a cluster it is the first step of an installation and of every upgrade: run it
    once, then start the workers. A second run changes nothing. Where no door rules were ever published, those of the
    deployment's files are. Topics that are there and differ from the settings are
    told, and nothing is changed about them.
    """
    settings = load_settings("admin")
    try:
        tables = migrate(settings.database_access)
        topics = ensure_topics(settings)
        adopted = adopt(settings.database_access, cluster_id(settings))
        rules = publish_first(settings, SystemClock().now_ms())
    except (MigrationError, TopicError, DoorRulesError, KafkaError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Tables: {', '.join(tables) or 'up to date'}.")
    click.echo(f"Topics: {', '.join(topics) or 'up to date'}.")
    if rules:
        click.echo(f"Door rules, the first of this deployment: {', '.join(rules)}.")
    if adopted:
        click.echo("The database held rows of another cluster: they stay, and give way to what comes now.")
