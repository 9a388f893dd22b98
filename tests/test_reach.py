"""Dated contact lists against the oracle: both dialects, both directions, equal times, and the command on files."""

from __future__ import annotations

import csv
import gzip
import io
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from contacts.dated import DatedContacts
from contacts.reach import Direction, reach, reach_of_all
from gateway.files import format_time, parse_time
from lacak.main import cli
from tests import oracle_reach as oracle
from tests.oracle_reach import Row

PEOPLE = ["a", "b", "c", "d", "e", str(2**31 + 7), str(2**40), "0017"]
NAMES = st.sampled_from(PEOPLE)
LISTS = st.lists(st.builds(Row, NAMES, NAMES, st.integers(-4, 4) | st.integers(-(10**14), 10**14)), max_size=24)
STRICT = pytest.mark.parametrize("strict", [False, True], ids=["same-or-later", "strict"])


def columns(rows: list[Row], both_ways: bool = False) -> DatedContacts:
    return DatedContacts.of(*([row[place] for row in rows] for place in range(3)), both_ways=both_ways)  # type: ignore[arg-type]


def reached(contacts: DatedContacts, person: str, direction: Direction, strict: bool) -> dict[str, tuple[int, int]]:
    """Distance and time by name."""
    root = contacts.place(person)
    assert root is not None
    found = reach(contacts, root, direction, strict)
    listed = zip(*(column.tolist() for column in found), strict=True)
    return {contacts.people[who]: (distance, at) for who, distance, at in listed}


def counts(contacts: DatedContacts, strict: bool, block_bytes: int = 1 << 20) -> dict[str, tuple[int, ...]]:
    """in_degree, out_degree, in_reach, out_reach by name."""
    found = reach_of_all(contacts, strict, block_bytes)
    return dict(zip(contacts.people, zip(*(column.tolist() for column in found), strict=True), strict=True))


@STRICT
@given(rows=LISTS)
@settings(deadline=None)
def test_one_root_is_what_the_oracle_says(rows: list[Row], strict: bool) -> None:
    """People, distances and times of every root, both ways, with equal times, copies and self-contacts."""
    contacts = columns(rows)
    for person in contacts.people:
        assert reached(contacts, person, "out", strict) == oracle.out(rows, person, strict)
        assert reached(contacts, person, "in", strict) == oracle.into(rows, person, strict)


@STRICT
@given(rows=LISTS)
@settings(deadline=None)
def test_all_at_once_is_what_the_oracle_says(rows: list[Row], strict: bool) -> None:
    found = counts(columns(rows), strict)
    assert found == {person: oracle.counts(rows, person, strict) for person in found}
    assert {person for row in rows for person in row[:2]} == set(found)


@STRICT
@given(rows=LISTS, begin=st.none() | st.integers(-5, 5), end=st.none() | st.integers(-5, 5))
@settings(deadline=None)
def test_a_window_is_half_open_and_cuts_every_step(
    rows: list[Row], begin: int | None, end: int | None, strict: bool
) -> None:
    contacts = columns(rows).within(begin, end)
    kept = [row for row in rows if (begin is None or begin <= row.at) and (end is None or row.at < end)]
    found = counts(contacts, strict)
    assert found == {person: oracle.counts(kept, person, strict) for person in found}
    for person in contacts.people:
        assert reached(contacts, person, "out", strict) == oracle.out(kept, person, strict)


@STRICT
@given(rows=LISTS, chance=st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_and_copies_change_nothing(rows: list[Row], chance: random.Random, strict: bool) -> None:
    mixed = rows + chance.choices(rows, k=len(rows)) if rows else []
    chance.shuffle(mixed)
    one, other = columns(rows), columns(mixed)
    assert counts(other, strict) == counts(one, strict)
    for person in one.people:
        for direction in ("in", "out"):
            assert reached(other, person, direction, strict) == reached(one, person, direction, strict)


@STRICT
@given(rows=LISTS)
@settings(deadline=None)
def test_backward_is_forward_on_negated_time(rows: list[Row], strict: bool) -> None:
    """And so the sums of in-reach and out-reach agree; those of the degrees do too."""
    contacts, turned = columns(rows), columns([Row(row.target, row.source, -row.at) for row in rows])
    for person in contacts.people:
        forward = reached(turned, person, "out", strict)
        assert reached(contacts, person, "in", strict) == {who: (far, -at) for who, (far, at) in forward.items()}
    found = counts(contacts, strict)
    assert counts(turned, strict) == {who: (n[1], n[0], n[3], n[2]) for who, n in found.items()}
    assert sum(n[0] for n in found.values()) == sum(n[1] for n in found.values())
    assert sum(n[2] for n in found.values()) == sum(n[3] for n in found.values())


@STRICT
@given(rows=LISTS)
@settings(deadline=None)
def test_both_ways_is_every_contact_turned_too(rows: list[Row], strict: bool) -> None:
    doubled = rows + [Row(row.target, row.source, row.at) for row in rows]
    found = counts(columns(rows, both_ways=True), strict)
    assert found == {person: oracle.counts(doubled, person, strict) for person in found}


def town(seed: int, contacts: int, times: int) -> list[Row]:
    """A list with more people than a word has bits, some of them much busier than others."""
    chance = random.Random(seed)
    names = [str(2**31 + chance.randrange(10**9)) for _ in range(150)]
    busy = [names[min(int(chance.expovariate(1 / 30)), 149)] for _ in range(2 * contacts)]
    return [Row(busy.pop(), busy.pop(), chance.randrange(times)) for _ in range(contacts)]


@STRICT
@pytest.mark.parametrize(("contacts", "times"), [(120, 1), (300, 6), (300, 10_000)])
def test_many_people(contacts: int, times: int, strict: bool) -> None:
    """Over word borders, whatever is held of the sets at a time; one time for all is one large component."""
    rows = town(contacts + times, contacts, times)
    wanted = {person: oracle.counts(rows, person, strict) for person in columns(rows).people}
    for block_bytes in (1, 3_000, 1 << 20):
        assert counts(columns(rows), strict, block_bytes) == wanted


@STRICT
def test_a_long_chain_within_one_time(strict: bool) -> None:
    """Two thousand steps in one day are no deep recursion; strict, there is no second step."""
    rows = [Row(f"{place:05}", f"{place + 1:05}", 0) for place in range(2000)]
    random.Random(1).shuffle(rows)
    found = counts(columns(rows), strict)
    assert found["00000"] == (0, 1, 0, 1 if strict else 2000)
    assert found["02000"] == (1, 0, 1 if strict else 2000, 0)
    assert max(far for far, _ in reached(columns(rows), "00000", "out", strict).values()) == (1 if strict else 2000)


CONTACTS = """at,note,to,from
2021-10-01,,budi,ani
2021-10-03,met twice,citra,budi
2021-10-02,"a, b",dewi,citra
2021-10-03,,eka,citra
2021-10-05,,ani,ani
"""


def run(*words: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["reach", *(str(word) for word in words)], input=stdin)


def answered(*words: object, stdin: str | None = None) -> list[tuple[str, ...]]:
    told = run(*words, "-o", "-", stdin=stdin)
    assert told.exit_code == 0, told.output
    return [tuple(row) for row in csv.reader(io.StringIO(told.stdout))]


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A list of dates."""
    (tmp_path / "contacts.csv").write_text(CONTACTS, "utf-8")
    return tmp_path / "contacts.csv"


def test_the_example_of_the_documentation(listed: Path) -> None:
    """docs/reach.md shows what the command writes."""
    page = (Path(__file__).parents[1] / "docs" / "reach.md").read_text("utf-8")
    shown = [part.split("\n```")[0].split("\n\n")[0] for part in page.split("$ lacak reach contacts.csv ")[1:]]
    assert len(shown) == 4
    for each in shown:
        words, _, wanted = each.partition("\n")
        told = run(listed, *words.split())
        assert [line for line in (told.stderr + told.stdout).splitlines() if line] == wanted.splitlines()


def test_answers_are_instants_also_where_the_list_has_dates(listed: Path) -> None:
    """A plain date counts, and is written, as the beginning of that day in Jakarta."""
    assert answered(listed, "--root", "ani")[1:] == [
        ("budi", "1", "2021-09-30T17:00:00.000Z"), ("citra", "2", "2021-10-02T17:00:00.000Z"),
        ("eka", "3", "2021-10-02T17:00:00.000Z"),
    ]  # fmt: skip
    timed = CONTACTS + "2021-10-04T01:00:00+07:00,,fitri,citra\n1633294800001,,gita,citra\n"
    told = run("-", "--root", "citra", "-o", "-", stdin=timed)
    assert "5 of 7 contacts have a date alone" in told.stderr
    assert "out-degree (direct contacts) 4, out-reach 4, greatest distance 1." in told.stderr
    assert [tuple(row) for row in csv.reader(io.StringIO(told.stdout))][1:] == [
        ("dewi", "1", "2021-10-01T17:00:00.000Z"), ("eka", "1", "2021-10-02T17:00:00.000Z"),
        ("fitri", "1", "2021-10-03T18:00:00.000Z"), ("gita", "1", "2021-10-03T21:00:00.001Z"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "people"),
    [
        (("--end", "2021-10-03"), ["budi", "citra", "eka"]),  # a date is whole
        (("--end", "2021-10-03T00:00:00+07:00"), ["budi"]),  # a time is not in it
        (("--end", "2021-10-03T00:00:00.001+07:00"), ["budi", "citra", "eka"]),
        (("--begin", "2021-10-01", "--end", "2021-10-01"), ["budi"]),
        (("--begin", "2021-10-02"), []),
        (("--begin", str(parse_time("2021-10-01T00:00:00+07:00"))), ["budi", "citra", "eka"]),
        (("--begin", str(parse_time("2021-10-01T00:00:00+07:00") + 1)), []),
        (("--end", "1000000000"), []),  # ten digits are milliseconds, no date
        (("--strict",), ["budi", "citra"]),
        (("--undirected", "--strict"), ["budi", "citra"]),
    ],
)
def test_windows_and_dialects(listed: Path, words: tuple[str, ...], people: list[str]) -> None:
    assert [row[0] for row in answered(listed, "--root", "ani", *words)[1:]] == people


def test_days_are_those_of_the_zone(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time of the evening before in UTC is of the date that a deployment in Jakarta means."""
    timed = "from,to,at\nani,budi,2021-10-01T18:00:00Z\n"
    assert [row[0] for row in answered("-", "--root", "ani", "--begin", "2021-10-02", stdin=timed)[1:]] == ["budi"]
    monkeypatch.setenv("LACAK_ZONE", "Europe/Dublin")
    assert answered("-", "--root", "ani", "--begin", "2021-10-02", stdin=timed)[1:] == []
    assert answered(listed, "--root", "ani", "--end", "2021-10-01")[1:] == [("budi", "1", "2021-09-30T23:00:00.000Z")]


@pytest.mark.parametrize("words", [(), ("--strict",), ("--undirected",)], ids=" ".join)
def test_files_are_what_the_oracle_says(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A packed list in, a packed summary out; every root, both ways."""
    rows = town(5, 200, 60)
    path, out = tmp_path / "contacts.csv.gz", tmp_path / "out.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("to", "weather", "from", "at"))
        writer.writerows((row.target, "sunny", row.source, format_time(row.at)) for row in rows)
    taken = rows + [Row(row.target, row.source, row.at) for row in rows] if "--undirected" in words else rows
    taken, strict = [row for row in taken if 10 <= row.at < 50], "--strict" in words
    window = ("--begin", 10, "--end", format_time(50))
    assert run(path, "--summary", *window, *words, "-o", out).exit_code == 0
    with gzip.open(out, "rt", encoding="utf-8", newline="") as file:
        header, *summary = csv.reader(file)
    assert header == ["id", "in_degree", "out_degree", "in_reach", "out_reach"]
    people = sorted({person for row in rows for person in row[:2]})
    assert summary == [[who, *map(str, oracle.counts(taken, who, strict))] for who in people]
    for root in random.Random(1).sample(people, 12):
        for direction, judge in (("out", oracle.out), ("in", oracle.into)):
            found = answered(path, "--root", root, "--direction", direction, *window, *words)[1:]
            wanted = judge(taken, root, strict)
            assert {row[0]: (int(row[1]), parse_time(row[2])) for row in found} == wanted
            assert [row[1:] for row in found] == sorted(row[1:] for row in found)


def test_ids_are_written_back_as_read() -> None:
    ids = ["0017", "17", " 17", "4294967296", "ibu, sari", "Ñandú"]
    text = io.StringIO()
    csv.writer(text).writerows([("from", "to", "at"), *((each, "x", 5) for each in ids)])
    assert [row[0] for row in answered("-", "--summary", stdin=text.getvalue())[1:]] == sorted([*ids, "x"])


def test_bad_lines_are_told_set_aside_and_the_rest_goes_on(listed: Path) -> None:
    bad = [
        "2021-13-01,,x,ani",
        ",,x,ani",
        "2021-10-01,,,ani",
        "2021-10-01,,x,",
        "yesterday,,x,ani",
        "9999-12-31,,x,ani",
    ]
    listed.write_text(CONTACTS + "\n".join(bad) + "\n", "utf-8")
    told = run(listed, "--root", "ani", "-o", "-")
    assert told.exit_code == 0
    assert "x," not in told.stdout
    assert Path(f"{listed}.rejected").read_text("utf-8").splitlines() == bad
    for said in ("line 7: there is no date 2021-13-01", "line 8: the time is missing", "line 9: to is empty"):
        assert said in " ".join(told.stderr.split())
    assert "6 lines were set aside" in told.stderr


def test_a_list_without_contacts_is_an_empty_answer() -> None:
    assert answered("-", "--summary", stdin="from,to,at\n") == [
        ("id", "in_degree", "out_degree", "in_reach", "out_reach")
    ]
    assert answered("-", "--summary", stdin="from,to,at\na,a,1\n")[1:] == [("a", "0", "0", "0", "0")]
    assert answered("-", "--root", "a", stdin="from,to,at\na,a,1\n") == [("person", "distance", "at")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.csv", "--summary"), "nowhere.csv cannot be read"),
        (("{folder}/other.csv", "--summary"), "lacks the column to"),
        (("{list}", "--root", "zaki"), "holds no contact of 'zaki'"),
        (("{list}",), "--root ID, or --summary"),
        (("{list}", "--root", "ani", "--summary"), "--root ID, or --summary"),
        (("{list}", "--summary", "--direction", "in"), "leave --direction out"),
        (("{list}", "--root", "ani", "--begin", "2021-10-02", "--end", "2021-10-01"), "--begin must be before --end"),
        (("{list}", "--root", "ani", "--begin", "5", "--end", "5"), "--begin must be before --end"),
        (("{list}", "--root", "ani", "--begin", "1 October"), "'1 October' is neither a date"),
        (("{list}", "--root", "ani", "--end", "9999-12-31"), "'9999-12-31' is neither a date"),
        (("{list}", "--root", "ani", "--direction", "up"), "'up' is not one of"),
    ],
)
def test_errors_are_sentences(listed: Path, words: tuple[str, ...], said: str) -> None:
    (listed.parent / "other.csv").write_text("from,at\na,1\n", "utf-8")
    told = run(*(word.format(list=listed, folder=listed.parent) for word in words), "-o", "-")
    assert told.exit_code in (1, 2)
    assert said in told.output
    assert isinstance(told.exception, SystemExit)
