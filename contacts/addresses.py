"""Arrays by their addresses, so that one call of a compiled loop reads many of them; and memory asked for ahead.

A call costs a microsecond for every three arrays, and each of a question's reads of a hundred million visits waits for
memory: a loop that is given a table of addresses asks for what all its steps will read next before it reads any of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from contacts.compiled import COMPILED, Later


def address(array: NDArray[Any]) -> tuple[int, int]:
    """Where an array is, and how many numbers it has. Raises ValueError where these do not lie side by side."""
    if not array.flags.c_contiguous:
        raise ValueError("The numbers of the array do not lie side by side.")
    return array.ctypes.data, len(array)


class _ArrayAt(Later):
    """Gives compiled code an array."""

    def compile(self) -> Callable[..., Any]:
        """Have numba make it."""
        import numba
        from numba.extending import intrinsic

        element = numba.from_dtype(self.function(0, 0).dtype)

        @intrinsic  # type: ignore[untyped-decorator]
        def pointer(_: Any, _address: Any) -> Any:
            def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
                return builder.inttoptr(given[0], context.get_value_type(signature.return_type))

            return numba.types.CPointer(element)(numba.types.int64), generate

        return cast(Callable[..., Any], numba.njit(lambda address, count: numba.carray(pointer(address), count)))


class _Prefetch(Later):
    """Gives compiled code the processor's instruction."""

    def compile(self) -> Callable[..., Any]:
        """Have numba make it."""
        import numba
        from llvmlite import ir
        from numba.core import cgutils
        from numba.extending import intrinsic

        @intrinsic  # type: ignore[untyped-decorator]
        def ask(_: Any, _address: Any) -> Any:
            def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
                number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
                function = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
                fetch = cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0")
                to_read, to_keep, data = (ir.Constant(number, each) for each in (0, 3, 1))
                builder.call(fetch, [builder.inttoptr(given[0], pointer), to_read, to_keep, data])
                return context.get_dummy_value()

            return numba.types.void(numba.types.int64), generate

        return cast(Callable[..., Any], numba.njit(lambda address: ask(address)))


def _array_at(dtype: DTypeLike) -> Callable[[int, int], NDArray[Any]]:
    element = np.ctypeslib.as_ctypes_type(dtype)

    def view(address: int, count: int) -> NDArray[Any]:
        held = (element * count).from_address(int(address)) if count else (element * 0)()
        return np.ctypeslib.as_array(held)

    return _ArrayAt(view) if COMPILED else view


def _no_prefetch(_: int) -> None:
    return None


int64_at = _array_at(np.int64)
"""The array of so many numbers at an address. Somebody must hold it meanwhile, and both must be its own."""

uint32_at = _array_at(np.uint32)
uint8_at = _array_at(np.uint8)

prefetch: Callable[[int], None] = _Prefetch(_no_prefetch) if COMPILED else _no_prefetch
"""Ask for the 64 bytes around an address, which will be read soon. It may be any address."""
