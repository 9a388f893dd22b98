"""Cases: a person's episodes, made from what laboratories report, revise and withdraw."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from importlib.resources import files

import msgspec

from schemas.messages import Case, TestResult

_DAY_MS = 86_400_000


class Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The numbers of tracing (contacts/data/tracing.toml)."""

    same_case_days: float
    deadline_seconds: float
    asked_at_once: int
    asked_again_at_once: int
    retry_seconds: tuple[float, ...]
    changed_seconds: tuple[float, ...]
    open_minutes: float


@cache
def numbers() -> Numbers:
    """The numbers of tracing."""
    return msgspec.convert(tomllib.loads(files("contacts.data").joinpath("tracing.toml").read_text("utf-8")), Numbers)


class Positive(msgspec.Struct, frozen=True):
    """A positive result that stands, as last revised."""

    specimen_ms: int
    onset_ms: int | None = None
    isolated_ms: int | None = None


class Episode(msgspec.Struct, frozen=True):
    """A case of one person: positives that lie within 90 days of one another.

    Its facts are the earliest that its standing results state: onset, isolation, specimen.
    """

    case_id: str
    positives: tuple[Positive, ...]
    revision: int = 1
    first_specimen_ms: int = 0

    @property
    def withdrawn(self) -> bool:
        """Whether no positive result stands any more."""
        return not self.positives

    @property
    def specimen_ms(self) -> int:
        """The earliest specimen."""
        return min((positive.specimen_ms for positive in self.positives), default=self.first_specimen_ms)

    @property
    def onset_ms(self) -> int | None:
        """The earliest onset stated."""
        return min((p.onset_ms for p in self.positives if p.onset_ms is not None), default=None)

    @property
    def isolated_ms(self) -> int | None:
        """The earliest isolation stated."""
        return min((p.isolated_ms for p in self.positives if p.isolated_ms is not None), default=None)

    def message(self, person: str, position: tuple[int, int]) -> Case:
        """The case as it is published."""
        return Case(
            case_id=self.case_id,
            person=person,
            specimen_ms=self.specimen_ms,
            onset_ms=self.onset_ms,
            isolated_ms=self.isolated_ms,
            withdrawn=self.withdrawn,
            specimens_ms=tuple(positive.specimen_ms for positive in self.positives),
            revision=self.revision,
            position=position,
        )


def case_id(person: str, specimen_ms: int) -> str:
    """The id of the case that this specimen opens."""
    return "case-" + hashlib.blake2b(f"{person}\x1f{specimen_ms}".encode(), digest_size=8).hexdigest()


def apply_result(episodes: tuple[Episode, ...], result: TestResult) -> tuple[tuple[Episode, ...], Episode | None]:
    """The person's episodes after a result, and the one that it opened, revised or withdrew (None: nothing changed).

    A positive joins the episode that has a specimen within 90 days of its own, else it opens one. A later message with
    the same specimen takes the place of the earlier, whatever its outcome; a negative or withdrawn one takes it away.
    """
    near = numbers().same_case_days * _DAY_MS
    positive = Positive(result.specimen_ms, result.onset_ms, result.isolated_ms)
    for index, episode in enumerate(episodes):
        specimens = {each.specimen_ms for each in episode.positives} | {episode.first_specimen_ms}
        if not any(abs(result.specimen_ms - each) <= near for each in specimens):
            continue
        others = tuple(each for each in episode.positives if each.specimen_ms != result.specimen_ms)
        kept = (
            tuple(sorted((*others, positive), key=lambda p: p.specimen_ms)) if result.outcome == "positive" else others
        )
        if kept == episode.positives:
            return episodes, None
        revised = msgspec.structs.replace(episode, positives=kept, revision=episode.revision + 1)
        return (*episodes[:index], revised, *episodes[index + 1 :]), revised
    if result.outcome != "positive":
        return episodes, None
    opened = Episode(case_id(result.person, result.specimen_ms), (positive,), 1, result.specimen_ms)
    return (*episodes, opened), opened
