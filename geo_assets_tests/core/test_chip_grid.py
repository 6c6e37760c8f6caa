"""Chips: they tile, they coincide, they keep their names, and their grid survives the table."""

from __future__ import annotations

import geopandas
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given, settings
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from geo_assets.core.chip_grid import (
    COLUMNS,
    chip_frame,
    chip_grid,
    chip_id,
    chip_stride,
    chip_windows,
    count_chip_windows,
    footprints,
    geobox_of_row,
    merge_windows,
    windows_that_meet,
)
from geo_assets.core.clusters import cluster_boxes, cluster_polygons
from geo_assets.core.grids import Lattice, lattice_position, pixel_window, window_of
from geo_assets.errors import AreaError, CampaignError, SourceError
from geo_assets.storage.vectors import read_vector

NATIVE = {
    "zone 33 north": GeoBox((1, 1), Affine(10, 0, 499980, 0, -10, 5100000), "EPSG:32633"),
    "zone 37 south": GeoBox(
        (1, 1), Affine(20, 0, 528500.4654736732, 0, -20, 9135236.991311712), "EPSG:32737"
    ),
    "Slovenia": GeoBox(
        (1, 1),
        Affine(9.99479222007154, 0, 465181.0522318204, 0, -9.997448467363668, 5080254.63349641),
        "EPSG:32633",
    ),
    "web": GeoBox(
        (1, 1),
        Affine(4.777314267823516, 0, 4200000.1, 0, -4.777314267823516, -800000.2),
        "EPSG:3857",
    ),
    "British": GeoBox(
        (1, 1), Affine(10, 0, 257070.5948333442, 0, -10, 285728.7167060375), "EPSG:27700"
    ),
}
natives = st.sampled_from(sorted(NATIVE))
sizes = st.integers(1, 64)
overlaps = st.floats(0, 0.99)
borders = st.sampled_from(["pad", "drop"])
offsets = st.integers(-300, 300)
lengths = st.integers(1, 150)


def _area(name, top=0, left=0, height=100, width=120):
    lattice = Lattice.of(NATIVE[name])
    row, col = lattice.position(NATIVE[name])
    return lattice.window(row + top, col + left, (height, width))


areas = st.builds(_area, natives, offsets, offsets, lengths, lengths)


def _empty():
    return geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:4326")


@settings(max_examples=60, deadline=None)
@given(areas, sizes)
def test_chips_without_overlap_tile_the_area(area, size):
    hits = np.zeros(area.shape.yx, int)
    for window in chip_windows(area, size, 0.0, "pad"):
        rows, cols = pixel_window(area, window.geobox)
        hits[max(rows.start, 0) : rows.stop, max(cols.start, 0) : cols.stop] += 1
    assert (hits == 1).all()


@settings(max_examples=100, deadline=None)
@given(areas, sizes, overlaps, borders)
def test_chips_are_regular_windows_of_the_lattice(area, size, overlap, border):
    stride = chip_stride(size, overlap)
    height, width = area.shape.yx
    hypothesis.assume(height * width / stride**2 < 500)
    windows = chip_windows(area, size, overlap, border)
    assert len(windows) == count_chip_windows(area, size, overlap, border)
    assert len({(w.row, w.col) for w in windows}) == len(windows)
    for window in windows:
        assert window.row % stride == window.col % stride == 0
        assert window.geobox.shape == (size, size)
        assert lattice_position(window.geobox) == (window.row, window.col)
        rows, cols = pixel_window(area, window.geobox)
        inside = rows.start >= 0 and cols.start >= 0 and rows.stop <= height and cols.stop <= width
        meets = rows.stop > 0 and cols.stop > 0 and rows.start < height and cols.start < width
        assert inside if border == "drop" else meets
        pixels = ~area.affine @ (window.geobox.affine.c, window.geobox.affine.f)
        assert pixels == pytest.approx((cols.start, rows.start), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(areas, st.tuples(*[st.integers(0, 60)] * 4), st.sampled_from([0.0, 0.25, 0.5]), borders)
def test_an_area_that_grows_keeps_every_chip_bit_for_bit(small, growth, overlap, border):
    north, west, south, east = growth
    lattice, (height, width) = Lattice.of(small), small.shape.yx
    row, col = lattice.position(small)
    large = lattice.window(row - north, col - west, (height + north + south, width + west + east))
    after = {(w.row, w.col): w for w in chip_windows(large, 32, overlap, border)}
    for window in chip_windows(small, 32, overlap, border):
        assert after[window.row, window.col] == window


def _pixels_covered(area, window):
    rows, cols = pixel_window(area, window)
    inside = np.zeros(area.shape.yx, bool)
    inside[max(rows.start, 0) : max(rows.stop, 0), max(cols.start, 0) : max(cols.stop, 0)] = True
    return int(inside.sum())


@settings(max_examples=60, deadline=None)
@given(natives, offsets, offsets, st.sampled_from([0.0, 0.3, 0.5]), borders)
def test_overlapping_clusters_make_no_twins(name, down, right, overlap, border):
    areas = {1: _area(name), 0: _area(name, down, right)}
    merged = merge_windows(areas, 32, overlap, border)
    positions = [(window.row, window.col) for _, window in merged]
    assert len(set(positions)) == len(positions)
    alone = {
        cluster: {(w.row, w.col) for w in chip_windows(area, 32, overlap, border)}
        for cluster, area in areas.items()
    }
    assert set(positions) == alone[0] | alone[1]
    for cluster, window in merged:
        covered = [_pixels_covered(areas[k], window.geobox) for k in (0, 1)]
        assert covered[cluster] == max(covered)
        assert cluster == covered.index(max(covered))


def test_clusters_of_two_zones_are_told_apart():
    areas = {0: _area("zone 33 north"), 1: _area("zone 37 south")}
    frame = chip_grid(
        areas,
        _empty(),
        fold="a",
        split="b",
        size=64,
        overlap=0.0,
        border="pad",
        keep="all",
    )
    assert set(frame["proj:code"]) == {"EPSG:32633", "EPSG:32737"}
    assert frame["chip_id"].is_unique
    assert frame["chip_id"].is_monotonic_increasing


def test_lattices_a_fraction_of_a_pixel_apart_count_as_one():
    area = _area("zone 33 north")
    shifted = GeoBox(area.shape, area.affine @ Affine.translation(0.4, 0.3), area.crs)
    assert len(merge_windows({0: area, 1: shifted}, 32, 0.0, "pad")) == len(
        merge_windows({0: area}, 32, 0.0, "pad")
    )


def test_two_pixel_sizes_in_one_crs_are_refused():
    with pytest.raises(
        CampaignError, match=r"clusters 0 and 1 have pixels of 10.0 x -10.0 and of 9"
    ):
        merge_windows({0: _area("zone 33 north"), 1: _area("Slovenia")}, 32, 0.0, "pad")


@pytest.mark.parametrize(
    ("size", "overlap", "stride"),
    [(256, 0.0, 256), (256, 0.5, 128), (256, 0.25, 192), (10, 0.99, 1), (3, 0.5, 2), (1, 0.9, 1)],
)
def test_the_stride_is_the_size_less_the_overlap(size, overlap, stride):
    assert chip_stride(size, overlap) == stride


@pytest.mark.parametrize(
    ("size", "overlap", "message"),
    [
        (256, 1.0, "overlap 1.0: must be at least 0 and less than 1"),
        (256, -0.1, "overlap -0.1"),
        (256, float("nan"), "overlap nan"),
        (0, 0.0, "size 0"),
    ],
)
def test_an_impossible_size_or_overlap_is_refused(size, overlap, message):
    with pytest.raises(CampaignError, match=message):
        chip_windows(_area("British"), size, overlap, "pad")


def test_an_area_smaller_than_a_chip_has_padded_chips_only():
    area = _area("zone 33 north", 5, 5, 20, 20)
    assert chip_windows(area, 256, 0.0, "drop") == []
    assert 1 <= len(chip_windows(area, 256, 0.0, "pad")) <= 4


# --- chips that meet a label ----------------------------------------------------------------


def _square_on(area, rows, cols):
    lattice = Lattice.of(area)
    top, left = lattice.position(area)
    window = lattice.window(top + rows[0], left + cols[0], (rows[1] - rows[0], cols[1] - cols[0]))
    return shapely.box(*window.boundingbox.bbox)


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_labelled_chips_are_those_with_a_labelled_pixel(name):
    area = _area(name, height=200, width=200)
    rng = np.random.default_rng(4)
    starts = rng.integers(0, 190, (6, 2))
    squares = [_square_on(area, (r, r + 9), (c, c + 9)) for r, c in starts]
    polygons = geopandas.GeoDataFrame(geometry=squares, crs=str(area.crs))
    burned = rasterio.features.rasterize(
        squares, out_shape=area.shape.yx, transform=area.affine, dtype="uint8"
    )
    windows = merge_windows({0: area}, 32, 0.0, "drop")
    kept = {(w.row, w.col) for _, w in windows_that_meet(windows, polygons)}
    for _, window in windows:
        labelled = burned[pixel_window(area, window.geobox)].any()
        assert ((window.row, window.col) in kept) == labelled


def test_a_polygon_that_only_shares_an_edge_labels_no_chip():
    area = _area("zone 33 north", height=300, width=300)
    windows = merge_windows({0: area}, 32, 0.0, "drop")
    first = windows[0][1]
    beside = shapely.box(*first.geobox.translate_pix(32, 0).boundingbox.bbox)
    polygons = geopandas.GeoDataFrame(geometry=[beside], crs="EPSG:32633")
    kept = windows_that_meet(windows, polygons)
    assert [(w.row, w.col) for _, w in kept] == [(first.row, first.col + 32)]


def test_a_concave_polygon_labels_no_chip_in_its_notch():
    area = _area("zone 33 north", height=320, width=320)
    ring = _square_on(area, (0, 320), (0, 320)) - _square_on(area, (10, 310), (10, 310))
    polygons = geopandas.GeoDataFrame(geometry=[ring], crs="EPSG:32633")
    windows = merge_windows({0: area}, 32, 0.0, "pad")
    kept = windows_that_meet(windows, polygons)
    assert 0 < len(kept) < len(windows)


# --- the table ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NATIVE))
@pytest.mark.parametrize("stored", [False, True])
def test_the_grid_of_a_chip_survives_the_table_exactly(name, stored, tmp_path):
    windows = merge_windows({0: _area(name)}, 32, 0.25, "pad")
    frame = chip_frame(windows, fold="north", split="train")
    if stored:
        frame.to_parquet(tmp_path / "grid.parquet")
        frame = geopandas.read_parquet(tmp_path / "grid.parquet")
    by_position = {(w.row, w.col): w.geobox for _, w in windows}
    assert len(frame) == len(windows)
    for _, row in frame.iterrows():
        assert geobox_of_row(row) == by_position[row["row"], row["col"]]


def test_the_table_has_all_columns_in_order_and_true_footprints():
    frame = chip_frame(merge_windows({3: _area("British")}, 64, 0.0, "pad"), fold="n", split="t")
    assert tuple(frame.columns) == COLUMNS
    assert frame.crs == "EPSG:4326"
    assert frame["chip_id"].is_unique
    assert frame["chip_id"].is_monotonic_increasing
    assert frame.is_valid.all()
    assert all(shapely.is_ccw(polygon.exterior) for polygon in frame.geometry)
    assert set(frame["cluster"]) == {3}
    corners = frame.to_crs("EPSG:27700").bounds.to_numpy()
    expected = [geobox_of_row(row).boundingbox.bbox for _, row in frame.iterrows()]
    assert np.allclose(corners, expected, atol=0.01)


def test_no_chips_make_an_empty_table_of_the_same_types():
    full = chip_frame(merge_windows({0: _area("British")}, 64, 0.0, "pad"), fold="n", split="t")
    options = {"size": 64, "overlap": 0.0, "border": "pad", "keep": "labelled"}
    no_areas = chip_grid({}, _empty(), fold="n", split="t", **options)
    no_labels = chip_grid({0: _area("British")}, _empty(), fold="n", split="t", **options)
    for empty in (no_areas, no_labels):
        assert len(empty) == 0
        assert empty.crs == "EPSG:4326"
        pd.testing.assert_series_equal(empty.dtypes, full.dtypes)
        assert tuple(empty.columns) == COLUMNS


def test_chip_ids_are_names_of_fold_split_crs_row_and_column():
    assert chip_id("north", "train", "EPSG:32632", 530123, 61234) == (
        "north-train-32632-r0530123-c0061234"
    )
    assert chip_id("f_1", "all", "ESRI:102001", -530123, -4) == (
        "f_1-all-ESRI_102001-rm0530123-cm0000004"
    )


@settings(max_examples=200, deadline=None)
@given(*[st.tuples(st.integers(-(10**8), 10**8), st.integers(-(10**8), 10**8))] * 2)
def test_two_positions_have_two_names(one, other):
    names = [chip_id("a", "b", "EPSG:32632", *position) for position in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_a_chip_across_the_antimeridian_is_refused():
    geobox = GeoBox((2000, 2000), Affine(100, 0, 700000, 0, -100, 8100000), "EPSG:32760")
    with pytest.raises(AreaError, match="1 grids in EPSG:32760 cross the antimeridian"):
        footprints([geobox])


def test_a_crs_without_a_code_cannot_be_tabled():
    local = CRS("+proj=tmerc +lat_0=1.5 +lon_0=3.25 +k=0.77 +ellps=WGS84 +units=m")
    area = GeoBox((64, 64), Affine(10, 0, 0, 0, -10, 0), local)
    with pytest.raises(SourceError, match="has no code in a register"):
        chip_frame(merge_windows({0: area}, 32, 0.0, "drop"), fold="a", split="b")


@pytest.mark.real_data
def test_chips_of_the_real_labels_hold_every_polygon(real_data):
    labels = read_vector(real_data / "labels/aberystwyth_landcover_polygons.geojson")
    with rasterio.open(real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif") as raster:
        native = GeoBox.from_rio(raster)
    train = labels[(labels["fold"] == 0) & (labels["split"] == "train")]
    cluster = cluster_polygons(train, 3, seed=10).cluster
    boxes = cluster_boxes(train.assign(cluster=cluster), 300)
    areas = {box.cluster: window_of(native, box, clip=True) for box in boxes}
    frame = chip_grid(
        areas, train, fold="0", split="train", size=32, overlap=0.5, border="pad", keep="labelled"
    )
    chips = frame.to_crs("EPSG:27700").union_all().buffer(0.01)
    assert all(chips.covers(polygon) for polygon in train.to_crs("EPSG:27700").geometry)
    assert frame["chip_id"].is_unique
