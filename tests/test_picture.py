"""The picture of a trace: what is drawn of whom, in what order, in words as well as in colour, whatever the names."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from officer.drawn import drawing, hops_drawn, letters, shares, short
from officer.picture import html, svg
from schemas.messages import Contact, Trace
from tests.test_exports import BEGIN, HOUR, JAKARTA, MINUTE, contact, stay, three_hops, trace, traces

SVG = "{http://www.w3.org/2000/svg}"


def drawn(report: Trace) -> ElementTree.Element:
    """The picture as a reader of XML has it."""
    return ElementTree.fromstring(svg(report, JAKARTA))


def words(picture: ElementTree.Element) -> list[str]:
    """What stands in it, without what is told when one points at something."""
    return [each.text or "" for each in picture.iter(f"{SVG}text")]


def tips(picture: ElementTree.Element) -> list[str]:
    """What is told when one points at something."""
    return [each.text or "" for each in picture.iter(f"{SVG}title")][1:]


def bars(picture: ElementTree.Element, tip: str) -> list[ElementTree.Element]:
    """The bars of whose tip this is a part."""
    found = []
    for each in picture.iter(f"{SVG}rect"):
        told = each.find(f"{SVG}title")
        if told is not None and tip in (told.text or ""):
            found.append(each)
    return found


def kinds(bar: ElementTree.Element) -> str:
    """How a bar is filled: its class, or what it fades from."""
    return (bar.get("fill") or bar.get("class") or "").removeprefix("url(#").removesuffix(")").removesuffix(" edge")


def crowd(count: int, hop: int = 1, by: str = "") -> list[Contact]:
    """So many people of a hop, later ones with less risk."""
    known = {"hop": hop, "exposed_by": (by,)} if by else {"hop": hop}
    return [
        contact(f"p{hop}-{number:03d}", stay("mall", number, number + 60), risk=0.3 / (number + 1), **known)
        for number in range(count)
    ]


def test_the_case_comes_first_then_each_hop_with_its_people() -> None:
    told = words(drawn(three_hops()))
    places = [told.index(each) for each in ("Case", "Hop 1: 2 people who met the case", "near", "told")]
    after = [
        next(number for number, each in enumerate(told) if each.startswith(f"Hop {hop}: 1 person")) for hop in (2, 3)
    ]
    order = [*places, after[0], told.index("far"), after[1], told.index("last")]
    assert order == sorted(order)
    assert [told[told.index(name) + 1] for name in ("far", "last")] == ["via 1", "via 3"]
    assert "Forward trace of ill: 4 people" in told
    backward = words(drawn(three_hops("backward")))
    assert "Hop 1: 2 people who may have infected the case" in backward


def test_what_a_colour_says_is_said_in_words() -> None:
    """Risk, grade, limits and what is only assumed."""
    picture = drawn(three_hops())
    told = words(picture)
    bands = drawing().risk_bands
    assert list(bands) == sorted(bands)
    for sentence in ("under 0.1 %", "10 % and more", "not known", "possible", "confirmed", "dismissed",
                     "end only assumed", "25 %", "3 %", "< 0.01 %"):  # fmt: skip
        assert sentence in told
    assert any("Cut by the number of hops: there are more." in each for each in told)
    assert "near, confirmed by dr, who@2020-03-20, infected at the earliest 2021-10-21 00:00" in tips(picture)
    assert "hop 3 by way of near, far" in tips(picture)


def test_a_bar_has_the_colour_of_the_risk_and_fades_where_its_end_is_assumed() -> None:
    """Of `near` the contact's end at the office is assumed, of `far` the exposer's; `told` has no risk."""
    picture = drawn(three_hops())
    looks = {tip: sorted({kinds(bar) for bar in bars(picture, f"{tip}, 2021") if bar.get("height") == "14"})
             for tip in ("office", "mall", "home", "shop")}  # fmt: skip
    assert looks == {"office": ["case", "fade-r4"], "mall": ["case", "r4"], "home": ["fade-r3"], "shop": ["out"]}
    (unknown,) = (bar for bar in bars(picture, ", 60 min") if kinds(bar) == "none")
    assert unknown.get("height") == "14"
    assert "no venue, 2021-10-21 05:00 to 06:00, 60 min, told to nurse" in tips(picture)
    assert any("whole stay, 2021-10-21 10:00 to 11:30" in tip for tip in tips(picture))
    assert not bars(picture, "whole stay, 2021-10-21 00:00")


def test_a_shared_end_is_only_assumed_where_either_may_have_left_before_it() -> None:
    """The contact's assumed end is half an hour after the case left: nobody knows whether they were still there."""
    picture = drawn(trace(contact("a", stay("mall", 0, 60, late=30, assumed=2), risk=0.2)))
    assert [kinds(bar) for bar in bars(picture, "mall, 2021-10-21 00:00 to 01:00 (assumed)")] == ["fade-r4"]
    assert [kinds(bar) for bar in bars(picture, "whole stay, 2021-10-21 00:00 to 01:30 (assumed)")] == ["fade-own"]


def test_bars_stand_where_their_time_is() -> None:
    """The axis goes from the first stay to the last; twice the time is twice the width."""
    picture = drawn(trace(contact("a", stay("x", 0, 600), stay("y", 1200, 1800), stay("z", 2400, 3600))))
    x, y, z = (next(bar for bar in bars(picture, f"{name}, 2021") if kinds(bar) == "none") for name in "xyz")
    left, width = ([float(bar.get(side) or "") for bar in (x, y, z)] for side in ("x", "width"))
    assert width[1] == pytest.approx(width[0], abs=0.2)
    assert width[2] == pytest.approx(2 * width[0], abs=0.3)
    assert [b - a for a, b in pairwise(left)] == pytest.approx([2 * width[0]] * 2, abs=0.3)
    assert "22 Oct" in words(picture)


def test_nobody_reached_is_a_sentence() -> None:
    told = words(drawn(trace()))
    assert "Forward trace of ill: nobody" in told
    assert "Nobody shared enough time with the case within the window." in told


def test_a_partial_report_says_what_it_lacks() -> None:
    report = msgspec.structs.replace(trace(), state="behind", behind_partitions=(1, 2), missing_partitions=(0,))
    told = words(drawn(report))
    for start in ("Partitions 0 did not answer: ", "Partitions 1, 2 had not caught up: "):
        assert any(each.startswith(start + "contacts may be lacking.") for each in told)
    assert "This trace is withdrawn." in words(drawn(msgspec.structs.replace(trace(), state="withdrawn")))


def test_of_two_hundred_contacts_those_at_most_risk_are_drawn() -> None:
    most = drawing().people
    told = words(drawn(trace(*reversed(crowd(200)))))
    assert [each for each in told if each.startswith("p1-")] == [f"p1-{number:03d}" for number in range(most)]
    assert f"and {200 - most} more at hop 1, with less risk or dismissed" in told
    assert "Forward trace of ill: 200 people" in told


def test_each_hop_has_room_and_who_exposed_somebody_is_drawn_too() -> None:
    """The 150th of hop 1, at little risk, exposed the only one of hop 2."""
    report = trace(*crowd(150), *crowd(1, hop=2, by="p1-149"), *crowd(3, hop=3, by="p2-000"))
    hops = hops_drawn(report, 60)
    assert [(hop.hop, hop.people, len(hop.shown)) for hop in hops] == [(1, 150, 56), (2, 1, 1), (3, 3, 3)]
    assert [each.person for each in hops[0].shown] == [*(f"p1-{number:03d}" for number in range(55)), "p1-149"]


def test_confirmed_come_first_and_dismissed_last() -> None:
    grades = ["dismissed", "possible", "confirmed", "possible"]
    people = [msgspec.structs.replace(each, grade=grade) for each, grade in zip(crowd(4), grades, strict=True)]
    (hop,) = hops_drawn(trace(*people), 60)
    assert [each.person for each in hop.shown] == ["p1-002", "p1-001", "p1-003", "p1-000"]
    picture = drawn(trace(*people))
    struck = [each.text for each in picture.iter(f"{SVG}text") if "gone" in (each.get("class") or "")]
    assert struck[0] == "p1-000"


@given(st.lists(st.integers(0, 90), max_size=6), st.integers(0, 80))
def test_room_is_shared_evenly(wanted: list[int], most: int) -> None:
    """All of it is given out, nobody gets more than they want, and who gets less than another wanted no more."""
    given_ = shares(wanted, most)
    assert sum(given_) == min(most, sum(wanted))
    assert all(got <= want for got, want in zip(given_, wanted, strict=True))
    unserved = [got for got, want in zip(given_, wanted, strict=True) if got < want]
    assert not unserved or max(given_) - min(unserved) <= 1


def test_names_cut_short_still_differ() -> None:
    alike = [f"a person of a long name {number}" for number in range(3)]
    digits = ["p1:" + f"{number:x}" * 32 for number in range(1, 4)]
    cut = short([*alike, *digits, "short"])
    assert len(set(cut.values())) == 7
    assert all(len(each) <= 18 for each in cut.values())
    assert (cut["short"], cut[digits[0]]) == ("short", "p1:11111111111111…")


def test_places_are_lettered_in_the_order_of_time() -> None:
    told = list(letters(str(number) for number in range(703)).values())
    assert (told[0], told[25], told[26], told[51], told[52], told[701], told[702]) == (
        "A", "Z", "AA", "AZ", "BA", "ZZ", "AAA"
    )  # fmt: skip
    listed = words(drawn(trace(contact("a", stay("late", 900, 960), stay("early", 0, 60, category="mall")))))
    assert listed[listed.index("Places") :][1:5] == ["A", "early (mall)", "B", "late"]


@settings(max_examples=50, deadline=None)
@given(traces())
def test_any_names_make_a_sound_picture(report: Trace) -> None:
    """It is XML, has everybody's whole name, holds nothing from elsewhere, and stays within its frame."""
    picture = drawn(report)
    told = tips(picture)
    for each in report.contacts:
        assert any(tip.startswith(f"{each.person}, {each.grade}") for tip in told)
    for each in picture.iter():
        assert each.tag.removeprefix(SVG) not in ("script", "image", "use", "a")
        assert not [name for name in each.attrib if "href" in name or name.startswith("on")]
    _, _, width, height = (float(each) for each in (picture.get("viewBox") or "").split())
    for bar in picture.iter(f"{SVG}rect"):
        left, top = float(bar.get("x") or 0), float(bar.get("y") or 0)
        assert left >= 0
        assert left + float(bar.get("width") or 0) <= width
        assert top + float(bar.get("height") or 0) <= height


def test_a_page_holds_the_picture_and_no_markup_of_others() -> None:
    """Names are words, never markup, and the style is the picture's alone."""
    page = html(trace(contact("<b>&\"'</b>", stay("<script>", 0, 60))), JAKARTA)
    assert "<script>" not in page
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;" in page
    style = svg(trace(), JAKARTA).split("<style>")[1].split("</style>")[0]
    rules = [rule.split("{")[0].strip() for rule in style.replace("@media (prefers-color-scheme:dark){", "").split("}")]
    assert all(part.startswith(".trace") for rule in rules if rule for part in rule.split(","))


def test_a_window_longer_than_what_happened_is_cut_to_it() -> None:
    report = trace(contact("a", stay("mall", 0, 60)))
    (window,) = bars(drawn(report), "infectious 2021-10-19 00:00 to 2021-10-31 00:00")
    assert report.window_end_ms == BEGIN + 240 * HOUR > BEGIN + 60 * MINUTE
    assert float(window.get("width") or 0) <= 800
