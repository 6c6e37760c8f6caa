"""Grids: the right zone, windows on the native lattice, and positions that no noise moves."""

from __future__ import annotations

import math

import geopandas
import hypothesis.strategies as st
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import example, given, settings
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geo_assets.core.areas import ClusterBox
from geo_assets.core.grids import (
    Lattice,
    authority_code,
    choose_crs,
    crs_of,
    geobox_of,
    lattice_position,
    pixel_window,
    utm_crs_of,
    window_of,
)
from geo_assets.errors import AreaError, SourceError

LATTICES = {
    "Sentinel-2, zone 33 north": ("EPSG:32633", 10.0, -10.0, 499980.0, 5100000.0),
    "Rufiji, zone 37 south": ("EPSG:32737", 20.0, -20.0, 528500.4654736732, 9135236.991311712),
    "Slovenia": (
        "EPSG:32633",
        9.99479222007154,
        -9.997448467363668,
        465181.0522318204,
        5080254.63349641,
    ),
    "Aberystwyth": ("EPSG:27700", 10.0, -10.0, 257070.5948333442, 285728.7167060375),
    "NICFI": ("EPSG:3857", 4.777314267823516, -4.777314267823516, -20037508.34, 20037508.34),
    "NAIP": ("EPSG:26914", 5.0, -5.0, 485900.0, 5209247.0),
    "drone": ("EPSG:3395", 0.1, -0.1, 13469872.25, 1640331.73),
    "degrees": ("EPSG:4326", 0.00026949458523585647, -0.00026949458523585647, 36.2, -7.4),
    "south-up": ("EPSG:32633", 10.0, 10.0, 499985.0, 5000005.0),
}
lattices = st.sampled_from(sorted(LATTICES))


def _native(name, shape=(300, 400)):
    crs, a, e, c, f = LATTICES[name]
    return GeoBox(shape, Affine(a, 0, c, 0, e, f), crs)


def _box_over(grid, rows, cols, cluster=0):
    """A cluster box that lies exactly on a pixel range of a grid, in the grid's own CRS."""
    window = Lattice.of(grid).window(rows[0], cols[0], (rows[1] - rows[0], cols[1] - cols[0]))
    return ClusterBox(cluster, str(grid.crs), tuple(window.boundingbox.bbox), 1)


# --- UTM zones ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        ((10.0, 50.0, 10.1, 50.1), 32632),
        ((11.5, 50.0, 12.2, 50.1), 32632),
        ((11.9, 50.0, 12.6, 50.1), 32633),
        ((39.0, -8.1, 39.3, -7.7), 32737),
        ((39.0, -0.1, 39.3, 0.3), 32637),
        ((39.0, -0.3, 39.3, 0.1), 32737),
        ((-180.0, 10.0, -179.5, 10.5), 32601),
        ((179.5, -17.0, 180.0, -16.0), 32760),
        ((11.0, 50.0, 13.0, 50.1), 32632),
        ((-58.2, -83.9, -58.1, -79.0), 32721),
    ],
)
def test_the_zone_that_covers_most_of_the_area_is_chosen(bounds, code):
    assert utm_crs_of(bounds).epsg == code


@settings(max_examples=60, deadline=None)
@given(st.floats(-179.99, 179.9), st.floats(-79, 83))
def test_a_small_area_gets_the_zone_of_its_centre(west, south):
    zones = {int((x + 180) // 6) for x in (west, west + 0.02)}
    code = utm_crs_of((west, south, west + 0.02, south + 0.02)).epsg
    zone = int((west + 0.01 + 180) // 6)
    if len(zones) == 1:
        assert code % 100 == zone + 1
    if not -0.02 < south < 0:
        assert code // 100 == (326 if south >= 0 else 327)


def test_many_small_polygons_outweigh_one_stray():
    boxes = [shapely.box(12.1 + i / 100, 50, 12.105 + i / 100, 50.005) for i in range(9)]
    stray = shapely.box(3, 50, 3.005, 50.005)
    frame = geopandas.GeoDataFrame(geometry=[stray, *boxes], crs="EPSG:4326")
    assert utm_crs_of(frame).epsg == 32633
    assert utm_crs_of(frame.to_crs("EPSG:3857")).epsg == 32633


def test_no_polygons_lie_in_no_zone():
    with pytest.raises(AreaError, match="lies in no UTM zone"):
        utm_crs_of(geopandas.GeoSeries([], crs="EPSG:4326"))


@pytest.mark.parametrize(
    ("bounds", "scenes", "chosen"),
    [
        ((690000, 5540000, 720000, 5550000), [32632, 32633], 32632),
        ((690000, 5540000, 760000, 5550000), [32632, 32632, 32633], 32633),
        ((690000, 5540000, 720000, 5550000), [32633], 32633),
        ((690000, 5540000, 720000, 5550000), [25832, 32632, 25832], 25832),
        ((690000, 5540000, 720000, 5550000), [3857, 3857, 32632], 32632),
        ((690000, 5540000, 720000, 5550000), [3857, 3035, 3035], 3035),
        ((690000, 5540000, 720000, 5550000), [3035, 3857], 3035),
        ((690000, 5540000, 720000, 5550000), [32630, 3857, 3857], 3857),
        ((690000, 5540000, 720000, 5550000), [], 32632),
    ],
)
def test_the_grid_of_an_area_gets_the_best_crs_of_its_scenes(bounds, scenes, chosen):
    box = ClusterBox(0, "EPSG:32632", bounds, 1)
    crs = [CRS(f"EPSG:{code}") for code in scenes]
    assert choose_crs(box, crs).epsg == chosen
    assert choose_crs(box, crs[::-1]).epsg == chosen


def test_a_stated_crs_beats_the_scenes():
    box = ClusterBox(0, "EPSG:32632", (690000, 5540000, 720000, 5550000), 1)
    assert choose_crs(box, [CRS("EPSG:32632")], stated=CRS("EPSG:3035")).epsg == 3035


# --- lattice --------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(lattices, st.integers(-(10**5), 10**5), st.integers(-(10**5), 10**5))
@example("NICFI", 4194304, 0)
def test_a_position_counts_pixels_whatever_window_it_is_asked_of(name, down, right):
    native = _native(name)
    row, col = lattice_position(native)
    moved = native.translate_pix(right, down)
    assert lattice_position(moved) == (row + down, col + right)


@settings(max_examples=200, deadline=None)
@given(lattices, st.floats(-3e-9, 3e-9), st.floats(-3e-9, 3e-9))
def test_float_noise_does_not_move_a_position(name, noise_x, noise_y):
    native = _native(name)
    a, _, c, _, e, f = list(native.affine)[:6]
    noisy = GeoBox(native.shape, Affine(a, 0, c + noise_x * a, 0, e, f + noise_y * e), native.crs)
    assert lattice_position(noisy) == lattice_position(native)


def test_positions_in_round_numbers():
    assert lattice_position(_native("Sentinel-2, zone 33 north")) == (-510000, 49998)
    assert lattice_position(_native("Rufiji, zone 37 south")) == (-456762, 26425)
    assert lattice_position(_native("NICFI")) == (-4194304, -4194304)


@settings(max_examples=200, deadline=None)
@given(
    lattices,
    st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)),
    st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)),
)
def test_the_same_window_has_the_same_transform_from_whatever_area_it_is_cut(name, one, other):
    native = _native(name)
    row, col = lattice_position(native)
    areas = [
        Lattice.of(native).window(row + down, col + right, (50, 60)) for down, right in (one, other)
    ]
    assert Lattice.of(areas[0]) == Lattice.of(areas[1]) == Lattice.of(native)
    first, second = (Lattice.of(area).window(row + 7, col + 9, (64, 64)) for area in areas)
    assert first == second
    direct = native.translate_pix(9, 7)
    assert abs((first.affine.c - direct.affine.c) / native.affine.a) < 1e-6
    assert abs((first.affine.f - direct.affine.f) / native.affine.e) < 1e-6


@pytest.mark.parametrize(
    ("geobox", "message"),
    [
        (GeoBox((5, 5), Affine.identity(), None), "without a CRS"),
        (
            GeoBox((5, 5), Affine(8, 5, 0, 5, -8, 0), "EPSG:32632"),
            "rotated or sheared grid",
        ),
    ],
)
def test_a_grid_without_a_lattice_is_refused(geobox, message):
    with pytest.raises(SourceError, match=message):
        lattice_position(geobox)


# --- windows --------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    lattices,
    st.integers(-500, 500),
    st.integers(-500, 500),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_a_box_on_pixel_edges_gets_just_its_pixels(name, top, left, height, width):
    native = _native(name)
    row, col = lattice_position(native)
    rows, cols = (row + top, row + top + height), (col + left, col + left + width)
    window = window_of(native, _box_over(native, rows, cols))
    assert lattice_position(window) == (rows[0], cols[0])
    assert window.shape == (height, width)
    if name != "drone":  # odc's own tolerance is finer than float64 there
        native.overlap_roi(window)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["Rufiji, zone 37 south", "NAIP", "Slovenia"]),
    st.floats(-5000, 5000),
    st.floats(-5000, 5000),
    st.floats(1, 5000),
    st.floats(1, 5000),
)
def test_a_window_is_the_least_that_holds_the_box(name, right, up, width, height):
    native = _native(name)
    west, south = native.affine.c + right, native.affine.f + up
    box = ClusterBox(0, str(native.crs), (west, south, west + width, south + height), 1)
    window = window_of(native, box)
    pixel = np.abs([native.affine.a, native.affine.e] * 2)  # not square in Slovenia
    slack = 1e-5 * pixel
    bounds = np.array(window.boundingbox.bbox)
    outside = (bounds - box.bounds) * [-1, -1, 1, 1]
    assert (outside > -slack).all()
    assert (outside < pixel + slack).all()


def test_a_box_of_another_crs_is_held_whole():
    native = _native("Aberystwyth", (930, 947))
    box = ClusterBox(0, "EPSG:32630", (425000.0, 5805000.0, 430000.0, 5809000.0), 1)
    window = window_of(native, box)
    edge = shapely.segmentize(box.polygon, 10)
    inside = geopandas.GeoSeries([edge], crs=box.crs).to_crs("EPSG:27700")[0]
    assert shapely.box(*window.boundingbox.bbox).covers(inside)
    assert inside.area / (window.shape[0] * window.shape[1] * 100) > 0.9


def test_a_clipped_window_stays_inside_its_raster():
    native = _native("Aberystwyth")
    row, col = lattice_position(native)
    box = _box_over(native, (row - 10, row + 50), (col + 350, col + 999))
    window = window_of(native, box, clip=True)
    assert pixel_window(native, window) == (slice(0, 50), slice(350, 400))
    assert pixel_window(native, window_of(native, box)) == (slice(-10, 50), slice(350, 999))


def test_a_box_outside_of_its_raster_is_refused_by_name():
    native = _native("Aberystwyth")
    row, col = lattice_position(native)
    with pytest.raises(AreaError, match=r"cluster 3: .* lies outside of the raster"):
        window_of(native, _box_over(native, (row, row + 5), (col - 9, col), 3), clip=True)


def test_windows_of_two_lattices_have_no_common_pixels():
    with pytest.raises(SourceError, match="not windows of one lattice"):
        pixel_window(_native("NAIP"), _native("Aberystwyth"))


@pytest.mark.parametrize(
    ("crs", "resolution"), [("EPSG:32632", 10.0), ("EPSG:3035", 7.5), ("EPSG:4326", 0.001)]
)
def test_a_grid_by_resolution_has_its_edges_at_multiples_of_it(crs, resolution):
    box = ClusterBox(0, "EPSG:32632", (690003.0, 5540007.0, 691001.0, 5541002.0), 1)
    geobox = geobox_of(box, CRS(crs), resolution)
    assert geobox.resolution.xy == (resolution, -resolution)
    steps = np.array(geobox.boundingbox.bbox) / resolution
    assert np.abs(steps - steps.round()).max() < 1e-6
    minx, miny, maxx, maxy = box.bounds_in(crs)
    bounds = geobox.boundingbox
    assert minx - resolution < bounds.left <= minx + 1e-6 * resolution
    assert maxx - 1e-6 * resolution <= bounds.right < maxx + resolution
    assert miny - resolution < bounds.bottom <= miny + 1e-6 * resolution
    assert maxy - 1e-6 * resolution <= bounds.top < maxy + resolution


@pytest.mark.parametrize("resolution", [0.0, -10.0, math.nan])
def test_a_resolution_must_be_positive(resolution):
    box = ClusterBox(0, "EPSG:32632", (690003.0, 5540007.0, 691001.0, 5541002.0), 1)
    with pytest.raises(SourceError, match="must be greater than 0"):
        geobox_of(box, CRS("EPSG:32632"), resolution)


# --- names of CRSs --------------------------------------------------------------------------


def test_a_crs_is_spelled_by_its_code_however_it_was_written():
    wkt = rasterio.crs.CRS.from_epsg(27700).to_wkt()
    written = GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 0), CRS(wkt))
    assert str(crs_of(written)) == "EPSG:27700"
    assert Lattice.of(written) == Lattice.of(GeoBox((2, 2), written.affine, "EPSG:27700"))


def test_a_crs_without_a_code_is_refused_by_name():
    local = CRS("+proj=tmerc +lat_0=1.5 +lon_0=3.25 +k=0.77 +ellps=WGS84 +units=m")
    with pytest.raises(SourceError, match="has no code in a register"):
        authority_code(local)
    assert authority_code(CRS("ESRI:102001")) == "ESRI:102001"


@pytest.mark.real_data
def test_windows_of_a_real_raster_are_windows_of_its_pixels(real_data):
    path = real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif"
    with rasterio.open(path) as raster:
        native = GeoBox.from_rio(raster)
        box = ClusterBox(0, "EPSG:32630", (425000.0, 5805841.0, 428084.0, 5810394.0), 6)
        window = window_of(native, box, clip=True)
        rows, cols = pixel_window(native, window)
        bounds = rasterio.windows.bounds(
            rasterio.windows.Window.from_slices(rows, cols), raster.transform
        )
    assert tuple(window.boundingbox.bbox) == pytest.approx(bounds, abs=1e-5)
    assert native.overlap_roi(window) == (rows, cols)
