"""Features of land cover: the bands of an image, and spectral indices of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.band_names import common_name
from geo_assets.core.index_catalogue import find_index
from geo_assets.core.indices import compute_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def land_cover_features(
    bands: NDArray[Any],
    valid: NDArray[np.bool_],
    common_names: Sequence[str],
    indices: Sequence[str],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return bands and indices as features, and where each of them has a value.

    Args:
        bands: (band, y, x), integer or float reflectance; no label band.
        valid: (y, x) bool, True = datum.
        common_names: Name of each band by ``common_name``.
        indices: Names of the catalogue.

    Returns:
        (band + index, y, x) float32, and (y, x) bool: False also where a feature is not finite.
    """
    features = np.empty((len(bands) + len(indices), *valid.shape), np.float32)
    features[: len(bands)] = bands
    named = dict(zip(common_names, bands, strict=True))
    for number, index in enumerate(indices, start=len(bands)):
        # The catalogue has names of its own for some bands: rededge071 is rededge1 here.
        needed = find_index(index).bands.values()
        given = {band: named[common_name(band)] for band in needed if common_name(band) in named}
        features[number] = compute_index(index, given, valid)
    # One feature after another: no mask of all of them at once.
    usable = valid.copy()
    for feature in features:
        usable &= np.isfinite(feature)
    return features, usable
