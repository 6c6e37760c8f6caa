from __future__ import annotations

import shutil
from dataclasses import asdict, replace

import dagster as dg
import numpy as np
import pytest
import rasterio

from geo_assets.assets.label_changes import ndvi_label_changes
from geo_assets.assets.land_cover import land_cover_labels
from geo_assets.assets.spatial_labels import ndvi_spatial_labels
from geo_assets.assets.temporal_labels import ndvi_temporal_labels
from geo_assets.build import build_defs
from geo_assets.campaign_labels import ModelFrom
from geo_assets.checks import QUESTIONS
from geo_assets.errors import StorageError
from geo_assets.products.composites.sidecar import Sidecar
from geo_assets.resources import Results
from geo_assets.storage.atomic import publish_json, sha256_of
from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
from geo_assets.storage.layout import Layout, model_of
from geo_assets_tests.assets.label_cases import DAYS, GRID, a_partition, two_kinds, write_ndvi
from geo_assets_tests.assets.test_land_cover import (
    a_land_cover_partition,
    an_image,
    of,
    write_image,
)
from geo_assets_tests.storage.cubes.written_cube import write_cube

NORTH, SOUTH = "north|train", "south|train"
LEFT_OVER = "check_what_is_left_failed"


def _table(evaluation):
    return [record.data for record in evaluation.metadata["sample"].records]


@pytest.mark.parametrize(
    ("step", "section", "rules"),
    [
        (ndvi_spatial_labels, "spatial_labels", {"fit": "cluster"}),
        (ndvi_temporal_labels, "temporal_labels", {"every": "date", "max_gap_days": 200}),
    ],
    ids=["spatial", "temporal"],
)
def test_labels_of_a_model_that_the_lender_no_longer_has_are_reported(
    tmp_path, step, section, rules
):
    rules |= {"n_clusters": 2, "model_from": ModelFrom(fold="south", split="train")}
    lender, borrower = (a_partition(tmp_path, key, **{section: rules}) for key in (SOUTH, NORTH))
    check = dg.AssetCheckKey(dg.AssetKey(["demo", step.name]), "labels_are_of_the_lending_model")
    defs = dg.Definitions.merge(
        build_defs(lender.campaign, resources={"results": Results(data=str(tmp_path))}),
        dg.Definitions(jobs=[dg.define_asset_job("ask", dg.AssetSelection.checks(check))]),
    )

    def found():
        (evaluation,) = (
            defs.resolve_job_def("ask").execute_in_process().get_asset_check_evaluations()
        )
        return evaluation

    for number, partition in enumerate((lender, borrower)):
        write_ndvi(partition, two_kinds(number)[0])
        step.make(partition)
    assert found().passed

    write_ndvi(lender, two_kinds(7, noise=900)[0])
    step.make(lender)
    assert _table(found()) == [
        {"partition": NORTH, "area": "cluster-0", "lender": f"{SOUTH} has another model now"}
    ]
    step.make(borrower)
    assert found().passed
    for path in lender.layout.folder.glob(f"{step.name}/south/train/*.json"):
        path.unlink()
    assert [row["lender"] for row in _table(found())] == [f"{SOUTH} has no model"]


def _problems(asset, partition):
    return [
        problem
        for question in QUESTIONS
        if question.asset == asset
        for problem in question.problems(partition.layout, partition.fold, partition.split)
    ]


def test_land_cover_of_a_composite_that_was_healed_is_reported(tmp_path):
    """The daily report finds it: healing is what runs of chips do, long after the labels."""
    partition = a_land_cover_partition(tmp_path)
    holes = np.ones(GRID.shape.yx, bool)
    holes[:20] = False
    write_image(partition, an_image()[0], valid=holes)
    write_image(partition, an_image(1)[0], cluster=1)
    land_cover_labels.make(partition)
    assert _problems("land_cover_labels", partition) == []

    write_image(partition, an_image()[0])  # healed
    partition.layout.composite_image("north", "train", 1).unlink()

    assert _problems("land_cover_labels", partition) == [
        {"raster": "cluster-0.tif", "composite_image": "has changed since"},
        {"raster": "cluster-1.tif", "composite_image": "is gone"},
    ]
    defs = build_defs(partition.campaign, resources={"results": Results(data=str(tmp_path))})
    report = defs.resolve_job_def(LEFT_OVER).execute_in_process()
    found = {each.check_name: each for each in report.get_asset_check_evaluations()}
    assert found["labels_are_of_their_composite"].metadata["count"].value == 2
    text = found["labels_are_of_their_composite"].metadata["recovery"].value
    assert "Materialize `land_cover_labels` for the partition" in text
    write_image(partition, an_image(1)[0], cluster=1)
    land_cover_labels.make(partition)
    assert _problems("land_cover_labels", partition) == []


@pytest.mark.parametrize("step", [ndvi_spatial_labels, ndvi_temporal_labels])
@pytest.mark.parametrize("fit", ["date", "partition"])
def test_labels_of_a_cube_that_was_extended_or_healed_are_reported(tmp_path, step, fit):
    rules = {"n_clusters": 2}
    partition = a_partition(
        tmp_path,
        spatial_labels=rules | {"fit": fit},
        temporal_labels=rules | {"every": "date", "max_gap_days": 200},
    )

    def write(checksum, cluster=0):
        path = partition.layout.ndvi_cube("north", "train", cluster)
        values, _ = two_kinds()
        said = {CHECKSUM_ATTRIBUTE: checksum}
        write_cube(path, {"ndvi": values}, DAYS.astype("datetime64[ms]"), GRID, said)
        return path

    write("of before")
    gone = write("of another", cluster=1)
    step.make(partition)
    assert _problems(step.name, partition) == []

    write("of now")
    shutil.rmtree(gone)

    assert _problems(step.name, partition) == [
        {"area": "cluster-0", "ndvi_cube": "has changed since"},
        {"area": "cluster-1", "ndvi_cube": "is gone"},
    ]
    defs = build_defs(partition.campaign, resources={"results": Results(data=str(tmp_path))})
    report = defs.resolve_job_def(LEFT_OVER).execute_in_process()
    found = [
        (each.asset_key.path[-1], each.check_name, each.passed)
        for each in report.get_asset_check_evaluations()
    ]
    assert (step.name, "labels_are_of_their_cube", False) in found
    write("of another", cluster=1)
    step.make(partition)
    assert _problems(step.name, partition) == []


def test_a_composite_is_known_by_what_its_sidecar_says(tmp_path):
    """Hashing every composite again, after every run, would take longer than the run."""
    partition = a_land_cover_partition(tmp_path)
    image = write_image(partition, an_image()[0])
    land_cover_labels.make(partition)
    digest = sha256_of(image)
    sidecar = Sidecar("r", GRID.shape.yx, "uint16", (), (), (), 1.0, image.stat().st_size, digest)
    publish_json(image.with_suffix(".json"), asdict(sidecar))
    assert _problems("land_cover_labels", partition) == []
    publish_json(image.with_suffix(".json"), asdict(replace(sidecar, sha256="0" * 64)))
    (row,) = _problems("land_cover_labels", partition)
    assert row["composite_image"] == "has changed since"


def test_land_cover_beyond_its_model_is_reported(tmp_path):
    partition = a_land_cover_partition(tmp_path)
    assert _problems("land_cover_labels", partition) == []
    write_image(partition, an_image()[0])
    land_cover_labels.make(partition)
    assert _problems("land_cover_labels", partition) == []
    with rasterio.open(of(partition), "r+", IGNORE_COG_LAYOUT_BREAK="YES") as labels:
        labels.write(np.full(labels.shape, 9, "uint8"), 1)
    (row,) = _problems("land_cover_labels", partition)
    assert (row["highest_label"], row["clusters"]) == (9, "3")


def _followed(folder, seed=1):
    """A partition with change maps."""
    partition = a_partition(folder, spatial_labels={"fit": "cluster"})
    write_ndvi(partition, two_kinds(seed)[0])
    ndvi_spatial_labels.make(partition)
    ndvi_label_changes.make(partition)
    return partition


def test_changes_beyond_their_tables_are_reported(tmp_path):
    partition = _followed(tmp_path)
    path = partition.layout.ndvi_label_changes("north", "train", 0)
    assert _problems("ndvi_label_changes", partition) == []
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as changes:
        changes.write(np.full(changes.shape, 7, "uint16"), 3)
    (row,) = _problems("ndvi_label_changes", partition)
    assert row["highest_label"] == 7
    assert row["told"] == "5 clusters, 3 dates"
    model_of(path).unlink()
    (row,) = _problems("ndvi_label_changes", partition)
    assert row["told"] == "no tables"


def test_changes_beside_tables_of_other_labels_are_reported(tmp_path):
    """A run was killed between the two files: neither holds more than the other tells."""
    path, other = (
        _followed(tmp_path / str(seed), seed).layout.ndvi_label_changes("north", "train", 0)
        for seed in (1, 2)
    )
    layout = Layout(tmp_path / "1", "demo")
    [question] = [each for each in QUESTIONS if each.name == "changes_are_of_their_tables"]
    assert question.problems(layout, "north", "train") == []
    model_of(path).write_bytes(model_of(other).read_bytes())
    (row,) = question.problems(layout, "north", "train")
    assert row["told"] == "tables of other labels"
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as changes:
        changes.update_tags(LABELS_SHA256="")
    (row,) = question.problems(layout, "north", "train")
    assert row["told"] == "an older map, which names no labels"


@pytest.mark.parametrize("damage", ["", "[]", '{"centers": 5}', '["centers"]'])
def test_damaged_tables_and_models_are_errors_by_name(tmp_path, damage):
    layout = Layout(tmp_path, "demo")
    for raster, what in (
        (layout.ndvi_label_changes("north", "train", 0), "table of changes"),
        (layout.ndvi_temporal_labels("north", "train", 0), "model"),
    ):
        raster.parent.mkdir(parents=True)
        raster.touch()
        model_of(raster).write_text(damage)
        for question in (each for each in QUESTIONS if each.asset == raster.parts[-4]):
            with pytest.raises(StorageError, match=rf"cluster-0\.json: is no {what} .*materialize"):
                question.problems(layout, "north", "train")
