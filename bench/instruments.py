"""What measuring costs: the chain with heartbeats and all its metrics, asked every 15 s, and the same without."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from lacak.scrapes import Target, ask_all

SILENT: Final = "bench.silent"
"""The program whose workers measure nothing."""

_ASK_SECONDS: Final = 15.0  # as a Prometheus does (deploy/prometheus)


@contextmanager
def asked(addresses: Mapping[str, str]) -> Iterator[None]:
    """Ask every process for its metrics all the while, as a Prometheus would."""
    targets = [Target(*each) for each in addresses.items()]
    done = threading.Event()

    def ask() -> None:
        while not done.wait(_ASK_SECONDS):
            ask_all(targets)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def in_pairs(pairs: int, run: Callable[[bool], Any], said: Callable[[str], None]) -> list[tuple[Any, Any]]:
    """(with, without) of each pair; which comes first changes from pair to pair, so that a drift cancels out."""
    found = []
    for number in range(pairs):
        first = number % 2 == 0
        runs = {measured: run(measured) for measured in (first, not first)}
        found.append((runs[True], runs[False]))
        with_, without = (runs[measured].cpu_us_per_scan for measured in (True, False))
        said(f"pair {number + 1}: {with_:.3f} us with, {without:.3f} without: {with_ / without - 1:+.1%}")
    return found


def compared(found: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """The cost by role and in all: microseconds a scan, and the share of what the chain takes without; medians."""
    shares = [with_.cpu_us_per_scan / without.cpu_us_per_scan - 1 for with_, without in found]
    roles = found[0][0].cpu_us
    return {
        "pairs": len(found),
        "with_us": statistics.median(with_.cpu_us_per_scan for with_, _ in found),
        "without_us": statistics.median(without.cpu_us_per_scan for _, without in found),
        "share": statistics.median(shares),
        "shares": shares,
        "by_role_us": {
            role: statistics.median(with_.cpu_us[role] - without.cpu_us[role] for with_, without in found)
            for role in roles
        },
    }


def show(console: Console, cost: Mapping[str, Any]) -> None:
    """Print it."""
    table = Table("measuring", "us a scan", box=None, header_style="bold")
    for role, value in cost["by_role_us"].items():
        table.add_row(role, f"{value:+.3f}")
    table.add_row("all", f"{cost['with_us'] - cost['without_us']:+.3f}", style="bold")
    console.print(table)
    spread = f"{min(cost['shares']):+.1%} to {max(cost['shares']):+.1%} over {cost['pairs']} pairs"
    console.print(f"That is {cost['share']:+.2%} of {cost['without_us']:.2f} us ({spread}).")
