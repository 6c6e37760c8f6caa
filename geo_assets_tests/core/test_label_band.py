"""The label band: as rasterio burns it, with ignore where another split lies, and its digests."""

from __future__ import annotations

import geopandas
import hypothesis.strategies as st
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from geo_assets.core.chip_grid import chip_windows
from geo_assets.core.grids import pixel_window
from geo_assets.core.label_band import burn_labels, label_digest, label_digests
from geo_assets.storage.vectors import read_vector

GRID = GeoBox((40, 50), Affine(10, 0, 500000, 0, -10, 5000400), "EPSG:32633")


def _polygons(*rows, crs="EPSG:32633"):
    """Polygons from (class, minx, miny, maxx, maxy) in metres from the grid's lower left."""
    boxes = [
        shapely.box(500000 + a, 5000000 + b, 500000 + c, 5000000 + d) for _, a, b, c, d in rows
    ]
    classes = np.array([row[0] for row in rows], np.uint8)
    frame = geopandas.GeoDataFrame({"class": classes}, geometry=boxes, crs="EPSG:32633")
    return frame.to_crs(crs)


def _random(count, seed, size=60.0, spread=(500.0, 400.0)):
    rng = np.random.default_rng(seed)
    centres = rng.uniform((500000, 5000000), (500000 + spread[0], 5000000 + spread[1]), (count, 2))
    corners = rng.uniform(-size, size, (count, 5, 2))
    shapes = [shapely.convex_hull(shapely.MultiPoint(p)) for p in centres[:, None] + corners]
    classes = rng.integers(1, 255, count).astype(np.uint8)
    return geopandas.GeoDataFrame({"class": classes}, geometry=shapes, crs="EPSG:32633")


def _rasterio(pairs, geobox, *, all_touched):
    """Burn (shape, value) one by one, the last one winning: the oracle."""
    band = np.zeros(geobox.shape.yx, np.uint8)
    for shape, value in pairs:
        one = rasterize(
            [shape],
            out_shape=geobox.shape.yx,
            transform=geobox.affine,
            all_touched=all_touched,
            dtype=np.uint8,
        )
        band[one == 1] = value
    return band


@pytest.mark.parametrize("all_touched", [True, False])
@pytest.mark.parametrize("overlap", ["max", "min", "first", "last"])
def test_the_band_is_rasterios_own_under_every_overlap_rule(overlap, all_touched):
    own, other = _random(40, 1), _random(6, 2)
    pairs = list(zip(own.geometry, own["class"], strict=True))
    if overlap in ("max", "min"):
        pairs.sort(key=lambda pair: pair[1], reverse=overlap == "min")
    elif overlap == "first":
        pairs.reverse()
    pairs += [(shape, 255) for shape in other.geometry]
    expected = _rasterio(pairs, GRID, all_touched=all_touched)
    band = burn_labels(own, other, GRID, all_touched=all_touched, overlap=overlap)
    assert band.dtype == np.uint8
    np.testing.assert_array_equal(band, expected)


def test_the_largest_class_wins_where_classes_overlap():
    own = _polygons((5, 0, 0, 100, 100), (2, 50, 0, 150, 100))
    wins = {
        rule: burn_labels(own, own[:0], GRID, all_touched=False, overlap=rule)[35, 7]
        for rule in ("max", "min", "first", "last")
    }
    assert wins == {"max": 5, "min": 2, "first": 5, "last": 2}


def test_a_pixel_of_another_split_is_255_even_under_an_own_polygon():
    own = _polygons((3, 0, 0, 100, 100))
    other = _polygons((9, 50, 0, 150, 100))
    band = burn_labels(own, other, GRID, all_touched=False)
    assert set(np.unique(band[30:, :5])) == {3}
    assert set(np.unique(band[30:, 5:15])) == {255}
    assert band[:30].max() == 0


def test_without_polygons_all_is_background():
    nothing = _polygons()
    band = burn_labels(nothing, nothing, GRID)
    assert band.shape == (40, 50)
    assert band.dtype == np.uint8
    assert not band.any()
    far = _polygons((1, 90000, 90000, 90100, 90100))
    assert not burn_labels(far, far.to_crs("EPSG:4326"), GRID).any()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32632", "EPSG:3857"])
def test_polygons_of_another_crs_burn_as_if_reprojected_first(crs):
    own = _random(300, 3, spread=(3000.0, 2000.0)).to_crs(crs)
    expected = burn_labels(own.to_crs("EPSG:32633"), own[:0], GRID)
    np.testing.assert_array_equal(burn_labels(own, own[:0], GRID), expected)
    assert expected.any()


def test_a_long_edge_that_bulges_into_a_chip_is_burned():
    # two degrees along a parallel: half a kilometre between the chord and the parallel
    field = geopandas.GeoDataFrame(
        {"class": np.array([1], np.uint8)}, geometry=[shapely.box(12, 46, 14, 47)], crs="EPSG:4326"
    )
    chord = field.to_crs("EPSG:32633").geometry[0]
    x = chord.centroid.x
    top = chord.intersection(shapely.LineString([(x, 0), (x, 1e7)])).bounds[3]
    chip = GeoBox((10, 10), Affine(10, 0, x, 0, -10, top + 50), "EPSG:32633")
    assert chip.geographic_extent.boundingbox.bottom > 47
    expected = rasterize([chord], out_shape=(10, 10), transform=chip.affine, all_touched=True)
    assert 0 < expected.sum() < 100
    np.testing.assert_array_equal(burn_labels(field, field[:0], chip), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_the_band_of_a_chip_is_a_window_of_the_band_of_its_area(seed, all_touched):
    own, other = _random(25, seed), _random(5, seed + 1)
    whole = burn_labels(own, other, GRID, all_touched=all_touched)
    for window in chip_windows(GRID, 16, 0.25, "drop"):
        chip = burn_labels(own, other, window.geobox, all_touched=all_touched)
        np.testing.assert_array_equal(chip, whole[pixel_window(GRID, window.geobox)])


# --- digests --------------------------------------------------------------------------------

CHIPS = [window.geobox for window in chip_windows(GRID, 10, 0.0, "drop")]


def _touched(polygon):
    return [polygon.intersects(shapely.box(*chip.boundingbox.bbox)) for chip in CHIPS]


@pytest.mark.parametrize("crs", ["EPSG:32633", "EPSG:4326"])
@pytest.mark.parametrize("role", ["own", "other"])
def test_a_new_polygon_changes_the_digests_of_the_chips_it_touches_and_no_other(role, crs):
    own, other = _random(20, 1).to_crs(crs), _random(4, 2).to_crs(crs)
    new = _polygons((7, 120, 130, 260, 200))
    more = geopandas.pd.concat([own if role == "own" else other, new.to_crs(crs)])
    before = label_digests(own, other, CHIPS)
    after = label_digests(*((more, other) if role == "own" else (own, more)), CHIPS)
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert changed == _touched(new.geometry[0])
    assert 0 < sum(changed) < len(CHIPS)


def test_a_new_class_changes_the_digest_of_an_own_polygon_alone():
    field = _polygons((3, 120, 130, 260, 200))
    renamed, nothing = field.assign(**{"class": np.uint8(4)}), field[:0]
    touched = _touched(field.geometry[0])
    own = zip(
        label_digests(field, nothing, CHIPS), label_digests(renamed, nothing, CHIPS), strict=True
    )
    assert [a != b for a, b in own] == touched
    assert label_digests(nothing, field, CHIPS) == label_digests(nothing, renamed, CHIPS)
    assert label_digests(nothing, field, CHIPS) != label_digests(field, nothing, CHIPS)


@pytest.mark.parametrize(("overlap", "same"), [("max", True), ("min", True), ("last", False)])
def test_the_order_of_polygons_counts_only_where_the_rule_asks_for_it(overlap, same):
    own, other = _random(20, 1), _random(4, 2)
    reordered = label_digests(own[::-1], other[::-1], [GRID], overlap=overlap)
    assert (label_digests(own, other, [GRID], overlap=overlap) == reordered) == same
    assert label_digests(own, other[::-1], [GRID], overlap=overlap) == label_digests(
        own, other, [GRID], overlap=overlap
    )


def test_one_digest_is_that_of_many():
    own, other = _random(20, 1), _random(4, 2)
    assert [label_digest(own, other, chip) for chip in CHIPS] == label_digests(own, other, CHIPS)


def test_chips_of_two_crs_are_digested_in_theirs():
    there = GeoBox((10, 10), Affine(10, 0, 500000, 0, -10, 5000400), "EPSG:32634")
    own = _random(20, 1)
    mixed = label_digests(own, own[:0], [CHIPS[0], there, CHIPS[1]])
    assert mixed[0] == label_digest(own, own[:0], CHIPS[0])
    assert mixed[1] == label_digest(own[:0], own[:0], there)
    assert mixed[2] == label_digest(own, own[:0], CHIPS[1])
    assert label_digests(own, own, []) == []


# --- real data ------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize("all_touched", [True, False])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_real_labels_of_aberystwyth_burn_as_rasterio_burns_them(real_data, split, all_touched):
    labels = read_vector(real_data / "labels/aberystwyth_landcover_polygons.geojson")
    labels["class"] = labels["class_id"]
    with rasterio.open(real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif") as raster:
        geobox = GeoBox.from_rio(raster)
    mine = labels["split"] == split
    band = burn_labels(labels[mine], labels[~mine], geobox, all_touched=all_touched)
    ordered = labels[mine].to_crs("EPSG:27700").sort_values("class", kind="stable")
    pairs = list(zip(ordered.geometry, ordered["class"], strict=True))
    pairs += [(shape, 255) for shape in labels[~mine].to_crs("EPSG:27700").geometry]
    np.testing.assert_array_equal(band, _rasterio(pairs, geobox, all_touched=all_touched))
    assert set(np.unique(band)) == {0, 1, 2, 3, 4, 255}


@pytest.mark.real_data
def test_the_real_polygons_of_slovenia_burn_to_the_land_use_raster(real_data):
    labels = read_vector(real_data / "labels/slovenia_lulc_polygons.geojson")
    labels["class"] = labels["LULC_ID"]
    with rasterio.open(real_data / "slovenia_eopatch/lulc.tif") as raster:
        truth, geobox = raster.read(1), GeoBox.from_rio(raster)
    band = burn_labels(labels, labels[:0], geobox, all_touched=False)
    assert (band == truth).mean() >= 0.999
