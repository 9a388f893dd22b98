"""Door rules: every line of the published rules with the days around its borders, precedence, and wrong files."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from contacts.doorexplain import standings
from contacts.doorrows import EntryRow, LevelRow, RoomRow, RulesFile
from contacts.doorrules import DoorRules, DoorRulesError, PlaceFacts, allowed, load_door_rules, read_door_rules
from lacak.main import cli
from schemas.messages import Venue

ZONE = ZoneInfo("Asia/Jakarta")
RULES = load_door_rules()
LAMPUNG, JAKARTA, FERRY = "ID-LA-01", "ID-JK", "ID-LA > ID-BT"


def ms(day: str, clock: str = "12:00") -> int:
    """A time of a day in Jakarta."""
    return round(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=ZONE).timestamp() * 1000)


def place(category: str, region: str = LAMPUNG, route: str = "", level: int | None = None) -> PlaceFacts:
    """A place."""
    return PlaceFacts(category, region, route, level)


def before(day: str) -> str:
    """The day before."""
    return str((datetime.fromisoformat(day) - timedelta(days=1)).date())


ROOMS = [
    # category, level, first day, of a capacity of 200 before, from then on
    ("mall", None, "2021-08-10", 200, 50),
    ("mall", None, "2021-08-23", 50, 100),
    ("mall", None, "2022-07-05", 100, 200),
    ("restaurant", 2, "2021-08-10", 200, 50),
    ("restaurant", 1, "2021-10-19", 50, 150),
    ("cinema", None, "2021-09-14", 200, 100),
    ("cinema", None, "2021-10-19", 100, 140),
    ("gym", None, "2021-10-19", 200, 150),
    ("worship", None, "2021-08-10", 200, 30),
    ("ferry", None, "2021-08-10", 200, 100),
    ("bus", None, "2021-08-10", 200, 100),
]


@pytest.mark.parametrize(("category", "level", "first", "was", "is_now"), ROOMS)
def test_how_many_on_the_days_around_each_date(
    category: str, level: int | None, first: str, was: int, is_now: int
) -> None:
    """Every line of the capacity rules begins at midnight of its day in the zone, to the millisecond."""
    facts = place(category, level=level)
    found = [allowed(200, RULES.in_force(facts, ms(first, "00:00") + step, ZONE)) for step in (-1, 0)]
    assert found == [was, is_now]


def test_shares_are_whole_people_rounded_down() -> None:
    """25 % or at most 30: the lesser; no share makes people of parts; no capacity, no share of it."""
    worship = RULES.in_force(place("worship"), ms("2021-10-21"), ZONE)
    assert [allowed(capacity, worship) for capacity in (0, 3, 4, 119, 120, 400, None)] == [0, 0, 1, 29, 30, 30, 30]
    cinema = RULES.in_force(place("cinema"), ms("2021-10-21"), ZONE)
    assert [allowed(capacity, cinema) for capacity in (10, 99, 100, None)] == [7, 69, 70, None]


def test_every_share_is_exact() -> None:
    """29 % of 100 is 29, which 0.29 x 100 is not in binary."""
    for percent in range(101):
        rules = DoorRules([file_of(room=[room("r", percent=percent)])])
        found = rules.in_force(place("shop"), ms("2021-10-21"), ZONE)
        assert [allowed(capacity, found) for capacity in (100, 1000)] == [percent, 10 * percent]


def test_a_restaurant_of_level_one_asks_to_leave_after_an_hour() -> None:
    """75 % with a 60-minute limit (level 1, October 2021), 25 % and no limit elsewhere."""
    first, other = (RULES.in_force(place("restaurant", level=level), ms("2021-10-21"), ZONE) for level in (1, 2))
    assert (first.longest_stay_minutes, other.longest_stay_minutes) == (60, None)


ENTRIES = [
    # category, region, route, level, age, day: the row
    ("mall", LAMPUNG, "", None, None, "2021-07-31", None),
    ("mall", LAMPUNG, "", None, None, "2021-08-01", "anywhere"),
    ("cinema", LAMPUNG, "", None, None, "2021-10-18", "anywhere"),
    ("cinema", LAMPUNG, "", None, None, "2021-10-19", "cinema"),
    ("shop", LAMPUNG, "", None, "6-11", "2021-10-21", "children"),
    ("mall", JAKARTA, "", None, "6-11", "2021-09-20", "mall.children"),
    ("mall", JAKARTA, "", None, "6-11", "2021-09-21", "mall.children.trial"),
    ("mall", "ID-JB-Bandung", "", None, "0-5", "2021-09-21", "mall.children.trial"),
    ("mall", "ID-JB-Bogor", "", None, "6-11", "2021-09-21", "mall.children"),
    ("mall", JAKARTA, "", None, "12-17", "2021-09-21", "anywhere"),
    ("mall", JAKARTA, "", None, "6-11", "2022-01-31", "mall.children.trial"),
    ("mall", JAKARTA, "", None, "6-11", "2022-02-01", "mall.children.dose"),
    ("mall", LAMPUNG, "", None, "6-11", "2022-01-31", "mall.children"),
    ("mall", LAMPUNG, "", None, "6-11", "2022-02-01", "mall.children.dose"),
    ("mall", LAMPUNG, "", None, "0-5", "2022-02-01", "mall.children.youngest"),
    ("ferry_terminal", LAMPUNG, FERRY, None, None, "2021-10-20", "anywhere"),
    ("ferry_terminal", LAMPUNG, FERRY, None, None, "2021-10-21", "travel.java-bali"),
    ("ferry_terminal", "ID-BT", "ID-BT>ID-LA", None, None, "2021-10-21", "travel.java-bali"),
    ("ferry", "ID-BA", "ID-BA > ID-NB", None, "60+", "2021-11-01", "travel.java-bali"),
    ("bus", LAMPUNG, FERRY, 4, None, "2021-11-02", "travel.java-bali.november"),
    ("airport", LAMPUNG, FERRY, None, None, "2021-10-21", "air.java-bali"),
    ("airport", LAMPUNG, FERRY, None, None, "2021-11-01", "air.java-bali"),
    ("airport", LAMPUNG, FERRY, None, None, "2021-11-02", "air.java-bali.november"),
    ("bus", LAMPUNG, "ID-LA > ID-SS", 1, None, "2021-10-21", "travel.elsewhere"),
    ("bus", LAMPUNG, "ID-LA > ID-SS", 2, None, "2021-11-01", "travel.elsewhere"),
    ("bus", LAMPUNG, "ID-LA > ID-SS", 2, None, "2021-11-02", "travel.elsewhere.november"),
    ("airport", LAMPUNG, "ID-LA > ID-SS", 2, None, "2021-10-21", "travel.elsewhere"),
    ("bus", LAMPUNG, "ID-LA > ID-SS", 3, None, "2021-10-21", "travel.elsewhere.high"),
    ("airport", LAMPUNG, "ID-LA > ID-SS", 4, None, "2021-10-21", "air.elsewhere.high"),
    ("bus", LAMPUNG, "", 2, None, "2021-10-21", "anywhere"),
]


@pytest.mark.parametrize(("category", "region", "route", "level", "age", "day", "row"), ENTRIES)
def test_which_row_says_who_comes_in(
    category: str, region: str, route: str, level: int | None, age: str | None, day: str, row: str | None
) -> None:
    """Every line of the entry rules, and the day before it."""
    found = RULES.in_force(place(category, region, route, level), ms(day), ZONE).entry(age)  # type: ignore[arg-type]
    assert (found.id if found is not None else None) == row


def test_levels_of_regions_by_date() -> None:
    """The level is data: the most specific region wins, and of it the latest row; a place's own goes before all."""
    days = ("2021-10-04", "2021-10-05", "2021-10-18", "2021-10-19", "2022-07-05")
    found = [
        [RULES.in_force(place("mall", region), ms(day), ZONE).level for day in days]
        for region in (LAMPUNG, "ID-LA-Metro")
    ]
    assert found == [[None, 2, 2, 2, 1], [None, 2, 2, 1, 1]]
    assert RULES.in_force(place("mall", LAMPUNG, "", 4), ms("2022-07-05"), ZONE).level == 4


def test_opening_hours_of_a_day_and_of_a_night() -> None:
    """A place that closes no later than it opens is open over midnight; the borders are exact."""
    shop, bar = (
        DoorRules([file_of(room=[room("r", **hours)])]).in_force(place("bar"), ms("2021-10-21"), ZONE)
        for hours in (
            {"opens": clock("10:00"), "closes": clock("21:30")},
            {"opens": clock("18:00"), "closes": clock("02:00")},
        )
    )
    day = "2021-10-21"
    at = [ms(day, "09:59"), ms(day, "10:00"), ms(day, "21:29"), ms(day, "21:30")]
    assert [shop.is_open(each) for each in at] == [False, True, True, False]
    at = [ms(day, "00:00"), ms(day, "01:59"), ms(day, "02:00"), ms(day, "17:59"), ms(day, "18:00"), ms(day, "23:59")]
    assert [bar.is_open(each) for each in at] == [True, True, False, False, True, True]


def test_the_next_border_is_the_next_day_on_which_anything_begins_or_ends() -> None:
    """Between two borders nothing that is in force changes."""
    at, found = ms("2021-08-01"), []
    while (border := RULES.next_border(at, ZONE)) < float("inf"):
        at = round(border)
        found.append(str(datetime.fromtimestamp(at / 1000, ZONE).date()))
    assert found == [
        "2021-08-10", "2021-08-23", "2021-09-14", "2021-09-21", "2021-10-05", "2021-10-19", "2021-10-21", "2021-11-02",
        "2022-02-01", "2022-07-05",
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------
# Precedence.


def clock(text: str):  # type: ignore[no-untyped-def]
    """A time of day."""
    return datetime.strptime(text, "%H:%M").time()


def file_of(entry=(), room=(), levels=(), name: str = "test") -> RulesFile:  # type: ignore[no-untyped-def]
    """A file of these rows."""
    return RulesFile(name=name, source="test", id=name, entry=tuple(entry), room=tuple(room), levels=tuple(levels))


def room(name: str, **what: object) -> RoomRow:
    """A row about how many."""
    return RoomRow(**{"id": name, "source": "test", "valid_from": datetime(2021, 1, 1).date(), **what})  # type: ignore[arg-type]


def numbered(rows: list[EntryRow]) -> list[EntryRow]:
    """The rows, each with an id of its own."""
    return [msgspec.structs.replace(row, id=f"r{number}") for number, row in enumerate(rows)]


_CATEGORIES = ["*", "shop", "shop/*", "shop/books", "*/books", "mall"]
_REGIONS = ["*", "ID", "ID-LA", "ID-LA-01", "ID-JK"]
_ROUTES = [(), ("*",), ("ID-LA",), ("ID-JK",), ("ID-LA > ID-JK",), ("ID-JK > ID-LA",)]
_rows = st.builds(
    EntryRow,
    id=st.just(""),
    source=st.just("test"),
    categories=st.lists(st.sampled_from(_CATEGORIES), min_size=1, max_size=2, unique=True).map(tuple),
    regions=st.lists(st.sampled_from(_REGIONS), min_size=1, max_size=2, unique=True).map(tuple),
    routes=st.sampled_from(_ROUTES),
    levels=st.sampled_from([(), (1,), (1, 2), (3, 4)]),
    ages=st.sampled_from([(), ("0-5",), ("0-5", "6-11")]),
    valid_from=st.sampled_from([datetime(2021, 10, day).date() for day in (1, 20, 21, 22)]),
    valid_to=st.sampled_from([None, datetime(2021, 10, 20).date(), datetime(2021, 10, 25).date()]),
    colours=st.just(("green",)),
)
_places = st.builds(
    PlaceFacts,
    category=st.sampled_from(["shop", "shop/books", "Shop / Books", "mall", "other"]),
    region=st.sampled_from(["", "ID-LA-01", "ID-LA-02", "ID-JK"]),
    route=st.sampled_from(["", "ID-LA > ID-JK", "ID-SS>ID-LA"]),
    level=st.sampled_from([None, 1, 3]),
)


@given(st.lists(_rows, max_size=8), _places, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_files_changes_nothing(
    rows: list[EntryRow], facts: PlaceFacts, chance: random.Random
) -> None:
    """The same rows, in any order, give the same rows in force in the same order."""
    named = numbered(rows)
    at = ms("2021-10-21")
    first = [row.id for row in DoorRules([file_of(named)]).in_force(facts, at, ZONE).entries]
    chance.shuffle(named)
    assert [row.id for row in DoorRules([file_of(named)]).in_force(facts, at, ZONE).entries] == first
    halves = [file_of(named[::2], name="b"), file_of(named[1::2], name="a")]
    one, other = (DoorRules(files).in_force(facts, at, ZONE).entries for files in (halves, halves[::-1]))
    assert one == other
    assert sorted(row.id for row in one) == sorted(first)


@given(st.lists(_rows, min_size=1, max_size=8), _places)
def test_precedence_is_a_total_order(rows: list[EntryRow], facts: PlaceFacts) -> None:
    """No two rows that match have one key, so that of any two one wins; and what matches is in force and fits."""
    named = numbered(rows)
    rules = DoorRules([file_of(named)])
    day = datetime(2021, 10, 21).date()
    ranked = rules.entry_rows(facts, day)
    keys = [each.key for each in ranked]
    assert keys == sorted(set(keys), reverse=True)
    for each in ranked:
        assert each.row.valid_from <= day <= (each.row.valid_to or day)
        assert not each.row.levels or facts.level in each.row.levels
        assert not each.row.routes or facts.route
    assert all(each.why for each in standings(rules, ranked)[:-1])


def test_more_specific_is_what_the_page_says() -> None:
    """docs/door.md's order: route, category, region, level, age, date, name."""
    text = """
        name = "t"
        source = "t"
        [regions]
        java = ["ID-JK", "ID-BT"]
        """
    rows = [
        ("route", 'routes = ["ID-LA"]'),
        ("category", 'categories = ["ferry"]'),
        ("region", 'regions = ["ID-LA-01"]'),
        ("wide", 'regions = ["ID-LA"]'),
        ("level", "levels = [2]"),
        ("levels", "levels = [1, 2]"),
        ("age", 'ages = ["0-5"]'),
        ("later", "valid_from = 2021-02-01"),
        ("b", ""),
        ("a", ""),
    ]
    for name, what in rows:
        since = "" if "valid_from" in what else "valid_from = 2021-01-01"
        text += f'\n[[entry]]\nid = "{name}"\nsource = "t"\ncolours = ["green"]\n{since}\n{what}\n'
    rules = DoorRules([read_door_rules("t", text, "t")])
    found = rules.in_force(place("ferry", LAMPUNG, FERRY, 2), ms("2021-10-21"), ZONE)
    assert [row.id for row in found.entries] == [name for name, _ in rows]


def test_a_file_of_ones_own_adds_levels_and_overrules_by_name() -> None:
    """Files stand side by side: a regency writes its levels alone, and the rows of Lacak's file see them."""
    levels = LevelRow(regions=(LAMPUNG,), level=4, valid_from=datetime(2021, 10, 20).date(), source="test")
    rules = DoorRules([*RULES.files, file_of(levels=[levels], name="lampung")])
    found = rules.in_force(place("bus", LAMPUNG, "ID-LA > ID-SS"), ms("2021-10-21"), ZONE)
    assert (found.level, found.entries[0].id) == (4, "travel.elsewhere.high")


def test_a_venue_s_record_gives_the_facts() -> None:
    """What the registry says is what the rules ask of."""
    venue = Venue(venue="b", category="ferry_terminal", region=LAMPUNG, route=FERRY)
    assert PlaceFacts.of(venue) == place("ferry_terminal", LAMPUNG, FERRY)


# --------------------------------------------------------------------------------------------------------------------
# Wrong files.

_HEAD = 'name = "t"\nsource = "t"\n'
_ROW = '[[room]]\nid = "a"\nsource = "t"\nvalid_from = 2021-01-01\n'
WRONG = [
    ("name = \n", 1, "not TOML"),
    (_HEAD + _ROW + "percent = 101\n", 7, "room number 1.percent"),
    (_HEAD + _ROW + _ROW.replace('"a"', '"b"') + "persent = 50\n", 11, "did you mean percent?"),
    (_HEAD + _ROW + _ROW, 8, "there twice"),
    (_HEAD + _ROW + "valid_to = 2020-12-31\n", 7, "before it begins"),
    (_HEAD + _ROW + "opens = 10:00:00\n", 7, "go together"),
    (_HEAD + _ROW + 'opens = "ten"\ncloses = 21:00:00\n', 7, "a time without quotes"),
    (_HEAD + _ROW + 'routes = ["ID-LA > ID-BT > ID-JK"]\n', 7, "a route is"),
    (_HEAD + _ROW + "categories = []\n", 7, "categories is empty"),
    (_HEAD + _ROW + 'categories = ["shop", "Shop"]\n', 7, "twice in categories"),
    (_HEAD + _ROW + 'regions = ["ID--LA"]\n', 7, "the widest first"),
    (_HEAD + _ROW.replace("room", "entry") + 'colours = ["green", "blue"]\n', 7, "write one of green, yellow"),
    (_HEAD + _ROW.replace("room", "entry") + 'colours = ["green"]\nchecked = ["green"]\n', 8, "take it out"),
    (_HEAD + _ROW.replace("room", "entry") + "colours = []\nnegatives = { pcr = 0 }\n", 8, "pcr"),
    (_HEAD + _ROW.replace("room", "entry"), 3, "lacks colours"),
    (_HEAD + '[[levels]]\nregions = ["*"]\nlevel = 2\nvalid_from = 2021-01-01\n', 3, "lacks source"),
]


@pytest.mark.parametrize(("text", "line", "says"), WRONG)
def test_a_wrong_file_names_the_line_and_what_to_do(text: str, line: int, says: str) -> None:
    """Each fault with its line, for those who wrote the file."""
    with pytest.raises(DoorRulesError) as told:
        read_door_rules("t", text, "t.toml")
    assert f"The door rules t.toml cannot be used: line {line}: " in str(told.value)
    assert says in str(told.value)


# --------------------------------------------------------------------------------------------------------------------
# The command.


@pytest.fixture
def venues(tmp_path, monkeypatch) -> str:  # type: ignore[no-untyped-def]
    """A file of venues, in a folder where nothing runs."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "venues.csv"
    path.write_text(
        "venue,name,category,region,capacity,within\nmal-1,Mal,mall,ID-LA-01,100,\ntok-1,Toko,shop,,,mal-1\n"
    )
    return str(path)


def test_explain_says_which_row_why_and_how_many(venues: str) -> None:
    """The row in force, what it won over, the count allowed here and around, and what a visitor hears."""
    asked = ["rules", "explain", "--venue", "tok-1", "--at", "2021-10-21T12:00:00+07:00", "--venues", venues]
    told = CliRunner().invoke(cli, [*asked, "--colour", "red"])
    assert told.exit_code == 0, told.output
    assert "indonesia/anywhere" in told.output
    assert "Allowed in tok-1: no limit is known." in told.output
    assert "Allowed in mal-1: 50." in told.output
    assert "refuse (reason colour, row anywhere)" in told.output
    asked[3] = "mal-1"
    full = CliRunner().invoke(cli, [*asked, "--colour", "green", "--inside", "50"])
    assert "full (reason full, mal-1 is full)" in full.output
    assert "Before the next because it began later." in full.output


def test_bad_questions_get_one_clear_line(venues: str) -> None:
    """No traceback: an unknown venue, a wrong test, a file that is not there."""
    run = CliRunner().invoke
    asked = ["rules", "explain", "--venue", "nowhere", "--at", "2021-10-21", "--venues", venues]
    assert "There is no venue 'nowhere'" in run(cli, asked).output
    assert "no test such as pcr:30" in run(cli, [*asked, "--negative", "pcr"]).output
    assert "no door rules 'x'; there are indonesia" in run(cli, ["rules", "show", "x"]).output


def test_list_show_and_check(venues: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """All rows are shown with their sources; a wrong file ends with code 1 and names its line."""
    run = CliRunner().invoke
    listed, shown = run(cli, ["rules", "list"]).output, run(cli, ["rules", "show", "indonesia"]).output
    for file in RULES.files:
        for row in (*file.entry, *file.room):
            assert row.source in listed
            assert row.id in shown
    wrong = tmp_path / "mine.toml"
    wrong.write_text(_HEAD + _ROW + "percent = 101\n")
    told = run(cli, ["rules", "check", str(wrong)])
    assert told.exit_code == 1
    assert "mine.toml:7: " in told.output
    wrong.write_text(_HEAD + _ROW + "percent = 50\n")
    assert (
        "mine.toml can be used: mine, t: 0 rows about who, 1 about how many."
        in run(cli, ["rules", "check", str(wrong)]).output
    )
