"""Grouping polygons into AOI clusters, so that the imagery of each covers little but them.

The box of a cluster as a value is in ``areas``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pyproj import CRS
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

from geo_assets.core.areas import ClusterBox, measures_metres
from geo_assets.core.grids import utm_crs_of
from geo_assets.errors import AreaError, CampaignError

if TYPE_CHECKING:
    import geopandas
    from numpy.typing import NDArray

MILLIMETRES = 3
"""Decimals of a metre to which centroids are rounded: nearer ones count as one place."""


class Clustering(NamedTuple):
    """The cluster of each polygon, and what the user should know about it."""

    cluster: NDArray[np.int64]
    """(polygon,) from 0, ordered by the cluster's centre from west to east, then from south to
    north."""
    warnings: list[str]


def cluster_polygons(
    frame: geopandas.GeoDataFrame, n_clusters: int, *, seed: int, max_box_m: float | None = None
) -> Clustering:
    """Group polygons by K-Means on their centroids in the UTM zone that covers most of them.

    The result does not depend on the order of the polygons. With ``max_box_m`` the number of
    clusters grows, each time by the number of clusters that are still too large, until no cluster
    of several polygons has a box (without buffer) with a longer side.

    Args:
        frame: Polygons in any CRS.
        n_clusters: Number of clusters; capped at the number of distinct centroids.
        seed: Seed of K-Means.
        max_box_m: Longest side of a cluster's box in metres.

    Raises:
        CampaignError: ``n_clusters`` or ``max_box_m`` is not positive.
        AreaError: The polygons lie too far apart for one metric CRS.
    """
    if n_clusters < 1:
        raise CampaignError(f"clusters: count {n_clusters}: must be at least 1")
    if max_box_m is not None and not max_box_m > 0:
        raise CampaignError(f"clusters: longest box side {max_box_m} m: must be greater than 0")
    if len(frame) == 0:
        return Clustering(np.zeros(0, np.int64), [])
    crs = utm_crs_of(frame)
    metric = frame.geometry.to_crs(str(crs))
    bounds = metric.bounds.to_numpy()
    if not np.isfinite(bounds).all():
        raise AreaError(f"polygons lie too far apart to be measured in one CRS ({crs})")
    centroids = metric.centroid.get_coordinates().to_numpy().round(MILLIMETRES)
    places, place_of = np.unique(centroids, axis=0, return_inverse=True)
    weights = np.bincount(place_of)
    warnings = []
    count = min(n_clusters, len(places))
    if count < n_clusters:
        warnings.append(
            f"{n_clusters} clusters are asked for, but there are only {len(frame)} polygons at "
            f"{len(places)} places: {count} clusters are made"
        )
    while True:
        cluster = _fit(places, weights, count, seed)[place_of]
        too_large = [] if max_box_m is None else _too_large(cluster, bounds, max_box_m)
        splittable = [k for k in too_large if len(set(place_of[cluster == k])) > 1]
        if not splittable:
            break
        count = min(len(places), count + len(splittable))
    if too_large:
        warnings.append(
            f"the boxes of clusters {too_large} are longer than {max_box_m} m: "
            "each holds a single place that cannot be divided"
        )
    return Clustering(cluster, warnings)


def _fit(
    places: NDArray[np.float64], weights: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.int64]:
    """Cluster distinct places, and number the clusters by their centres."""
    if count == len(places):
        found = np.arange(count)
    else:
        # one thread: the order of parallel sums would decide ties
        with threadpool_limits(limits=1):
            model = KMeans(count, random_state=seed, n_init=10).fit(places, sample_weight=weights)
        _, found = np.unique(model.labels_, return_inverse=True)
    total = np.bincount(found, weights=weights)
    x, y = (np.bincount(found, weights=weights * axis) / total for axis in places.T)
    rank = np.empty(len(total), np.int64)
    rank[np.lexsort((y, x))] = np.arange(len(total))
    return rank[found]


def _too_large(
    cluster: NDArray[np.int64], bounds: NDArray[np.float64], max_box_m: float
) -> list[int]:
    found = []
    for k in np.unique(cluster):
        here = bounds[cluster == k]
        if (here[:, 2:].max(axis=0) - here[:, :2].min(axis=0)).max() > max_box_m:
            found.append(int(k))
    return found


def cluster_boxes(
    frame: geopandas.GeoDataFrame, buffer_m: float, *, crs: str | None = None
) -> list[ClusterBox]:
    """Give the box around the polygons of each cluster, in a metric CRS, with a buffer.

    Args:
        frame: Polygons in any CRS with a column ``cluster``.
        buffer_m: Metres added on every side.
        crs: CRS of the boxes; by default the UTM zone that covers most of each cluster.

    Returns:
        One box a cluster, by number of the cluster.

    Raises:
        CampaignError: The buffer is negative, or a metre of the CRS is not one on the ground.
    """
    if not buffer_m >= 0:
        raise CampaignError(f"clusters: buffer_m {buffer_m}: must not be negative")
    if crs is not None and not measures_metres(crs):
        raise CampaignError(
            f"clusters: CRS {crs} ({CRS(crs).name}) does not measure metres on the ground; "
            "allowed are projected CRSs that do, such as a UTM zone, none of the whole world"
        )
    boxes = []
    for cluster, polygons in frame.groupby("cluster", sort=True):
        box_crs = crs or str(utm_crs_of(polygons))
        minx, miny, maxx, maxy = polygons.geometry.to_crs(box_crs).total_bounds.tolist()
        boxes.append(
            ClusterBox(
                cluster=int(cluster),
                crs=box_crs,
                bounds=(minx - buffer_m, miny - buffer_m, maxx + buffer_m, maxy + buffer_m),
                polygons=len(polygons),
            )
        )
    return boxes
