"""What an object holds, by the names of its attributes: every array, text and container that can be reached from it.

It asks no structure how large it is, so one that nobody thought of is counted too. Arrays count what is filled: room
that `Columns` has taken and nothing was written to takes no memory. What two attributes share counts once.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np

from contacts.columns import Columns

_NOT_HELD: Final = (type, ModuleType, FunctionType, MethodType, int, float, bool, type(None), np.dtype)
_PLAIN: Final = (str, bytes, bytearray, memoryview)


def held(whole: object, depth: int = 3) -> Counter[str]:
    """Bytes by attribute, named by at most `depth` names from the outermost on."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), whole)])  # what is shared has its shortest name
    while waiting:
        path, each = waiting.popleft()
        if isinstance(each, _NOT_HELD) or id(each) in seen:
            continue
        seen.add(id(each))
        name = ".".join(path[:depth])
        if isinstance(each, Columns):
            for column, view in {column: each[column] for column in each._types}.items():
                found[".".join((*path, column)[:depth])] += view.nbytes
        elif isinstance(each, np.ndarray):
            found[name] += _bytes_of(each, seen)
            if each.dtype == np.object_:
                found[name] += sum(sys.getsizeof(one) for one in each.tolist() if one is not None)
        else:
            found[name] += sys.getsizeof(each)
            if not isinstance(each, _PLAIN):
                waiting += _inside(path, each)
    return found


def _bytes_of(array: np.ndarray[Any, Any], seen: set[int]) -> int:
    """The bytes of an array, or of all of what it is a part of, if they were not counted before."""
    if array.base is None:
        return array.nbytes
    if id(array.base) in seen:
        return 0
    seen.add(id(array.base))
    return array.base.nbytes if isinstance(array.base, np.ndarray) else array.nbytes


def _inside(path: tuple[str, ...], each: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What an object consists of. What is in a container has the container's name."""
    if isinstance(each, Mapping):
        yield from ((path, one) for pair in each.items() for one in pair)
    elif isinstance(each, list | tuple | set | frozenset):
        yield from ((path, one) for one in each)
    else:
        slots = (name for one in type(each).__mro__ for name in getattr(one, "__slots__", ()))
        named = dict.fromkeys((*getattr(each, "__dict__", {}), *slots))
        yield from (((*path, name.lstrip("_")), getattr(each, name, None)) for name in named)
