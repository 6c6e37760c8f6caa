"""Values far from the rest of their date: left alone, dropped or replaced, never in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OutlierRule = Literal["none", "mask", "median"]
"""``none`` leaves every value, ``mask`` makes outliers missing, ``median`` replaces them by it."""

NORMAL_SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation
(Rousseeuw and Croux 1993, doi:10.1080/01621459.1993.10476408)."""


def treat_outliers(
    values: NDArray[np.floating[Any]], rule: OutlierRule = "none", n_sigma: float = 10.0
) -> tuple[NDArray[np.floating[Any]], int]:
    """Treat values of one date that lie more than ``n_sigma`` robust sigmas from their median.

    The robust sigma is 1.4826 times the median absolute deviation (MAD) about the median, both
    over all values that are not missing. A MAD of 0 (half of the values are equal) says nothing
    about spread and changes nothing. Clouds and pixels outside the area are masked before, values
    are quantised after.

    Args:
        values: One date's index, float of any shape, NaN where missing; not changed.
        rule: What happens to outliers.
        n_sigma: Robust sigmas, above 0; a value at exactly that distance stays.

    Returns:
        The values in the same shape and dtype, and the number of outliers treated (0 for
        ``none``, which does not look for any).

    Raises:
        GeoAssetsError: If the rule is unknown or ``n_sigma`` is not above 0.
    """
    if rule not in ("none", "mask", "median"):
        msg = f"outliers.rule: {rule!r} is unknown; allowed: none, mask, median"
        raise GeoAssetsError(msg)
    if not n_sigma > 0:
        msg = f"outliers.n_sigma: {n_sigma}; allowed: above 0"
        raise GeoAssetsError(msg)
    known = values[~np.isnan(values)].astype(np.float64)
    if rule == "none" or known.size == 0:
        return values, 0
    centre = float(np.median(known))
    sigma = NORMAL_SIGMA_PER_MAD * float(np.median(np.abs(known - centre)))
    if sigma == 0:
        return values, 0
    far = np.abs(values - np.float64(centre)) > n_sigma * sigma
    treated = values.copy()
    treated[far] = np.nan if rule == "mask" else centre
    return treated, int(np.count_nonzero(far))
