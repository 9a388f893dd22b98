"""How far the numbers and times of messages go, and what decoding raises for bytes that are no message."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

TIME_MOST: Final = 2**43
"""No time is further from 1970 than this, in ms (278 years, so 1691 to 2248): what is further is a mistake, and near it
every sum of a time and a stay, a window or a retention is still a date."""
DERIVED_MOST: Final = 2 * TIME_MOST
"""Nor is what follows from times further than this."""
NUMBER_MOST: Final = 2**31 - 1
"""No count of people, doses or cases is above this."""
OFFSET_MOST: Final = 2**43 - 1
"""No offset is above this: eight million million records in one partition."""

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for bytes that are no message: also for nesting that is deeper than a decoder goes."""

TimeMs = Annotated[int, msgspec.Meta(ge=-TIME_MOST, le=TIME_MOST)]
DerivedMs = Annotated[int, msgspec.Meta(ge=-DERIVED_MOST, le=DERIVED_MOST)]
"""A time that follows from others: a stay's end, a window, until when a colour holds."""
LogTimeMs = Annotated[int, msgspec.Meta(ge=-(2**62), le=TIME_MOST)]
"""A log time, or the bound of a window: far below every time where there is none."""
BoundMs = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
"""A bound of a window that may be open: far below or above every time."""
Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MOST)]
Offset = Annotated[int, msgspec.Meta(ge=-1, le=OFFSET_MOST)]
Partition = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MOST)]
Position = tuple[Offset, Annotated[int, msgspec.Meta(ge=-1, le=TIME_MOST)]]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
