"""Digital numbers moved by an offset, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def add_clamped(  # noqa: PLR0917  # compiled functions know no keywords
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    offset: int,
    low: int,
    high: int,
    avoided: int,
    instead: int,
) -> None:
    """Add an offset to valid integers and clamp them; widened, so that none wraps.

    Args:
        data: (y, x) integers of at most 32 bits, written.
        valid: (y, x), where there is a datum; others are left as they are.
        offset: To add.
        low: The least that a datum may become.
        high: The largest.
        avoided: What no datum may become; beyond the dtype where there is no such number.
        instead: What it becomes instead.
    """
    for row in range(data.shape[0]):
        for col in range(data.shape[1]):
            moved = min(max(np.int64(data[row, col]) + offset, low), high)
            if moved == avoided:
                moved = instead
            if valid[row, col]:
                data[row, col] = moved
