"""The truth: both zones tell one story, the clear-cut happens, labels lie on their crops."""

from __future__ import annotations

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from geo_assets_tests.sources.simulated import reading

EPSG = {"train": 32632, "validation": 32632, "test": 32633}
SPLITS = [(fold, split) for fold in ("north", "south") for split in EPSG]


@pytest.fixture(scope="module")
def labels(archive):
    return {
        fold: gpd.read_file(archive / "labels" / f"{fold}.geojson") for fold in ("north", "south")
    }


@pytest.fixture(scope="module")
def values(archive):
    classes = json.loads((archive / "truth" / "classes.json").read_text())
    return {entry["name"]: int(value) for value, entry in classes.items()}


def opened_truth(archive, epsg):
    return rasterio.open(archive / "truth" / f"land_cover-{epsg}.tif")


def test_truth_agrees_in_both_zones(archive):
    with opened_truth(archive, 32632) as west, opened_truth(archive, 32633) as east:
        ours = west.read(1)
        theirs = np.zeros_like(ours)
        reproject(
            east.read(1), theirs, src_transform=east.transform, src_crs=east.crs,
            dst_transform=west.transform, dst_crs=west.crs, resampling=Resampling.nearest,
            src_nodata=0, dst_nodata=0,
        )  # fmt: skip
    both = theirs > 0
    assert 0.08 < both.mean() < 0.25
    assert (ours == theirs)[both].mean() > 0.96
    inner = ndimage.minimum_filter(ours, 5) == ndimage.maximum_filter(ours, 5)
    assert (ours == theirs)[both & inner].mean() > 0.9999


def test_every_class_is_there_and_none_is_rare(archive, values):
    for epsg in (32632, 32633):
        cover = reading.land_cover(archive, epsg)
        shares = {name: (cover == value).mean() for name, value in values.items()}
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) > 0.02, shares


def test_truth_lies_on_the_lattice_of_the_items(archive):
    for tile, epsg in (("32UQV", 32632), ("33UTQ", 32633)):
        asset = reading.items(archive, tile)[0]["assets"]["B02"]
        with opened_truth(archive, epsg) as file:
            assert list(file.transform)[:6] == asset["proj:transform"]
            assert file.colormap(1)[1][:3] == (0x3F, 0x7F, 0xBF)


def test_the_clear_cut_is_forest_before_and_bare_after(archive, values):
    cut = json.loads((archive / "truth" / "clear_cut.json").read_text())
    records = reading.items(archive, cut["tile"])
    outline = shapely.geometry.shape(cut["polygon"])
    assert 15e4 < cut["area_m2"] < 25e4
    with opened_truth(archive, 32632) as file:
        core = gpd.GeoSeries([outline], crs=4326).to_crs(file.crs).buffer(-20)
        inside = rasterize(core, file.shape, transform=file.transform) == 1
        assert set(np.unique(file.read(1)[inside])) == {cut["truth_value"]} == {values["forest"]}
    window = cut["pixel_window"]
    rows, columns = np.nonzero(inside)
    assert window["row_off"] <= rows.min() <= rows.max() < window["row_off"] + window["height"]
    assert window["col_off"] <= columns.min() < columns.max() < window["col_off"] + window["width"]
    for item in records:
        date = item["properties"]["datetime"][:10]
        if "2021-05" <= date < "2021-10" and item["id"][-5] != "1" and "B08" in item["assets"]:
            if date == "2021-06-16":
                continue
            clear = inside & np.isin(reading.classification(archive, item), (4, 5))
            if clear.sum() > 100:
                level = np.median(reading.ndvi(archive, item)[clear])
                assert (level > 0.7) if date < cut["date"] else (level < 0.4), date


def test_the_clear_cut_lies_amid_the_labels_of_a_split(archive, labels):
    cut = json.loads((archive / "truth" / "clear_cut.json").read_text())
    train = labels["south"].query("split == 'train'").to_crs(32632)
    box = shapely.box(*train.total_bounds).buffer(200, join_style="mitre")
    assert box.contains(shapely.box(*cut["bounds"]))


def test_label_columns_and_crops_are_as_promised(labels, values):
    for frame in labels.values():
        assert set(frame["split"]) == set(EPSG)
        assert set(frame["class"]) == {"winter wheat", "rapeseed", "maize", "sugar beet"}
        assert set(frame["class"]) < set(values)
        assert frame["parcel_id"].is_unique
        assert frame.geometry.is_valid.all()


@pytest.mark.parametrize(("fold", "split"), SPLITS)
def test_each_split_has_many_parcels_in_two_groups(labels, fold, split):
    own = labels[fold].query("split == @split").to_crs(EPSG[split])
    assert len(own) >= 16
    assert own["class"].nunique() == 4
    centres = np.sort(own.centroid.y)
    gap = np.diff(centres).argmax()
    assert 8 <= gap + 1 <= len(own) - 8


@pytest.mark.parametrize(("fold", "split"), SPLITS)
def test_label_pixels_are_of_the_class_their_polygon_says(archive, labels, values, fold, split):
    own = labels[fold][labels[fold]["split"] == split]
    right = total = 0
    for epsg in (32632, 32633):
        with opened_truth(archive, epsg) as file:
            shapes = zip(own.to_crs(epsg).geometry, own["class"].map(values), strict=True)
            burned = rasterize(shapes, file.shape, transform=file.transform)
            right += (burned == file.read(1))[burned > 0].sum()
            total += (burned > 0).sum()
    assert right / total > 0.998


def test_splits_and_folds_do_not_touch(labels):
    groups = {
        (fold, split): frame.query("split == @split").to_crs(32632).union_all()
        for fold, frame in labels.items()
        for split in EPSG
    }
    for one, first in groups.items():
        for other, second in groups.items():
            if one < other:
                assert first.distance(second) > (200 if one[0] != other[0] else 1000)


@pytest.mark.parametrize(("split", "tile"), [("train", "32UQV"), ("test", "33UTQ")])
def test_train_lies_in_the_western_tile_and_test_in_the_eastern(archive, labels, split, tile):
    with opened_truth(archive, EPSG[split]) as file:
        whole = shapely.box(*file.bounds)
    assert reading.items(archive, tile)[0]["properties"]["proj:code"] == f"EPSG:{EPSG[split]}"
    for frame in labels.values():
        own = frame.query("split == @split").to_crs(EPSG[split])
        assert whole.contains(shapely.box(*own.total_bounds).buffer(200, join_style="mitre"))


def test_validation_needs_both_tiles(archive, labels):
    for frame in labels.values():
        own = frame.query("split == 'validation'")
        for epsg in (32632, 32633):
            with opened_truth(archive, epsg) as file:
                inside = own.to_crs(epsg).within(shapely.box(*file.bounds))
            assert 0 < inside.mean() < 1


def test_the_faults_lie_among_labels(archive, labels):
    """The demo's first run is to meet them: one that heals, one that stays."""
    faults = json.loads((archive / "truth" / "faults.json").read_text())
    (damaged,) = [fault for fault in faults if fault["repairable"]]
    with opened_truth(archive, 32633) as file:
        window = rasterio.windows.Window(**damaged["window"])
        box = shapely.box(*rasterio.windows.bounds(window, file.transform))
    test = labels["north"].query("split == 'test'").to_crs(32633)
    assert 3 <= test.intersects(box).sum() < len(test) / 2
    (corner,) = reading.of_date(reading.items(archive), "2021-06-16")
    train = labels["north"].query("split == 'train'")
    assert 3 <= train.intersects(shapely.geometry.shape(corner["geometry"])).sum() < len(train) / 2
