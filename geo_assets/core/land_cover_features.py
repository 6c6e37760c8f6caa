"""Features of land cover: the bands of an image, and spectral indices of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.index_catalogue import find_index
from geo_assets.core.indices import compute_index
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def check_indices(indices: Sequence[str], bands: Sequence[str]) -> None:
    """Refuse an index that needs an absent band, or reflectance in units, or that comes twice.

    A composite holds the numbers of its product, so that a formula with constants for reflectance
    from 0 to 1 (EVI, SAVI) would mean something else.

    Args:
        indices: Names of the catalogue.
        bands: Common names of the bands there are.

    Raises:
        ClusteringError: It names the index, its bands and those there are.
        GeoAssetsError: If the catalogue has no such index.
    """
    names = [find_index(index).name for index in indices]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"land_cover.indices: {', '.join(twice)} is named more than once; allowed: once each"
        raise ClusteringError(msg)
    for index in indices:
        found = find_index(index)
        if not found.scale_free:
            msg = (
                f"land_cover.indices: {index!r} is {found.formula}, with constants for reflectance "
                "from 0 to 1; allowed are indices that are the same in any unit, such as NDVI, "
                "NDWI, NDBI"
            )
            raise ClusteringError(msg)
        absent = [band for band in found.bands.values() if band not in bands]
        if absent:
            msg = (
                f"land_cover.indices: {index!r} needs {', '.join(absent)}, which is not among "
                f"composite.bands ({', '.join(bands)})"
            )
            raise ClusteringError(msg)


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
        common_names: STAC common name of each band.
        indices: Names of the catalogue.

    Returns:
        (band + index, y, x) float32, and (y, x) bool: False also where a feature is not finite.
    """
    features = np.empty((len(bands) + len(indices), *valid.shape), np.float32)
    features[: len(bands)] = bands
    named = dict(zip(common_names, bands, strict=True))
    for number, index in enumerate(indices, start=len(bands)):
        features[number] = compute_index(index, named, valid)
    # One feature after another: no mask of all of them at once.
    usable = valid.copy()
    for feature in features:
        usable &= np.isfinite(feature)
    return features, usable
