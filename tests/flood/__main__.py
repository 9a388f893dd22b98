"""`python -m tests.flood`: a million bad inputs to a pipeline and a gateway, in parts, and what became of them."""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TimeElapsedColumn
from rich.table import Table

from deploy.embedded import Postgres, Tansu
from deploy.kafka import Kafka
from tests.flood.page import PAGE, Part, by_route, by_topic, memory_table, write
from tests.flood.running import flood

_RESULTS = Path(".lacak/flood")


def main() -> int:
    """Run the parts that have not run yet, print the table, and put the counts into docs/bad-input.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.flood", description=main.__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="how many in all; default: %(default)s")
    parser.add_argument("--parts", type=int, default=4, help="in so many runs, each with a seed; default: %(default)s")
    parser.add_argument("--most", type=int, default=None, help="run at most so many of the parts that are left, now")
    parser.add_argument("--seed", type=int, default=1, help="of the first part; default: %(default)s")
    parser.add_argument("--broker", choices=("kafka", "embedded"), default="kafka")
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where each part's counts are kept")
    parser.add_argument("--no-bombs", action="store_true", help="without batches that inflate")
    parser.add_argument("--no-page", action="store_true", help=f"leave {PAGE.name} as it is")
    asked = parser.parse_args()
    asked.results.mkdir(parents=True, exist_ok=True)
    size, ran = asked.messages // asked.parts, 0
    parts: list[Part] = []
    for seed in range(asked.seed, asked.seed + asked.parts):
        path = asked.results / f"{asked.broker}-{size}-{seed}.json"
        if not path.exists():
            if asked.most is not None and ran >= asked.most:
                continue
            ran += 1
            part = _run(asked.broker, seed, size, bombs=not asked.no_bombs)
            path.write_bytes(msgspec.json.encode(part))
            parts.append(part)
        else:
            parts.append(msgspec.json.decode(path.read_bytes(), type=Part))
    _print(parts)
    if not asked.no_page:
        kept = sorted(asked.results.glob(f"{asked.broker}-*.json"))
        write([msgspec.json.decode(path.read_bytes(), type=Part) for path in kept])
    return 1 if any(part.faults for part in parts) else 0


def _run(broker: str, seed: int, size: int, *, bombs: bool) -> Part:
    with tempfile.TemporaryDirectory(prefix="lacak-flood-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        server = Kafka(folder / "kafka") if broker == "kafka" else Tansu(folder / "tansu")
        postgres = Postgres(folder / "postgres")
        server.start()
        try:
            postgres.start()
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            with Progress(f"seed {seed}", *columns, console=Console(stderr=True)) as progress:
                task = progress.add_task("", total=size)
                outcome = flood(
                    server, postgres.url, folder, seed=seed, count=size, bombs=bombs,
                    say=lambda sent, waiting: _say(progress, task, sent, waiting),
                )  # fmt: skip
            return Part.of(outcome, "Apache Kafka" if broker == "kafka" else "Tansu", seed, size)
        finally:
            postgres.stop()
            server.stop()


def _say(progress: Progress, task: TaskID, sent: int, waiting: int) -> None:
    progress.update(task, completed=sent)
    if not sys.stderr.isatty():
        print(f"{datetime.now():%T}  {sent:,} sent, {waiting:,} not accounted for", file=sys.stderr, flush=True)


def _print(parts: list[Part]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 100)
    for title, rows in (("topic", by_topic(parts)), ("endpoint", by_route(parts))):
        table = Table(box=None, header_style="bold")
        table.add_column(title)
        table.add_column("bad", justify="right")
        table.add_column("set aside or refused as", overflow="fold")
        for name, count, told in rows:
            table.add_row(name, f"{count:,}", told.replace("`", ""))
        console.print(table)
    print("\n".join(memory_table(parts)))
    for part in parts:
        pace = part.sent / max(part.sending_seconds, 1.0)
        console.print(
            f"seed {part.seed}: {part.sent:,} sent, {part.letters:,} letters, {part.seconds:.0f} s, of them "
            f"{part.sending_seconds:.0f} s of sending ({pace:,.0f} a second)"
        )
        for fault in part.faults:
            console.print(f"  {fault}", style="red", markup=False)


if __name__ == "__main__":
    sys.exit(main())
