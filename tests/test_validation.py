"""The validation against face-to-face contact: a pair of files by hand, and the real ones counted by brute force."""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from bench import validation
from bench.museum import convert
from bench.validation import Validation, markdown, validate, write_page
from gateway.files import FileError

SCANS = """person,venue,kind,at
ani,gallery,in,2009-04-28T10:00:00Z
ani,gallery,out,2009-04-28T10:40:00Z
budi,gallery,in,2009-04-28T10:10:00Z
budi,gallery,out,2009-04-28T11:00:00Z
citra,gallery,in,2009-04-28T10:34:00Z
citra,gallery,out,2009-04-28T10:50:00Z
dewi,gallery,in,2009-04-28T10:40:00Z
dewi,gallery,out,2009-04-28T10:44:59Z
eka,shop,in,2009-04-28T10:00:00Z
eka,shop,out,2009-04-28T11:00:00Z
"""
FACES = """person_a,person_b,face_to_face_seconds
ani,budi,900
citra,ani,20
citra,budi,880
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """SCANS and FACES."""
    (tmp_path / "scans.csv").write_text(SCANS, "utf-8")
    (tmp_path / "faces.csv").write_text(FACES, "utf-8")
    return str(tmp_path / "scans.csv"), str(tmp_path / "faces.csv")


def test_a_case_by_hand(files: tuple[str, str]) -> None:
    """Shared: ani and budi 30 min, ani and citra 6, budi and citra 16, budi and dewi 4:59, citra and dewi 4:59."""
    found = validate(*files)
    assert (found.visitors, found.visits, found.sharing_pairs) == (5, 5, 5)
    assert (found.face_to_face_pairs, found.close_pairs, found.outside) == (3, 1, 0)
    assert [(r.minutes, r.pairs, r.face_to_face, r.close, r.precision, r.precision_close) for r in found.rows] == [
        (5, 3, 3, 1, 1.0, 0.3333),
        (10, 2, 2, 1, 1.0, 0.5),
        (15, 2, 2, 1, 1.0, 0.5),
        (30, 1, 1, 1, 1.0, 1.0),
    ]
    assert [row.recall for row in found.rows] == [1.0, 0.6667, 0.6667, 0.3333]
    assert found.proximity == round(1800 / (52 * 60 + 2 * 299), 4)


def test_files_that_do_not_fit_are_seen(files: tuple[str, str]) -> None:
    """Dewi and eka were never in one place, and citra and dewi for less than ten minutes."""
    assert validate(*files).outside == 0
    with Path(files[1]).open("a", encoding="utf-8") as file:
        file.write("dewi,eka,20\ncitra,dewi,600\n")
    assert validate(*files).outside == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("ani,ani,20\n", "line 5: not two persons"),
        ("budi,ani,20\n", "line 5: not two persons and whole seconds, or a pair that was there before"),
        ("ani,dewi,long\n", "line 5"),
    ],
)
def test_bad_lines_end_it_with_a_sentence(files: tuple[str, str], lines: str, said: str) -> None:
    with Path(files[1]).open("a", encoding="utf-8") as file:
        file.write(lines)
    with pytest.raises(FileError, match=said):
        validate(*files)


def test_the_command_writes_page_and_json(
    files: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tables go between the markers, however often; what is around them stays, and no path of a file is told."""
    page, output = tmp_path / "page.md", tmp_path / "made" / "validation.json"
    page.write_text(f"before\n{validation._BEGIN}\nold\n{validation._END}\nafter\n", "utf-8")
    words = ["validation", *files, "--page", str(page), "--output", str(output)]
    monkeypatch.setattr("sys.argv", words)
    for _ in range(2):
        assert validation.main() == 0
    written = page.read_text("utf-8")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "old" not in written
    assert str(tmp_path) not in written
    assert written.count("| 15 min | 2 | 2 | 100.0% | 1 | 50.0% |") == 1
    assert msgspec.json.decode(output.read_bytes(), type=Validation) == validate(*files)
    page.write_text("nothing", "utf-8")
    assert validation.main() == 1
    assert "lacks the lines" in " ".join(capsys.readouterr().err.split())


def test_a_page_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot be read"):
        write_page(tmp_path / "nowhere.md", "text")


def test_lists_of_contacts_become_scans_and_faces(tmp_path: Path) -> None:
    """Two days, a line that is there twice, a packed list, and what the validation makes of them."""
    (tmp_path / "one.txt").write_text("1240913020\t7\t12\n1240913040 12 7\n1240913040 12 7\n1240914220 7 30\n", "ascii")
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(b"1241000020 41 40\n"))
    lists = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt.gz")]
    assert convert(lists, tmp_path) == (5, 3)
    with gzip.open(tmp_path / "museum_scans.csv.gz", "rt", encoding="utf-8") as file:
        scans = [(row["person"], row["kind"], row["at"]) for row in csv.DictReader(file)]
    assert scans[:5] == [
        ("visitor-12", "in", "2009-04-28T10:03:20.000Z"),
        ("visitor-7", "in", "2009-04-28T10:03:20.000Z"),
        ("visitor-12", "out", "2009-04-28T10:04:00.000Z"),
        ("visitor-30", "in", "2009-04-28T10:23:20.000Z"),
        ("visitor-30", "out", "2009-04-28T10:23:40.000Z"),
    ]
    found = validate(str(tmp_path / "museum_scans.csv.gz"), str(tmp_path / "museum_faces.csv.gz"))
    assert (found.visitors, found.sharing_pairs, found.face_to_face_pairs, found.outside) == (5, 3, 3, 0)
    assert found.proximity == 1.0
    with pytest.raises(FileError, match="visitor-12, as an earlier one"):
        convert([lists[0], lists[0]], tmp_path)
    (tmp_path / "one.txt").write_text("1240913020 7\n", "ascii")
    with pytest.raises(FileError, match="line 1"):
        convert(lists, tmp_path)


def by_hand(folder: Path) -> tuple[dict[frozenset[str], int], dict[frozenset[str], int]]:
    """Seconds that pairs shared, and were face to face, from the files themselves: each visitor has one stay."""
    stays: dict[str, dict[str, int]] = {}
    with gzip.open(folder / "museum_scans.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = round(datetime.fromisoformat(row["at"]).timestamp())
            stays.setdefault(row["person"], {})[row["kind"]] = at
    by_day: dict[int, list[str]] = {}
    for person, stay in stays.items():
        by_day.setdefault(stay["in"] // 86_400, []).append(person)
    shared = {}
    for people in by_day.values():
        for one, other in combinations(people, 2):
            seconds = min(stays[one]["out"], stays[other]["out"]) - max(stays[one]["in"], stays[other]["in"])
            if seconds > 0:
                shared[frozenset((one, other))] = seconds
    with gzip.open(folder / "museum_faces.csv.gz", "rt", encoding="utf-8") as file:
        faces = {
            frozenset((row["person_a"], row["person_b"])): int(row["face_to_face_seconds"])
            for row in csv.DictReader(file)
        }
    return shared, faces


def test_the_museum_and_its_page(real_data: Path) -> None:
    """Every figure counted anew, and docs/validation.md says them."""
    shared, faces = by_hand(real_data)
    found = validate(str(real_data / "museum_scans.csv.gz"), str(real_data / "museum_faces.csv.gz"))
    assert found.visitors == 10_972
    assert (found.sharing_pairs, found.face_to_face_pairs) == (len(shared), len(faces))
    assert found.close_pairs == sum(seconds >= 900 for seconds in faces.values())
    assert found.outside == 0
    for row in found.rows:
        named = [pair for pair, seconds in shared.items() if seconds >= 60 * row.minutes]
        near = [faces[pair] for pair in named if pair in faces]
        close = sum(seconds >= 900 for seconds in near)
        assert (row.pairs, row.face_to_face, row.close) == (len(named), len(near), close)
        assert row.precision == pytest.approx(len(near) / len(named), abs=1e-4)
        assert row.precision_close == pytest.approx(close / len(named), abs=1e-4)
        assert row.recall == pytest.approx(len(near) / len(faces), abs=1e-4)
    assert found.proximity == pytest.approx(sum(faces.values()) / sum(shared.values()), abs=1e-4)
    assert [row.recall_close for row in found.rows][:3] == [1.0, 1.0, 1.0]
    page = (Path(__file__).parents[1] / "docs" / "validation.md").read_text("utf-8")
    assert markdown(found) in page
