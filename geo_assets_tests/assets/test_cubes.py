"""``ndvi_cube`` as an asset: what it records, what it keeps, and what it says of its variables."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import dagster as dg
import numpy as np
import pytest

from geo_assets.assets.cubes import _why_empty
from geo_assets.errors import ReadError
from geo_assets.partitions import partition_keys
from geo_assets.storage.cubes.icechunk_cube import latest_snapshot
from geo_assets.storage.cubes.opening import open_cube, published_cubes
from geo_assets.storage.cubes.time_major import compact_cube, open_time_major
from geo_assets_tests.acceptance.support import Workplace, materialize, metadata_of
from geo_assets_tests.products.cubes.test_builder import builder_of
from geo_assets_tests.small_world import Flaky, write_world
from geo_assets_tests.sources.memory_source import Fault, MemorySource, grid, random_scene

FAULTY = {"faults": (Fault("transient"),)}
NOTHING = {"valid": np.zeros((8, 8), bool)}
UPSTREAM = ("labels", "aoi_clusters", "scenes")


@pytest.fixture
def world(tmp_path):
    def made(cube, **more):
        changes = {"splits": ["train"], "cube": {"area": "box"} | cube, **more}
        return write_world(tmp_path, changes), Workplace(tmp_path)

    return made


def run(campaign, place, assets, key):
    result = materialize(campaign, place, assets, keys=[key])
    assert result.success
    return result


def versions_of(result, campaign):
    return {
        event.materialization.tags["dagster/data_version"]
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey([campaign.name, "ndvi_cube"])
    }


def test_the_snapshot_is_the_data_version_and_only_changes_with_the_cube(world):
    campaign, place = world({"store": "icechunk", "variables": ["NDVI", "B08"]})
    key = partition_keys(campaign)[0]
    first = run(campaign, place, (*UPSTREAM, "ndvi_cube"), key)
    layout = place.layout(campaign)
    [(name, path)] = published_cubes(layout, *key.split("|")).items()
    assert (name, path.suffix) == ("cluster-0", ".icechunk")
    assert versions_of(first, campaign) == {latest_snapshot(path)}
    facts = metadata_of(first, campaign, "ndvi_cube")[key]
    assert facts["data_version"] == latest_snapshot(path)
    assert facts["variables"] == "ndvi, B08"
    again = run(campaign, place, ("ndvi_cube",), key)
    assert versions_of(again, campaign) == versions_of(first, campaign)
    assert set(open_cube(path).data_vars) == {"ndvi", "B08"}
    # Of several partitions in one run: their digest, each one's own in its metadata.
    keys = partition_keys(campaign)
    both = materialize(campaign, place, (*UPSTREAM, "ndvi_cube"), keys=keys)
    own = {k: f["data_version"] for k, f in metadata_of(both, campaign, "ndvi_cube").items()}
    assert own[key] == latest_snapshot(path)
    lines = "".join(f"{k} {version}\n" for k, version in sorted(own.items()))
    assert versions_of(both, campaign) == {hashlib.sha256(lines.encode()).hexdigest()}


def test_a_time_major_copy_stays_and_another_store_takes_the_place_of_the_first(world):
    campaign, place = world({"smoothing": {"method": "linear"}})
    key = partition_keys(campaign)[0]
    result = run(campaign, place, (*UPSTREAM, "ndvi_cube"), key)
    assert metadata_of(result, campaign, "ndvi_cube")[key]["variables"] == "ndvi, ndvi_smoothed"
    [path] = published_cubes(place.layout(campaign), *key.split("|")).values()
    compact_cube(path)
    run(campaign, place, ("ndvi_cube",), key)
    assert open_time_major(path).sizes["time"] == 1
    other, _ = world({"store": "icechunk"})
    run(other, place, ("ndvi_cube",), key)
    assert [p.name for p in published_cubes(place.layout(other), *key.split("|")).values()] == [
        "cluster-0.icechunk"
    ]
    assert not path.exists()


def test_a_cube_is_not_given_up_for_another_store_while_its_source_is_away(world, tmp_path):
    campaign, place = world({})
    key = partition_keys(campaign)[0]
    run(campaign, place, (*UPSTREAM, "ndvi_cube"), key)
    layout = place.layout(campaign)
    before = published_cubes(layout, *key.split("|"))
    other, _ = world({"store": "icechunk"})
    switch = tmp_path / "away"
    switch.write_text("transient")
    imagery = Flaky(switch=str(switch))
    with pytest.raises(ReadError, match=r"cluster-0\.zarr: is left as it is"):
        materialize(other, place, ("ndvi_cube",), keys=[key], imagery=imagery)
    assert published_cubes(layout, *key.split("|")) == before
    assert open_cube(before["cluster-0"]).sizes["time"] == 1


def test_another_store_takes_the_place_of_the_first_of_the_chosen_clusters_alone(world):
    campaign, place = world({})
    key = partition_keys(campaign)[0]
    run(campaign, place, (*UPSTREAM, "ndvi_cube"), key)
    layout = place.layout(campaign)
    folder = layout.ndvi_cubes(*key.split("|"))
    compact_cube(folder / "cluster-0.zarr")
    others = {"cluster-10.zarr", "cluster-1-33UUU.zarr", "cluster-1.time-major.zarr"}
    for name in (*others, "cluster-0-33UUU.zarr", "cluster-0-33UUU.time-major.zarr"):
        (folder / name).mkdir()
    chosen, _ = world({"store": "icechunk"}, clusters={"only": [0], "buffer_m": 100})
    run(chosen, place, ("ndvi_cube",), key)
    own = {"cluster-0.icechunk", ".cluster-0.icechunk.lock", "cluster-0.time-major.zarr"}
    assert {path.name for path in folder.iterdir()} == others | own
    assert published_cubes(layout, *key.split("|"))["cluster-0"].suffix == ".icechunk"


@pytest.mark.parametrize(
    ("change", "min_clear", "reason"),
    [
        ({}, 1.0, "of 1 days none is clear enough (clouds.min_clear: 1.0)"),
        (FAULTY, 1.0, "of 1 days none could be read and is clear enough (clouds.min_clear: 1.0)"),
        (FAULTY, 0.0, "of 1 days none could be read: scene A: a block cannot be decoded"),
        (NOTHING, 0.0, "of 1 days none has a pixel of a scene in the area"),
    ],
)
def test_why_a_cube_has_no_date_is_told(tmp_path, change, min_clear, reason):
    scene = random_scene(1, "A", "2021-05-01", grid(8, 8))
    source = MemorySource.of(replace(scene, **change))
    builder = builder_of(source, area=np.ones((8, 8), bool), geobox=grid(8, 8), min_clear=min_clear)
    facts, _ = builder.build(tmp_path / "c.zarr")
    assert facts.days == ()
    assert _why_empty(builder, facts, min_clear) == reason


def test_a_cube_without_a_pixel_or_a_scene_says_so(tmp_path):
    scene = random_scene(1, "A", "2021-05-01", grid(8, 8))
    for area, given, reason in (
        (False, [scene], "no pixel has its centre in the area; cube.area: box takes all around it"),
        (True, [], "no scene meets the area"),
    ):
        builder = builder_of(
            MemorySource.of(*given), area=np.full((8, 8), area), geobox=grid(8, 8), min_clear=0.0
        )
        facts, _ = builder.build(tmp_path / f"{area}.zarr")
        assert facts.days == ()
        assert _why_empty(builder, facts, 0.0) == reason
