"""The main job on real imagery, compared with rasterio, geopandas and plain numpy."""

from __future__ import annotations

import json

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio
import rasterio.features
import rasterio.windows
import shapely
import xarray as xr

from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets_tests.acceptance.support import files_below, metadata_of, rows_of, say
from geo_assets_tests.emulators.stac_api import serve_stac_api

pytestmark = pytest.mark.real_data

LABELLED = ["0|train", "1|train", "2|validation", "3|train", "4|test"]
TABLES = ("labels", "aoi_clusters", "scenes", "chip_grid", "chip_catalog")
FOLDERS = ("composite_image", "ndvi_cube", "ndvi_spatial_labels", "ndvi_temporal_labels", "chips")

MEDIANS = [
    *(0.863, 0.923, 0.903, 0.895, 0.879, 0.903, 0.901, 0.892, 0.883, 0.879, 0.866),
    *(0.895, 0.886, 0.890, 0.904, 0.903, 0.907, 0.915, 0.897, 0.904, 0.801),
]
"""Median NDVI of Rufiji by date, as the data's own notes have it (SOURCES.md, NDVI check)."""


# ------------------------------------------------------------------ Aberystwyth, a single raster


def test_every_fold_and_split_of_aberystwyth_is_materialized(aberystwyth):
    assert aberystwyth.result.success
    made = {
        (event.asset_key.path[-1], event.partition)
        for event in aberystwyth.result.get_asset_materialization_events()
    }
    assets = {asset for asset, _ in made}
    assert len(assets) == 9
    keys = partition_keys(aberystwyth.campaign)
    assert len(keys) == 15
    assert made == {(asset, key) for asset in assets for key in keys}


def test_assets_without_areas_say_so(aberystwyth):
    names = {key.path[-1] for key in aberystwyth.result.job_def.asset_layer.executable_asset_keys}
    assert len(names) == 9
    for name in names:
        facts = metadata_of(aberystwyth.result, aberystwyth.campaign, name)
        with_areas = [key for key, values in facts.items() if not values["empty"]]
        assert sorted(with_areas) == LABELLED, name


@pytest.mark.parametrize("asset", TABLES)
def test_empty_partitions_have_tables_with_every_column_and_no_row(aberystwyth, asset):
    layout = aberystwyth.place.layout(aberystwyth.campaign)
    tables = {
        key: pq.read_table(getattr(layout, asset)(*fold_and_split(key)), partitioning=None)
        for key in partition_keys(aberystwyth.campaign)
    }
    assert [key for key, table in tables.items() if table.num_rows] == LABELLED
    columns = set(tables["0|train"].column_names)
    if asset == "scenes":
        # What further columns scenes have is said by their source, item by item.
        columns = {"type", "id", "geometry", "bbox", "datetime", "links", "cluster"}
    for key, table in tables.items():
        assert columns <= set(table.column_names), key


def test_only_partitions_with_areas_have_files_of_clusters(aberystwyth):
    layout = aberystwyth.place.layout(aberystwyth.campaign)
    for asset in FOLDERS:
        folder = layout.folder / asset
        found = {"|".join(path.relative_to(folder).parts[:2]) for path in files_below(folder)}
        assert sorted(found) == LABELLED, asset


def polygons_of(real_data, composite) -> geopandas.GeoDataFrame:
    path = real_data / "labels/aberystwyth_landcover_polygons.geojson"
    return geopandas.read_file(path).to_crs(composite.crs)


def burned(polygons, composite, *, all_touched=True) -> np.ndarray:
    """Each polygon burned for itself by rasterio; where several meet, the largest class."""
    band = np.zeros(composite.shape, np.uint8)
    for polygon, value in zip(polygons.geometry, polygons["class_id"], strict=True):
        one = rasterio.features.rasterize(
            [(polygon, int(value))],
            out_shape=composite.shape,
            transform=composite.transform,
            all_touched=all_touched,
            dtype="uint8",
        )
        band = np.maximum(band, one)
    return band


@pytest.mark.parametrize("name", ["aberystwyth", "aberystwyth_splits"])
def test_the_label_band_is_rasterios_with_255_on_other_splits(name, request, real_data):
    made = request.getfixturevalue(name)
    layout = made.place.layout(made.campaign)
    ignored = labelled = 0
    for key in partition_keys(made.campaign):
        fold, split = fold_and_split(key)
        for path in sorted(layout.composite_images(fold, split).glob("*.tif")):
            with rasterio.open(path) as composite:
                polygons = polygons_of(real_data, composite)
                if name == "aberystwyth":
                    polygons = polygons[polygons["fold"].astype(str) == fold]
                own = polygons["split"] == split
                expected = burned(polygons[own], composite)
                expected[burned(polygons[~own], composite) > 0] = 255
                band = composite.read(composite.count)
            np.testing.assert_array_equal(band, expected)
            ignored += int((band == 255).sum())
            labelled += int(((band > 0) & (band < 255)).sum())
    assert labelled > 1000
    # In the folds as they are, each fold has one split; as one fold, splits lie side by side.
    assert (ignored > 1000) == (name == "aberystwyth_splits")


@pytest.mark.parametrize("name", ["aberystwyth", "aberystwyth_splits"])
def test_the_image_bands_of_every_chip_are_a_window_of_the_source(name, request, real_data):
    made = request.getfixturevalue(name)
    layout = made.place.layout(made.campaign)
    chips = 0
    with rasterio.open(real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif") as source:
        for key, rows in rows_of(made.place, made.campaign).items():
            for row in rows:
                assert row.outcome.status == "ok"
                path = layout.chip_catalog(*fold_and_split(key)).parent / row.href
                image = layout.composite_image(*fold_and_split(key), row.spec.cluster)
                with rasterio.open(path) as chip, rasterio.open(image) as composite:
                    assert chip.shape == (made.campaign.chips.size,) * 2
                    expected, there = window_of(source, chip)
                    inside = (
                        rasterio.features.rasterize(
                            [shapely.box(*composite.bounds)],
                            out_shape=chip.shape,
                            transform=chip.transform,
                        )
                        > 0
                    )
                    valid = chip.dataset_mask() > 0
                    np.testing.assert_array_equal(valid, there & inside)
                    np.testing.assert_array_equal(chip.read()[:-1][:, valid], expected[:, valid])
                chips += 1
    assert chips > 10


def window_of(source, chip) -> tuple[np.ndarray, np.ndarray]:
    """The source's pixels at a chip's place, and where every band of it holds a datum."""
    window = rasterio.windows.from_bounds(*chip.bounds, source.transform)
    assert abs(window.col_off - round(window.col_off)) < 1e-6
    assert abs(window.row_off - round(window.row_off)) < 1e-6
    window = window.round_offsets().round_lengths()
    data = source.read(window=window, boundless=True, fill_value=0)
    return data, (data != 0).all(axis=0)


# ------------------------------------------------------------------------ Rufiji, a STAC catalog


def items_of(folder) -> list[dict]:
    paths = sorted(folder.glob("items/*/*.json"))
    return [json.loads(path.read_text()) for path in paths]


def write_box_of(items):
    """Write the box of all items as the campaign's area."""
    west, south, east, north = np.array([item["bbox"] for item in items]).T
    box = shapely.box(west.min(), south.min(), east.max(), north.max())

    def write(folder):
        frame = geopandas.GeoDataFrame(geometry=[box], crs="EPSG:4326")
        frame.to_file(folder / "area.geojson")

    return write


@pytest.fixture(scope="module")
def rufiji(make, real_data):
    folder = real_data / "s2_rufiji"
    return make("rufiji", prepare=write_box_of(items_of(folder)), catalog=folder / "catalog.json")


def test_the_cube_of_rufiji_is_plain_numpy_to_half_a_step(rufiji, real_data):
    layout = rufiji.place.layout(rufiji.campaign)
    with xr.open_zarr(layout.ndvi_cube("all", "all", 0)) as cube:
        ndvi = cube["ndvi"].load()
    items = items_of(real_data / "s2_rufiji")
    assert [str(day)[:10] for day in ndvi["time"].values] == [
        item["properties"]["datetime"][:10] for item in items
    ]
    medians = []
    for day, item in zip(ndvi, items, strict=True):
        folder = real_data / "s2_rufiji/items" / item["id"]
        with rasterio.open(folder / "B04.tif") as red, rasterio.open(folder / "B08.tif") as nir:
            expected = plain_ndvi(red.read(1), nir.read(1))
            x0, y0 = red.transform * (0.5, 0.5)
            height, width = red.shape
        row = int(np.abs(day["y"].values - y0).argmin())
        col = int(np.abs(day["x"].values - x0).argmin())
        assert day["y"].values[row] == pytest.approx(y0, abs=1e-3)
        assert day["x"].values[col] == pytest.approx(x0, abs=1e-3)
        found = day.values.astype(np.float64)
        window = found[row : row + height, col : col + width]
        assert window.shape == expected.shape
        np.testing.assert_array_equal(np.isnan(window), np.isnan(expected))
        # Half a step, and the rounding of the float that a reader gives.
        np.testing.assert_allclose(window, expected, rtol=0, atol=0.5e-4 + 1e-7)
        assert np.isfinite(found).sum() == np.isfinite(window).sum()
        medians.append(float(np.nanmedian(found)))
    np.testing.assert_allclose(medians, MEDIANS, rtol=0, atol=0.003)


def plain_ndvi(red, nir) -> np.ndarray:
    """NDVI in float64; NaN where a band has no datum, red + NIR is 0, or NDVI is beyond 1."""
    red, nir = (np.where(band == 0, np.nan, band.astype(np.float64)) for band in (red, nir))
    return (nir - red) / (nir + red)


def test_an_api_over_the_same_items_gives_the_same_cube_byte_for_byte(
    rufiji, make, real_data, tmp_path
):
    folder = real_data / "s2_rufiji"
    catalog = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = [
        item.make_asset_hrefs_absolute().to_dict() for item in catalog.get_items(recursive=True)
    ]
    for item in items:
        item["links"] = []
    assert len(items) == 21
    with serve_stac_api(items, tmp_path) as url:
        made = make("rufiji", prepare=write_box_of(items), catalog=url)
    cubes = [
        where.place.layout(where.campaign).ndvi_cube("all", "all", 0) for where in (rufiji, made)
    ]
    static, served = (
        {path.relative_to(cube): path.read_bytes() for path in files_below(cube)} for cube in cubes
    )
    assert static == served
    assert len(static) > 21


# ------------------------------------------------------------------------------ Slovenia, labels


@pytest.fixture(scope="module")
def slovenia(make, real_data):
    return make("slovenia", GEO_ASSETS_TEST_DATA=real_data)


def test_label_polygons_of_slovenia_are_the_land_use_raster(slovenia, real_data, record_property):
    image = slovenia.place.layout(slovenia.campaign).composite_image("all", "all", 0)
    with rasterio.open(real_data / "slovenia_eopatch/lulc.tif") as truth:
        expected = truth.read(1)
        with rasterio.open(image) as composite:
            assert composite.crs == truth.crs
            labels, _ = window_of(composite, truth)
    found = np.where(labels[-1] == 254, 0, labels[-1])
    share = float((found == expected).mean())
    record_property("equal_share", share)
    say(f"\nlabel band equal to lulc.tif: {share:.4%}")
    assert share >= 0.999


def test_fully_cloudy_dates_of_slovenia_are_dropped(slovenia):
    layout = slovenia.place.layout(slovenia.campaign)
    with xr.open_zarr(layout.ndvi_cube("all", "all", 0)) as cube:
        days = [str(day)[:10] for day in cube["time"].values]
        medians = np.nanmedian(cube["ndvi"].values, axis=(1, 2))
    assert days == ["2015-07-11", "2015-08-30", "2015-09-09"]
    np.testing.assert_allclose(medians, [0.743, 0.692, 0.698], rtol=0, atol=0.003)
    from geo_assets.storage.scenes import read_scenes

    scenes = read_scenes(layout.scenes("all", "all"))
    left_out = {out["id"]: out["reason"] for out in scenes.left_out}
    assert left_out == {"S2_L1C_SVN_20150731": "cloud", "S2_L1C_SVN_20150820": "cloud"}


# ------------------------------------------------------- labels of both places, seen by eye too


def mean_ndvi(place) -> np.ndarray:
    with xr.open_zarr(place.place.layout(place.campaign).ndvi_cube("all", "all", 0)) as cube:
        return np.nanmean(cube["ndvi"].values, axis=0)


def labels_at(path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_the_series_of_rufiji_are_labelled_though_months_are_missing(rufiji):
    layout = rufiji.place.layout(rufiji.campaign)
    labels = labels_at(layout.ndvi_temporal_labels("all", "all", 0))
    ndvi = mean_ndvi(rufiji)
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}
    np.testing.assert_array_equal(labels > 0, np.isfinite(ndvi))
    means = [ndvi[labels == value].mean() for value in range(1, 6)]
    assert means == sorted(means)
    # The river, all but its mixed edges, and the closed mangrove.
    assert means[0] < 0.1
    assert means[4] > 0.85


@pytest.mark.parametrize("name", ["rufiji", "slovenia"])
def test_land_cover_of_a_real_place_is_five_classes_of_its_own_spectra(name, request):
    made = request.getfixturevalue(name)
    layout = made.place.layout(made.campaign)
    labels = labels_at(layout.land_cover_labels("all", "all", 0))
    with rasterio.open(layout.composite_image("all", "all", 0)) as image:
        bands, valid = image.read()[:-1].astype(np.float64), image.dataset_mask() > 0
    np.testing.assert_array_equal(labels > 0, valid)
    assert set(np.unique(labels[valid])) == {1, 2, 3, 4, 5}
    total = sum(band[valid].var() for band in bands)
    within = sum(
        ((band[labels == value] - band[labels == value].mean()) ** 2).sum() / valid.sum()
        for band in bands
        for value in range(1, 6)
    )
    # Five classes leave less than a third of what the bands differ.
    assert within < total / 3


def test_the_river_of_rufiji_is_a_land_cover_of_its_own(rufiji):
    layout = rufiji.place.layout(rufiji.campaign)
    labels = labels_at(layout.land_cover_labels("all", "all", 0))
    ndvi = mean_ndvi(rufiji)
    river, green = ndvi < 0.05, ndvi > 0.7
    values, counts = np.unique(labels[river], return_counts=True)
    water = values[counts.argmax()]
    assert counts.max() / counts.sum() > 0.9
    assert (labels[green] == water).mean() < 0.001
