"""Arrays cut into strips for threads: how kernels, which start none, are spread over processors."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

from geo_assets.core.workers import Threads

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_WORTH_A_THREAD = 2**16
"""Pixels below which starting a thread takes longer than it saves."""


def map_strips(
    function: Callable[[int, int], Result],
    size: int,
    *,
    threads: int | None = None,
    unit: int = 1,
    each: int = 1,
) -> list[Result]:
    """Return ``function(start, stop)`` of consecutive strips that cover range(size), in order.

    Args:
        function: Lets go of the GIL and depends on its strip alone.
        size: Pixels.
        threads: How many work at once; None: as many as processors may be used.
        unit: Strips start at multiples of it.
        each: Strips for each thread at most. With several, a thread that gets its processor late
            leaves the others more of them.
    """
    pool = Threads(threads)
    units = -(-size // unit)
    count = max(1, min(pool.count * each, units, size // _WORTH_A_THREAD))
    edges = [min(units * i // count * unit, size) for i in range(count + 1)]
    if count == 1 or pool.count == 1:
        return [function(*strip) for strip in itertools.pairwise(edges)]
    return list(pool.map(lambda strip: function(*strip), itertools.pairwise(edges)))
