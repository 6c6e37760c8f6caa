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
from rasterio.features import rasterize

from geo_assets.errors import SourceError, StorageError
from geo_assets.products.composites import builder as composites
from geo_assets.products.composites.builder import CompositeBuilder, Labels
from geo_assets.products.composites.sidecar import Sidecar, dtype_of_composites
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets_tests.conftest import REPOSITORY
from geo_assets_tests.sources.memory_source import (
    CRS,
    Fault,
    MemorySource,
    days_by_hand,
    grid,
    polygons,
    random_scene,
)

BANDS = ("B04", "B08")
AREA = grid(150, 170, row=10, col=20)
OWN = polygons((30, 40, 25, 31), (50, 60, 30, 30), classes=[3, 1])
OTHER = polygons((70, 50, 20, 25))


def rules(**changes):
    default = CompositeRules(BANDS, "median", None, CloudRules(), True, "max")
    return replace(default, **changes)


def builder_of(source, geobox=AREA, *, labels=None, tags=None, **changes):
    return CompositeBuilder(
        source, source.items, geobox, rules(**changes), labels or Labels(OWN, OTHER), tags or {}
    )


def scenes(dtype="uint16"):
    """Four days, one of them in two scenes; an even number, so that medians have halves."""
    whole, east = grid(220, 220), grid(220, 130, col=90)
    return [
        random_scene(1, "A1", "2021-05-01", whole, dtype=dtype),
        random_scene(2, "A2", "2021-05-01", whole, dtype=dtype, baseline="05.10"),
        random_scene(3, "B1", "2021-05-11", east, dtype=dtype),
        random_scene(4, "C1", "2021-04-11", whole, dtype=dtype),
        random_scene(5, "D1", "2021-06-11", whole, dtype=dtype),
    ]


def median_by_hand(given_scenes, geobox, dtype, radius=0):
    stack = np.stack(list(days_by_hand(given_scenes, geobox, radius).values()))
    valid = ~np.isnan(stack).all(axis=(0, 1))
    with np.errstate(all="ignore"):
        middle = np.ma.median(np.ma.masked_invalid(stack), axis=0).filled(np.nan)
    integer = np.dtype(dtype).kind in "ui"
    fill = {"u": 0, "i": -32768, "f": np.nan}[np.dtype(dtype).kind]
    rounded = np.rint(middle) if integer else middle
    return np.where(valid, rounded, fill).astype(dtype), valid


def label_by_hand(geobox, *, all_touched=True):
    def shapes(frame, value=None):
        frame = frame.to_crs(CRS).sort_values("class")
        return [(s, value or c) for s, c in zip(frame.geometry, frame["class"], strict=True)]

    return rasterize(
        shapes(OWN) + shapes(OTHER, 255),
        geobox.shape.yx,
        transform=geobox.affine,
        all_touched=all_touched,
        dtype="uint8",
    )


@pytest.fixture
def paths(tmp_path):
    return tmp_path / "c.tif", tmp_path / "c.json"


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0


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


def sound(tmp_path, **changes):
    """The file and the sidecar that are built where nothing fails."""
    image = tmp_path / "sound.tif"
    made, _ = builder_of(MemorySource.of(*scenes()), **changes).build(image, tmp_path / "s.json")
    return image.read_bytes(), made


@pytest.mark.parametrize("dilate_m", [0, 30])
@pytest.mark.parametrize("block", [512, 64])
def test_a_healed_composite_is_the_one_that_never_failed(
    paths, tmp_path, monkeypatch, dilate_m, block
):
    monkeypatch.setattr(composites, "BLOCK", block)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    clouds = CloudRules(dilate_m=dilate_m)
    source = MemorySource.of(*scenes())
    source.change(
        scenes()[0].with_faults(Fault(rows=slice(60, 80), cols=slice(60, 90))),
        scenes()[3].with_faults(Fault(rows=slice(70, 100), cols=slice(80, 120), error="torn")),
        scenes()[4].with_faults(Fault("transient", slice(150, 160), slice(180, 190))),
    )
    builder = builder_of(source, clouds=clouds)
    broken, how = builder.build(*paths)
    content, whole = sound(tmp_path, clouds=clouds)
    failed = np.zeros(AREA.shape, bool)
    for window in broken.failed_windows:
        failed[window.slices] = True
    data, mask = read(paths[0])
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        truth, true_mask = file.read(), file.dataset_mask() > 0
    assert how == "built"
    assert {window.scene_id for window in broken.failed_windows} == {"A1", "C1", "D1"}
    np.testing.assert_array_equal(mask, true_mask & ~failed)
    np.testing.assert_array_equal(data[:, ~failed], truth[:, ~failed])
    assert (data[:-1, failed] == 0).all(), "no-data until it is healed"

    source.change(*scenes())
    source.reads.clear()
    healed, how = builder.build(*paths)
    assert how == "healed"
    assert paths[0].read_bytes() == content
    assert healed == whole


def test_healing_reads_the_failed_windows_and_nothing_else(paths):
    source = MemorySource.of(*scenes())
    source.change(scenes()[0].with_faults(Fault(rows=slice(60, 80), cols=slice(60, 90))))
    builder = builder_of(source)
    broken, _ = builder.build(*paths)
    source.change(*scenes())
    source.reads.clear()
    builder.heal(*paths)
    pixels = sum(window.height * window.width for window in broken.failed_windows)
    for scene in ("A1", "A2", "C1", "D1"):
        assert source.pixels_read(scene) == pixels
    assert pixels == 118 * 108


def test_overlapping_failed_windows_of_several_scenes_are_read_once(paths, tmp_path):
    source = MemorySource.of(*scenes())
    source.change(
        *(
            scene.with_faults(Fault(rows=slice(70, 80), cols=slice(70, 80)))
            for scene in scenes()
            if scene.id != "B1"
        )
    )
    builder = builder_of(source)
    broken, _ = builder.build(*paths)
    assert len(broken.failed_windows) == 4
    source.change(*scenes())
    source.reads.clear()
    builder.heal(*paths)
    assert source.pixels_read("A1") == 64 * 64
    assert paths[0].read_bytes() == sound(tmp_path)[0]


def test_what_fails_still_is_kept_and_the_rest_is_healed(paths, tmp_path):
    lost = scenes()[2].with_faults(Fault("permanent", error="the file is missing"))
    torn = scenes()[0].with_faults(Fault(rows=slice(0, 70), cols=slice(0, 70)))
    source = MemorySource.of(*scenes())
    source.change(lost, torn)
    builder = builder_of(source)
    builder.build(*paths)
    content, stat = paths[0].read_bytes(), paths[0].stat().st_mtime_ns
    source.reads.clear()
    again, how = builder.build(*paths)
    assert how == "kept"
    assert (paths[0].read_bytes(), paths[0].stat().st_mtime_ns) == (content, stat)
    source.change(scenes()[0])
    half, how = builder.build(*paths)
    assert how == "healed"
    assert {w.scene_id for w in again.failed_windows} == {"A1", "B1"}
    assert {w.scene_id for w in half.failed_windows} == {"B1"}
    source.change(*scenes())
    builder.build(*paths)
    assert paths[0].read_bytes() == sound(tmp_path)[0]


def test_a_scene_that_is_gone_is_asked_alone_before_the_others_are_read(paths):
    source = MemorySource.of(*scenes())
    source.change(scenes()[2].with_faults(Fault("permanent")))
    builder = builder_of(source)
    builder.build(*paths)
    source.reads.clear()
    builder.heal(*paths)
    assert {name for name, _ in source.reads} == {"B1"}


def test_healing_finds_the_dtype_of_a_source_that_was_away(paths, tmp_path):
    given_scenes = scenes("float32")
    source = MemorySource.of(*(scene.with_faults(Fault("transient")) for scene in given_scenes))
    builder = builder_of(source)
    assert builder.build(*paths)[0].dtype == "uint16"
    source.change(*given_scenes)
    assert builder.build(*paths)[0].dtype == "float32"
    other = tmp_path / "other.tif"
    builder.build(other, tmp_path / "other.json")
    assert paths[0].read_bytes() == other.read_bytes()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone", "sidecar gone", "old sidecar"])
def test_a_damaged_composite_is_built_anew(paths, damage):
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    builder.build(*paths)
    content = paths[0].read_bytes()
    if damage == "flipped":
        paths[0].write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif damage == "truncated":
        paths[0].write_bytes(content[:-9])
    elif damage == "old sidecar":
        paths[1].write_text('{"recipe": "of an older version"}')
    else:
        paths["sidecar" in damage].unlink()
    assert builder.build(*paths)[1] == "built"
    assert paths[0].read_bytes() == content
    assert builder.build(*paths)[1] == "kept"


def test_healing_builds_an_image_anew_that_is_not_its_sidecars(paths):
    """A run killed between image and sidecar; or a disk that lost a block."""
    builder = builder_of(MemorySource.of(*scenes()))
    builder.build(*paths)
    content = paths[0].read_bytes()
    builder_of(MemorySource.of(scenes()[0])).build(paths[0], paths[1].with_name("other.json"))
    assert paths[0].read_bytes() != content
    assert builder.heal(*paths).describes(paths[0])
    assert paths[0].read_bytes() == content


def test_healing_wants_a_composite_of_the_same_recipe(paths):
    builder = builder_of(MemorySource.of(*scenes()))
    with pytest.raises(StorageError, match=r"c\.tif: no composite; materialize composite_image"):
        builder.heal(*paths)
    builder.build(*paths)
    with pytest.raises(StorageError, match=r"have changed.*materialize composite_image"):
        builder_of(MemorySource.of(*scenes()), reducer="max").heal(*paths)


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


def test_scenes_of_two_dtypes_are_refused_by_name(paths, monkeypatch):
    monkeypatch.setattr(composites, "BLOCK", 64)
    monkeypatch.setattr(composites, "STACK_BYTES", 0)
    west = random_scene(1, "A", "2021-05-01", grid(220, 60), dtype="uint8")
    east = random_scene(2, "B", "2021-05-01", grid(220, 60, col=130), dtype="uint16")
    with pytest.raises(SourceError, match=r"uint8 in one part.*uint16 in another"):
        builder_of(MemorySource.of(west, east)).build(*paths)
