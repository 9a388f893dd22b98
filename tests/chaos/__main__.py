"""`python -m tests.chaos`: run schedules of faults, judge each, and write the report."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.chaos import report
from tests.chaos import schedule as schedules
from tests.chaos.jobs import run_all
from tests.chaos.run import Result

SELECTION = (8, 31, 32, 36, 47, 49)
"""Every kind of fault, every way of a bad network, one broker and three."""

_SELECTION_MINUTES = 11.0
"""A seed takes some two minutes at most: one begun at the last moment ends within the quarter of an hour."""


@click.command()
@click.option("--seeds", type=int, default=50, show_default=True, help="How many seeds.")
@click.option("--first", type=int, default=1, show_default=True, help="The first seed.")
@click.option("--only", type=int, multiple=True, help="This seed alone; several may be named.")
@click.option("--missing", is_flag=True, help="Leave out seeds that are kept and were equal.")
@click.option("--minutes", type=float, help="Begin no further seed after so many minutes.")
@click.option("--jobs", type=click.IntRange(1, 8), default=1, show_default=True, help="How many seeds at a time.")
@click.option("--schedule", "file", type=click.Path(dir_okay=False, path_type=Path), help="A schedule of your own.")
@click.option("--show", is_flag=True, help="Show the schedules as data, and run nothing.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where servers and logs are kept.")
@click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Keep the results, and write the report here."
)
@click.option("--selection", is_flag=True, help="The short selection of `.ci/run`: at most 15 minutes.")
@click.option("--report-only", is_flag=True, help="Write the report of what is kept, and run nothing.")
def chaos(
    seeds: int, first: int, only: tuple[int, ...], missing: bool, minutes: float | None, jobs: int, file: Path | None,
    show: bool, folder: Path | None, write: Path | None, selection: bool, report_only: bool,
) -> None:  # fmt: skip
    """Run seeded schedules of faults over Apache Kafka and PostgreSQL, and judge what stands after each."""
    if report_only and write is not None:
        write.write_text(report.report(report.read()), "utf-8")
        return
    if selection:
        minutes = minutes or _SELECTION_MINUTES
    wanted = SELECTION if selection else only or range(first, first + seeds)
    equal = {result.seed for result in report.read() if missing and result.verdict == "equal"}
    plans = [schedules.load(file)] if file else [schedules.make(seed) for seed in wanted if seed not in equal]
    if show:
        for plan in plans:
            click.echo(schedules.printed(plan))
        return
    home = folder or Path(tempfile.mkdtemp(prefix="lacak-chaos-"))
    home.mkdir(parents=True, exist_ok=True)
    home.chmod(0o711)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and leave nothing behind
    began = time.monotonic()
    found: list[Result] = []

    def in_time() -> bool:
        return minutes is None or time.monotonic() - began <= minutes * 60

    for result in run_all(plans, home, jobs, say=click.echo, go_on=in_time):
        found.append(result)
        click.echo(
            f"  {result.seed}: {result.verdict}; recovery {result.recovery}; stalest {result.stale} s; "
            f"{result.scans} scans; {result.seconds:.0f} s"
        )
        for difference in result.differences:
            click.echo(f"    {difference}")
        if write is not None:
            report.keep(result)
            write.write_text(report.report(report.read()), "utf-8")
    if len(found) < len(plans):
        begun = {result.seed for result in found}
        click.echo(f"Not begun in time: seeds {[plan.seed for plan in plans if plan.seed not in begun]}.")
    wrong = [result.seed for result in found if result.verdict != "equal"]
    if not wrong and folder is None:
        shutil.rmtree(home, ignore_errors=True)
    elif wrong:
        click.echo(f"Not as it must be: seeds {wrong}. Logs are in {home}.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    chaos()
