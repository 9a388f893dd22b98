"""The copies of few messages: counts by venue, the registry, and the rules of doors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from contacts.doorrules import DoorRules, DoorRulesError, load_door_rules, read_door_rules
from contacts.registry import Registry, RegistryError, is_name
from gateway.reading import Records
from schemas.bounds import UNDECODABLE
from schemas.door import RuleSet
from schemas.keys import rules_key, venue_key
from schemas.messages import Message, Occupancy, Venue

_LOG: Final = logging.getLogger(__name__)
_DOOR: Final = "door"
_SAID_EACH: Final = 1000
"""Of so many messages that are left out one is told of in the log; the metrics count all."""
M = TypeVar("M", bound=Message)


class NotItsOwn(ValueError):
    """A message under a key that is not its own: it would take the place of another's."""


class SmallCopy(Generic[M]):
    """The newest message of each key, in the order in which the keys first came.

    What is not understood is counted in `bad`; the message before it holds on.
    """

    def __init__(self, kind: type[M]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self.kind = kind
        self.messages: dict[bytes, M] = {}
        self._seen: set[bytes] | None = None
        self.bad = 0

    def take(self, records: Records, partition: int) -> None:
        """Take in records of a partition, in their order."""
        for key, value in records:
            if key is None:
                continue
            if self._seen is not None:
                self._seen.add(key)
            if value is None:
                if (gone := self.messages.pop(key, None)) is not None:
                    self.lost(gone)
                continue
            try:
                message = self._decoder.decode(value)
                if key != self.key_of(message):
                    raise NotItsOwn("its key is another message's")
                self.check(message)
            except (*UNDECODABLE, NotItsOwn, RegistryError, DoorRulesError) as error:
                self.bad += 1
                if self.bad % _SAID_EACH == 1:
                    what = "What came under %r is left out, as %d before it: %.300s. What was before it holds on."
                    _LOG.warning(what, key[:80], self.bad - 1, error)
                continue
            before = self.messages.get(key)
            if before is None or self.newer(before, message):
                self.messages[key] = message
                self.got(message, partition)

    def key_of(self, message: M) -> bytes:
        """The key under which such a message goes."""
        raise NotImplementedError

    def check(self, message: M) -> None:
        """Raises NotItsOwn, RegistryError or DoorRulesError for a message that is understood and cannot hold."""

    def begin_again(self, *, other_log: bool) -> None:
        """The topic is read from its beginning."""
        self._seen = set()

    def end_again(self) -> None:
        """The topic has been read to its end: what it no longer has is gone."""
        seen, self._seen = self._seen, None
        if seen is not None and (gone := self.messages.keys() - seen):
            for key in gone:
                self.lost(self.messages.pop(key))

    def restore(self, messages: Iterable[tuple[bytes, M]]) -> None:
        """Take up what was kept."""
        for key, message in messages:
            self.messages[key] = message
            self.got(message, -1)

    def newer(self, before: M, message: M) -> bool:
        """Whether a message takes the place of the one before it."""
        return True

    def got(self, message: M, partition: int) -> None:
        """A message holds from now on; partition -1: it was kept."""

    def lost(self, message: M) -> None:
        """A message holds no longer."""


class CountCopy(SmallCopy[Occupancy]):
    """Counts by venue. `told` is called with each new one; `log_times`: how far the counts of a partition are."""

    def __init__(self, told: Callable[[Occupancy], None]) -> None:
        super().__init__(Occupancy)
        self._told = told
        self._other_log = False
        self.log_times: dict[int, int] = {}
        self.by_venue: dict[str, Occupancy] = {}

    def key_of(self, message: Occupancy) -> bytes:
        """Its venue's name."""
        return message.venue.encode()

    def check(self, message: Occupancy) -> None:
        """It must be a venue's."""
        if not is_name(message.venue):
            raise NotItsOwn("it is of no venue")

    def newer(self, before: Occupancy, message: Occupancy) -> bool:
        """By position, within one cluster."""
        return message.position > before.position or self._other_log

    def got(self, message: Occupancy, partition: int) -> None:
        """Tell of it."""
        self.by_venue[message.venue] = message
        self.log_times[partition] = max(self.log_times.get(partition, 0), message.log_time_ms)
        self._told(message)

    def lost(self, message: Occupancy) -> None:
        """The count is unknown: nobody has been there."""
        self.by_venue.pop(message.venue, None)

    def begin_again(self, *, other_log: bool) -> None:
        """Another cluster's positions do not compare with those known."""
        super().begin_again(other_log=other_log)
        self._other_log = other_log

    def end_again(self) -> None:
        """From now on positions compare."""
        super().end_again()
        self._other_log = False


class VenueCopy(SmallCopy[Venue]):
    """The registry of venues. `version` grows with every change."""

    def __init__(self) -> None:
        super().__init__(Venue)
        self.registry = Registry()
        self.version = 0

    def key_of(self, message: Venue) -> bytes:
        """Its venue's name and date."""
        return venue_key(message.venue, message.valid_from_ms)

    def check(self, message: Venue) -> None:
        """As the registry."""
        self.registry.check(message)

    def got(self, message: Venue, partition: int) -> None:
        """Into the registry; a record that it refuses is refused here as everywhere."""
        self.version += 1
        try:
            self.registry.add(message)
        except RegistryError:
            self.bad += 1

    def lost(self, message: Venue) -> None:
        """A registry forgets nothing: make it anew."""
        self.version += 1
        self.registry = Registry()
        for venue in self.messages.values():
            try:
                self.registry.add(venue)
            except RegistryError:
                pass


class RuleCopy(SmallCopy[RuleSet]):
    """The rules of doors: those shipped, those of a folder, and over them those of the topic, by their ids.

    A text that is no rules leaves those in force that were. `version` grows with every change.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__(RuleSet)
        self._files = {file.id: file for file in load_door_rules(folder).files}
        self._own = dict(self._files)
        self.rules = DoorRules(self._files.values())
        self.version = 0

    def key_of(self, message: RuleSet) -> bytes:
        """Its kind and id."""
        return rules_key(message.kind, message.rules_id)

    def check(self, message: RuleSet) -> None:
        """A text must be rules."""
        if message.kind == _DOOR:
            read_door_rules(message.rules_id, message.text, f"of {message.officer}, {message.rules_id}")

    def got(self, message: RuleSet, partition: int) -> None:
        """Put a file of door rules into force."""
        if message.kind != _DOOR:
            return
        try:
            found = read_door_rules(message.rules_id, message.text, f"of {message.officer}, {message.rules_id}")
        except DoorRulesError as error:
            self.bad += 1
            _LOG.warning("%s Those before it stay in force.", error)
            return
        self._files[message.rules_id] = found
        self._renew()

    def lost(self, message: RuleSet) -> None:
        """Back to the gateway's own file of that id, if there is one."""
        if message.kind == _DOOR:
            self._files.pop(message.rules_id, None)
            if (own := self._own.get(message.rules_id)) is not None:
                self._files[message.rules_id] = own
            self._renew()

    def _renew(self) -> None:
        self.version += 1
        self.rules = DoorRules(self._files.values())
