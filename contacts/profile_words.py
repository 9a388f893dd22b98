"""A profile in words, for those who decide whether it is the right one."""

from __future__ import annotations

from collections.abc import Iterator

from contacts.profiles import Profile, SlotRule
from contacts.scoring import Score


def minimum(profile: Profile) -> str:
    """The minimum as a few characters: `>= 15`, `> 0`."""
    rule = profile.contact
    return f"{'>' if rule.comparison == 'more_than' else '>='} {rule.minimum_minutes:g}"


def window(profile: Profile) -> str:
    """The infectious window around the onset as a few characters: `-2 .. +14 d`."""
    return f"{-profile.infectious.days_before:+d} .. {profile.infectious.days_after:+d} d"


def describe(profile: Profile) -> Iterator[str]:
    """What the profile says, sentence by sentence."""
    rule = profile.contact
    than = "more than" if rule.comparison == "more_than" else "at least"
    where = "in one stay at one venue" if rule.per == "stay" else "in all within any 24 hours, over all venues"
    together = f"{than} {rule.minimum_minutes:g} minutes" if rule.minimum_minutes else "any time"
    yield f"A contact has spent {together} {where} with the case."
    if rule.without_minimum:
        yield f"In {', '.join(rule.without_minimum)} any time is enough."
    for pattern, factor in rule.venue_factors.items():
        yield f"A minute in {pattern} counts as {factor:g}."
    yield from _air(profile)
    if rule.whole_minutes:
        yield "Minutes are whole, half a minute rounded up, and counted in each day of UTC."
    yield from _windows(profile)
    if profile.score is not None:
        yield from _score(profile.score)
    for pattern, slots in profile.slots.items():
        yield _slots(pattern, slots)


def _air(profile: Profile) -> Iterator[str]:
    rule = profile.contact
    if rule.shortest_stay_minutes:
        yield f"Stays of the infectious person under {rule.shortest_stay_minutes:g} minutes do not count."
    if rule.linger_minutes:
        most = "as long as they stayed, at most " if rule.linger_at_most_stay else ""
        yield f"The air stays infectious after they have left: {most}{rule.linger_minutes:g} minutes."
    if rule.grid_minutes:
        how = "widened to whole steps" if rule.grid == "outward" else "rounded to the nearest length"
        yield f"Their time there is {how} of {rule.grid_minutes:g} minutes."


def _windows(profile: Profile) -> Iterator[str]:
    infectious, silent, exposure = profile.infectious, profile.infectious.without_symptoms, profile.exposure
    yield (
        f"A case may infect from {_days(-infectious.days_before, 'onset')} to {_days(infectious.days_after, 'onset')}, "
        f"without symptoms from {_days(-silent.days_before, 'specimen')} to {_days(silent.days_after, 'specimen')}, "
        "or until isolated."
    )
    yield (
        f"It was infected from {_days(-exposure.days_before, 'onset')} to {_days(exposure.days_after, 'onset')}, "
        f"without symptoms in the {exposure.days_before_specimen} days before the specimen."
    )


def _days(days: int, what: str) -> str:
    if days == 0:
        return f"the day of the {what}"
    return f"{abs(days)} day{'s' if abs(days) > 1 else ''} {'after' if days > 0 else 'before'} the {what}"


def _score(score: Score) -> Iterator[str]:
    yield (
        f"A minute counts {', '.join(f'{value:g}' for value in score.risk_values)} at the levels 1 to "
        f"{len(score.risk_values)}; a day's sum above {score.low_above:g} is low risk, from {score.high_from:g} high."
    )
    last = score.by_onset_from + len(score.by_onset) - 1
    yield (
        f"Levels from {_days(score.by_onset_from, 'onset')} to {_days(last, 'onset')}: "
        f"{', '.join(map(str, score.by_onset))}; by age in days without symptoms: "
        f"{', '.join(map(str, score.without_symptoms))}; else 1."
    )


def _slots(pattern: str, rule: SlotRule) -> str:
    return (
        f"In {'any venue' if pattern == '*' else pattern} a slot has risk {rule.backward_risk:g} from "
        f"{rule.backward_visits} backward visits of cases on, and {rule.forward_risk:g} from {rule.forward_visits} "
        "forward visits on."
    )
