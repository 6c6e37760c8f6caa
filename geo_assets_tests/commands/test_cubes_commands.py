"""``geo-assets compact`` and ``export-cube``, as a user types them."""

from __future__ import annotations

import shutil

import pytest
import xarray as xr

from geo_assets.storage.cubes.opening import open_cube, published_cubes
from geo_assets.storage.layout import Layout
from geo_assets.storage.partition_lock import partition_lock
from geo_assets.storage.seen_scenes import UsedScenes, write_used_scenes
from geo_assets_tests.acceptance.cube_writing import DAYS, builder
from geo_assets_tests.campaign_testing import write_campaign

NORTH = ("--fold", "north", "--split", "train")


@pytest.fixture
def campaign(tmp_path):
    return write_campaign(tmp_path, {"cube": {"area": "box"}})


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "data", "tiny")


def build(layout, name, split="train"):
    path = layout.ndvi_cubes("north", split) / name
    builder().build(path)
    return path


def test_an_empty_partition_is_told_from_one_that_is_not_materialized(
    command, campaign, layout, tmp_path
):
    words = ("-c", campaign, "--fold", "north", "--split", "train", "--to", tmp_path / "copy")
    assert "there are none; materialize ndvi_cube first" in command("export-cube", *words).output
    write_used_scenes(layout.used_scenes("north", "train"), UsedScenes(frozenset()))
    done = command("export-cube", *words)
    assert done.exit_code == 1
    assert "there are none: ndvi_cube found no area or no scene" in done.output


def test_compact_makes_the_copies_that_are_not_there_yet(command, campaign, layout):
    done = command("compact", "-c", campaign)
    assert done.exit_code == 1
    assert "tiny: has no cube yet; materialize ndvi_cube first" in done.output
    for name in ("cluster-0.zarr", "cluster-1-33UUU.icechunk"):
        build(layout, name)
    done = command("compact", "-c", campaign)
    assert done.exit_code == 0, done.output
    assert "cluster-1-33UUU.time-major.zarr" in done.output
    assert done.output.count("made") == 2
    assert command("compact", "-c", campaign, *NORTH).output.count("kept") == 2
    assert command("compact", "-c", campaign, *NORTH, "--force").output.count("made") == 2
    assert list(published_cubes(layout, "north", "train")) == ["cluster-0", "cluster-1-33UUU"]
    assert (
        "--fold 'west': allowed are north, south"
        in command("compact", "-c", campaign, "--fold", "west").output
    )


@pytest.mark.parametrize("store", ["zarr", "icechunk"])
def test_export_cube_copies_one_and_names_it(command, campaign, layout, tmp_path, store):
    path = build(layout, f"cluster-3-33UUU.{store}")
    told = ("export-cube", "-c", campaign, *NORTH, "--to", tmp_path)
    done = command(*told)
    assert done.exit_code == 1
    assert "north|train: has no cube 'cluster-0'; there are cluster-3-33UUU" in done.output
    done = command(*told, "--cube", "cluster-3-33UUU")
    assert done.exit_code == 0, done.output
    with xr.open_zarr(tmp_path / "tiny-north-train-cluster-3-33UUU.zarr") as cube:
        said = {name: cube.attrs[name] for name in ("campaign", "fold", "split", "cube", "cluster")}
        assert said == {
            "campaign": "tiny",
            "fold": "north",
            "split": "train",
            "cube": "cluster-3-33UUU",
            "cluster": 3,
        }
        xr.testing.assert_allclose(cube, open_cube(path), rtol=0, atol=1e-6)
    done = command(*told, "--cube", "cluster-3-33UUU")
    assert done.exit_code == 1
    assert "exists; say --force to replace it" in done.output
    assert command(*told, "--cube", "cluster-3-33UUU", "--force").exit_code == 0


def test_a_folder_that_is_not_there_yet_takes_one_cube_after_the_other(
    command, campaign, layout, tmp_path
):
    for number in (0, 1):
        build(layout, f"cluster-{number}.zarr")
        told = ("--to", tmp_path / "cubes", "--cube", f"cluster-{number}")
        done = command("export-cube", "-c", campaign, *NORTH, *told)
        assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "cubes").iterdir()) == [
        "tiny-north-train-cluster-0.zarr",
        "tiny-north-train-cluster-1.zarr",
    ]


def test_an_export_among_the_results_is_refused(command, campaign, layout):
    build(layout, "cluster-0.zarr")
    done = command("export-cube", "-c", campaign, *NORTH, "--to", layout.folder / "x.zarr")
    assert done.exit_code == 1
    assert "lies among the results of tiny; export elsewhere" in done.output


def test_a_cube_that_a_run_works_on_is_not_copied(command, campaign, layout, tmp_path):
    build(layout, "cluster-0.zarr")
    with partition_lock(layout.lock("ndvi_cube", "north", "train"), run_id="a-run"):
        for told in (("export-cube", *NORTH, "--to", tmp_path / "c.zarr"), ("compact", *NORTH)):
            done = command(*told, "-c", campaign)
            assert done.exit_code == 1
            assert "is locked: run a-run" in done.output
    assert not (tmp_path / "c.zarr").exists()


def test_a_damaged_cube_is_not_exported(command, campaign, layout, tmp_path):
    shutil.rmtree(build(layout, "cluster-0.zarr") / "ndvi/c/3")
    done = command("export-cube", "-c", campaign, *NORTH, "--to", tmp_path / "c.zarr")
    assert done.exit_code == 1
    assert f"day {DAYS[3]} is damaged; materialize ndvi_cube" in " ".join(done.output.split())
