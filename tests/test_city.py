"""The made-up city: repeatable, plausible, and true to what it says about itself."""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter, defaultdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from lacak.city import City, TrueStay
from lacak.city.command import city as city_command
from lacak.city.infection import Disease
from schemas.messages import Scan

CATEGORIES = {
    "office", "school", "worship", "market", "mall", "shop", "restaurant", "fast_food", "bar", "gym", "museum",
    "cinema", "hotel", "ferry_terminal", "ferry", "home",
}  # fmt: skip
DAY_MS = 86_400_000
JAKARTA_MS = 7 * 3_600_000


@pytest.fixture(scope="module")
def small() -> City:
    """A city of a few days, small enough to look at every stay."""
    return City(people=900, days=5, seed=7, start=date(2021, 10, 21), offline_share=0.3, duplicate_share=0.1)


@pytest.fixture(scope="module")
def scans(small: City) -> list[Scan]:
    """All its scans."""
    return list(small.scans())


@pytest.fixture(scope="module")
def stays(small: City) -> list[TrueStay]:
    """All its true stays."""
    return list(small.truth.stays())


def test_the_same_parameters_give_the_same_bytes() -> None:
    """Two cities of the same seed agree in every byte; another seed gives others."""

    def everything(seed: int) -> bytes:
        made = City(people=300, days=2, seed=seed)
        return msgspec.json.encode(
            [list(made.scans()), made.venues(), made.test_results(), made.truth.infections, list(made.truth.stays())]
        )

    assert everything(3) == everything(3)
    assert everything(3) != everything(4)


def test_a_second_pass_over_the_scans_gives_the_same(small: City, scans: list[Scan]) -> None:
    """scans() may be read again and is not changed by what was asked in between."""
    assert small.truth.first
    assert list(small.scans()) == scans


def test_scans_come_in_order_of_arrival_and_never_before_they_happened(scans: list[Scan]) -> None:
    """arrived_at_ms never goes back and is never below at_ms; the times themselves are out of order."""
    arrivals = [scan.arrived_at_ms or 0 for scan in scans]
    times = [scan.at_ms for scan in scans]
    assert arrivals == sorted(arrivals)
    assert all(at <= arrived for at, arrived in zip(times, arrivals, strict=True))
    assert any(later < earlier for earlier, later in pairwise(times))


def test_columns_say_what_scans_say(small: City, scans: list[Scan]) -> None:
    """The fast path and the slow one hold the same scans."""
    rows = [row for chunk in small.columns() for row in zip(*(c.tolist() for c in chunk), strict=True)]
    kinds = ("in", "out", "refused")
    expected = [(s.person, s.venue, s.kind, s.at_ms, s.arrived_at_ms) for s in scans]
    assert expected == [(small.persons[p], small.venue_ids[v], kinds[k], at, arrived) for p, v, k, at, arrived in rows]


def test_pseudonyms_are_well_formed_and_differ(small: City) -> None:
    """`p1:` and 32 hex digits, one for each person, another for another seed."""
    assert len(set(small.persons)) == small.people
    assert all(re.fullmatch(r"p1:[0-9a-f]{32}", person) for person in small.persons)
    assert not set(small.persons) & set(City(people=100, seed=8).persons)


def test_venues_are_readable_and_hang_together(small: City, scans: list[Scan]) -> None:
    """Ids are unique, categories known, capacities positive, shops lie in malls, and every scan is at one of them."""
    venues = {venue.venue: venue for venue in small.venues()}
    assert len(venues) == len(small.venues())
    assert {venue.category for venue in venues.values()} == CATEGORIES
    assert all(venue.name and (venue.capacity or 0) >= 10 for venue in venues.values())
    assert all(venue.region.startswith("ID-LA") for venue in venues.values())
    inner = [venue for venue in venues.values() if venue.within is not None]
    assert inner and all(venues[str(venue.within)].category == "mall" for venue in inner)
    assert {scan.venue for scan in scans} <= set(venues)


def test_nobody_is_in_two_places_at_once(small: City, stays: list[TrueStay]) -> None:
    """A person's true stays do not overlap, but for one within the other's venue."""
    parent = {venue.venue: venue.within for venue in small.venues()}
    by_person: dict[str, list[TrueStay]] = defaultdict(list)
    for stay in stays:
        assert stay.start_ms < stay.end_ms
        by_person[stay.person].append(stay)
    for own in by_person.values():
        own.sort(key=lambda stay: (stay.start_ms, -stay.end_ms))
        for i, stay in enumerate(own):
            for other in own[i + 1 :]:
                if other.start_ms >= stay.end_ms:
                    break
                assert parent.get(other.venue) == stay.venue
                assert other.end_ms <= stay.end_ms


def test_every_scan_has_a_true_stay(scans: list[Scan], stays: list[TrueStay]) -> None:
    """A check-in is at the start of a true stay and a check-out at the end of one; refusals have no stay."""
    starts = {(s.person, s.venue, s.start_ms) for s in stays}
    ends = {(s.person, s.venue, s.end_ms) for s in stays}
    for scan in scans:
        key = (scan.person, scan.venue, scan.at_ms)
        assert (key in starts) == (scan.kind == "in")
        assert scan.kind != "out" or key in ends


def test_each_infection_happened_where_both_were(small: City, stays: list[TrueStay]) -> None:
    """Infector and infected really shared the venue at that moment, once each, and the infector was infectious."""
    at: dict[tuple[str, str], list[TrueStay]] = defaultdict(list)
    for stay in stays:
        at[stay.person, stay.venue].append(stay)
    truth = small.truth
    assert len(truth.infections) >= 5
    caught: dict[str, int] = {}
    for one in truth.infections:
        for person in (one.infector, one.infected):
            assert any(s.start_ms <= one.at_ms < s.end_ms for s in at[person, one.venue])
        assert one.infected not in caught and one.infected not in truth.first
        if one.infector not in truth.first:
            assert one.at_ms - caught[one.infector] >= 3 * DAY_MS
        caught[one.infected] = one.at_ms


def test_an_infection_spreads_over_generations() -> None:
    """With time the infected infect others, and some of them outside their homes."""
    made = City(people=1_000, days=12, seed=2, disease=Disease(latent_days=2.0, rate_per_hour=0.04))
    infected = {one.infected for one in made.truth.infections}
    assert any(one.infector in infected for one in made.truth.infections)
    assert any(not one.venue.startswith("rumah") for one in made.truth.infections)


@pytest.mark.parametrize("days", [1, 3])
def test_even_a_short_run_has_a_positive_test_with_onset(days: int) -> None:
    """Somebody falls ill on the first day and is tested within the run; nobody is tested who was not infected."""
    made = City(people=400, days=days, seed=11)
    results = made.test_results()
    ill = set(made.truth.first) | {one.infected for one in made.truth.infections}
    assert any(result.onset_ms is not None for result in results)
    for result in results:
        assert result.outcome == "positive" and result.person in ill
        assert result.onset_ms is None or result.onset_ms <= result.specimen_ms < (result.isolated_ms or 0)


def test_who_was_tested_stays_in(small: City, scans: list[Scan]) -> None:
    """From the day after the specimen nobody isolated is scanned anywhere but at home."""
    isolated = {result.person: result.isolated_ms or 0 for result in small.test_results()}
    away = [s for s in scans if s.at_ms >= isolated.get(s.person, s.at_ms + 1) and not s.venue.startswith("rumah")]
    assert [scan for scan in away if not scan.venue.startswith("hotel")] == []


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_check_outs_is_a_parameter(share: float) -> None:
    """Check-outs per check-in are near the share asked for, and exact at its ends but for nights over the last day."""
    made = City(people=2_000, days=2, seed=5, checkout_share=share, duplicate_share=0.0, home_share=0.0)
    kinds = Counter(scan.kind for scan in made.scans())
    assert kinds["out"] / kinds["in"] == pytest.approx(share, abs=0.03)


def test_doors_go_offline_and_send_later(scans: list[Scan]) -> None:
    """Some scans come more than half an hour late, from few doors; without outages hardly any do."""
    late = [scan for scan in scans if (scan.arrived_at_ms or 0) - scan.at_ms > 1_800_000]
    assert 0.02 < len(late) / len(scans) < 0.4
    quiet = City(people=900, days=2, seed=7, offline_share=0.0, duplicate_share=0.0)
    assert sum((scan.arrived_at_ms or 0) - scan.at_ms > 1_800_000 for scan in quiet.scans()) < 10


def test_an_outage_may_outlast_the_horizon() -> None:
    """With offline_hours of days some scans come later than three days, for those who test lateness."""
    made = City(people=200, days=2, seed=1, offline_share=0.3, offline_hours=(80.0, 90.0))
    assert any((scan.arrived_at_ms or 0) - scan.at_ms > 3 * DAY_MS for scan in made.scans())


def test_duplicates_are_equal_but_for_their_arrival(scans: list[Scan]) -> None:
    """About a tenth come twice, as asked for."""
    seen = Counter((scan.person, scan.venue, scan.kind, scan.at_ms) for scan in scans)
    assert sum(count - 1 for count in seen.values()) / len(seen) == pytest.approx(0.1, abs=0.02)


def test_popularity_has_a_heavy_tail() -> None:
    """The most visited place sees many times what the one in the middle sees."""
    made = City(people=20_000, days=1, seed=1, home_share=0.0)
    visits = np.sort(np.bincount(np.concatenate([chunk.venue for chunk in made.columns()])))
    assert visits[-1] > 10 * np.median(visits[visits > 0])


def test_the_days_have_a_rhythm() -> None:
    """Schools are empty on Sunday, mosques fullest at Friday noon, malls in the evening, and nights are quiet."""
    made = City(people=3_000, days=4, seed=1, start=date(2021, 10, 21))  # Thursday to Sunday
    hours: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    start = min(scan.at_ms for scan in made.scans()) // DAY_MS * DAY_MS  # the first scan is before 7 in the morning
    for scan in made.scans():
        if scan.kind == "in":
            since = scan.at_ms - start + JAKARTA_MS - DAY_MS
            hours[scan.venue.split("-")[0], since // DAY_MS][since % DAY_MS // 3_600_000] += 1
    friday_noon = hours["masjid", 1][11] + hours["masjid", 1][12]
    assert hours["sekolah", 3].total() < hours["sekolah", 1].total() / 50
    assert friday_noon > 2 * (hours["masjid", 0][11] + hours["masjid", 0][12])
    assert hours["mal", 1][18] > 2 * hours["mal", 1][10]
    assert sum(count[hour] for count in hours.values() for hour in range(3)) == 0


def test_parameters_out_of_range_are_named() -> None:
    """A share above 1, no people, no day, or too few doors is refused with a sentence."""
    with pytest.raises(ValueError, match="checkout_share is a share between 0 and 1"):
        City(checkout_share=1.5)
    with pytest.raises(ValueError, match="at least 20 people"):
        City(people=1)
    with pytest.raises(ValueError, match="at least one day"):
        City(days=0)
    with pytest.raises(ValueError, match="places"):
        City(doors=5).venues()
    with pytest.raises(ValueError, match="latent_days"):
        Disease(latent_days=0.5)


def test_the_command_writes_the_files_it_speaks_of(tmp_path: Path) -> None:
    """Every file has its columns and the rows of the city; a second run writes the same bytes."""
    arguments = ["--people", "200", "--days", "1", "--gzip", "--stays", "-o"]
    for name in ("a", "b"):
        result = CliRunner().invoke(city_command, [*arguments, str(tmp_path / name)])
        assert result.exit_code == 0, result.output
    made = City(people=200, days=1)
    with gzip.open(tmp_path / "a" / "scans.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["person"] for row in rows] == [scan.person for scan in made.scans()]
    assert set(rows[0]) == {"person", "venue", "kind", "at", "arrived_at"}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rows[0]["at"])
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["scans.csv.gz", "stays.csv", "tests.csv", "truth.csv", "venues.csv"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_command_says_what_to_do_about_a_bad_folder(tmp_path: Path) -> None:
    """A file where the folder should be is a usage error, not a traceback."""
    (tmp_path / "taken").write_text("here")
    result = CliRunner().invoke(city_command, ["--people", "100", "-o", str(tmp_path / "taken")])
    assert result.exit_code == 2 and "Traceback" not in result.output
