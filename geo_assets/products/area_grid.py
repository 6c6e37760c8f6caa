"""The pixel grid of an AOI cluster: a window of its first scene's pixels, or a stated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odc.geo.crs import CRS
from odc.geo.geom import Geometry

from geo_assets.core.grids import choose_crs, crs_of, geobox_of, window_of
from geo_assets.sources.scenes.order import scene_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Grid
    from geo_assets.core.areas import ClusterBox
    from geo_assets.sources.protocol import Item, Source


def grid_of_area(
    source: Source,
    box: ClusterBox,
    items: Sequence[Item],
    bands: Sequence[str],
    rules: Grid,
) -> GeoBox | None:
    """Return the pixel grid of a cluster; None without a scene and without a stated resolution.

    A native grid is a window of the first scene's pixels (oldest, then by id) among those in the
    chosen CRS, taken from its finest band. Where the CRS is stated and no scene has it, pixels of
    that size lie on a lattice of the stated CRS.

    Args:
        source: Knows the grid of each scene.
        box: The cluster's area.
        items: Its scenes.
        bands: Bands that are read.
        rules: The campaign's choice of CRS and resolution.

    Raises:
        ReadError: If a scene does not state its grid and its file cannot be read: another first
            scene would move every pixel.
        AreaError: If the area lies outside of a source that is a single raster.
    """
    if not items and rules.resolution == "native":
        return None
    stated = None if rules.crs == "auto" else CRS(rules.crs)
    if rules.resolution != "native":
        scene_crs = [] if stated else [crs_of(source.native_geobox(i, bands[0])) for i in items]
        return geobox_of(box, choose_crs(box, scene_crs, stated=stated), rules.resolution)
    scene_crs = [crs_of(source.native_geobox(item, bands[0])) for item in items]
    crs = choose_crs(box, scene_crs, stated=stated)
    there = [item for item, own in zip(items, scene_crs, strict=True) if own == crs]
    first = min(there or items, key=lambda item: (scene_time(item), item["id"]))
    finest = min(
        (source.native_geobox(first, band) for band in bands),
        key=lambda native: abs(native.resolution.x),
    )
    if not there:
        return geobox_of(box, crs, abs(finest.to_crs(crs).resolution.x))
    return window_of(finest, box, clip=source.single_raster)


def mask_of_polygons(polygons: GeoDataFrame, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return (y, x) bool: the pixels whose centre lies in a polygon.

    Edges of polygons are straight lines in the CRS of the grid, as those of the label band.
    """
    from odc.geo.xr import rasterize

    outline = Geometry(polygons.geometry.union_all(), polygons.crs)
    mask: NDArray[np.bool_] = rasterize(outline.to_crs(str(geobox.crs)), geobox).values > 0
    return mask
