"""What people do, when and with what chance: the numbers behind the rhythm of a day, all of them assumptions."""

from __future__ import annotations

from typing import Final, NamedTuple

from lacak.city.people import PUPIL, STAFF, WORKER


class Activity(NamedTuple):
    """Something people do: where, at what hour (sd in hours), for how long, and with what chance by role.

    All hours, minutes and chances are assumptions. `near`: the chance that they go to one in their own district.
    """

    category: str
    hour: float
    spread: float
    minutes: float
    weekday: tuple[float, float, float, float, float, float]
    weekend: tuple[float, float, float, float, float, float]
    near: float = 0.8


#                                       hour  sd    min  weekday: pupil worker staff keeper elder visitor   weekend
DAWN: Final = (
    Activity("worship", 4.60, 0.10, 28, (0.04, 0.11, 0.10, 0.06, 0.39, 0.04), (0.06, 0.13, 0.10, 0.06, 0.39, 0.04)),
    Activity("market", 6.20, 0.70, 38, (0.00, 0.06, 0.10, 0.67, 0.39, 0.10), (0.08, 0.31, 0.11, 0.78, 0.47, 0.29)),
)
DAY: Final = (
    Activity("shop", 9.60, 1.20, 22, (0.02, 0.04, 0.02, 0.52, 0.31, 0.59), (0.24, 0.52, 0.06, 0.59, 0.31, 0.78), 0.7),
    Activity("museum", 10.5, 1.00, 75, (0.00, 0.00, 0.00, 0.02, 0.02, 0.24), (0.06, 0.04, 0.00, 0.04, 0.02, 0.49), 0.1),
    Activity("worship", 12.0, 0.10, 24, (0.10, 0.11, 0.08, 0.10, 0.47, 0.10), (0.11, 0.20, 0.10, 0.11, 0.47, 0.10)),
    Activity(
        "restaurant", 12.7, 0.5, 55, (0.04, 0.10, 0.08, 0.13, 0.08, 0.95), (0.20, 0.31, 0.10, 0.24, 0.16, 0.95), 0.6
    ),
    Activity("mall", 13.6, 1.30, 125, (0.04, 0.02, 0.02, 0.10, 0.04, 0.39), (0.24, 0.26, 0.04, 0.21, 0.08, 0.59), 0.3),
    Activity("worship", 15.25, 0.1, 22, (0.16, 0.06, 0.06, 0.08, 0.36, 0.06), (0.11, 0.11, 0.06, 0.08, 0.36, 0.06)),
)
EVENING: Final = (
    Activity(
        "fast_food", 16.6, 0.8, 30, (0.20, 0.10, 0.06, 0.06, 0.02, 0.20), (0.18, 0.13, 0.06, 0.06, 0.02, 0.24), 0.5
    ),
    Activity("gym", 17.1, 0.70, 75, (0.04, 0.10, 0.04, 0.06, 0.02, 0.06), (0.06, 0.10, 0.04, 0.04, 0.02, 0.06), 0.6),
    Activity("shop", 17.4, 0.90, 20, (0.10, 0.36, 0.20, 0.16, 0.06, 0.39), (0.11, 0.16, 0.11, 0.11, 0.06, 0.39), 0.7),
    Activity("worship", 18.05, 0.08, 26, (0.20, 0.16, 0.11, 0.10, 0.52, 0.11), (0.20, 0.18, 0.11, 0.10, 0.52, 0.11)),
    Activity("mall", 18.5, 0.90, 105, (0.13, 0.21, 0.08, 0.13, 0.04, 0.49), (0.31, 0.37, 0.11, 0.26, 0.08, 0.59), 0.3),
    Activity(
        "restaurant", 19.3, 0.7, 70, (0.08, 0.18, 0.10, 0.10, 0.06, 0.78), (0.20, 0.31, 0.13, 0.21, 0.10, 0.88), 0.5
    ),
    Activity("bar", 20.9, 0.80, 80, (0.00, 0.06, 0.04, 0.00, 0.00, 0.11), (0.02, 0.10, 0.06, 0.02, 0.00, 0.20), 0.3),
)

WORK: Final[dict[int, tuple[float, float, float, float, float, float]]] = {
    # role: begins, sd, ends, sd (hours), chance on a weekday, on a weekend day
    PUPIL: (7.2, 0.2, 13.3, 0.4, 0.93, 0.0),
    WORKER: (7.9, 0.4, 16.3, 0.6, 0.90, 0.10),
    STAFF: (8.8, 0.9, 17.6, 1.6, 0.80, 0.78),
}
LUNCH_OUT: Final = 0.24
REFUSING: Final = frozenset({"market", "shop", "restaurant", "fast_food", "bar", "gym", "museum", "worship"})
