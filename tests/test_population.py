"""The made-up population: its shape is what it says, at a size that takes a moment."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from bench.population import DAYS, FULL_VISITS, KINDS, Population, Visits
from contacts.registry import stay_lengths
from schemas.messages import Venue

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
SIZE = 300_000


@pytest.fixture(scope="module")
def population() -> Population:
    """A small nation."""
    return Population(SIZE, seed=7)


@pytest.fixture(scope="module")
def days(population: Population) -> list[Visits]:
    """All its visits."""
    return list(population.days())


@pytest.fixture(scope="module")
def everything(days: list[Visits]) -> Visits:
    """All its visits in one."""
    return Visits(*(np.concatenate(columns) for columns in zip(*days, strict=True)))


def test_sizes_are_in_proportion(population: Population, days: list[Visits], everything: Visits) -> None:
    full = Population(FULL_VISITS)
    assert (full.people, full.venues) == (20_000_000, 2_000_000)
    assert population.people == pytest.approx(SIZE * 20 / 112, abs=1)
    assert population.venues == pytest.approx(SIZE * 2 / 112, abs=1)
    assert len(days) == DAYS
    assert len(everything.person) == pytest.approx(SIZE, rel=0.02)
    assert [column.dtype for column in everything] == [np.uint32, np.uint32, np.int64, np.int64]
    assert everything.person.max() < population.people
    assert everything.venue.max() < population.venues


def test_a_seed_says_it_all(population: Population, everything: Visits) -> None:
    """The same seed gives the same visits and questions, however often they are asked for; another gives others."""
    again = Population(SIZE, seed=7)
    assert again.questions(50) == population.questions(50)
    columns = zip(*again.days(), strict=True)
    for column, mine in zip((np.concatenate(each) for each in columns), everything, strict=True):
        assert np.array_equal(column, mine)
    other = Population(SIZE, seed=8)
    assert other.questions(50) != population.questions(50)
    assert not np.array_equal(next(other.days()).person[:100], everything.person[:100])


def test_days_hold_what_starts_on_them(population: Population, days: list[Visits]) -> None:
    for day, visits in enumerate(days):
        midnight = population.start_ms + day * DAY
        assert midnight <= visits.start_ms.min()
        assert visits.start_ms.max() < midnight + DAY


def test_no_visits_of_a_person_touch(everything: Visits) -> None:
    """Within a day and over midnight there is a minute between them, and each is at least that long."""
    order = np.lexsort((everything.start_ms, everything.person))
    person, start, end = (column[order] for column in (everything.person, everything.start_ms, everything.end_ms))
    same = person[1:] == person[:-1]
    assert same.any()
    assert (start[1:] - end[:-1])[same].min() >= MINUTE
    assert (end - start).min() >= MINUTE


def test_some_stays_go_over_midnight(population: Population, everything: Visits) -> None:
    day_of = [(column - population.start_ms) // DAY for column in (everything.start_ms, everything.end_ms - 1)]
    assert 0.02 < np.mean(day_of[0] != day_of[1]) < 0.06


def test_the_tail_is_heavy(population: Population, everything: Visits) -> None:
    """The first venue has 15 visits in 800, a hundredth of the venues have a quarter of all visits, a tenth half of
    them, and few have none."""
    counts = np.sort(np.bincount(everything.venue, minlength=population.venues))[::-1]
    share = counts / counts.sum()
    assert share[0] == pytest.approx(150_000 / 8_000_000, rel=0.1)
    assert share[1] < 0.9 * share[0]
    assert share[: population.venues // 100].sum() == pytest.approx(0.24, abs=0.05)
    assert share[: population.venues // 10].sum() == pytest.approx(0.53, abs=0.05)
    assert counts[-population.venues // 10] > 0
    assert counts[0] > 100 * np.median(counts)
    busiest = int(np.bincount(everything.venue).argmax())
    assert KINDS[population.category[busiest]].category == "ferry_terminal"


def test_those_who_are_out_make_three_visits(days: list[Visits]) -> None:
    for visits in days:
        people, counts = np.unique(visits.person, return_counts=True)
        assert counts.mean() == pytest.approx(3.0, rel=0.05)
        assert counts.max() <= 6
        assert len(people) * 3 == pytest.approx(len(visits.person), rel=0.05)


def test_people_return_to_their_venues(everything: Visits) -> None:
    """Of those with many visits, a bit more than three in five are to at most four venues."""
    by_person: dict[int, list[int]] = {}
    for person, venue in zip(everything.person.tolist(), everything.venue.tolist(), strict=True):
        by_person.setdefault(person, []).append(venue)
    many = [venues for venues in by_person.values() if len(venues) >= 20]
    assert len(many) > 1000
    shares = [sum(count for _, count in Counter(venues).most_common(4)) / len(venues) for venues in many]
    assert 0.6 < float(np.mean(shares)) < 0.75


def test_stays_are_as_long_as_their_category_says(population: Population, everything: Visits) -> None:
    """None is longer than the category's longest, and the medians come in the order of the categories' medians, save
    that a next check-in cuts the long ones."""
    minutes = (everything.end_ms - everything.start_ms) / MINUTE
    category = population.category[everything.venue]
    for number, kind in enumerate(KINDS):
        own = minutes[category == number]
        longest = stay_lengths(Venue(venue="any", category=kind.category))[1] / MINUTE
        assert own.max() <= longest
        assert 0.5 * kind.median_minutes < np.median(own) <= 1.1 * kind.median_minutes


def test_questions_are_about_people_who_went_about(population: Population, everything: Visits) -> None:
    """Each has visits in the window, and more of them than people have on average."""
    questions = population.questions(500)
    counts = np.bincount(everything.person, minlength=population.people)
    assert len({question.person for question in questions}) == 500
    asked = np.array([counts[question.person] for question in questions])
    assert asked.min() > 0
    assert asked.mean() > 1.5 * counts[counts > 0].mean()
    assert {question[1:] for question in questions} == {(population.start_ms, population.end_ms)}
