"""What operators and officers read: pages that name all there is, and texts that stay readable."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from contacts.registry import Registry, RegistryError
from gateway.files import read_venues
from gateway.lines import BadLine
from lacak import metrics_page
from lacak.publish import chunks
from lacak.topic_commands import _say
from officer.history import Version, to_text
from schemas.messages import Contact, Scan, Trace, Venue
from streams.reader import ReadRecord

ROOT = Path(__file__).parents[1]


def test_the_page_of_metrics_is_made_from_the_catalogue() -> None:
    """docs/metrics.md says what the catalogues say; docs/operating.md names metrics that there are."""
    assert metrics_page.PAGE.read_text("utf-8") == metrics_page.render(), "python -m lacak.metrics_page"
    known = {metrics_page.name_of(metric) for _, _, metrics in metrics_page.GROUPS for metric in metrics}
    named = re.findall(r"`(lacak_\w+)`", (ROOT / "docs/operating.md").read_text("utf-8"))
    assert named and set(named) <= known


def test_every_table_is_documented() -> None:
    """docs/database.md names each table and view of the migrations."""
    page = (ROOT / "docs/database.md").read_text("utf-8")
    steps = [path.read_text("utf-8") for path in files("deploy.migrations").iterdir() if path.name.endswith(".sql")]
    made = {name for sql in steps for name in re.findall(r"create (?:table|view) lacak\.(\w+)", sql)}
    assert len(made) > 10
    assert [name for name in sorted(made) if f"`{name}`" not in page] == []


def _report(*people: str) -> Trace:
    contacts = tuple(
        Contact(person=person, minutes=20.0, rule="who@2020-03-20", grade="possible", evidence=()) for person in people
    )
    return Trace(
        trace_id="f-1", case_id="c", person="case", direction="forward", profile="who", profile_version="2020-03-20",
        officer="dr", purpose="test", state="complete", revision=1, window_start_ms=0, window_end_ms=1,
        requested_at_ms=0, position=(0, 0), contacts=contacts,
    )  # fmt: skip


def test_a_history_is_short_lines() -> None:
    """Each report is a line, each change one of its own, and of many only the first are listed."""
    at = datetime(2021, 10, 22, 1, tzinfo=UTC)
    many = [f"p1:{number:032x}" for number in range(40)]
    versions = [Version(at, at, _report(*many)), Version(at, None, _report(*many[1:], "new"))]
    text = to_text(versions, ZoneInfo("Asia/Jakarta"))
    assert "2021-10-22 08:00:00  as of 2021-10-22 08:00:00  complete, revision 1, 40 contacts" in text
    assert "    + 30 more" in text
    assert "    +new\n" in text
    assert f"    -{many[0]}\n" in text
    assert max(map(len, text.splitlines())) <= 82


def test_a_refused_venue_has_its_line(tmp_path: Path) -> None:
    """What the registry refuses is told like any other bad line: with its number, and in words."""
    path = tmp_path / "venues.csv"
    path.write_text("venue,within\nmall,\nshop,mall\nmall,shop\n", "utf-8")
    registry, bad = Registry(), list[BadLine]()
    good = list(read_venues(str(path), bad.append, None, registry.add))
    assert [venue.venue for venue in good] == ["mall", "shop"]
    assert [(line.number, line.text) for line in bad] == [(4, "mall,shop")]
    assert "lies within nothing for good" in bad[0].reason
    with pytest.raises(RegistryError, match="'mall' for good; a record that says nothing"):
        registry.add(Venue(venue="shop"))


def test_a_file_of_venues_has_areas_and_fallbacks(tmp_path: Path) -> None:
    """`area_m2` and `fallback` are read where they stand; what is no area or no fallback is a line with its reason."""
    path = tmp_path / "venues.csv"
    path.write_text(
        "venue,area_m2,fallback,route\na,120.5,refuse,A > B\nb,,,\nc,wide,,\nd,,maybe,\ne,-1,,\nf,2e9,admit,\n", "utf-8"
    )
    registry, bad = Registry(), list[BadLine]()
    good = list(read_venues(str(path), bad.append, None, registry.add))
    found = [(venue.venue, venue.area_m2, venue.fallback, venue.route) for venue in good]
    assert found == [("a", 120.5, "refuse", "A > B"), ("b", None, "check", "")]
    assert [line.number for line in bad] == [4, 5, 6, 7]
    assert "no number" in bad[0].reason and "admit, check, refuse" in bad[1].reason
    assert "not negative" in bad[2].reason and "area_m2 of venue 'f'" in bad[3].reason


def test_of_a_large_block_the_first_rows_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`lacak tail` prints a screenful; --json all."""
    value = msgspec.json.encode({"rows": list(range(500))})
    record = ReadRecord("windows", 0, 7, 0, b"", value)
    _say(record, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 22
    assert lines[-1].strip().startswith("... and 480 more")
    _say(record, as_json=True)
    assert "499" in capsys.readouterr().out


def test_scans_do_not_wait_for_a_thousand_others() -> None:
    """Under a rate, or from a slow pipe, scans go out as they come; none is lost or moved."""
    scans = [Scan(person="p", venue="v", kind="in", at_ms=number) for number in range(23)]
    assert [len(each) for each in chunks(scans, 5)] == [5, 5, 5, 5, 3]
    assert [each for part in chunks(scans, 1000, 0.0) for each in part] == scans
    assert [len(each) for each in chunks(scans, 1000, 0.0)] == [1] * 23
    assert list(chunks([], 5)) == []
