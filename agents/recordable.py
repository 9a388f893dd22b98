"""What the recorder writes: the messages of a record, and why one is not written, as the other agents judge it too."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from contacts.controls import BAD_PATIENT, BAD_PERSON, BAD_VENUE, WRONG_PARTITION, is_id
from contacts.forwarded import fault_of
from contacts.registry import Registry, RegistryError, is_name
from schemas.blocks import WINDOW_BLOCKS, WINDOW_COLUMNS, WINDOWS_MAGIC, BlockError, WindowBlock, unframe
from schemas.bounds import NUMBER_MOST, TIME_MOST
from schemas.door import DoorEvent
from schemas.health import Declaration, HealthRecord, Status
from schemas.keys import health_key, venue_key
from schemas.messages import Case, Erasure, Occupancy, Trace, Venue, VenueClusters
from schemas.partitions import partition_of

_READERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "occupancy": msgspec.json.Decoder(Occupancy),
    "clusters": msgspec.json.Decoder(VenueClusters),
    "cases": msgspec.json.Decoder(Case),
    "traces": msgspec.json.Decoder(Trace),
    "venues": msgspec.json.Decoder(Venue),
    "erasures": msgspec.json.Decoder(Erasure),
    "statuses": msgspec.json.Decoder(Status),
    "health-records": msgspec.json.Decoder(HealthRecord),
    "declarations": msgspec.json.Decoder(Declaration),
    "door-events": msgspec.json.Decoder(DoorEvent),
}


def read(topic: str, value: bytes) -> Any:
    """The message of a record. Raises BlockError, or what schemas.bounds.UNDECODABLE names."""
    if topic != "windows":
        return _READERS[topic].decode(value)
    block = unframe(WINDOWS_MAGIC, value, WINDOW_BLOCKS)
    _check(block)
    return block


def _check(block: WindowBlock) -> None:
    """Raises BlockError for windows that are none."""
    width = len(WINDOW_COLUMNS)
    if len(block.rows) % (8 * width):
        raise BlockError("the block's rows are cut short")
    rows = np.frombuffer(block.rows, "<i8").reshape(-1, width)
    if not len(rows):
        return
    low, high = rows.min(axis=0), rows.max(axis=0)
    fits = (
        bool((low[[0, *range(2, width)]] >= 0).all())
        and high[0] < len(block.venues)
        and low[1] >= -TIME_MOST
        and high[1] <= TIME_MOST
        and bool((high[2:-1] <= NUMBER_MOST).all())
        and 0 < block.window_ms <= TIME_MOST
        and all(map(is_name, block.venues))
    )
    if not fits:
        raise BlockError("the block's rows are out of range: send them as the occupancy agent made them")


def fault(message: Any, key: bytes, partition: int, partitions: int) -> tuple[str, str] | None:
    """Why a message is not written: (reason, detail); `partitions` is how many the topics by person have."""
    match message:
        case Venue():
            try:
                Registry().check(message)
            except RegistryError as error:
                return "refused_venue", str(error)
            return _key_fault(key, venue_key(message.venue, message.valid_from_ms))
        case Erasure():
            if not is_name(message.person):
                return "bad_person", BAD_PERSON
            return _key_fault(key, message.person.encode())
        case Occupancy() | VenueClusters():
            if not is_name(message.venue):
                return "bad_venue", BAD_VENUE
            return _key_fault(key, message.venue.encode())
        case Case() | Trace():
            name = message.case_id if isinstance(message, Case) else message.trace_id
            if not is_id(name) or not is_name(message.person):
                return "bad_record", "an id is 1 to 500 printable characters, and a person 1 to 200"
            return _key_fault(key, name.encode())
        case DoorEvent():
            return None if is_id(message.event_id) else ("bad_record", "an event's id is 1 to 500 printable characters")
        case Status() | HealthRecord() | Declaration():
            return _personal_fault(message, key, partition, partitions)
    return None


def _personal_fault(
    message: Status | HealthRecord | Declaration, key: bytes, partition: int, partitions: int
) -> tuple[str, str] | None:
    if not is_name(message.person) or "|" in message.person:
        return "bad_person", BAD_PATIENT
    if partition_of(message.person, partitions) != partition:
        return "wrong_partition", WRONG_PARTITION
    if isinstance(message, Declaration):
        wrong = fault_of(message)
        return None if wrong is None else ("bad_declaration", wrong)
    if isinstance(message, Status):
        return _key_fault(key, message.person.encode())
    if not is_name(message.record_id):
        return "bad_record", "a record's id is 1 to 200 characters, none of them a control"
    return _key_fault(key, health_key(message.person, message.record_id))


def _key_fault(key: bytes, wanted: bytes) -> tuple[str, str] | None:
    """In a compacted topic a record under another's key would take its place."""
    return None if key == wanted else ("bad_key", f"the record's key is not {wanted!r}")
