"""Pixels of a coarse image laid on a finer grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def lay_coarse(
    coarse: NDArray[Any], rows: NDArray[np.intp], cols: NDArray[np.intp], fine: NDArray[Any]
) -> None:
    """Write for each fine pixel the coarse one that it lies in.

    Args:
        coarse: (y, x), C-contiguous.
        rows: Row of ``coarse`` for each row of ``fine``; equal ones follow each other.
        cols: Column of ``coarse`` for each column of ``fine``.
        fine: (y, x), C-contiguous.
    """
    for row in range(len(rows)):
        if row > 0 and rows[row] == rows[row - 1]:
            fine[row] = fine[row - 1]
            continue
        given, line = coarse[rows[row]], fine[row]
        for col in range(len(cols)):
            line[col] = given[cols[col]]
