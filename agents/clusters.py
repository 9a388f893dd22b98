"""What the occupancy agent tells of clusters: a message for each venue whose clusters have changed."""

from __future__ import annotations

import msgspec

from contacts.places import Places
from schemas.messages import VenueClusters
from streams.outbox import Outbox


def tell_clusters(outbox: Outbox, partition: int, places: Places, position: int, *, again: bool) -> None:
    """Tell what `places` holds up to `position`; after a replay (`again`) also what may have been told otherwise."""
    since_ms, venues = places.clusters(again=again)
    messages = [
        VenueClusters(
            venue=venue,
            log_time_ms=places.log_time_ms,
            position=(position, 0),
            clusters=tuple(clusters),
            since_ms=since_ms,
        )
        for venue, clusters in venues
    ]
    if messages:
        outbox.send_many("clusters", [(partition, each.venue.encode(), msgspec.json.encode(each)) for each in messages])
