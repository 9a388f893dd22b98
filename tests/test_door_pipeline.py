"""Rules and recounts through the running pipeline: what is published at the edge changes what `occupancy` says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg

from contacts.doorrules import load_door_rules
from lacak.published import publish, publish_first, published_rules, rule_set
from schemas.door import Recount
from schemas.messages import Scan, Venue
from streams.settings import Settings
from streams.topics import ensure_topics
from tests.pipeline import Broker, Pipeline, pipeline

MINUTE = 60_000
RULES = """
name = "t"
source = "test"

[[levels]]
regions = ["ID-LA"]
level = 3
valid_from = 2021-01-01
source = "test"

[[room]]
id = "mall"
source = "test"
categories = ["mall"]
levels = [3]
valid_from = 2021-01-01
percent = {percent}
"""


def occupancy(running: Pipeline) -> dict[str, tuple[int, int | None]]:
    """Inside and allowed, by venue."""
    with psycopg.connect(running.settings.database) as database:
        rows = database.execute("select venue, inside, allowed from lacak.occupancy").fetchall()
    return {venue: (inside, allowed) for venue, inside, allowed in rows}


def wait_for(running: Pipeline, wanted: Callable[[dict[str, tuple[int, int | None]]], bool]) -> None:
    """Wait until the counts are as wanted."""
    deadline = time.monotonic() + 60.0
    while not wanted(found := occupancy(running)):
        running.lacak.watch()
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def recount(running: Pipeline, venue: str, inside: int, name: str) -> None:
    """A guard counts, now; the gateway sends it twice."""
    message = Recount(
        venue=venue, inside=inside, at_ms=time.time_ns() // 1_000_000, recount_id=name, gateway="g", device="d"
    )
    running.send_raw("recounts", [(0, venue.encode(), msgspec.json.encode(message))] * 2)


def dead_letters(running: Pipeline) -> list[tuple[str, str]]:
    """Topic and reason of each letter, in order."""
    from streams.reader import read_topic

    letters = [msgspec.json.decode(each.value or b"") for each in read_topic(running.settings, "dead-letters")]
    return [(letter["topic"], letter["reason"]) for letter in letters]


def test_published_rules_change_what_is_allowed_and_recounts_the_count(
    broker: Broker, database: str, tmp_path: Path
) -> None:
    """Through a worker that is killed in between; what cannot be used becomes a dead letter and changes nothing."""
    now = time.time_ns() // 1_000_000
    with pipeline(broker, database, tmp_path, clock="live", snapshot_seconds=0.5) as running:
        running.register(
            [
                Venue(venue="mal", category="mall", region="ID-LA-01", capacity=50),
                Venue(venue="toko", category="shop", region="ID-LA-01", capacity=9, within="mal"),
            ]
        )
        running.publish([Scan(person=f"p{n}", venue="toko", kind="in", at_ms=now - 5 * MINUTE) for n in range(4)])
        wait_for(running, lambda found: found == {"mal": (4, 50), "toko": (4, 9)})

        publish([rule_set("t", RULES.format(percent=25), "o", "test", now)], running.settings)
        wait_for(running, lambda found: found == {"mal": (4, 12), "toko": (4, 9)})
        recount(running, "mal", 7, "first")
        wait_for(running, lambda found: found == {"mal": (7, 12), "toko": (4, 9)})

        running.worker("places").kill()  # the rules and the recount are in its snapshot, or come again
        running.publish([Scan(person="late", venue="mal", kind="in", at_ms=time.time_ns() // 1_000_000)])
        wait_for(running, lambda found: found == {"mal": (8, 12), "toko": (4, 9)})

        publish([rule_set("t", RULES.format(percent=250), "o", "test", now)], running.settings)
        running.send_raw(
            "recounts",
            [
                (0, b"mal", b'{"venue":"mal","inside":-1,"at_ms":0,"recount_id":"r","gateway":"g","device":"d"}'),
                (0, b"mal", b"{}"),
            ],
        )
        publish([rule_set("t", RULES.format(percent=50), "o", "test", now)], running.settings)
        wait_for(running, lambda found: found == {"mal": (8, 25), "toko": (4, 9)})
        recount(running, "mal", 0, "all out")
        wait_for(running, lambda found: found == {"mal": (0, 25), "toko": (0, 9)})
        assert sorted(dead_letters(running)) == [
            ("recounts", "bad_count"),
            ("recounts", "undecodable"),
            ("rules", "refused_rules"),
        ]
        (file,) = published_rules(running.settings).files
        assert (file.id, file.room[0].percent) == ("t", 50)


def test_a_new_deployment_begins_with_the_shipped_rules_and_another_is_left_alone(broker: Broker) -> None:
    """Published once where none ever were, as they are in the files; never beside rules that an operator published."""
    shipped = load_door_rules().files
    for prefix, before in ((f"r{uuid.uuid4().hex[:6]}.", []), (f"r{uuid.uuid4().hex[:6]}.", ["t"])):
        settings = Settings(brokers=broker.bootstrap, topic_prefix=prefix)
        ensure_topics(settings)
        publish([rule_set(name, RULES.format(percent=25), "o", "test", 1) for name in before], settings)
        assert publish_first(settings, 2) == ([] if before else [each.id for each in shipped])
        assert publish_first(settings, 3) == []
        found = published_rules(settings).files
        assert [each.id for each in found] == (before or [each.id for each in shipped])
        assert before or list(found) == list(shipped)
