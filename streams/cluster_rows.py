"""The rows of clusters in PostgreSQL: a message tells all clusters of a venue, and withdraws what it does not name.

A withdrawn cluster stays as a row, without its cases: one of them may be no case any more, or be erased.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import psycopg

from schemas.messages import VenueClusters

_TOLD: Final = """
    insert into lacak.told_clusters values (%s, %s, %s)
    on conflict (venue) do update set
        position_offset = excluded.position_offset, position_step = excluded.position_step
    where (excluded.position_offset, excluded.position_step)
        >= (told_clusters.position_offset, told_clusters.position_step)
"""
"""An equal position is written again: under other rules the same place of the log tells other clusters."""

_CLUSTER: Final = """
    insert into lacak.clusters (cluster_id, venue, category, starts, ends, cases, case_ids, slot_cases, risk, rule,
        position_offset, position_step)
    values (%s, %s, %s, to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0), %s, %s, %s, %s, %s, %s, %s)
    on conflict (cluster_id) do update set
        category = excluded.category, ends = excluded.ends, cases = excluded.cases, case_ids = excluded.case_ids,
        slot_cases = excluded.slot_cases, risk = excluded.risk, withdrawn = false, changed = clock_timestamp(),
        position_offset = excluded.position_offset, position_step = excluded.position_step
"""

_WITHDRAWN: Final = """
    update lacak.clusters set
        withdrawn = true, case_ids = '{}', changed = clock_timestamp(), position_offset = %s, position_step = %s
    where venue = %s and not withdrawn and cluster_id <> all(%s)
        and (%s::float8 is null or starts >= to_timestamp(%s / 1000.0))
"""


_FORGOTTEN: Final = "update lacak.clusters set case_ids = array_remove(case_ids, %s) where case_ids @> array[%s]"


async def forget_case(connection: psycopg.AsyncConnection[Any], case_id: str) -> None:
    """Let no cluster name a case that an erasure took away, however old; how many there were stays."""
    await connection.execute(_FORGOTTEN, (case_id, case_id))


async def write_clusters(connection: psycopg.AsyncConnection[Any], messages: Iterable[VenueClusters]) -> None:
    """Write messages in the order of their log."""
    for told in messages:
        cursor = await connection.execute(_TOLD, (told.venue, *told.position))
        if not cursor.rowcount:
            continue
        for c in told.clusters:
            await connection.execute(
                _CLUSTER,
                (
                    c.cluster_id, told.venue, c.category, c.start_ms, c.end_ms, c.cases, list(c.case_ids),
                    list(c.slot_cases), c.risk, c.rule, *told.position,
                ),
            )  # fmt: skip
        named = [cluster.cluster_id for cluster in told.clusters]
        await connection.execute(_WITHDRAWN, (*told.position, told.venue, named, told.since_ms, told.since_ms))
