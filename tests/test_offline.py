"""The commands on files: small cases by hand, a nasty world against the oracle, real check-ins, and bad input."""

from __future__ import annotations

import csv
import gzip
import random
from collections import Counter
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.files import format_time, parse_time
from lacak.main import _COMMANDS, cli
from tests import oracle
from tests.worlds import BEGIN, DAY, World, world

SCANS = """person,venue,kind,at
ani,shop,in,2021-10-21T10:00:00+07:00
budi,shop,in,2021-10-21T10:10:00+07:00
ani,shop,out,2021-10-21T10:40:00+07:00
budi,mall,out,2021-10-21T10:55:00+07:00
citra,mall,in,1634785200000
"""
VENUES = """venue,category,within
mall,mall,
shop,shop,mall
"""


def run(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], input=stdin)


def rows(path: Path) -> list[dict[str, str]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:  # type: ignore[operator]
        return list(csv.DictReader(file))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with scans.csv and venues.csv."""
    (tmp_path / "scans.csv").write_text(SCANS, "utf-8")
    (tmp_path / "venues.csv").write_text(VENUES, "utf-8")
    return tmp_path


def commands(group: click.Group, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and subcommand."""
    found = []
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        found.append((*words, name))
        if isinstance(command, click.Group):
            found += commands(command, (*words, name))
    return found


@pytest.mark.parametrize("words", commands(cli), ids=" ".join)
def test_every_command_teaches(words: tuple[str, ...]) -> None:
    """--help works, says what the command is for, and says it of every option."""
    told = run(*words, "--help")
    assert told.exit_code == 0
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None
        command = found
    assert len(command.help or "") > 20
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_the_list_of_commands_says_what_each_is_for() -> None:
    told = run("--help").output
    for section, named in _COMMANDS.items():
        assert section in told
        for name, (_, short) in named.items():
            assert f"  {name} " in told
            assert short.split()[0] in told


def test_visits_end_as_the_scans_say(files: Path) -> None:
    out = files / "visits.csv"
    told = run("visits", files / "scans.csv", "--venues", files / "venues.csv", "-o", out)
    assert told.exit_code == 0, told.output
    assert [(r["person"], r["venue"], r["start"], r["end"], r["end_reason"]) for r in rows(out)] == [
        ("ani", "shop", "2021-10-21T03:00:00.000Z", "2021-10-21T03:40:00.000Z", "checked_out"),
        ("citra", "mall", "2021-10-21T03:00:00.000Z", "2021-10-21T05:00:00.000Z", "assumed"),
        ("budi", "shop", "2021-10-21T03:10:00.000Z", "2021-10-21T03:55:00.000Z", "checked_out"),
    ]


def test_windows_count_people_in_a_place_and_what_it_lies_within(files: Path) -> None:
    out = files / "windows.csv"
    told = run("windows", files / "scans.csv", "--venues", files / "venues.csv", "-o", out)
    assert told.exit_code == 0, told.output
    found = {(r["venue"], r["start"][11:16]): r for r in rows(out)}
    assert found["mall", "03:10"]["peak"] == "3"
    assert found["shop", "03:10"]["peak"] == "2"
    assert (found["shop", "03:40"]["exits"], float(found["shop", "03:40"]["mean"])) == ("1", 1.0)
    assert found["mall", "05:00"]["assumed_exits"] == "1"


def test_contacts_need_their_minutes(files: Path) -> None:
    visits, out = files / "visits.csv", files / "contacts.csv"
    run("visits", files / "scans.csv", "-o", visits)
    for profile, people in (("kmk-413", ["budi"]), ("who", ["budi"])):
        told = run("contacts", visits, "--person", "ani", "--profile", profile, "--onset", "2021-10-21", "-o", out)
        assert told.exit_code == 0, told.output
        assert [(r["person"], r["minutes"]) for r in rows(out)] == [(person, "30.000000") for person in people]
    told = run("contacts", visits, "--person", "ani", "--profile", "who", "--onset", "2021-10-21", "--as-of",
               "2021-10-21T10:20:00+07:00", "-o", out)  # fmt: skip
    assert (told.exit_code, rows(out)) == (0, [])  # ten minutes so far


def test_contacts_of_a_stay_that_was_only_declared(files: Path) -> None:
    """A file of visits may hold self-reported ones: they count as any other."""
    (files / "visits.csv").write_text(
        "person,venue,start,end,end_reason\n"
        "ani,shop,2021-10-21T03:00:00Z,2021-10-21T04:00:00Z,checked_out\n"
        "budi,shop,2021-10-21T03:10:00Z,2021-10-21T03:50:00Z,self_reported\n",
        "utf-8",
    )
    words = ("contacts", files / "visits.csv", "--onset", "2021-10-21", "-o", files / "contacts.csv")
    for person, other in (("ani", "budi"), ("budi", "ani")):
        assert run(*words, "--person", person).exit_code == 0
        (found,) = rows(files / "contacts.csv")
        assert (found["person"], float(found["minutes"])) == (other, 40)


def test_standard_input_and_output_and_gzip(files: Path) -> None:
    piped = run("visits", "-", "-o", "-", stdin=SCANS)
    assert piped.exit_code == 0
    assert piped.stdout.splitlines()[0] == "visit_id,person,venue,start,end,end_reason"
    (files / "scans.csv.gz").write_bytes(gzip.compress(SCANS.encode()))
    run("visits", files / "scans.csv.gz", "-o", files / "visits.csv.gz")
    assert gzip.decompress((files / "visits.csv.gz").read_bytes()).decode() == piped.stdout.replace("\r\n", "\n")


def test_bad_lines_are_told_set_aside_and_the_rest_goes_on(files: Path) -> None:
    scans = files / "scans.csv"
    bad = ["dewi,shop,sideways,2021-10-21T10:00:00+07:00", "dewi,shop,in,yesterday", "dewi,shop,in,2021-10-21T10:00:00"]
    scans.write_text(SCANS + "\n".join(bad) + "\n", "utf-8")
    told = run("visits", scans, "-o", files / "visits.csv")
    assert told.exit_code == 0
    assert {row["person"] for row in rows(files / "visits.csv")} == {"ani", "budi", "citra"}
    assert (files / "scans.csv.rejected").read_text("utf-8").splitlines() == bad
    for number in (7, 8, 9):
        assert f"line {number}:" in told.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("visits", "nowhere.csv", "-o", "-"), "nowhere.csv"),
        (("visits", "{folder}/empty.csv", "-o", "-"), "empty"),
        (("visits", "{folder}/venues.csv", "-o", "-"), "lacks the column person, kind, at"),
        (("visits", "{folder}/scans.csv", "-o", "{folder}/no/such/folder.csv"), "cannot be written"),
        (("contacts", "{folder}/visits.csv", "--person", "ani", "-o", "-"), "--onset or --specimen"),
        (("contacts", "{folder}/visits.csv", "--person", "x", "--onset", "2021-10-21", "-o", "-"), "no visit of 'x'"),
        (("contacts", "{folder}/visits.csv", "--person", "ani", "--onset", "21 October", "-o", "-"), "21 October"),
        (
            ("contacts", "{folder}/visits.csv", "--person", "ani", "--profile", "nobody", "--onset", "2021-10-21",
             "-o", "-"),
            "kmk-413",
        ),
    ],
)  # fmt: skip
def test_errors_are_sentences(files: Path, words: tuple[str, ...], said: str) -> None:
    """What cannot be done is said in words, with a code that is not 0, and without a traceback."""
    (files / "empty.csv").write_text("", "utf-8")
    run("visits", files / "scans.csv", "-o", files / "visits.csv")
    told = run(*(word.format(folder=files) for word in words))
    assert told.exit_code in (1, 2)
    assert said in told.output
    assert isinstance(told.exception, SystemExit)


def write(town: World, folder: Path) -> None:
    """A world as files."""
    scans = random.Random(3).sample(town.scans, len(town.scans))
    with (folder / "scans.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("at", "person", "kind", "venue", "weather"))
        writer.writerows((scan.at, scan.person, scan.kind, scan.venue, "sunny") for scan in scans)
    with (folder / "venues.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ("venue", "category", "capacity", "assumed_stay_minutes", "longest_stay_minutes", "within", "valid_from")
        )
        writer.writerows(
            (v.venue, v.category, v.capacity, v.assumed_stay_minutes, v.longest_stay_minutes, v.within, v.valid_from)
            for v in town.venues
        )


@pytest.mark.parametrize("seed", range(6))
def test_a_nasty_world_on_files_is_what_the_oracle_says(tmp_path: Path, seed: int) -> None:
    """Visits, windows, and contacts of both ways, read back from what the commands wrote."""
    town = world(seed, people=12, venues=7, scans=260, late=0.0, erasures=0)
    write(town, tmp_path)
    scans, venues, visits, out = (tmp_path / name for name in ("scans.csv", "venues.csv", "visits.csv", "out.csv"))
    assert run("visits", scans, "--venues", venues, "-o", visits).exit_code == 0
    wanted = oracle.visits(town.scans, town.venues)
    assert [
        (r["start"], r["person"], r["venue"], r["end"], r["end_reason"]) for r in rows(visits)
    ] == [(format_time(v.start), v.person, v.venue, format_time(v.end), v.reason) for v in wanted]  # fmt: skip
    assert run("windows", scans, "--venues", venues, "-o", out).exit_code == 0
    counted = ("entries", "exits", "assumed_exits", "peak")
    assert {
        (r["venue"], parse_time(r["start"])): tuple(int(r[name]) for name in counted) for r in rows(out)
    } == {key: row[:4] for key, row in oracle.windows(wanted).items()}  # fmt: skip
    onset = BEGIN + DAY
    for person in sorted({visit.person for visit in wanted})[:4]:
        told = run("contacts", visits, "--venues", venues, "--person", person, "--profile", "who", "--onset",
                   format_time(onset), "-o", out)  # fmt: skip
        assert told.exit_code == 0, told.output
        window = (BEGIN - DAY, BEGIN + 15 * DAY)  # two days before the onset's day to the end of the 13th after
        found = oracle.contacts(wanted, person, window, minimum_minutes=15, strict=False, per="stay")
        assert sorted((r["person"], r["venue"], parse_time(r["start"]), parse_time(r["end"])) for r in rows(out)) == (
            sorted(tuple(stay) for _, stays in found.values() for stay in stays)
        )


def test_the_museum(real_data: Path, tmp_path: Path) -> None:
    """Real scans with check-outs: every visit ends by one, and nobody is inside at the end of any day."""
    scans, visits, windows = real_data / "museum_scans.csv.gz", tmp_path / "visits.csv", tmp_path / "windows.csv"
    assert run("visits", scans, "-o", visits).exit_code == 0
    assert Counter(row["end_reason"] for row in rows(visits)) == {"checked_out": 10_972}
    assert run("windows", scans, "-o", windows).exit_code == 0
    inside: Counter[str] = Counter()
    peaks: Counter[str] = Counter()
    for row in rows(windows):
        day = row["start"][:10]
        inside[day] += int(row["entries"]) - int(row["exits"])
        peaks[day] = max(peaks[day], int(row["peak"]))
    assert set(inside.values()) == {0}
    assert peaks == counted_by_hand(real_data / "museum_scans.csv.gz")
    stays = [
        oracle.Visit(r["person"], r["venue"], parse_time(r["start"]), parse_time(r["end"]), "") for r in rows(visits)
    ]
    for person in random.Random(1).sample(sorted({stay.person for stay in stays}), 5):
        day = next(row["start"][:10] for row in rows(visits) if row["person"] == person)
        out = tmp_path / "contacts.csv"
        run("contacts", visits, "--person", person, "--profile", "who", "--onset", day, "-o", out)
        near = [s for s in stays if abs(s.start - parse_time(f"{day}T00:00:00Z")) < 20 * DAY]
        onset = parse_time(f"{day}T00:00:00+07:00")
        window = (onset - 2 * DAY, onset + 14 * DAY)
        found = oracle.contacts(near, person, window, minimum_minutes=15, strict=False, per="stay")
        assert {row["person"] for row in rows(out)} == set(found)


def counted_by_hand(path: Path) -> Counter[str]:
    """The most people inside on each day: plus one at an `in`, minus one at an `out`, outs first."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        scans = sorted((row["at"], row["kind"] == "in", row["person"]) for row in csv.DictReader(file))
    peaks: Counter[str] = Counter()
    inside = 0
    for at, enters, _ in dict.fromkeys(scans):
        inside += 1 if enters else -1
        peaks[at[:10]] = max(peaks[at[:10]], inside)
    return peaks


def test_new_york(real_data: Path, tmp_path: Path) -> None:
    """Real check-ins without check-outs, 458 of them twice: every visit has an end and a reason."""
    scans, visits = real_data / "nyc_checkins.csv.gz", tmp_path / "visits.csv"
    assert run("visits", scans, "-o", visits).exit_code == 0
    found = rows(visits)
    with gzip.open(scans, "rt", encoding="utf-8") as file:
        read = [(row["person"], row["venue"], row["at"]) for row in csv.DictReader(file)]
    assert len(read) - len(set(read)) == 458
    assert {row["end_reason"] for row in found} == {"assumed", "next_check_in", "scanned_again"}
    assert all(row["start"] < row["end"] for row in found)
    assert len({row["visit_id"] for row in found}) == len(found) == 140_633
