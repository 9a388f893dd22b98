"""Risk: how likely a shared stay infects, and how long after infection people fall ill (contacts/data/risk.toml)."""

from __future__ import annotations

import math
import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contacts.categories import rule_for
from contacts.columns import Ints

Floats = NDArray[np.float64]

HOUR_MS = 3_600_000
DAY_MS = 86_400_000


class RiskError(ValueError):
    """A file of risk numbers that cannot be used; the message names it."""


class Incubation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The time from infection to symptoms: lognormal, with its median in days and the sigma of its logarithm."""

    median_days: float
    sigma: float

    def density(self, days: Floats) -> Floats:
        """The density per day at `days` after infection (n,); 0 at and before infection."""
        later = days > 0
        safe = np.where(later, days, 1.0)
        scaled = np.log(safe / self.median_days) / self.sigma
        found: Floats = np.exp(-scaled * scaled / 2) / (safe * self.sigma * math.sqrt(2 * math.pi))
        return np.where(later, found, 0.0)

    def share_by(self, days: Floats) -> Floats:
        """The share of the infected who have fallen ill by `days` after infection (n,)."""
        later = days > 0
        scaled = np.log(np.where(later, days, 1.0) / self.median_days) / (self.sigma * math.sqrt(2))
        found = np.array([(1 + math.erf(each)) / 2 for each in scaled.tolist()])
        return np.where(later, found, 0.0)

    @property
    def likeliest_days(self) -> float:
        """Where the density is greatest."""
        return self.median_days * math.exp(-self.sigma * self.sigma)


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a trace goes where its request says nothing: hops, people in the report, seconds, and the risk from which
    on people are followed. Nobody may ask for more than `hops_most` and `people_most`."""

    hops: int
    least_risk: float
    people: int
    seconds: float
    hops_most: int = 10
    people_most: int = 20_000


class Risk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One set of numbers; `valid_from` is also its version."""

    name: str
    valid_from: date
    rate_per_hour: float
    infectiousness: tuple[float, ...]
    latent_days: float
    incubation: Incubation
    proximity: dict[str, float]
    limits: Limits

    @property
    def version(self) -> str:
        """The date from which these numbers hold."""
        return self.valid_from.isoformat()

    @property
    def latent_ms(self) -> int:
        """How long after infection a person infects nobody."""
        return round(self.latent_days * DAY_MS)

    def near(self, category: str) -> float:
        """The share of shared time that is face to face at a venue of this category; 0 where none is given."""
        return rule_for(self.proximity, category) or 0.0

    def exposure(self, shared_ms: Ints, near: Floats, since_infectious_ms: Ints) -> Floats:
        """The risk of shared stays (n,): `1 - exp(-rate x hours x proximity x infectiousness of the day)`.

        `since_infectious_ms`: how long the exposer could infect when the shared stay began.
        """
        by_day = np.asarray(self.infectiousness)
        day = np.clip(since_infectious_ms // DAY_MS, 0, len(by_day) - 1)
        found: Floats = -np.expm1(-self.rate_per_hour * (shared_ms / HOUR_MS) * near * by_day[day])
        return found


def combined(logs: Floats) -> Floats:
    """The risk of several exposures together, `1 - product(1 - r)`, from the sums of `log(1 - r)`."""
    found: Floats = -np.expm1(logs)
    return found


def logs_of(risks: Floats) -> Floats:
    """`log(1 - r)`; a certain infection is -inf."""
    with np.errstate(divide="ignore"):
        return np.log1p(-risks)


def load_risk(folder: Path | None = None) -> Risk:
    """The risk numbers: `risk/risk.toml` of a rules folder if that is there, else Lacak's own. Raises RiskError."""
    path = folder / "risk" / "risk.toml" if folder is not None else None
    if path is None or not path.exists():
        return _shipped()
    return _read(path.read_text("utf-8"), str(path))


@cache
def _shipped() -> Risk:
    return _read(files("contacts.data").joinpath("risk.toml").read_text("utf-8"), "risk.toml")


def _read(text: str, where: str) -> Risk:
    try:
        risk = msgspec.convert(tomllib.loads(text), Risk)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RiskError(f"The risk numbers {where} cannot be used: {error}") from error
    numbers = (risk.rate_per_hour, risk.latent_days, *risk.infectiousness, *risk.proximity.values())
    if not risk.infectiousness or min(numbers) < 0 or min(risk.incubation.median_days, risk.incubation.sigma) <= 0:
        raise RiskError(f"The risk numbers {where} cannot be used: none may be negative, infectiousness needs a day.")
    return risk
