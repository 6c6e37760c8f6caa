"""The pixel grid of an AOI cluster: a window of its first scene's pixels, or a stated one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odc.geo.crs import CRS
from odc.geo.geom import Geometry

from geo_assets.core.grids import choose_crs, geobox_of, window_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Grid
    from geo_assets.core.areas import ClusterBox
    from geo_assets.sources.protocol import Item, RasterSource


def grid_of_area(
    source: RasterSource,
    box: ClusterBox,
    items: Sequence[Item],
    bands: Sequence[str],
    rules: Grid,
) -> GeoBox | None:
    """Return the pixel grid of a cluster; None without a scene and without a stated resolution.

    A native grid is a window of the first scene's pixels (oldest, then by id) among those in the
    chosen CRS, taken from its finest band.

    Args:
        source: Knows the grid of each scene.
        box: The cluster's area.
        items: Its scenes.
        bands: Bands that are read.
        rules: The campaign's choice of CRS and resolution.
    """
    stated = None if rules.crs == "auto" else CRS(rules.crs)
    if rules.resolution != "native":
        scene_crs = [] if stated else [source.native_geobox(item, bands[0]).crs for item in items]
        crs = choose_crs(box, [crs for crs in scene_crs if crs is not None], stated=stated)
        return geobox_of(box, crs, rules.resolution)
    if not items:
        return None
    natives = [(item, source.native_geobox(item, bands[0])) for item in items]
    crs = choose_crs(box, [native.crs for _, native in natives if native.crs], stated=stated)
    here = [item for item, native in natives if native.crs == crs] or list(items)
    first = min(here, key=lambda item: (item["properties"]["datetime"], item["id"]))
    finest = min(
        (source.native_geobox(first, band) for band in bands),
        key=lambda native: abs(native.resolution.x),
    )
    if finest.crs != crs:
        # No scene has the stated CRS: its pixels keep their size, on a lattice of that CRS.
        return geobox_of(box, crs, finest.to_crs(crs).resolution.x)
    return window_of(finest, box, clip=source.single_raster)


def mask_of_polygons(polygons: GeoDataFrame, geobox: GeoBox) -> NDArray[np.bool_]:
    """Return (y, x) bool: the pixels whose centre lies in a polygon."""
    from odc.geo.xr import rasterize

    outline = Geometry(polygons.geometry.union_all(), polygons.crs)
    mask: NDArray[np.bool_] = rasterize(outline.to_crs(str(geobox.crs)), geobox).values > 0
    return mask
