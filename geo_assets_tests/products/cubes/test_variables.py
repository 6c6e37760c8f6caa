"""Cubes of several indices and bands, smoothed copies, and cubes by tile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import spyndex
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geo_assets.campaign import Grid
from geo_assets.core.areas import ClusterBox
from geo_assets.core.grids import pixel_window
from geo_assets.core.smoothing import SmoothingRules, smooth_series
from geo_assets.errors import ReadError, SourceError, StorageError
from geo_assets.products.area_grid import grid_of_area
from geo_assets.products.cubes.builder import CubeBuilder
from geo_assets.products.cubes.rules import CubeRules, IndexRule
from geo_assets.products.cubes.tiles import grid_of_tile, items_by_tile
from geo_assets.sources.rules import CloudRules
from geo_assets.sources.scenes.reader import SceneReader
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.sources.memory_source import (
    MemorySource,
    Scene,
    days_by_hand,
    grid,
    random_scene,
)
from geo_assets_tests.sources.scene_testing import item_of, write_raster

BANDS = ("B02", "B04", "B08", "B11")
AREA = grid(60, 70)
WHOLE = np.ones((60, 70), bool)
NDMI = IndexRule("NDMI", (("nir", "B08"), ("swir16", "B11")))
EVI = IndexRule("EVI", (("nir", "B08"), ("red", "B04"), ("blue", "B02")))
DAYS = ("2021-05-01", "2021-05-09", "2021-05-12", "2021-06-20")
STORES = ["zarr", "icechunk"]


def scenes(dtype="uint16", days=DAYS):
    return [
        random_scene(n, f"S{n}", day, grid(60, 60, col=3 * n), dtype=dtype, bands=BANDS)
        for n, day in enumerate(days)
    ]


def builder(given, *, area=WHOLE, geobox=AREA, **rules):
    made = CubeRules("B04", "B08", CloudRules(), 0.0, "none", 10.0)
    source = MemorySource.of(*given)
    return CubeBuilder(source, source.items, geobox, area, replace(made, **rules), {})


def raw(path):
    with xr.open_zarr(path, mask_and_scale=False) as cube:
        return cube.load()


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_day_without_a_pixel_in_the_area_is_left_out_whatever_the_dtype_of_bands(tmp_path, dtype):
    inside = WHOLE.copy()
    inside[:40, :40] = False
    beside = random_scene(9, "F", "2021-04-01", grid(16, 16), dtype=dtype, bands=BANDS)
    path = tmp_path / "c.zarr"
    given = builder([beside, *scenes(dtype)], area=inside, raw_bands=("B11",))
    facts, _ = given.build(path)
    assert facts.days == DAYS
    assert facts.left_out == ("2021-04-01",)
    assert raw(path)["B11"].dtype == dtype
    assert given.build(path) == (facts, "kept")


def test_indices_are_those_of_the_library_in_units_of_reflectance(tmp_path):
    path = tmp_path / "c.zarr"
    facts, _ = builder(scenes(), indices=(NDMI, EVI), scale=1e-4).build(path)
    cube = raw(path)
    assert set(cube.data_vars) == {"evi", "ndmi", "ndvi"}
    assert cube["evi"].attrs["long_name"] == "Enhanced Vegetation Index"
    assert cube["evi"].attrs["comment"] == (
        "EVI = g*(N-R)/(N+C1*R-C2*B+L), g = 2.5, C1 = 6.0, C2 = 7.5, L = 1.0"
    )
    outside = 0
    for number, (blue, red, nir, swir) in enumerate(days_by_hand(scenes(), AREA).values()):
        bands = {"B": blue / 1e4, "R": red / 1e4, "N": nir / 1e4, "S1": swir / 1e4}
        with np.errstate(all="ignore"):
            evi = spyndex.computeIndex("EVI", bands | {"g": 2.5, "C1": 6.0, "C2": 7.5, "L": 1.0})
            ndmi = spyndex.computeIndex("NDMI", bands)
        outside += int((np.abs(evi) > 3.2767).sum())
        for name, index in (("evi", evi), ("ndmi", ndmi)):
            wanted = np.where(np.isfinite(index) & (np.abs(index) <= 3.2767), index, np.nan)
            stored = cube[name].values[number]
            np.testing.assert_array_equal(stored == -32768, np.isnan(wanted))
            known = stored != -32768
            assert np.abs(stored[known] - wanted[known] * 1e4).max() <= 0.5 + 1e-9
    assert dict(facts.outside).get("evi", 0) == outside


def test_without_a_scale_an_index_with_constants_is_refused_and_ndvi_is_not(tmp_path):
    with pytest.raises(SourceError, match=r"scene S0, band 'B08': nothing says .* cube.scale: 0"):
        builder(scenes(), indices=(EVI,)).build(tmp_path / "c.zarr")
    builder(scenes(), indices=(NDMI,)).build(tmp_path / "c.zarr")


def test_the_scale_that_a_scene_states_is_used_and_a_change_of_it_is_a_change_of_its_day(tmp_path):
    def stating(scale):
        made = builder(scenes(), indices=(EVI,), scale=1e-4)
        made.items[1]["assets"]["B04"]["raster:bands"] = [{"scale": scale}]
        return made

    path = tmp_path / "c.zarr"
    stating(1e-4).build(path)
    assert stating(1e-4).build(path)[1] == "kept"
    changed = stating(2e-4)
    assert changed.build(path)[1] == "extended"
    assert {name for name, _ in changed.source.reads} == {"S1"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_bands_are_kept_as_they_are_with_a_fill_that_no_datum_has(tmp_path, dtype):
    given = scenes(dtype)
    given[0].data[:, :9] = 0
    path = tmp_path / "c.zarr"
    builder(given, raw_bands=("B11", "B02")).build(path)
    cube = raw(path)
    for number, day in enumerate(days_by_hand(given, AREA).values()):
        for band in ("B11", "B02"):
            wanted = day[BANDS.index(band)]
            known = ~np.isnan(day).any(axis=0)
            stored = cube[band].values[number]
            if dtype.startswith("u"):
                wanted = np.where(wanted == 0, 1, wanted)
            np.testing.assert_array_equal(stored[known], wanted[known])
            fill = {"u": 0, "i": np.iinfo("int16").min, "f": np.nan}[np.dtype(dtype).kind]
            np.testing.assert_array_equal(stored[~known], np.full((~known).sum(), fill))
    assert cube["B11"].dtype == np.dtype(dtype)
    for chunks in (None, {}):
        with open_cube(path, chunks=chunks) as opened:
            assert list(opened.data_vars) == list(cube.data_vars)
            np.testing.assert_array_equal(
                np.isnan(opened["B11"].values[0]), np.isnan(days_by_hand(given, AREA)[DAYS[0]][3])
            )


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("method", ["linear", "savitzky-golay", "whittaker"])
def test_smoothed_copies_are_made_of_stored_values_whatever_the_order_of_days(
    tmp_path, store, method
):
    rules = SmoothingRules(method, window=3, order=1)
    path, whole = tmp_path / f"c.{store}", tmp_path / f"w.{store}"
    given = scenes()
    for count in ([2], [2, 0], [2, 0, 3], [2, 0, 3, 1]):
        builder([given[n] for n in count], smoothing=rules, indices=(NDMI,)).build(path)
    builder(given, smoothing=rules, indices=(NDMI,)).build(whole)
    cube = open_cube(path).load()
    xr.testing.assert_identical(cube, open_cube(whole).load())
    assert list(cube.data_vars) == sorted(cube.data_vars)
    for name in ("ndvi", "ndmi"):
        stored = np.rint(cube[name].values.astype(np.float64) * 1e4) / 1e4
        expected = smooth_series(stored, cube["time"].values, rules)
        np.testing.assert_allclose(cube[f"{name}_smoothed"].values, expected, atol=0.51e-4)
    said = cube["ndvi_smoothed"].attrs
    assert said["comment"].startswith(f"{method}: max_gap_days 62")
    assert said["long_name"] == "Normalized difference vegetation index, smoothed"


@pytest.mark.parametrize("store", STORES)
def test_other_smoothing_or_titles_read_no_scene(tmp_path, store):
    path = tmp_path / f"c.{store}"
    builder(scenes()).build(path)
    for change in ({"smoothing": SmoothingRules()}, {"smoothing": SmoothingRules("whittaker")}, {}):
        made = builder(scenes(), **change)
        assert made.build(path)[1] == "rewritten"
        assert made.source.reads == []
        assert ("ndvi_smoothed" in open_cube(path)) == bool(change)
    titled = replace(builder(scenes()), attrs={"title": "Another"})
    assert titled.build(path)[1] == "rewritten"
    assert open_cube(path).attrs["title"] == "Another"


def test_a_damaged_smoothed_copy_is_made_again(tmp_path):
    path = tmp_path / "c.zarr"
    made = builder(scenes(), smoothing=SmoothingRules())
    made.build(path)
    before = open_cube(path).load()
    (path / "ndvi_smoothed/c/0/0/0").unlink()
    made.source.reads.clear()
    assert made.build(path)[1] == "rewritten"
    assert made.source.reads == []
    xr.testing.assert_identical(open_cube(path).load(), before)


@pytest.mark.parametrize("store", STORES)
def test_another_dtype_of_a_band_is_refused_by_name(tmp_path, store):
    path = tmp_path / f"c.{store}"
    given = scenes()
    builder(given[:2], raw_bands=("B11",)).build(path)
    other = replace(given[2], data=given[2].data.astype("uint8"))
    with pytest.raises(StorageError, match="'B11': is uint8 on 2021-05-12 and uint16 on other"):
        builder([*given[:2], other], raw_bands=("B11",)).build(path)
    assert open_cube(path).sizes["time"] == 2


def test_a_cube_all_under_cloud_has_its_days_without_values_or_no_day(
    tmp_path,
):
    cloudy = [replace(scene, scl=np.full((60, 60), 9, np.uint8)) for scene in scenes()]
    facts, _ = builder(cloudy, raw_bands=("B11",)).build(tmp_path / "all.zarr")
    assert facts.days == DAYS
    assert set(facts.valid_share) == {0.0}
    assert bool(open_cube(tmp_path / "all.zarr").isnull().all().to_array().all())
    made = builder(cloudy, min_clear=0.01)
    facts, _ = made.build(tmp_path / "none.zarr")
    assert (facts.days, facts.left_out) == ((), DAYS)
    made.source.reads.clear()
    assert made.build(tmp_path / "none.zarr") == (facts, "kept")
    assert made.source.reads == []


def test_one_valid_date_is_a_cube_of_one_date_smoothed_copy_included(tmp_path):
    for method in ("linear", "savitzky-golay", "whittaker"):
        path = tmp_path / f"{method}.zarr"
        builder(scenes(days=DAYS[:1]), smoothing=SmoothingRules(method)).build(path)
        cube = open_cube(path).load()
        assert cube.sizes["time"] == 1
        np.testing.assert_array_equal(cube["ndvi_smoothed"].values, cube["ndvi"].values)


class WithoutBand(MemorySource):
    """A source one of whose scenes lacks a band."""

    def read(self, item, bands, geobox, *, scl_band=None):
        if item["id"] == "S1":
            raise ReadError("scene S1: has no band 'B11'", kind="permanent", scene_id="S1")
        return super().read(item, bands, geobox, scl_band=scl_band)


def test_a_scene_that_lacks_a_band_is_named_and_asked_again(tmp_path):
    path = tmp_path / "c.zarr"
    made = builder(scenes(), raw_bands=("B11",))
    lacking = replace(made, source=WithoutBand(made.source.scenes))
    facts, _ = lacking.build(path)
    assert facts.days == tuple(day for day in DAYS if day != DAYS[1])
    assert {(window.scene_id, window.kind) for window in facts.failed} == {("S1", "permanent")}
    assert lacking.build(path) == (facts, "kept")
    healed, how = made.build(path)
    assert (how, healed.days, healed.failed) == ("healed", DAYS, ())


def tiled(scene: Scene, tile):
    item = scene.item
    item["properties"]["grid:code"] = f"MGRS-{tile}"
    return item


def test_scenes_are_parted_by_tile_and_each_tile_has_its_own_pixels():
    west = grid(100, 100)
    east = GeoBox((100, 100), west.affine, "EPSG:32634")
    here = [random_scene(n, f"W{n}", day, west) for n, day in enumerate(DAYS[:2])]
    there = [random_scene(9, "E0", DAYS[0], east)]
    source = MemorySource.of(*here, *there)
    items = [*(tiled(s, "33UUU") for s in here), tiled(there[0], "34UCC")]
    parted = items_by_tile(items)
    assert {tile: [i["id"] for i in of] for tile, of in parted.items()} == {
        "33UUU": ["W0", "W1"],
        "34UCC": ["E0"],
    }
    inner = west[20:120, 30:90]
    box = ClusterBox(0, str(west.crs), tuple(inner.extent.boundingbox.bbox), 1)
    found = grid_of_tile(source, box, parted["33UUU"], ("B04", "B08"), Grid(crs="EPSG:3857"))
    assert found == west[20:100, 30:90]  # the box ends beyond the tile
    assert grid_of_tile(source, box, parted["34UCC"], ("B04", "B08"), Grid()) is None
    with pytest.raises(SourceError, match="scene W0 names no MGRS tile"):
        items_by_tile([here[0].item])


@pytest.mark.parametrize("resolution", [20.0, 70.0])
def test_a_tile_in_pixels_of_a_stated_size_ends_where_the_tile_ends(resolution):
    tile = grid(100, 100)
    source = MemorySource.of(random_scene(0, "W0", DAYS[0], tile))
    items = [tiled(scene, "33UUU") for scene in source.scenes.values()]
    rules = Grid(resolution=resolution)

    def grids_of(inner):
        box = ClusterBox(0, str(tile.crs), tuple(inner.extent.boundingbox.bbox), 1)
        whole = grid_of_area(source, box, items, ("B04", "B08"), rules)
        return whole, grid_of_tile(source, box, items, ("B04", "B08"), rules)

    whole, found = grids_of(grid(60, 60, 20, 30))
    assert found == whole  # as if there were no tiles
    whole, found = grids_of(grid(200, 60, 20, 30))
    assert pixel_window(whole, found) == (slice(0, found.shape.y), slice(0, whole.shape.x))
    beyond = tile.boundingbox.bottom - found.boundingbox.bottom
    assert 0 <= beyond < resolution
    assert grids_of(grid(20, 60, 120, 30))[1] is None


class Files:
    """A source over files, each on a grid of its own."""

    supports = frozenset()
    single_raster = False

    def describe(self):
        return {"kind": "files"}

    def native_geobox(self, item, band):
        return SceneReader().native_geobox(item, band)

    def read(self, item, bands, geobox, *, scl_band=None):
        return SceneReader().read(item, bands, geobox, scl_band)


def hills(geobox):
    """Red and near infrared that change slowly over the ground, wherever the pixels lie."""
    y, x = (geobox.coords[name].values for name in ("y", "x"))
    points = np.meshgrid(x, y)
    east, north = Transformer.from_crs(geobox.crs, "EPSG:32633", always_xy=True).transform(*points)
    red = 1000 + 300 * np.sin(east / 3000)
    return np.stack([red, red + 1500 + 500 * np.cos(north / 3000)]).round().astype("uint16")


@pytest.mark.parametrize("store", STORES)
def test_dates_from_two_utm_zones_lie_on_one_grid(tmp_path, store):
    # At 18 degrees east zones 33 and 34 meet; both scenes show the same ground.
    west = GeoBox((150, 150), Affine(10, 0, 720_000, 0, -10, 5_400_000), "EPSG:32633")
    centre = west.extent.centroid.to_crs("EPSG:32634").coords[0]
    corner = [round(centre[0], -1) - 1500, round(centre[1], -1) + 1500]
    east = GeoBox((300, 300), Affine(10, 0, corner[0], 0, -10, corner[1]), "EPSG:32634")
    items = []
    for name, box, day in (("W", west, "2021-05-01"), ("E", east, "2021-05-06")):
        assets = {}
        for band, data in zip(("B04", "B08"), hills(box), strict=True):
            path = tmp_path / name / f"{band}.tif"
            write_raster(path, data[np.newaxis], box)
            assets[band] = {"href": str(path), "type": "image/tiff; application=geotiff"}
        items.append(item_of(assets, box, id=name, datetime=f"{day}T10:00:00Z"))
    rules = CubeRules("B04", "B08", CloudRules(None), 0.5, "none", 10.0)
    path = tmp_path / f"c.{store}"
    for order in (items[1:], items):
        made = CubeBuilder(Files(), order, west, np.ones(west.shape.yx, bool), rules, {})
        facts, _ = made.build(path)
    assert facts.days == ("2021-05-01", "2021-05-06")
    assert facts.valid_share == (1.0, 1.0)
    first, second = open_cube(path)["ndvi"].values
    red, nir = hills(west).astype(float)
    np.testing.assert_allclose(first, (nir - red) / (nir + red), atol=0.51e-4)
    # The nearest pixel of the other zone is at most 8 m away.
    np.testing.assert_allclose(second, first, atol=2e-3)
