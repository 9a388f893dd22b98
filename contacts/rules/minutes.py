"""Rules that are a number of minutes in one stay: WHO, Indonesia's KMK, ECDC, and a closed space shared.

WHO and KMK HK.01.07/MENKES/413/2020 say within 1 m, ECDC within 2 m or in a closed space. A scan cannot prove that; the
minutes are what it can.
"""

from __future__ import annotations

from functools import cache

from contacts.profiles import Profile, load_profiles


@cache
def _published(profile_id: str) -> Profile:
    return load_profiles()[profile_id]


def who(minutes: float) -> bool:
    """WHO: together for at least 15 minutes."""
    return _published("who").enough(minutes, "")


def kmk_413(minutes: float) -> bool:
    """Indonesia, July 2020 and since: together for 15 minutes or more."""
    return _published("kmk-413").enough(minutes, "")


def kmk_2021_07(minutes: float, category: str) -> bool:
    """Indonesia, July 2021: any time in the same household, office, meal or vehicle, else 15 minutes or more."""
    return _published("kmk-2021-07").enough(minutes, category)


def ecdc(minutes: float) -> bool:
    """ECDC: together for more than 15 minutes; 15 minutes alone are not enough."""
    return _published("ecdc").enough(minutes, "")


def closed_space(minutes: float) -> bool:
    """Ireland and Australia: in the same closed space for more than two hours."""
    return _published("closed-space").enough(minutes, "")
