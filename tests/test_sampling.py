"""What counts as measuring in a sample."""

from __future__ import annotations

from bench.instruments import Samples, counted, together

STACKS = """\
main (/a/lacak/main.py:3);run (/a/agents/visits.py:7);took (/a/streams/meters.py:9) 3
main (/a/lacak/main.py:3);run (/a/agents/visits.py:7) 90
main (/a/lacak/main.py:3);observe (/v/site-packages/prometheus_client/metrics.py:1);now (/usr/lib/time.py:1) 2
main (/a/lacak/main.py:3);read metrics (/a/contacts/metrics.py:7) 5
main (/a/lacak/main.py:3);wait (/usr/lib/threading.py:3) 1000
run (/usr/lib/threading.py:3);take (/a/streams/meters.py:9);_worker (/usr/lib/concurrent/futures/thread.py:81) 1000
"""


def test_a_sample_measures_where_an_instrument_is_in_its_stack() -> None:
    """At whatever depth; a file that is called alike elsewhere is none, and who waits is not at work."""
    assert counted(STACKS) == Samples(busy=100, measuring=5)
    assert counted("") == Samples(0, 0)
    assert (counted(STACKS).share, counted("").share) == (0.05, 0.0)


def test_runs_add_up() -> None:
    runs = [
        {"visits": Samples(100, 5), "places": Samples(300, 1)},
        {"visits": Samples(100, 1), "places": Samples(0, 0)},
    ]
    assert together(runs) == {"visits": Samples(200, 6), "places": Samples(300, 1), "all": Samples(500, 7)}
