"""NDVI of integer bands, quantised: what numpy would do in ten passes of float64, in one."""

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
