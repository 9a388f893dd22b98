"""What is counted of scans in bulk is what counting them one by one gives."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from contacts.deriver import Deriver, Scans
from contacts.histories import NONE
from contacts.visits import Acceptance
from schemas.blocks import KINDS, RegistryChange
from schemas.messages import Venue
from streams.scanmeters import ScanMeters

_BOUNDS = (1, 5, 30, 60, 300, 900, 3600, 21_600, 86_400, 259_200)
_SORTS = {"a": ("shop", "r1"), "b": ("shop", "r2"), "c": ("mall", "r1"), "unknown": ("other", "")}


def told() -> Counter[tuple[str, ...]]:
    """All that is told of scans by now."""
    found: Counter[tuple[str, ...]] = Counter()
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith(("lacak_scans_", "lacak_check_ins_", "lacak_scan_lateness_seconds_")):
                found[sample.name, *sample.labels.values()] += round(sample.value * 1000)
    return found


_scan = st.tuples(
    st.sampled_from([*_SORTS, None]),
    st.integers(0, len(KINDS) - 1),
    st.one_of(st.integers(-400_000, 300_000_000), st.sampled_from([1000 * bound for bound in _BOUNDS])),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(_scan, max_size=20), min_size=1, max_size=4))
def test_in_bulk_as_one_by_one(batches: list[list[tuple[str | None, int, int]]]) -> None:
    """Kinds, categories and regions, and how late; a venue without a name has no category, one that moves a new one."""
    deriver, meters = Deriver(0, 1, Acceptance(1, 1, 1), lambda _: 0), ScanMeters()
    for number, (venue, (category, region)) in enumerate(_SORTS.items()):
        if venue != "unknown":
            record = Venue(venue=venue, category=category, region=region)
            deriver.control(number, RegistryChange((0, number), record, 0))
    before, wanted = told(), Counter[tuple[str, ...]]()
    for scans in batches:
        numbers = np.array(
            [NONE if name is None else int(deriver.venue_numbers([name])[0]) for name, _, _ in scans], np.int64
        )
        kind, late = (np.array([scan[column] for scan in scans], np.int64) for column in (1, 2))
        zero = np.zeros(len(scans), np.int64)
        meters.took(deriver, Scans(zero, zero, zero, numbers, kind, zero + 10**12, late + 10**12))
        for name, sort, behind_ms in scans:
            wanted["lacak_scans_total", KINDS[sort]] += 1000
            if KINDS[sort] == "in" and name is not None:
                wanted["lacak_check_ins_total", *_SORTS[name]] += 1000
            wanted["lacak_scan_lateness_seconds_count",] += 1000
            wanted["lacak_scan_lateness_seconds_sum",] += behind_ms
            for bound in (*_BOUNDS, None):
                if bound is None or behind_ms <= 1000 * bound:
                    wanted["lacak_scan_lateness_seconds_bucket", "+Inf" if bound is None else f"{bound}.0"] += 1000
    now = told()
    now.subtract(before)
    near = {key: value for key, value in now.items() if abs(value) > 0}
    assert {key: value for key, value in near.items() if not key[0].endswith("_sum")} == {
        key: value for key, value in wanted.items() if value and not key[0].endswith("_sum")
    }
    assert abs(now["lacak_scan_lateness_seconds_sum",] - wanted["lacak_scan_lateness_seconds_sum",]) <= 2


def test_a_venue_that_becomes_another_counts_as_that() -> None:
    """After another record of the registry its check-ins are of the new category."""
    deriver, meters = Deriver(0, 1, Acceptance(1, 1, 1), lambda _: 0), ScanMeters()
    one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
    before = told()
    for number, category in enumerate(("office", "clinic")):
        change = RegistryChange((0, number), Venue(venue="v", category=category), 0)
        meters.registered(deriver)
        deriver.control(number, change)
        venue = deriver.venue_numbers(["v"])
        meters.took(deriver, Scans(zero, zero, zero, venue, zero, one, one))
    now = told()
    now.subtract(before)
    assert (now["lacak_check_ins_total", "office", ""], now["lacak_check_ins_total", "clinic", ""]) == (1000, 1000)
