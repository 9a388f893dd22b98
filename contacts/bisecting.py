"""Binary search over part of a column, for compiled loops: `np.searchsorted` takes whole arrays."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from contacts.compiled import compiled


@compiled
def first_from(words: NDArray[Any], wanted: Any, begin: Any, end: Any) -> Any:
    """The first place in `[begin, end)` whose word is not below `wanted`; `end` where there is none."""
    while begin < end:
        middle = (begin + end) >> 1
        if words[middle] < wanted:
            begin = middle + 1
        else:
            end = middle
    return begin
