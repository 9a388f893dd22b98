"""Seeds beside each other: each job is a process with servers, ports and folders of its own, for one seed at a time."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from lacak.processes import end_with_parent
from tests.chaos.run import Result, Servers, run
from tests.chaos.schedule import Schedule


class JobFell(RuntimeError):
    """A job ended without a result: its servers did not come up, or it was killed."""


def run_all(
    plans: Sequence[Schedule], home: Path, jobs: int, *, say: Callable[[str], None], go_on: Callable[[], bool]
) -> Iterator[Result]:
    """Run schedules, `jobs` at a time, and tell each result as it comes; none is begun once `go_on` says no.

    Raises JobFell. However it ends, no process is left behind.
    """
    left = list(plans)
    context = multiprocessing.get_context("spawn")
    running: dict[Connection, SpawnProcess] = {}

    def next_for(pipe: Connection) -> None:
        if left and go_on():
            plan = left.pop(0)
            say(f"seed {plan.seed}, {plan.brokers} broker(s): {plan}")
            pipe.send(plan)
        else:
            pipe.send(None)

    try:
        for number in range(min(jobs, len(left))):
            pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, home, number), name=f"job-{number}")
            process.start()
            theirs.close()
            running[pipe] = process
            next_for(pipe)
        while running:
            for ready in wait(list(running)):
                pipe = next(each for each in running if each is ready)
                try:
                    told = pipe.recv()
                except (EOFError, OSError):
                    process = running.pop(pipe)
                    process.join()
                    if process.exitcode:
                        raise JobFell(f"{process.name} ended with code {process.exitcode}") from None
                    continue
                if isinstance(told, Result):
                    next_for(pipe)
                    yield told
                else:
                    say(told)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.join()


def _serve(pipe: Connection, home: Path, number: int) -> None:
    """One job: run what comes by the pipe until that is None. Servers are started when first wanted, and stopped."""
    end_with_parent()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: sys.exit(143))  # and leave nothing behind
    servers = Servers(home, number)
    plan: Schedule | None
    try:
        while (plan := pipe.recv()) is not None:
            name = f"  {plan.seed}: "
            pipe.send(run(plan, servers, lambda text, name=name: pipe.send(name + text)))  # type: ignore[misc]
    finally:
        servers.close()
