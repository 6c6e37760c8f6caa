from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import geopandas
import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo_assets.errors import SourceError
from geo_assets.products.composites import builder as composites
from geo_assets.products.composites.builder import Labels
from geo_assets.products.composites.sidecar import Sidecar, dtype_of_composites
from geo_assets.sources.rules import CloudRules
from geo_assets_tests.conftest import REPOSITORY
from geo_assets_tests.products.composites.composite_testing import (
    AREA,
    BANDS,
    OTHER,
    OWN,
    builder_of,
    label_by_hand,
    median_by_hand,
    read,
    scenes,
)
from geo_assets_tests.sources.memory_source import (
    Fault,
    MemorySource,
    days_by_hand,
    grid,
    polygons,
    random_scene,
)


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "c.tif", tmp_path / "c.json"


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_composite_is_the_median_of_clear_days_and_the_label_band(paths, dtype):
    source = MemorySource.of(*scenes(dtype))
    made, how = builder_of(source, clouds=CloudRules(dilate_m=20)).build(*paths)
    data, mask = read(paths[0])
    expected, valid = median_by_hand(scenes(dtype), AREA, dtype, radius=2)
    assert how == "built"
    assert data.dtype == made.dtype == dtype
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(data[:-1], expected)
    np.testing.assert_array_equal(data[-1], label_by_hand(AREA))
    assert made.valid_fraction == pytest.approx(valid.mean(), abs=1e-6)
    assert made.days == ("2021-04-11", "2021-05-01", "2021-05-11", "2021-06-11")
    assert made.scene_ids == ("A1", "A2", "B1", "C1", "D1")


@pytest.mark.parametrize("percentile", [0.0, 30.0, 100.0])
def test_a_percentile_is_the_one_asked_for(paths, percentile):
    source = MemorySource.of(*scenes())
    builder_of(source, reducer="percentile", percentile=percentile).build(*paths)
    stack = np.stack(list(days_by_hand(scenes(), AREA).values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nan_to_num(np.rint(np.nanpercentile(stack, percentile, axis=0)))
    np.testing.assert_array_equal(read(paths[0])[0][:-1], expected)


def test_the_greenest_observation_is_chosen_by_bands_that_the_composite_need_not_hold(paths):
    bands = ("B02", "B04", "B08")
    given_scenes = [
        random_scene(seed, f"S{seed}", f"2021-05-{seed:02d}", grid(220, 220), bands=bands)
        for seed in range(1, 6)
    ]
    source = MemorySource.of(*given_scenes)
    named = [replace(scene, bands=("B02", "red", "nir")) for scene in given_scenes]
    builder_of(MemorySource.of(*named), bands=("B02",), reducer="max-ndvi").build(*paths)
    alone, _ = read(paths[0])
    builder_of(source, bands=bands, reducer="max-ndvi").build(*paths)
    together, _ = read(paths[0])
    np.testing.assert_array_equal(alone[0], together[0])
    stack = np.stack(list(days_by_hand(given_scenes, AREA).values()))
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = (stack[:, 2] - stack[:, 1]) / (stack[:, 2] + stack[:, 1])
    chosen = np.nan_to_num(ndvi, nan=-2).argmax(axis=0)
    seen = ~np.isnan(stack[:, 0]).all(axis=0)
    picked = np.take_along_axis(stack, chosen[np.newaxis, np.newaxis], axis=0)[0]
    clear = seen & ~np.isnan(picked).any(axis=0)
    np.testing.assert_array_equal(together[:-1][:, clear], picked[:, clear])


def test_a_medoid_takes_a_pixel_from_one_day(paths):
    source = MemorySource.of(*scenes())
    builder_of(source, reducer="medoid").build(*paths)
    data, mask = read(paths[0])
    stack = np.stack(list(days_by_hand(scenes(), AREA).values()))
    assert (stack == data[:-1]).all(axis=1).any(axis=0)[mask].all()


def test_label_rules_and_dtype_are_those_asked(paths):
    source = MemorySource.of(*scenes())
    made, _ = builder_of(source, all_touched=False, dtype="float32").build(*paths)
    data, _ = read(paths[0])
    np.testing.assert_array_equal(data[-1], label_by_hand(AREA, all_touched=False))
    np.testing.assert_array_equal(data[:-1], median_by_hand(scenes(), AREA, "float32")[0])
    assert made.dtype == "float32"


def test_the_file_lies_on_the_grid_and_names_its_bands_and_tags(paths):
    source = MemorySource.of(*scenes())
    builder_of(source, tags={"TIFFTAG_COPYRIGHT": "CC-BY"}).build(*paths)
    with rasterio.open(paths[0]) as file:
        assert (file.crs.to_epsg(), file.transform, file.shape) == (
            32633,
            AREA.affine,
            AREA.shape.yx,
        )
        assert file.descriptions == ("B04", "B08", "label")
        assert file.tags()["TIFFTAG_COPYRIGHT"] == "CC-BY"


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.integers(40, 180), dilate=st.sampled_from([0, 30]), faulty=st.booleans())
def test_the_size_of_blocks_changes_nothing(tmp_path, monkeypatch, size, dilate, faulty):
    given_scenes = scenes("int16")
    if faulty:
        given_scenes[4] = given_scenes[4].with_faults(Fault("permanent"))
    files = []
    for block in (512, size):
        monkeypatch.setattr(composites, "BLOCK", block)
        monkeypatch.setattr(composites, "STACK_BYTES", 0)
        path = tmp_path / f"{block}.tif"
        path.unlink(missing_ok=True)
        source = MemorySource.of(*given_scenes)
        builder_of(source, clouds=CloudRules(dilate_m=dilate)).build(path, tmp_path / "sidecar")
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_blocks_without_a_scene_hold_the_fill_of_the_others(paths, monkeypatch):
    """A block is composed before its neighbours tell which dtype the source has."""
    monkeypatch.setattr(composites, "BLOCK", 50)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    corner = random_scene(1, "A", "2021-05-01", grid(60, 60, row=100, col=100), dtype="float32")
    builder_of(MemorySource.of(corner)).build(*paths)
    data, _ = read(paths[0])
    expected, _ = median_by_hand([corner], AREA, "float32")
    np.testing.assert_array_equal(data[:-1], expected)


def test_an_area_without_scenes_is_an_image_of_no_data_with_its_labels(paths):
    made, how = builder_of(MemorySource.of()).build(*paths)
    data, mask = read(paths[0])
    assert (how, made.days, made.dtype, made.valid_fraction) == ("built", (), "uint16", 0)
    assert not mask.any()
    np.testing.assert_array_equal(data[-1], label_by_hand(AREA))


def test_progress_counts_blocks(paths, monkeypatch):
    monkeypatch.setattr(composites, "BLOCK", 100)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    told = []
    builder_of(MemorySource.of(*scenes())).build(*paths, lambda *news: told.append(news))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def changed(**changes):
    return {"A1": replace(scenes()[0], **changes)}


MOVED_INSIDE = polygons((30, 41, 25, 31), (50, 60, 30, 30), classes=[3, 1])
FAR_AWAY = polygons((30, 40, 25, 31), (50, 60, 30, 30), (900, 900, 5, 5), classes=[3, 1, 7])


@pytest.mark.parametrize(
    ("what", "changes"),
    {
        "a scene": {"more": [random_scene(9, "E1", "2021-07-01", grid(220, 220))]},
        "a baseline": {"replaced": [replace(scenes()[0], baseline="04.00")]},
        "the order of bands": {"bands": BANDS[::-1]},
        "the reducer": {"reducer": "mean"},
        "a dtype": {"dtype": "float32"},
        "the cloud band": {"clouds": CloudRules(band=None)},
        "the cloud classes": {"clouds": CloudRules(exclude=(8, 9))},
        "the dilation": {"clouds": CloudRules(dilate_m=10)},
        "a polygon": {"labels": Labels(MOVED_INSIDE, OTHER)},
        "a polygon of another split": {"labels": Labels(OWN, polygons((70, 51, 20, 25)))},
        "the burning": {"all_touched": False},
        "the grid": {"geobox": AREA[:, 1:]},
        "the source": {"description": {"kind": "other"}},
        "the licence in the file": {"tags": {"TIFFTAG_COPYRIGHT": "none"}},
    }.items(),
)
def test_the_recipe_changes_with(what, changes):
    assert recipe_with(**changes) != recipe_with(), what


@pytest.mark.parametrize(
    ("what", "changes"),
    {
        "a scene elsewhere": {"more": [random_scene(9, "E1", "2021-07-01", grid(50, 50, row=900))]},
        "a polygon elsewhere": {"labels": Labels(FAR_AWAY, OTHER)},
        "the class of a polygon of another split": {
            "labels": Labels(OWN, polygons((70, 50, 20, 25), classes=[9]))
        },
        "the order of polygons": {"labels": Labels(OWN.iloc[::-1], OTHER)},
        "the order of cloud classes": {"clouds": CloudRules(exclude=(10, 9, 8, 3, 1, 0))},
        "the order of items": {"reverse": True},
        "where assets lie": {"moved": True},
    }.items(),
)
def test_the_recipe_does_not_change_with(what, changes):
    assert recipe_with(**changes) == recipe_with(), what


def recipe_with(
    *, more=(), replaced=(), reverse=False, moved=False, description=None, geobox=AREA, **changes
):
    source = MemorySource.of(*scenes(), *more)
    source.change(*replaced)
    source.description = description or source.description
    builder = builder_of(source, geobox, **changes)
    items = builder.items[::-1] if reverse else builder.items
    if moved:
        items = [item | {"assets": {"B04": {"href": "/another/folder/B04.tif"}}} for item in items]
    return replace(builder, items=items).recipe()


def test_what_has_not_changed_is_kept_and_nothing_is_read(paths):
    source = MemorySource.of(*scenes())
    first, _ = builder_of(source).build(*paths)
    facts = [path.stat().st_mtime_ns for path in paths]
    source.reads.clear()
    again, how = builder_of(source).build(*paths)
    assert (how, again) == ("kept", first)
    assert [path.stat().st_mtime_ns for path in paths] == facts
    assert source.reads == []
    assert builder_of(source).heal(*paths) == first


@pytest.mark.parametrize("stage", ["read", "write_cog_of_blocks", "publish_json"])
def test_an_error_in_the_middle_leaves_what_the_next_run_completes(paths, monkeypatch, stage):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    builder_of(MemorySource.of(scenes()[0])).build(*paths)
    before = paths[0].read_bytes()
    source = MemorySource.of(*scenes())
    with monkeypatch.context() as patch:
        if stage == "read":
            source.before_read = fail
        else:
            patch.setattr(composites, stage, fail)
        with pytest.raises(OSError, match="No space"):
            builder_of(source).build(*paths)
    if stage != "publish_json":
        assert paths[0].read_bytes() == before
        assert Sidecar.read(paths[1]).describes(paths[0])
    source.before_read = None
    assert builder_of(source).build(*paths)[1] == "built"
    np.testing.assert_array_equal(read(paths[0])[0][:-1], median_by_hand(scenes(), AREA, "u2")[0])


@pytest.mark.parametrize("stage", ["read", "between"])
def test_a_killed_build_leaves_the_old_or_the_new_image_whole(tmp_path, stage):
    area = grid(128, 128)
    image, sidecar = tmp_path / "c.tif", tmp_path / "c.json"
    builder_of(MemorySource.of(random_scene(1, "old", "2021-05-01", area)), area).build(
        image, sidecar
    )
    old = image.read_bytes()
    module = "geo_assets_tests.products.composites.composite_run"
    with subprocess.Popen(
        [sys.executable, "-m", module, str(tmp_path), stage],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdout.readline() == b"here\n"
        process.kill()
    source = MemorySource.of(random_scene(9, "new", "2021-06-01", area))
    new, _ = builder_of(source, area).build(tmp_path / "n.tif", tmp_path / "n.json")
    assert image.read_bytes() == (old if stage == "read" else (tmp_path / "n.tif").read_bytes())
    assert builder_of(source, area).build(image, sidecar) == (new, "built")


def test_no_folder_ends_in_the_sidecar(paths):
    source = MemorySource.of(*scenes())
    source.change(scenes()[0].with_faults(Fault(error=f"{paths[0].parent}/B04.tif is torn")))
    builder_of(source).build(*paths)
    assert str(paths[0].parent) not in paths[1].read_text()


def test_labels_without_polygons_are_background(paths):
    none = geopandas.GeoDataFrame({"class": []}, geometry=[], crs="EPSG:4326")
    builder_of(MemorySource.of(*scenes()), labels=Labels(none, none)).build(*paths)
    assert not read(paths[0])[0][-1].any()


def test_chips_have_the_dtype_of_the_composites_that_hold_pixels(tmp_path):
    """A cluster of which nothing could be read has a dtype by default."""
    sources = {"none": MemorySource.of(), "float32": MemorySource.of(*scenes("float32"))}
    made = {
        name: builder_of(source).build(tmp_path / f"{name}.tif", tmp_path / f"{name}.json")[0]
        for name, source in sources.items()
    }
    assert dtype_of_composites([]) == dtype_of_composites([made["none"]]) == "uint16"
    assert dtype_of_composites(list(made.values())) == "float32"
    with pytest.raises(SourceError, match=r"\['float32', 'uint8'\].*composite\.dtype"):
        dtype_of_composites([made["float32"], replace(made["float32"], dtype="uint8")])


def test_one_pixel_of_a_large_composite_decides_the_dtype_of_its_chips(paths):
    """A share that is rounded to 0 would say that there is none."""
    scene = random_scene(1, "A", "2021-05-01", grid(1, 1), dtype="float32")
    scene = replace(scene, valid=np.ones((1, 1), bool), scl=np.full((1, 1), 4, np.uint8))
    made, _ = builder_of(MemorySource.of(scene), grid(1500, 1500)).build(*paths)
    assert made.valid_fraction == 1 / 1500**2
    assert dtype_of_composites([made]) == "float32"


def test_scenes_of_two_dtypes_are_refused_by_name(paths, monkeypatch):
    monkeypatch.setattr(composites, "BLOCK", 64)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    west = random_scene(1, "A", "2021-05-01", grid(220, 60), dtype="uint8")
    east = random_scene(2, "B", "2021-05-01", grid(220, 60, col=130), dtype="uint16")
    with pytest.raises(SourceError, match=TWO_DTYPES.format("uint8", "uint16")):
        builder_of(MemorySource.of(west, east)).build(*paths)


TWO_DTYPES = "some scenes are {} and others {}; ask for composite.dtype: float32"


@pytest.mark.parametrize("day", ["2021-05-01", "2021-05-02"])
@pytest.mark.parametrize("block", [64, 512])
def test_scenes_of_two_dtypes_over_each_other_become_what_is_asked_for(
    paths, monkeypatch, day, block
):
    monkeypatch.setattr(composites, "BLOCK", block)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    given = [
        random_scene(1, "A", "2021-05-01", grid(220, 120), dtype="uint16"),
        random_scene(2, "B", day, grid(220, 150, col=70), dtype="int16"),
        random_scene(3, "C", "2021-05-01", grid(220, 220), dtype="uint8"),
    ]
    source = MemorySource.of(*given)
    made, _ = builder_of(source, dtype="float32").build(*paths)
    data, mask = read(paths[0])
    expected, valid = median_by_hand(given, AREA, "float32")
    assert made.dtype == "float32"
    np.testing.assert_array_equal(mask, valid)
    np.testing.assert_array_equal(data[:-1], expected)
    with pytest.raises(SourceError, match=TWO_DTYPES.format("uint16", "u?int(8|16)")):
        builder_of(source).build(*paths)


def test_scenes_of_a_dtype_that_does_not_hold_all_labels_are_refused_by_name(paths):
    source = MemorySource.of(*scenes("int8"))
    with pytest.raises(SourceError, match=r"int8, which does not hold .*dtype: float32"):
        builder_of(source).build(*paths)
    builder_of(source, dtype="float32").build(*paths)
    np.testing.assert_array_equal(read(paths[0])[0][-1], label_by_hand(AREA))
