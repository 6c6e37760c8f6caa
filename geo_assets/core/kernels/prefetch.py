"""Memory asked for ahead of need: processors do it themselves along a few rows, not along many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from llvmlite import ir  # type: ignore[import-untyped]  # ships no types
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LINE_BYTES = 64
"""What memory is moved by, on the processors that this is meant for; on others some lines are asked
for twice, or not."""

_READ, _SECOND_CACHE, _DATA = 0, 2, 1
"""What LLVM wants to know (``llvm.prefetch`` in its language reference)."""


def _prefetch(_: Any, array: types.Array, place: types.Integer) -> tuple[Any, Callable[..., Any]]:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        elements = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, number, number, number]),
            "llvm.prefetch.p0",
        )
        address = builder.bitcast(builder.gep(elements, [arguments[1]]), byte)
        builder.call(function, [address, *map(number, (_READ, _SECOND_CACHE, _DATA))])
        return target.get_dummy_value()

    return types.void(array, place), generate


prefetch = cast("Callable[[NDArray[Any], int], None]", intrinsic(_prefetch))
"""Ask for the line of memory of an element, by its number in a C-contiguous array as if that were
flat. For kernels alone. Nothing changes, and no number is out of bounds."""
