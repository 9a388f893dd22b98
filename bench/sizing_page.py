"""The page docs/sizing.md: the table of regions, what decides, and the figures it is made of."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bench.sizing import ROLES, STATEFUL, Assumptions, Guide, Measured, Size, read_measured, sizes

_PAGE: Final = """\
# How large

Made by `python -m bench.sizing` from the figures at the end of this page; a test makes it anew. It answers how many
workers of which role, with what, a deployment needs. The Kubernetes overlays in `deploy/kubernetes/overlays` ask
for no less than this, which a test holds too.

{table}

Cores are of the machine that was measured, at {use} use in the peak. Workers are one thread each: one that needs
less than a core shares it. Registry and tracing are not bound by scans; a second worker of each may stand by.

## What decides

- **Memory, not CPU.** A core carries the scans of a province. What has to be held is every visit of the retention,
  and every scan of the horizon: the places and visits workers of a nation are many because no process was measured
  with more than {most} million visits, and because each is given a bounded memory. Halving
  `LACAK_TIMES_RETENTION_DAYS` halves the places workers.
- **Partitions** are fixed for a deployment, and are a multiple of the workers, so that all have as many. Where workers
  are few there are two for each, so that they may be twice as many one day; where they are many there is one, and a
  deployment that outgrows it gives each more memory. Every partition of `scans` tells every partition of `visits` its
  log time twice a second, whether there are scans or not: that product is a floor of small records, and no reader or
  writer of them was measured by itself. It is the reason not to have ten times as many partitions.
- **Gateways** are counted as if every scan were decided at a door on its own. Scans that come in lists cost a twentieth
  of that. Each gateway holds everybody's status, some 80 bytes a person ([performance.md](performance.md)): 20 GiB for
  a nation, which is better served by gateways of each province.
- **Kafka and PostgreSQL** are sized by what has to be stored. Their CPU was not measured by itself: in the run of
  bench.stream they, the publisher and all workers shared two cores. So no number of cores stands here for them.
- **A network between sites, disks under load, and more than one machine** were not measured. The figures are one
  machine's, multiplied: try a province's load before promising a nation's.

## Measured

| what | figure | from | field |
|---|---|---|---|
{figures}

## Taken for granted

[figures/sizing.toml](figures/sizing.toml) says why. Change it to what is so where you are, and make the page anew.

| | |
|---|---|
{given}
"""


def page(guide: Guide, reports: dict[str, Any]) -> str:
    """The page, from what is taken for granted and the benches' reports."""
    measured = read_measured(reports)
    found = sizes(guide, measured)
    head = "| | " + " | ".join(each.region.name for each in found) + " |\n|---|" + "---|" * len(found)
    rows = [
        ("people", [f"{each.region.people:,}" for each in found]),
        ("scans a day", [f"{each.scans_a_day / 1e6:,.1f} M" for each in found]),
        ("scans a second, at the peak", [f"{each.peak:,.0f}" for each in found]),
        *(
            (f"`LACAK_PARTITIONS_{topic.upper()}`", [f"{each.partitions[topic]}" for each in found])
            for topic in ("scans", "visits", "cases")
        ),
        *(
            (
                f"{role}: workers × (cores, memory{', volume' if role in STATEFUL else ''})",
                [_cell(each, role) for each in found],
            )
            for role in ROLES
        ),
        ("**all workers**: cores, memory", [f"**{each.cores:,.2f}, {each.memory_gib:,.0f} GiB**" for each in found]),
        ("gateways of one core each", [f"{each.gateways}" for each in found]),
        ("Kafka: copies, disk in all", [f"{each.region.replication}, {_gib(each.kafka_gib)}" for each in found]),
        ("Kafka: written at the peak, with copies", [f"{each.kafka_mb_a_second:,.2f} MB/s" for each in found]),
        ("Kafka: blocks of `visits` a second, at least", [f"{each.blocks_a_second:,.0f}" for each in found]),
        ("PostgreSQL: disk", [_gib(each.database_gib) for each in found]),
    ]  # fmt: skip
    table = "\n".join(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows)
    return _PAGE.format(
        table=f"{head}\n{table}", figures=_figures(reports, measured), given=_given(guide.assumptions),
        use=f"{guide.assumptions.use_of_a_core:.0%}", most=f"{guide.assumptions.visits_a_places_worker_most / 1e6:.0f}",
    )  # fmt: skip


def _cell(found: Size, role: str) -> str:
    each = found.workers[role]
    volume = f", {_gib(each.disk_gib)}" if role in STATEFUL else ""
    return f"{each.number} × ({max(each.cores, 0.01):.2f}, {each.memory_gib:.1f} GiB{volume})"


def _gib(value: float) -> str:
    return f"{value / 1024:,.1f} TiB" if value >= 1024 else f"{value:,.0f} GiB" if value >= 10 else f"{value:.1f} GiB"


def _given(given: Assumptions) -> str:
    return "\n".join(f"| `{name}` | {value:,g} |" for name, value in msgspec.structs.asdict(given).items())


def _figures(reports: dict[str, Any], measured: Measured) -> str:
    rows = [
        *(
            (f"CPU of the {role} role", f"{measured.cpu_us[role]:.2f} us a scan", "stream", f"`cpu_us.{role}`")
            for role in ROLES
            if role != "status"
        ),
        ("memory of visits, a scan in the horizon", f"{measured.visits_bytes_a_scan:.0f} bytes", "stream",
         "(`peak_mib.visits` - `peak_mib.status`) / `scans`"),
        ("memory of places, a scan of the day under way", f"{measured.living_bytes_a_scan:.0f} bytes", "stream",
         "(`peak_mib.places` - `peak_mib.status`) / `scans`"),
        ("memory of a worker without state", f"{measured.base_mib['visits']:.0f} MiB", "stream",
         "`peak_mib.status`, idle"),
        ("memory of the visit index", f"{measured.index_bytes_a_visit:.1f} bytes a visit", "index",
         "`build.resident_without_exact_times_bytes_a_visit`"),
        ("its files", f"{measured.index_disk_bytes_a_visit:.1f} bytes a visit", "index",
         "`build.bytes_a_visit` + `build.exact_times_on_disk_bytes_a_visit`"),
        ("`scans` in Kafka, one copy, lz4", f"{measured.scans_topic_bytes:.0f} bytes a scan", "stream",
         "`runs[0].topic_bytes.scans` / `scans`"),
        ("`visits` in Kafka, one copy, lz4", f"{measured.visits_topic_bytes:.0f} bytes a scan", "stream",
         "`runs[0].topic_bytes.visits` / `scans`"),
        ("PostgreSQL", f"{measured.database_bytes:.0f} bytes a scan", "stream", "`runs[0].database_bytes` / `scans`"),
        ("health events of the status role", f"{measured.status_events:,.0f} a second and core", "status",
         "`events_a_core_second`"),
        ("its memory, a health record", f"{measured.status_bytes_a_record:.0f} bytes", "status",
         "(`worker_mib` - `peak_mib.status` of stream.json) / `events`"),
        ("decisions of a gateway", f"{measured.decisions:,.0f} a second and core", "door",
         "least of `runs[].single.requests_per_second`"),
    ]  # fmt: skip
    return "\n".join(
        f"| {what} | {value} | [{file}.json](figures/{file}.json), {reports[file]['machine']['date']} | {field} |"
        for what, value, file, field in rows
    )
