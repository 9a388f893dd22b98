"""Each published rule by hand, from its text, and files of test vectors against them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from contacts.profiles import load_profiles
from contacts.rules import cdc, clea, cwa, measles, minutes
from contacts.rules.vectors import FUNCTIONS, read_vectors, run_vectors
from contacts.scoring import Course
from lacak.main import cli
from tests.worlds import HOUR, MINUTE

VECTORS = Path(__file__).parent / "vectors" / "rules.json"


def at(text: str) -> int:
    """An instant of UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_half_a_minute_is_rounded_up_and_not_to_the_even_one() -> None:
    """2.5 minutes are 3 and 0.5 are 1 (to the even one: 2 and 0); a moment less is not."""
    ten = at("2021-10-21T10:00:00")
    for seconds, expected in ((150, 3), (149.999, 2), (30, 1), (29.999, 0), (210, 4), (90, 2)):
        assert cwa.overlap_minutes(ten, ten + round(seconds * 1000), ten // cwa.INTERVAL_MS, 6) == expected


@pytest.mark.parametrize(
    ("start", "end", "begins", "ends"),
    [
        ("10:00", "10:09:59", None, None),  # under 10 minutes
        ("10:00", "10:10", "10:00", "10:20"),  # as long again
        ("10:00", "10:30", "10:00", "11:00"),
        ("10:00", "12:00", "10:00", "12:30"),  # at most 30 minutes
        ("10:04", "11:04", "10:00", "11:30"),  # 90 minutes; the first interval has 6 of it, the last 4
        ("10:06", "11:06", "10:10", "11:40"),  # the first has 4, the last 6
        ("10:05", "11:05", "10:00", "11:30"),  # as much of each: from the first
        ("10:00", "10:12:30", "10:00", "10:30"),  # 25 minutes are 30
        ("10:00", "10:12:29", "10:00", "10:20"),  # 24:58 are 20
    ],
)
def test_corona_warn_app_s_interval(start: str, end: str, begins: str | None, ends: str | None) -> None:
    day = "2021-10-21T"
    expected = (at(day + begins), at(day + ends)) if begins and ends else None
    assert cwa.infectious_interval(at(day + start), at(day + end)) == expected


def test_corona_warn_app_s_levels() -> None:
    """By the age of the check-in: onset today, onset unknown, no symptoms; then an onset three days ago."""
    assert [cwa.level_by_onset(-age) for age in range(9)] == [8, 8, 7, 6, 4, 2, 1, 1, 1]
    assert [cwa.level_onset_unknown(age) for age in range(11)] == [5, 6, 8, 8, 8, 7, 5, 3, 2, 1, 1]
    assert [cwa.level_without_symptoms(age) for age in range(6)] == [4, 4, 3, 2, 1, 1]
    assert [cwa.level_by_onset(3 - age) for age in range(10)] == [5, 6, 8, 8, 8, 7, 6, 4, 2, 1]
    assert [cwa.risk_value(level) for level in range(10)] == [0, 0, 0, 0.6, 0.8, 1, 1.2, 1.4, 1.6, 0]


def test_corona_warn_app_s_split_and_sums() -> None:
    """A check-in over midnight UTC is two, each with the level of its own day."""
    start, end = at("2021-10-20T23:00:00"), at("2021-10-21T01:00:00")
    course = Course(onset=date(2021, 10, 22), specimen=None)
    warned = cwa.warnings(start, end, course)
    midnight = at("2021-10-21T00:00:00") // cwa.INTERVAL_MS
    assert warned == [cwa.TraceWarning(midnight - 6, 6, 7), cwa.TraceWarning(midnight, 9, 8)]
    found = cwa.overlaps("a", at("2021-10-20T23:57:30"), at("2021-10-21T00:03:30"), warned)
    found += cwa.overlaps("b", at("2021-10-21T01:29:00"), at("2021-10-21T02:00:00"), warned)
    one, two = date(2021, 10, 20), date(2021, 10, 21)
    assert found == [cwa.Overlap("a", one, 7, 3), cwa.Overlap("a", two, 8, 4), cwa.Overlap("b", two, 8, 1)]
    assert cwa.score_per_check_in(found) == {("a", one): 4.2, ("a", two): 6.4, ("b", two): 1.6}
    assert cwa.score_per_day(found) == {one: 4.2, two: 8.0}
    assert [cwa.risk_level(score) for score in (0, 0.6, 9.99, 10, 40)] == [None, "low", "low", "high", "high"]


def test_corona_warn_app_matches_ten_days_back() -> None:
    now = at("2021-10-21T15:00:00")
    assert cwa.is_matched(at("2021-10-11T00:00:00"), now)
    assert not cwa.is_matched(at("2021-10-10T23:59:59"), now)


def spans_of(*texts: str) -> list[tuple[int, int]]:
    return [(at(text.split("/")[0]), at(text.split("/")[1])) for text in texts]


def test_cdc_sums_over_any_day() -> None:
    """Five minutes each in the evening, the night and the next afternoon: any 24 hours, not a calendar day."""
    spans = spans_of(
        "2021-10-20T18:00/2021-10-20T18:05", "2021-10-21T00:10/2021-10-21T00:15", "2021-10-21T17:55/2021-10-21T18:00"
    )
    assert (cdc.most_minutes(spans), cdc.is_contact(spans)) == (15, True)
    late = [*spans[:2], (spans[2][0] + 6 * MINUTE, spans[2][1] + 6 * MINUTE)]
    assert (cdc.most_minutes(late), cdc.is_contact(late)) == (10, False)
    twice = [spans[0], spans[0], spans[1]]  # the same time at two places counts once
    assert cdc.most_minutes(twice) == 10


def test_fifteen_minutes_at_least_and_more_than() -> None:
    assert [minutes.who(15), minutes.kmk_413(15), minutes.ecdc(15), minutes.ecdc(15.001)] == [True, True, False, True]
    assert [minutes.who(14.999), minutes.closed_space(120), minutes.closed_space(121)] == [False, False, True]
    kinds = ("home", "office", "restaurant", "restaurant/canteen", "Fast Food", "car", "mall", "")
    assert [minutes.kmk_2021_07(1, kind) for kind in kinds] == [True] * 6 + [False] * 2
    assert not minutes.kmk_2021_07(0, "home")


def test_measles_is_in_the_air_for_two_hours() -> None:
    case = (0, HOUR)
    assert measles.infectious_until(HOUR) == 3 * HOUR
    assert measles.is_exposed(case, (3 * HOUR - 1, 4 * HOUR))
    assert not measles.is_exposed(case, (3 * HOUR, 4 * HOUR))
    assert not measles.is_exposed((HOUR, 2 * HOUR), (0, HOUR))


def test_clea_s_slots() -> None:
    """Three different cases' backward visits, or one forward, make a slot risky; a person counts once."""
    slot = 30 * MINUTE
    rule = load_profiles()["clea"].slots["*"]
    assert list(clea.slots_of(0, slot, slot)) == [0]
    assert list(clea.slots_of(slot - 1, slot + 1, slot)) == [0, 1]
    back = [clea.CaseVisit(person, "backward", 0, slot + 1) for person in ("a", "b", "b", "b")]
    assert clea.risky_slots(back, rule, slot) == {}
    back.append(clea.CaseVisit("c", "backward", slot, 2 * slot))
    assert clea.risky_slots(back, rule, slot) == {1: 3}
    both = [*back, clea.CaseVisit("d", "forward", slot, 2 * slot + 1)]
    risky = clea.risky_slots(both, rule, slot)
    assert risky == {1: 3, 2: 2}
    assert [clea.risk_of_visit(*span, risky, slot) for span in ((0, slot), (0, slot + 1), (2 * slot, 9 * slot))] == [
        0,
        3,
        2,
    ]


def test_a_profile_by_category_asks_for_the_registry(tmp_path: Path) -> None:
    visits = tmp_path / "visits.csv"
    visits.write_text("person,venue,start,end\na,v,2021-10-21T10:00:00Z,2021-10-21T10:05:00Z\n", "utf-8")
    for profile, told in (("kmk-2021-07", True), ("kmk-413", False), ("clea", False)):
        ran = run("contacts", visits, "--person", "a", "--profile", profile, "--onset", "2021-10-21", "-o", "-")
        assert ("without --venues" in ran.stderr) is told


def test_clea_s_contacts_need_not_meet(tmp_path: Path) -> None:
    """Who comes in the slot that the case has just left is a contact; who comes in the next is not."""
    told = contacts_on_files(
        tmp_path, "clea", "case,v,10:00:00,10:05:00", "same,v,10:20:00,11:00:00", "next,v,10:30:00,11:00:00"
    )
    assert told == [
        "person,minutes,first,last,venues,rule,score,level",
        "same,10.000000,2021-10-21T10:20:00.000Z,2021-10-21T10:30:00.000Z,v,clea@2021-06-09,2.0,",
    ]


def test_corona_warn_app_on_files(tmp_path: Path) -> None:
    """The score of the day with its level: 20 minutes last 40; half a minute counts as one, less as none."""
    told = contacts_on_files(
        tmp_path, "cwa", "case,v,10:00:00,10:20:00", "high,v,10:30:00,10:37:00", "low,v,10:30:30,10:31:00",
        "late,v,10:40:00,11:00:00", "short,v,10:30:00,10:30:29", "case,w,12:00:00,12:09:59",
        "brief,w,12:00:00,12:30:00",
    )  # fmt: skip
    assert told[1:] == [
        "high,7.000000,2021-10-21T10:30:00.000Z,2021-10-21T10:37:00.000Z,v,cwa@2021-04-21,11.2,high",
        "low,1.000000,2021-10-21T10:30:30.000Z,2021-10-21T10:31:00.000Z,v,cwa@2021-04-21,1.6,low",
    ]


def contacts_on_files(folder: Path, profile: str, *rows: str) -> list[str]:
    """What `lacak contacts --summary` writes of visits of one day, that of the onset."""
    lines = ["visit_id,person,venue,start,end,end_reason"]
    for number, row in enumerate(rows):
        person, venue, start, end = row.split(",")
        lines.append(f"{number},{person},{venue},2021-10-21T{start}Z,2021-10-21T{end}Z,checked_out")
    (folder / "visits.csv").write_text("\n".join(lines), "utf-8")
    told = run("contacts", folder / "visits.csv", "--person", "case", "--profile", profile, "--summary",
               "--onset", "2021-10-21", "-o", "-")  # fmt: skip
    assert told.exit_code == 0, told.output
    return told.stdout.splitlines()


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def test_vectors_hold_and_name_every_function() -> None:
    """Our own, made by hand from each rule's text."""
    cases = read_vectors(VECTORS.read_bytes())
    assert [outcome for outcome in run_vectors(cases) if not outcome.holds] == []
    assert {case.function for case in cases} == set(FUNCTIONS)
    told = run("profiles", "vectors", VECTORS)
    assert (told.exit_code, f"{len(cases)} of {len(cases)} vectors hold" in told.stdout) == (0, True)


def test_vectors_that_do_not_hold_are_told(tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text('{"cases": [{"function": "minutes.who", "input": {"minutes": 15}, "expected": false}]}', "utf-8")
    told = run("profiles", "vectors", path)
    assert told.exit_code == 1
    assert "1: minutes.who: True, expected False" in told.stderr
    for case in (
        '{"function": "who", "input": {}, "expected": 1}',
        '{"function": "minutes.who", "input": {}, "expected": 1}',
    ):
        path.write_text(f'{{"cases": [{case}]}}', "utf-8")
        told = run("profiles", "vectors", path)
        assert (told.exit_code, "case 1" in told.output) == (1, True)


def test_vectors_in_the_shape_of_corona_warn_app_s_authors(tmp_path: Path) -> None:
    def case(begin: str, end: str, place: str, expected: int) -> dict[str, object]:
        return {
            "description": "made by hand",
            "checkIn": {"traceLocationGuidHash": "aa", "startDateStr": begin, "endDateStr": end},
            "traceTimeIntervalWarning": {
                "locationGuidHash": place, "startIntervalDateStr": "2021-06-01 12:00+02:00", "period": 3,
                "transmissionRiskLevel": 5,
            },
            "exp": expected,
        }  # fmt: skip

    cases = [
        case("2021-06-01 11:00+02:00", "2021-06-01 12:20+02:00", "aa", 20),
        case("2021-06-01 11:00+02:00", "2021-06-01 12:20+02:00", "bb", 0),
        case("2021-06-01 12:30+02:00", "2021-06-01 12:40+02:00", "aa", 0),
    ]
    day = "2021-06-01 {}+02:00".format
    interval = {"startDateStr": day("12:00"), "endDateStr": day("12:20")}
    cases += [
        {**interval, "expStartDateStr": day("12:00"), "expEndDateStr": day("12:40")},
        {**interval, "endDateStr": day("12:08"), "expStartDateStr": None, "expEndDateStr": None},
    ]
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps({"testCases": cases}), "utf-8")
    told = run("profiles", "vectors", path)
    assert (told.exit_code, "5 of 5 vectors hold" in told.stdout) == (0, True)
    path.write_text(json.dumps({"testCases": [{**interval, "expStartDateStr": None, "expEndDateStr": None}]}), "utf-8")
    assert run("profiles", "vectors", path).exit_code == 1
