"""`lacak migrate`: what has to be there before workers start, made by one process and not by all of them."""

from __future__ import annotations

import click

from deploy.migrate import MigrationError, migrate
from lacak.settings import load_settings
from streams.postgres import adopt
from streams.topics import TopicError, cluster_id, ensure_topics


@click.command("migrate")
def command() -> None:
    """Make the topics that are missing, bring the tables up to date, and end.

    `lacak up` does this by itself. On a cluster it is the first step of an installation and of every upgrade: run it
    once, then start the workers. A second run changes nothing. Topics that are there and differ from the settings are
    told, and nothing is changed about them.
    """
    settings = load_settings()
    try:
        tables = migrate(settings.database)
        topics = ensure_topics(settings)
        adopted = adopt(settings.database, cluster_id(settings))
    except (MigrationError, TopicError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Tables: {', '.join(tables) or 'up to date'}.")
    click.echo(f"Topics: {', '.join(topics) or 'up to date'}.")
    if adopted:
        click.echo("The database held rows of another cluster: they stay, and give way to what comes now.")
