"""lz4 at its fast level for what aiokafka sends, and no batch inflated further than a limit of what it reads.

aiokafka 0.14 compresses lz4 at level 9, with no setting for it. On blocks of visits level 1 takes a sixteenth of the
time for 15 % more bytes, and level 9 was a third of all the CPU that a scan costs (docs/performance.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from aiokafka.codec import lz4_encode
from aiokafka.record import default_records, legacy_records

from schemas.inflating import bound_codecs

try:
    from aiokafka.record._crecords import default_records as compiled
    from aiokafka.record._crecords import legacy_records as compiled_legacy
except ImportError:  # aiokafka without its compiled part
    compiled = compiled_legacy = None

LEVEL = 1


def use_fast_lz4() -> None:
    """Let every producer of this process compress at LEVEL. Readers need nothing: the format is the same."""
    modules: list[Any] = [default_records, compiled]
    for module in modules:
        if module is not None:
            module.lz4_encode = partial(lz4_encode, level=LEVEL)


def bound_inflation(limit: int) -> None:
    """Let every aiokafka reader of this process inflate at most `limit` bytes of a batch: more raises TooLarge."""
    modules = (default_records, legacy_records, compiled, compiled_legacy)
    bound_codecs([module for module in modules if module is not None], limit)
