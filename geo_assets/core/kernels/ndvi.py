"""NDVI of integer bands, quantised, and back: what takes numpy many passes, in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def ndvi_steps(  # noqa: PLR0917  # compiled functions know no keywords
    nir: NDArray[Any],
    red: NDArray[Any],
    valid: NDArray[np.bool_],
    steps_per_unit: float,
    missing: int,
    out: NDArray[np.int16],
) -> None:
    """Write (nir - red) / (nir + red) in steps, rounded half to even.

    Args:
        nir: (pixel,) integers of at most 16 bits.
        red: The same.
        valid: (pixel,), where both hold a datum.
        steps_per_unit: Steps from 0 to 1.
        missing: What pixels receive that are not valid, where nir + red <= 0, and where a negative
            band takes the index beyond 1 or -1.
        out: (pixel,), written.
    """
    for pixel in range(len(out)):
        total = np.float64(nir[pixel]) + np.float64(red[pixel])
        index = (np.float64(nir[pixel]) - np.float64(red[pixel])) / total
        known = valid[pixel] and total > 0 and abs(index) <= 1
        out[pixel] = np.int16(np.rint(index * steps_per_unit)) if known else missing


@kernel
def units_of_steps(
    steps: NDArray[np.int16], steps_per_unit: Any, missing: int, out: NDArray[Any]
) -> None:
    """Write steps / steps_per_unit, NaN where missing.

    Args:
        steps: (pixel,).
        steps_per_unit: In the dtype of ``out``.
        missing: What pixels hold that have no value.
        out: (pixel,) floating, written.
    """
    for pixel in range(len(out)):
        step = steps[pixel]
        out[pixel] = step / steps_per_unit if step != missing else np.nan
