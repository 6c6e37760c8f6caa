from __future__ import annotations

import datetime as dt
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.windows import Window as RasterioWindow

from geo_assets.core.chip_grid import chip_grid
from geo_assets.core.chips import NoImagery
from geo_assets.errors import ReadError, StorageError
from geo_assets.products.chips.composite_chips import Composite, CompositeChips
from geo_assets.products.composites.builder import CompositeBuilder, Labels
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets.storage.chips.catalog import ChipCollection, read_rows
from geo_assets.storage.chips.expectation import ChipEncoding, Stretch
from geo_assets.storage.chips.opening import open_chip
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets.storage.layout import Layout
from geo_assets.storage.rasters.raster_blocks import version_of
from geo_assets_tests.sources.memory_source import (
    Fault,
    MemorySource,
    grid,
    polygons,
    random_scene,
)

AREA = grid(150, 170, row=10, col=20)
SIZE = 48
DATES = (dt.date(2021, 1, 1), dt.date(2021, 12, 31))
OWN = polygons((30, 40, 25, 31), (50, 60, 30, 30), classes=[3, 1])
OTHER = polygons((70, 50, 20, 25))
RULES = CompositeRules(("B04", "B08"), "median", None, CloudRules(), True, "max")


def scenes(dtype="uint16"):
    whole, east = grid(220, 220), grid(220, 100, col=120)
    return [
        random_scene(1, "A", "2021-05-01", whole, dtype=dtype),
        random_scene(2, "B", "2021-05-11", whole, dtype=dtype),
        random_scene(3, "C", "2021-06-21", east, dtype=dtype),
    ]


def chips_of(folder, source, *, labels=None, area=AREA, cluster=0, **changes):
    labels = labels or Labels(OWN, OTHER)
    builder = CompositeBuilder(source, source.items, area, replace(RULES, **changes), labels, {})
    image = folder / f"{cluster}.tif"
    made, _ = builder.build(image, folder / f"{cluster}.json")
    composite = Composite(builder, image, version_of(image), made)
    return CompositeChips({cluster: composite}, labels, DATES)


def encoding(dtype="uint16", chip_format="tif", **more):
    return ChipEncoding(format=chip_format, bands=("B04", "B08", "label"), dtype=dtype, **more)


def table(area=AREA, overlap=0.5):
    return chip_grid(
        {0: area},
        OWN,
        fold="f",
        split="s",
        size=SIZE,
        overlap=overlap,
        border="pad",
        keep="all",
    )


def recipes(chips, chip_table=None, chip_encoding=None):
    specs = chips.specs(table() if chip_table is None else chip_table, chip_encoding or encoding())
    return {spec.chip_id: spec.recipe for spec in specs}


def place(spec):
    """Row and column of a chip in the composite."""
    row = round((spec.geobox.affine.f - AREA.affine.f) / AREA.affine.e)
    col = round((spec.geobox.affine.c - AREA.affine.c) / AREA.affine.a)
    return row, col


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_chips_are_windows_of_the_composite_and_no_data_beyond_it(tmp_path, dtype):
    chips = chips_of(tmp_path, MemorySource.of(*scenes(dtype)))
    fill = {"u": 0, "i": -32768, "f": np.nan}[np.dtype(dtype).kind]
    beyond = 0
    with chips, rasterio.open(tmp_path / "0.tif") as file:
        for spec in chips.specs(table(), encoding(dtype)):
            row, col = place(spec)
            window = RasterioWindow(col, row, SIZE, SIZE)
            data = file.read(window=window, boundless=True, fill_value=0, masked=False)
            mask = file.read_masks(1, window=window, boundless=True) > 0
            data[:-1, ~mask] = fill
            pixels = chips.read(spec)
            np.testing.assert_array_equal(pixels.data, data)
            np.testing.assert_array_equal(pixels.valid, mask)
            assert pixels.data.dtype == dtype
            beyond += not (0 <= row <= 150 - SIZE and 0 <= col <= 170 - SIZE)
    assert beyond > 10, "otherwise no border was looked at"


def test_a_zarr_store_holds_what_geotiffs_hold(tmp_path):
    chips = chips_of(tmp_path, MemorySource.of(*scenes()))
    specs = chips.specs(table(), encoding())
    catalogs = {}
    for chip_format in ("tif", "zarr"):
        store = ChipStore(
            ChipPaths.of(Layout(tmp_path, chip_format), "f", "s"),
            encoding(chip_format=chip_format),
            ChipCollection("c", "Chips of a test."),
        )
        with chips:
            report = store.converge(specs, chips.read, run_id="run", expect=chips.expect)
        assert report.failed == 0
        catalogs[chip_format] = store.paths.catalog
    rows = [row for row in read_rows(catalogs["tif"]) if row.href is not None]
    assert len(rows) > 20
    for row in rows:
        data, geobox = open_chip(catalogs["zarr"], row.spec.chip_id)
        np.testing.assert_array_equal(data, open_chip(catalogs["tif"], row.spec.chip_id)[0])
        assert geobox == row.spec.geobox


def test_a_chip_without_a_scene_is_no_imagery_and_dated_by_the_campaign(tmp_path):
    source = MemorySource.of(random_scene(1, "A", "2021-05-01", grid(220, 60)))
    chips = chips_of(tmp_path, source)
    specs = chips.specs(table(), encoding())
    alone = [spec for spec in specs if not spec.scene_ids]
    assert 0 < len(alone) < len(specs)
    with chips:
        assert all(isinstance(chips.read(spec), NoImagery) for spec in alone)
    assert {(spec.start.date(), spec.end.date()) for spec in alone} == {DATES}


def test_scenes_and_days_of_a_chip_are_those_that_it_meets(tmp_path):
    specs = chips_of(tmp_path, MemorySource.of(*scenes())).specs(table(), encoding())
    for spec in specs:
        east = place(spec)[1] + SIZE > 120 - 20  # C begins at column 120 of the lattice
        west = place(spec)[1] + SIZE < 120 - 20
        assert east or west or spec.scene_ids
        if east:
            assert spec.scene_ids == ("A", "B", "C")
            assert (spec.start, spec.end) == (
                dt.datetime(2021, 5, 1, tzinfo=dt.UTC),
                dt.datetime(2021, 6, 21, tzinfo=dt.UTC),
            )
        if west:
            assert spec.scene_ids == ("A", "B")


@pytest.mark.parametrize("kind", ["permanent", "invalid_payload", "transient"])
def test_chips_that_meet_a_failed_window_fail_with_its_kind_and_no_others(tmp_path, kind):
    source = MemorySource.of(*scenes())
    source.change(scenes()[2].with_faults(Fault(kind, slice(60, 70), slice(10, 20))))
    chips = chips_of(tmp_path, source)
    failed = np.zeros(AREA.shape, bool)
    for window in chips.composites[0].sidecar.failed_windows:
        failed[window.slices] = True
    outcomes = set()
    with chips:
        for spec in chips.specs(table(), encoding()):
            row, col = place(spec)
            meets = failed[max(row, 0) : row + SIZE, max(col, 0) : col + SIZE].any()
            outcomes.add(bool(meets))
            if meets:
                with pytest.raises(ReadError, match="a block cannot be decoded") as caught:
                    chips.read(spec)
                assert (caught.value.kind, caught.value.scene_id) == (kind, "C")
            else:
                chips.read(spec)
    assert outcomes == {True, False}


def test_what_may_pass_is_named_before_what_is_gone(tmp_path):
    """Else a chip would wait for a person although asking again brings it on."""
    source = MemorySource.of(*scenes())
    source.change(
        scenes()[0].with_faults(Fault("permanent")), scenes()[2].with_faults(Fault("transient"))
    )
    chips = chips_of(tmp_path, source)
    kinds = {}
    with chips:
        for spec in chips.specs(table(), encoding()):
            with pytest.raises(ReadError) as caught:
                chips.read(spec)
            kinds.setdefault(caught.value.kind, set()).add(spec.scene_ids)
    assert set(kinds) == {"permanent", "transient"}
    assert ("A", "B", "C") in kinds["transient"] - kinds["permanent"]


def test_a_new_polygon_changes_the_recipes_of_the_chips_that_it_meets(tmp_path):
    source = MemorySource.of(*scenes())
    new = pd.concat([OWN, polygons((100, 150, 4, 4), classes=[2])], ignore_index=True)
    before = recipes(chips_of(tmp_path, source))
    after = recipes(chips_of(tmp_path, source, labels=Labels(new, OTHER)))
    changed = {chip for chip in before if before[chip] != after[chip]}
    met = {
        spec.chip_id
        for spec in chips_of(tmp_path, source).specs(table(), encoding())
        if place(spec)[0] <= 94 <= 90 + SIZE + place(spec)[0]
        and place(spec)[0] + SIZE >= 90
        and place(spec)[1] <= 134
        and place(spec)[1] + SIZE >= 130
    }
    assert changed == met
    assert 0 < len(changed) < len(before)


def test_a_new_scene_changes_the_recipes_of_the_chips_that_it_meets(tmp_path):
    two = MemorySource.of(*scenes()[:2])
    three = MemorySource.of(*scenes())
    before, after = recipes(chips_of(tmp_path, two)), recipes(chips_of(tmp_path, three))
    specs = chips_of(tmp_path, three).specs(table(), encoding())
    met = {spec.chip_id for spec in specs if "C" in spec.scene_ids}
    assert {chip for chip in before if before[chip] != after[chip]} == met
    assert 0 < len(met) < len(before)


def test_an_area_that_grows_changes_the_chips_at_its_border_alone(tmp_path):
    source = MemorySource.of(*scenes())
    grown = grid(150, 190, row=10, col=20)
    before = recipes(chips_of(tmp_path, source))
    after = recipes(chips_of(tmp_path, source, area=grown))
    at_the_border = {
        spec.chip_id
        for spec in chips_of(tmp_path, source).specs(table(), encoding())
        if place(spec)[1] + SIZE > 170
    }
    assert {chip for chip in before if before[chip] != after[chip]} == at_the_border


@pytest.mark.parametrize(
    "change",
    [{"reducer": "mean"}, {"clouds": CloudRules(dilate_m=20)}, {"all_touched": False}],
)
def test_rules_change_all_recipes(tmp_path, change):
    source = MemorySource.of(*scenes())
    before = recipes(chips_of(tmp_path, source))
    after = recipes(chips_of(tmp_path, source, **change))
    assert all(before[chip] != after[chip] for chip in before)


def test_format_dtype_and_the_stretch_of_pictures_change_recipes(tmp_path):
    chips = chips_of(tmp_path, MemorySource.of(*scenes()))
    low = Stretch((0, 1, 1), (0, 0, 0), (3000, 3000, 3000))
    high = replace(low, high=(4000, 4000, 4000))
    different = [
        encoding(),
        encoding("float32"),
        encoding(chip_format="npy"),
        encoding(chip_format="png", stretch=low),
        encoding(chip_format="png", stretch=high),
    ]
    assert len({tuple(recipes(chips, None, given).values()) for given in different}) == 5
    assert recipes(chips, None, encoding(stretch=low)) == recipes(chips)


def test_where_things_lie_changes_no_recipe(tmp_path):
    source = MemorySource.of(*scenes())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = recipes(chips_of(tmp_path / "one", source))
    assert recipes(chips_of(tmp_path / "two", source)) == one


def test_eight_threads_read_what_one_reads(tmp_path):
    chips = chips_of(tmp_path, MemorySource.of(*scenes()))
    specs = chips.specs(table(overlap=0.8), encoding())
    with chips:
        alone = [chips.read(spec) for spec in specs]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(chips.read, specs))
    assert len(specs) > 100
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.valid, other.valid)


def test_a_composite_is_open_from_its_first_chip_to_its_last(tmp_path):
    one = chips_of(tmp_path, MemorySource.of(*scenes()))
    chips = CompositeChips(one.composites | {7: one.composites[0]}, one.labels, DATES)
    first = chips.specs(table(), encoding())
    specs = [*first, *(replace(spec, cluster=7) for spec in first)]
    with one:
        expected = [one.read(spec).data for spec in first] * 2
    opened = []
    with chips:
        chips.expect(specs)
        for spec, data in zip(specs, expected, strict=True):
            np.testing.assert_array_equal(chips.read(spec).data, data)
            opened.append(set(chips._opened))
        assert not chips._opened
        np.testing.assert_array_equal(chips.read(first[0]).data, expected[0])
    assert opened == [{0}] * (len(first) - 1) + [set()] + [{7}] * (len(first) - 1) + [set()]


def test_a_cluster_without_composite_is_named(tmp_path):
    chips = chips_of(tmp_path, MemorySource.of(*scenes()), cluster=1)
    with pytest.raises(StorageError, match=r"cluster 0.*materialize composite_image"):
        chips.specs(table(), encoding())


def test_a_composite_damaged_while_chips_are_cut_is_named(tmp_path):
    chips = chips_of(tmp_path, MemorySource.of(*scenes()))
    specs = chips.specs(table(), encoding())
    image = tmp_path / "0.tif"
    before, content = image.stat(), image.read_bytes()
    image.write_bytes(content[:1000] + bytes(len(content) - 1000))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))

    def cut():
        with chips:
            for spec in specs:
                chips.read(spec)

    with pytest.raises(StorageError, match=r"0\.tif: cannot be read as GeoTIFF"):
        cut()


def test_a_composite_replaced_before_its_chips_are_cut_is_refused_by_name(tmp_path):
    """Else its pixels would be those of a recipe that they are not made by."""
    chips = chips_of(tmp_path, MemorySource.of(*scenes()))
    chips_of(tmp_path, MemorySource.of(*scenes()), reducer="mean")
    with pytest.raises(StorageError, match=r"0\.tif: was replaced while it was read"), chips:
        chips.read(chips.specs(table(), encoding())[0])


def test_no_chips_are_no_specs():
    chips = CompositeChips({}, Labels(OWN, OTHER), DATES)
    assert chips.specs(table().iloc[:0], encoding()) == []
