"""Laying scenes over each other: in every pixel the first one that is valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def lay_first(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    fill: Any,
    fused: NDArray[Any],
    known: NDArray[np.bool_],
) -> None:
    """Write a scene where it is valid, and the fill elsewhere; all arrays C-contiguous.

    Args:
        data: (band, pixel).
        valid: (pixel,).
        fill: What pixels without datum hold, in the dtype of ``data``.
        fused: (band, pixel), written.
        known: (pixel,), written: where the scene is valid.
    """
    for band in range(len(data)):
        given, row = data[band], fused[band]
        for pixel in range(len(valid)):
            row[pixel] = given[pixel] if valid[pixel] else fill
    known[:] = valid


@kernel
def fill_rest(data: NDArray[Any], valid: NDArray[np.bool_], fill: Any) -> None:
    """Write the fill where a scene is not valid, see ``lay_first``."""
    for band in range(len(data)):
        row = data[band]
        for pixel in range(len(valid)):
            if not valid[pixel]:
                row[pixel] = fill


@kernel
def lay_under(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    fused: NDArray[Any],
    known: NDArray[np.bool_],
) -> None:
    """Write a scene where it is valid and nothing is known yet, see ``lay_first``."""
    for band in range(len(data)):
        given, row = data[band], fused[band]
        for pixel in range(len(valid)):
            row[pixel] = given[pixel] if valid[pixel] and not known[pixel] else row[pixel]
    for pixel in range(len(valid)):
        known[pixel] |= valid[pixel]
