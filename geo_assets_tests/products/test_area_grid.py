from __future__ import annotations

import math
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.features import geometry_mask

from geo_assets.campaign import Grid
from geo_assets.core.areas import ClusterBox
from geo_assets.errors import AreaError
from geo_assets.products.area_grid import grid_of_area, mask_of_polygons
from geo_assets_tests.sources.memory_source import MemorySource, Scene, grid

BANDS = ("B04", "B08")
BOX = ClusterBox(0, "EPSG:32633", (500_403.0, 5_198_122.5, 501_111.0, 5_199_000.0), 3)


def scene(name, day, geobox):
    nothing = np.zeros((2, 1, 1), "uint16")
    return Scene(name, day, nothing, np.ones((1, 1), bool), None, geobox)


def shifted(east, south, crs="EPSG:32633", pixel=10.0):
    """A tile whose lattice is shifted."""
    affine = Affine(pixel, 0, 500_000 + east, 0, -pixel, 5_200_000 - south)
    return GeoBox((600, 600), affine, crs)


def window_by_hand(native, bounds):
    """The window of a lattice that covers bounds (x, y), snapped outward."""
    inverse = ~native.affine
    left, top = inverse @ (bounds[0], bounds[3])
    right, bottom = inverse @ (bounds[2], bounds[1])
    left, top, right, bottom = (
        math.floor(left),
        math.floor(top),
        math.ceil(right),
        math.ceil(bottom),
    )
    corner = native.affine @ (left, top)
    return corner, (bottom - top, right - left)


def check(made, native, bounds):
    corner, shape = window_by_hand(native, bounds)
    assert made.shape.yx == shape
    assert (made.affine.c, made.affine.f) == pytest.approx(corner, abs=1e-6)
    assert made.resolution == native.resolution
    assert made.crs == native.crs


def bounds_in(crs):
    transformer = Transformer.from_crs(BOX.crs, crs, always_xy=True)
    return transformer.transform_bounds(*BOX.bounds, densify_pts=500)


def test_a_native_grid_is_a_window_of_the_oldest_scene_then_of_the_lowest_id():
    source = MemorySource.of(
        scene("b", "2021-03-01", shifted(3, 4)),
        scene("a", "2021-03-01", shifted(1, 2)),
        scene("0", "2021-04-01", shifted(5, 6)),
    )
    for items in (source.items, source.items[::-1]):
        check(grid_of_area(source, BOX, items, BANDS, Grid()), shifted(1, 2), BOX.bounds)


def test_times_are_compared_as_times_and_not_as_text():
    source = MemorySource.of(
        scene("utc", "2021-03-02", shifted(1, 2)), scene("zone", "2021-03-02", shifted(3, 4))
    )
    utc, zone = source.items
    utc["properties"]["datetime"] = "2021-03-02T00:30:00Z"
    zone["properties"]["datetime"] = "2021-03-02T01:00:00+02:00"
    check(grid_of_area(source, BOX, [utc, zone], BANDS, Grid()), shifted(3, 4), BOX.bounds)


def test_the_finest_band_gives_the_pixels():
    coarse, fine = shifted(0, 0, pixel=20.0), shifted(5, 5, pixel=10.0)
    source = MemorySource.of(scene("a", "2021-03-01", coarse))
    source.native_geobox = lambda _, band: {"B04": coarse, "B08": fine}[band]
    check(grid_of_area(source, BOX, source.items, BANDS, Grid()), fine, BOX.bounds)


def test_of_two_zones_the_one_that_covers_most_of_the_area_is_chosen():
    """Zone 33 holds the area, although the older scenes are of zone 32."""
    west = grid(600, 600).to_crs("EPSG:32632")
    source = MemorySource.of(
        scene("old", "2021-01-01", west),
        scene("older", "2020-01-01", west),
        scene("new", "2021-03-01", shifted(3, 4)),
    )
    check(grid_of_area(source, BOX, source.items, BANDS, Grid()), shifted(3, 4), BOX.bounds)


def test_a_stated_crs_chooses_among_the_scenes():
    west = GeoBox((900, 900), Affine(10, 0, 957_003, 0, -10, 5_220_004), "EPSG:32632")
    source = MemorySource.of(
        scene("east", "2021-01-01", shifted(0, 0)), scene("west", "2021-03-01", west)
    )
    made = grid_of_area(source, BOX, source.items, BANDS, Grid(crs="EPSG:32632"))
    check(made, west, bounds_in("EPSG:32632"))


@pytest.mark.parametrize(("crs", "size"), [("EPSG:32632", 10.0), ("EPSG:3035", 10.0)])
def test_a_stated_metric_crs_that_no_scene_has_gets_pixels_of_the_same_size(crs, size):
    source = MemorySource.of(scene("a", "2021-01-01", shifted(3, 4)))
    made = grid_of_area(source, BOX, source.items, BANDS, Grid(crs=crs))
    origin = GeoBox((1, 1), Affine(size, 0, 0, 0, -size, 0), crs)
    check(made, origin, bounds_in(crs))


@pytest.mark.parametrize("with_scenes", [True, False])
def test_a_stated_resolution_needs_no_scene_and_lies_on_multiples_of_itself(with_scenes):
    source = MemorySource.of(scene("a", "2021-01-01", shifted(3, 4)))
    items = source.items if with_scenes else []
    made = grid_of_area(source, BOX, items, BANDS, Grid(resolution=25.0))
    origin = GeoBox((1, 1), Affine(25, 0, 0, 0, -25, 0), "EPSG:32633")
    check(made, origin, BOX.bounds)


def test_a_stated_crs_and_resolution_ask_no_scene():
    source = MemorySource.of(scene("a", "2021-01-01", shifted(3, 4)))
    source.native_geobox = None
    rules = Grid(crs="EPSG:3035", resolution=20.0)
    made = grid_of_area(source, BOX, source.items, BANDS, rules)
    check(made, GeoBox((1, 1), Affine(20, 0, 0, 0, -20, 0), "EPSG:3035"), bounds_in("EPSG:3035"))


def test_without_scenes_there_is_no_native_grid():
    assert grid_of_area(MemorySource.of(), BOX, [], BANDS, Grid()) is None


def test_an_area_is_clipped_to_a_single_raster_and_refused_outside_of_it():
    raster = GeoBox((100, 50), Affine(10, 0, 500_503, 0, -10, 5_199_004), "EPSG:32633")
    source = MemorySource.of(scene("a", "2021-01-01", raster), single_raster=True)
    made = grid_of_area(source, BOX, source.items, BANDS, Grid())
    west, south, east, north = raster.boundingbox.bbox
    clipped = (
        max(BOX.bounds[0], west),
        max(BOX.bounds[1], south),
        min(BOX.bounds[2], east),
        min(BOX.bounds[3], north),
    )
    check(made, raster, clipped)
    elsewhere = replace(BOX, bounds=tuple(value + 50_000 for value in BOX.bounds))
    with pytest.raises(AreaError, match="lies outside of the raster"):
        grid_of_area(source, elsewhere, source.items, BANDS, Grid())


def test_the_mask_of_polygons_is_their_pixel_centres():
    geobox = grid(80, 90)
    rng = np.random.default_rng(0)
    discs = [
        shapely.Point(*geobox.affine.__matmul__((x, y))).buffer(r)
        for x, y, r in zip(*rng.uniform([[0], [0], [30]], [[90], [80], [200]], (3, 9)), strict=True)
    ]
    frame = geopandas.GeoDataFrame(geometry=discs, crs="EPSG:32633")
    expected = geometry_mask(discs, geobox.shape.yx, geobox.affine, invert=True)
    made = mask_of_polygons(frame.to_crs("EPSG:4326"), geobox)
    assert made.dtype == bool
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(made, expected)
