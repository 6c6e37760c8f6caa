from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geo_assets.products.cubes.builder import CubeBuilder, CubeRules
from geo_assets.products.cubes.facts import failed_windows_of
from geo_assets.sources.rules import CloudRules
from geo_assets.storage.cubes.opening import open_cube
from geo_assets_tests.sources.memory_source import (
    Fault,
    MemorySource,
    Scene,
    days_by_hand,
    grid,
    random_scene,
)

AREA = grid(90, 110, row=5, col=7)
INSIDE = np.hypot(*(np.mgrid[:90, :110] - np.array([45, 55])[:, None, None])) < 40


def scenes(dtype="uint16"):
    """Three days, one of them twice in one orbit, one in half of the area."""
    whole, east = grid(100, 130), grid(100, 70, col=60)
    return [
        random_scene(1, "A1", "2021-05-01", whole, dtype=dtype),
        random_scene(2, "A2", "2021-05-01", whole, dtype=dtype, baseline="05.10"),
        random_scene(3, "B1", "2021-05-11", east, dtype=dtype),
        random_scene(4, "C1", "2021-04-11", whole, dtype=dtype),
    ]


def rules(**changes):
    return replace(CubeRules("B04", "B08", CloudRules(), 0.0, "none", 10.0), **changes)


def builder_of(source, *, area=INSIDE, geobox=AREA, attrs=None, **changes):
    return CubeBuilder(source, source.items, geobox, area, rules(**changes), attrs or {})


def ndvi_by_hand(given_scenes, *, area=INSIDE, geobox=AREA, radius=0):
    """NDVI of each day in float64, NaN where it has to be missing."""
    expected = {}
    for day, (red, nir) in days_by_hand(given_scenes, geobox, radius).items():
        with np.errstate(all="ignore"):
            ndvi = (nir - red) / (nir + red)
            ndvi[~area | ~(nir + red > 0) | ~(np.abs(ndvi) <= 1)] = np.nan
        expected[day] = ndvi
    return expected


def stored(path):
    """The days and the stored integers, read by xarray alone."""
    with xarray.open_zarr(path, mask_and_scale=False) as cube:
        return [str(day)[:10] for day in cube["time"].values], cube["ndvi"].values


def files_of(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("dilate_m", [0, 20])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_ndvi_is_within_half_a_step_and_missing_where_it_means_nothing(tmp_path, dtype, dilate_m):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes(dtype))
    facts, how = builder_of(source, clouds=CloudRules(dilate_m=dilate_m)).build(path)
    expected = ndvi_by_hand(scenes(dtype), radius=dilate_m // 10)
    days, values = stored(path)
    assert how == "built"
    assert days == list(facts.days) == sorted(expected)
    for value, wanted, share in zip(values, expected.values(), facts.valid_share, strict=True):
        np.testing.assert_array_equal(value == -32768, np.isnan(wanted))
        known = ~np.isnan(wanted)
        assert np.abs(value[known] - wanted[known] * 1e4).max() <= 0.5 + 1e-9
        assert share == pytest.approx(known.sum() / INSIDE.sum())


def test_unsigned_bands_do_not_wrap(tmp_path):
    box = grid(4, 4)
    data = np.stack([np.full((4, 4), 60_000), np.full((4, 4), 20_000)]).astype("uint16")
    scene = Scene("A", "2021-05-01", data, np.ones((4, 4), bool), None, box)
    builder_of(MemorySource.of(scene), area=np.ones((4, 4), bool), geobox=box).build(
        tmp_path / "c.zarr"
    )
    assert (stored(tmp_path / "c.zarr")[1] == -5000).all()


def test_days_less_clear_than_asked_are_left_out(tmp_path):
    given_scenes = scenes()
    cloudy = replace(given_scenes[3], scl=np.full((100, 130), 8, np.uint8))
    clear = days_by_hand([cloudy, *given_scenes[:3]], AREA)
    shares = {day: np.mean(~np.isnan(data[0][INSIDE])) for day, data in clear.items()}
    source = MemorySource.of(cloudy, *given_scenes[:3])
    for least in (0.0, 0.01, shares["2021-05-11"], shares["2021-05-11"] + 0.01, 1.0):
        facts, _ = builder_of(source, min_clear=least).build(tmp_path / "c.zarr")
        assert list(facts.days) == [day for day in sorted(shares) if shares[day] >= least]


def test_clear_pixels_without_an_index_count_as_clear(tmp_path):
    """Deep water may have no NDVI; the sky over it is clear all the same."""
    box = grid(10, 10)
    water = Scene(
        "A",
        "2021-05-01",
        np.zeros((2, 10, 10), "int16"),
        np.ones((10, 10), bool),
        np.full((10, 10), 6, np.uint8),
        box,
    )
    builder = builder_of(
        MemorySource.of(water), area=np.ones((10, 10), bool), geobox=box, min_clear=1.0
    )
    facts, _ = builder.build(tmp_path / "c.zarr")
    assert facts.days == ("2021-05-01",)
    assert facts.valid_share == (0.0,)


@pytest.mark.parametrize("rule", ["mask", "median"])
def test_outliers_are_treated_after_masks_and_before_quantisation_and_counted(tmp_path, rule):
    given_scenes = scenes("float32")
    facts, _ = builder_of(MemorySource.of(*given_scenes), outliers=rule, n_sigma=1.5).build(
        tmp_path / "c.zarr"
    )
    _, values = stored(tmp_path / "c.zarr")
    for value, wanted, count in zip(
        values, ndvi_by_hand(given_scenes).values(), facts.outliers, strict=True
    ):
        centre = np.nanmedian(wanted)
        sigma = 1.482602218505602 * np.nanmedian(np.abs(wanted - centre))
        far = np.abs(wanted - centre) > 1.5 * sigma
        assert count == far.sum() > 0
        treated = np.where(far, np.nan if rule == "mask" else centre, wanted)
        np.testing.assert_array_equal(value == -32768, np.isnan(treated))
        known = ~np.isnan(treated)
        assert np.abs(value[known] - treated[known] * 1e4).max() <= 0.5 + 1e-9
    with xarray.open_zarr(tmp_path / "c.zarr") as cube:
        assert tuple(cube.attrs["outliers"]) == facts.outliers


@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.integers(40, 100))
def test_the_size_of_chunks_changes_no_value(tmp_path, monkeypatch, size):
    cubes = []
    for number, edge in enumerate((512, size)):
        monkeypatch.setattr("geo_assets.storage.cubes.format.CHUNK_EDGE", edge)
        path = tmp_path / f"{number}.zarr"
        shutil.rmtree(path, ignore_errors=True)
        builder = builder_of(
            MemorySource.of(*scenes()),
            clouds=CloudRules(dilate_m=30),
            outliers="mask",
            n_sigma=2.0,
            raw_bands=("B04",),
        )
        facts, _ = builder.build(path)
        with xarray.open_zarr(path, mask_and_scale=False) as cube:
            cubes.append((facts, cube["ndvi"].values, cube["B04"].values))
    assert cubes[0][0] == cubes[1][0]
    np.testing.assert_array_equal(cubes[0][1], cubes[1][1])
    np.testing.assert_array_equal(cubes[0][2], cubes[1][2])


def test_chunks_outside_of_the_area_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("geo_assets.storage.cubes.format.CHUNK_EDGE", 30)
    area = np.zeros((90, 110), bool)
    area[31:59, 31:59] = True
    source = MemorySource.of(*scenes())
    builder_of(source, area=area).build(tmp_path / "c.zarr")
    assert {box for _, box in source.reads} == {AREA[30:60, 30:60]}
    assert sorted(name for name, _ in source.reads) == ["A1", "A2", "B1", "C1"]


def test_an_unchanged_cube_is_kept_and_nothing_is_read(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    facts, _ = builder_of(source).build(path)
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    source.reads.clear()
    assert builder_of(source).build(path) == (facts, "kept")
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before
    assert source.reads == []


@pytest.mark.parametrize(
    "damage", ["chunk gone", "chunk cut", "chunk of another day", "no metadata"]
)
def test_of_a_damaged_cube_the_damaged_days_are_read_again(tmp_path, damage):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    builder = builder_of(source)
    builder.build(path)
    before = files_of(path)
    chunk, other = path / "ndvi/c/0/0/0", path / "ndvi/c/1/0/0"
    match damage:
        case "chunk gone":
            chunk.unlink()
        case "chunk cut":
            chunk.write_bytes(chunk.read_bytes()[:-20])
        case "chunk of another day":
            chunk.write_bytes(other.read_bytes())
        case "no metadata":
            (path / "zarr.json").unlink()
    source.reads.clear()
    assert builder.build(path)[1] == ("built" if damage == "no metadata" else "healed")
    assert {name for name, _ in source.reads} >= {"C1"}
    assert ("B1" in {name for name, _ in source.reads}) == (damage == "no metadata")
    assert files_of(path) == before


@pytest.mark.parametrize(
    "damage", ["no metadata", "metadata cut", "days cut", "array gone", "axis gone"]
)
def test_of_a_cube_that_cannot_be_read_nothing_is_kept(tmp_path, damage):
    path, sound = tmp_path / "c.zarr", tmp_path / "sound.zarr"
    builder_of(MemorySource.of(*scenes())).build(path)
    head = path / "zarr.json"
    match damage:
        case "no metadata":
            head.unlink()
        case "metadata cut":
            head.write_bytes(head.read_bytes()[:200])
        case "days cut":
            said = json.loads(head.read_text())
            said["attributes"]["geo_assets_days"] = "{"
            head.write_text(json.dumps(said))
        case "array gone":
            shutil.rmtree(path / "ndvi")
        case "axis gone":
            shutil.rmtree(path / "x" / "c")
    # One day is withdrawn in the meantime: it does not come back from what was damaged.
    fewer = builder_of(MemorySource.of(*(scene for scene in scenes() if scene.id != "B1")))
    facts, _ = fewer.build(path)
    assert facts == fewer.build(sound)[0]
    assert files_of(path) == files_of(sound)


@pytest.mark.parametrize("dilate_m", [0, 30])
def test_a_healed_cube_is_the_one_that_never_failed_and_only_its_days_are_read(tmp_path, dilate_m):
    path, sound = tmp_path / "c.zarr", tmp_path / "sound.zarr"
    clouds = CloudRules(dilate_m=dilate_m)
    source = MemorySource.of(*scenes())
    source.change(scenes()[0].with_faults(Fault(rows=slice(40, 60), cols=slice(40, 60))))
    builder = builder_of(source, clouds=clouds, outliers="mask", n_sigma=3.0)
    broken, how = builder.build(path)
    assert how == "built"
    assert {window.scene_id for window in broken.failed} == {"A1"}
    with xarray.open_zarr(path) as cube:
        assert failed_windows_of(cube) == broken.failed
        failed = broken.failed[0].slices
        assert np.isnan(cube["ndvi"].sel(time="2021-05-01").values[failed]).all()
    assert builder.build(path) == (broken, "kept")
    source.change(*scenes())
    source.reads.clear()
    healed, how = builder.build(path)
    assert how == "healed"
    assert {name for name, _ in source.reads} == {"A1", "A2"}
    assert builder.build(sound) == (healed, "built")
    assert files_of(path) == files_of(sound)


def test_a_day_that_failed_wholly_is_named_and_comes_back(tmp_path):
    path = tmp_path / "c.zarr"
    source = MemorySource.of(*scenes())
    source.change(scenes()[3].with_faults(Fault("permanent", error="the file is missing")))
    builder = builder_of(source, min_clear=0.1)
    broken, _ = builder.build(path)
    assert broken.days == ("2021-05-01", "2021-05-11")
    assert {window.scene_id for window in broken.failed} == {"C1"}
    source.change(*scenes())
    healed, how = builder.build(path)
    assert (how, healed.failed) == ("healed", ())
    assert healed.days == ("2021-04-11", "2021-05-01", "2021-05-11")


def test_two_builds_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        builder_of(MemorySource.of(*scenes())).build(tmp_path / name)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_an_area_without_scenes_is_a_cube_without_days(tmp_path):
    facts, _ = builder_of(MemorySource.of()).build(tmp_path / "c.zarr")
    assert (facts.days, facts.valid_share, facts.outliers) == ((), (), ())
    assert builder_of(MemorySource.of()).build(tmp_path / "c.zarr")[1] == "kept"


@pytest.mark.parametrize(
    "changes",
    [
        {"min_clear": 0.5},
        {"outliers": "mask"},
        {"clouds": CloudRules(dilate_m=10)},
        {"area": ~INSIDE},
        {"geobox": grid(90, 110, row=5, col=8)},
        {"attrs": {"license": "CC0"}},
    ],
)
def test_a_cube_is_made_anew_when_what_decides_it_changes(tmp_path, changes):
    path, source = tmp_path / "c.zarr", MemorySource.of(*scenes())
    builder_of(source).build(path)
    before = open_cube(path).attrs["geo_assets_recipe"]
    _, how = builder_of(source, **changes).build(path)
    assert how == ("rewritten" if "attrs" in changes else "built")
    assert open_cube(path).attrs["geo_assets_recipe"] != before


def test_a_cube_changes_with_its_scenes_and_not_with_their_order_or_place(tmp_path):
    path, source = tmp_path / "c.zarr", MemorySource.of(*scenes())
    builder_of(source).build(path)
    moved = [item | {"assets": {"B04": {"href": "/x/B04.tif"}}} for item in source.items[::-1]]
    assert replace(builder_of(source), items=moved).build(path)[1] == "kept"
    source.change(replace(scenes()[0], baseline="04.00"))
    assert builder_of(source).build(path)[1] == "extended"
    assert replace(builder_of(source), items=source.items[:-1]).build(path)[1] == "extended"
