"""How kernels are compiled: without the GIL, cached on disk, with IEEE arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

Kernel = TypeVar("Kernel", bound="Callable[..., Any]")


def kernel(function: Kernel) -> Kernel:
    """Compile a function at its first call, for the types of its arguments.

    No ``fastmath``: it would allow sums in another order, and other bytes on another machine.
    Division by zero is IEEE's, as numpy's (an integer gives 0): asking for each divisor whether
    Python would raise keeps loops from being vectorised.
    """
    return cast("Kernel", numba.njit(nogil=True, cache=True, error_model="numpy")(function))
