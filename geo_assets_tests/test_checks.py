from __future__ import annotations

import shutil
from dataclasses import replace

import dagster as dg
import numpy as np
import pytest
import rasterio

from geo_assets.build import build_defs
from geo_assets.checks import QUESTIONS, SAMPLE
from geo_assets.resources import Results
from geo_assets_tests.campaign_testing import a_campaign
from geo_assets_tests.chip_catalogs import store_of, write_chips
from geo_assets_tests.small_world import World
from geo_assets_tests.storage.chips.chip_testing import Reader, a_spec

NORTH, SOUTH = "north|train", "south|train"
LEFT_OVER = "check_what_is_left_failed"


class Checks:
    """The chip checks of a small results folder, run alone by their job."""

    def __init__(self, folder):
        self.results = Results(data=str(folder / "data"))
        self.campaign = a_campaign(folder)
        self.layout = self.results.layout(self.campaign.name)
        self.defs = build_defs(self.campaign, resources={"results": self.results})

    def run(self):
        with dg.DagsterInstance.ephemeral() as instance:
            result = self.defs.resolve_job_def(LEFT_OVER).execute_in_process(instance=instance)
            assert result.success
            assert not list(instance.fetch_materializations(self.asset, limit=1).records)
        return {found.check_name: found for found in result.get_asset_check_evaluations()}

    @property
    def asset(self):
        return dg.AssetKey([self.campaign.name, "chip_catalog"])


@pytest.fixture
def checks(tmp_path):
    return Checks(tmp_path)


def _table(evaluation, name="sample"):
    return [record.data for record in evaluation.metadata[name].records]


def test_before_anything_is_there_nothing_is_wrong(checks):
    found = checks.run()
    assert set(found) == {"nothing_is_left_failed", "every_ok_chip_has_its_file"}
    for evaluation in found.values():
        assert evaluation.passed
        assert evaluation.metadata["count"].value == 0
        assert "recovery" not in evaluation.metadata


def test_a_catalog_without_chips_and_one_without_failures_pass(checks):
    write_chips(checks.layout, NORTH)
    write_chips(checks.layout, SOUTH, ok=3)
    assert all(evaluation.passed for evaluation in checks.run().values())


def test_what_is_left_failed_is_counted_exactly_and_shown_in_part(checks):
    write_chips(checks.layout, NORTH, ok=2, failed=["transient"] * (SAMPLE + 3))
    write_chips(checks.layout, SOUTH, failed=["permanent"] * 4)
    found = checks.run()["nothing_is_left_failed"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["count"].value == SAMPLE + 7
    assert found.description == f"{SAMPLE + 7} found"
    sample = _table(found)
    assert len(sample) == SAMPLE
    assert sample[0] == {
        "partition": NORTH,
        "chip_id": "north-train-r0-c00002",
        "error_kind": "transient",
        "attempts": 1,
        "error": "the archive is transient",
    }


def test_an_operator_is_told_what_to_do(checks):
    write_chips(checks.layout, NORTH, failed=["permanent"])
    text = checks.run()["nothing_is_left_failed"].metadata["recovery"].value
    for word in ("transient", "permanent", "corrupt", "sensor", "geo-assets verify"):
        assert word in text


def test_a_partition_that_recovers_stops_being_reported(checks):
    write_chips(checks.layout, NORTH, failed=["transient"])
    assert not checks.run()["nothing_is_left_failed"].passed
    write_chips(checks.layout, NORTH, ok=1)
    assert checks.run()["nothing_is_left_failed"].passed


def test_a_chip_whose_file_is_gone_or_cut_is_reported(checks):
    write_chips(checks.layout, NORTH, ok=3, failed=["transient"])
    gone, cut, _ = sorted(checks.layout.chips_folder("north", "train").iterdir())
    gone.unlink()
    size = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:100])
    found = checks.run()["every_ok_chip_has_its_file"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["count"].value == 2
    assert [(row["chip_id"], row["found"]) for row in _table(found)] == [
        (gone.stem, "no file"),
        (cut.stem, "100 bytes"),
    ]
    assert _table(found)[1]["recorded"] == f"{size} bytes"


def test_a_chip_that_is_gone_from_its_zarr_store_is_reported(checks):
    store = store_of(checks.layout, NORTH)
    store = replace(store, encoding=replace(store.encoding, format="zarr"))
    specs = [a_spec(number) for number in range(70)]
    store.converge(specs, Reader(), run_id="test")
    assert checks.run()["every_ok_chip_has_its_file"].passed
    (store.paths.chips / "chips.zarr" / "valid" / "c.1.0.0").unlink()
    found = checks.run()["every_ok_chip_has_its_file"]
    assert found.metadata["count"].value == 6
    assert _table(found)[0]["chip_id"] == specs[64].chip_id
    assert _table(found)[0]["found"] == "no file"


def test_a_catalog_that_cannot_be_read_is_reported_by_name(checks):
    write_chips(checks.layout, NORTH, failed=["transient"])
    write_chips(checks.layout, SOUTH, ok=1)
    store_of(checks.layout, SOUTH).paths.catalog.write_bytes(b"PAR1 and then nothing")
    found = checks.run()["nothing_is_left_failed"]
    assert not found.passed
    assert found.metadata["count"].value == 1
    assert found.metadata["unreadable"].value == 1
    (row,) = _table(found, "unreadable_sample")
    assert row["partition"] == SOUTH
    assert "no readable catalog" in row["error"]


@pytest.fixture(scope="module")
def evening(tmp_path_factory):
    """A partition made while the archive was away, and what its checks said in that run."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(tmp_path_factory.mktemp("world"), instance)
        world.run("everything", NORTH)
        world.switch.write_text("transient")
        result = world.run("everything", SOUTH)
        found = {
            f"{each.asset_key.path[-1]}.{each.check_name}": each
            for each in result.get_asset_check_evaluations()
        }
        yield world, result, found


def test_warnings_do_not_turn_a_partitioned_run_red(evening):
    """A partial download must not block what can be made of the rest."""
    _, result, found = evening
    assert result.success
    assert {name for name, each in found.items() if not each.passed} == {
        "chip_catalog.nothing_is_left_failed",
        "composite_image.every_window_was_read",
        "ndvi_cube.every_date_was_read",
    }


def test_checks_in_a_partitioned_run_look_at_every_partition_but_find_the_failed_one(evening):
    _, _, found = evening
    rows = _table(found["chip_catalog.nothing_is_left_failed"])
    assert {row["partition"] for row in rows} == {SOUTH}
    assert found["chip_catalog.nothing_is_left_failed"].metadata["count"].value == 2


def test_a_composite_without_a_sound_sidecar_is_reported(evening, tmp_path):
    """Only the sidecar says which windows could not be read."""
    world, _, _ = evening
    layout = Results(data=str(tmp_path)).layout("demo")
    shutil.copytree(
        world.layout.composite_images("north", "train"), layout.composite_images("north", "train")
    )
    sidecar = layout.composite_sidecar("north", "train", 0)
    whole = sidecar.read_bytes()
    [question] = [each for each in QUESTIONS if each.name == "every_window_was_read"]
    assert question.problems(layout, "north", "train") == []
    sidecar.write_bytes(whole[:-40])
    (row,) = question.problems(layout, "north", "train")
    assert (row["cluster"], row["error"]) == ("cluster-0", "its sidecar is missing or damaged")
    (failed, *_) = question.problems(world.layout, "south", "train")
    assert row.keys() == failed.keys()
    sidecar.unlink()
    assert question.problems(layout, "north", "train") == [row]


@pytest.mark.parametrize(
    "name", ["composite_image.every_window_was_read", "ndvi_cube.every_date_was_read"]
)
def test_a_window_that_was_not_read_is_told_with_scene_and_place(evening, name):
    _, _, found = evening
    rows = _table(found[name])
    assert found[name].metadata["count"].value == len(rows) > 0
    for row in rows:
        assert row["partition"] == SOUTH
        assert row["cluster"] == "cluster-0"
        assert row["scene"] == "image"
        assert row["error_kind"] == "transient"


def test_labels_beyond_their_model_are_reported(evening):
    world, _, found = evening
    assert found["ndvi_temporal_labels.labels_are_of_their_model"].passed
    raster = world.layout.ndvi_temporal_labels("north", "train", 0)
    with rasterio.open(raster, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as labels:
        labels.write(np.full(labels.shape, 9, "uint8"), 1)
    spatial = next(world.layout.ndvi_spatial_labels_folder("north", "train").rglob("*.json"))
    spatial.unlink()
    selection = [
        dg.AssetCheckKey(world.asset(f"ndvi_{kind}_labels"), "labels_are_of_their_model")
        for kind in ("temporal", "spatial")
    ]
    job = dg.define_asset_job("again", dg.AssetSelection.checks(*selection))
    definitions = dg.Definitions.merge(world.defs, dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("again").execute_in_process(instance=world.instance)
    found = {each.asset_key.path[-1]: each for each in result.get_asset_check_evaluations()}
    (row,) = _table(found["ndvi_temporal_labels"])
    assert row == {
        "partition": NORTH,
        "raster": "cluster-0.tif",
        "highest_label": 9,
        "clusters": "2",
    }
    assert [row["clusters"] for row in _table(found["ndvi_spatial_labels"])] == ["no model"]


def test_without_model_from_nobody_asks_for_the_lending_model(checks):
    names = {each.check_key.name for each in checks.defs.asset_checks}
    assert "labels_are_of_the_lending_model" not in names


def test_a_check_that_meets_what_nobody_foresaw_turns_no_run_red(checks, monkeypatch):
    def unforeseen(*_):
        raise RuntimeError("of a library")

    monkeypatch.setattr("geo_assets.storage.chips.catalog.read_rows", unforeseen)
    write_chips(checks.layout, NORTH, ok=1)
    found = checks.run()["nothing_is_left_failed"]
    (row,) = _table(found, "unreadable_sample")
    assert row == {"partition": NORTH, "error": "RuntimeError('of a library')"}


def test_a_damaged_expression_and_a_lost_preview_are_named(tmp_path):
    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar
    from geo_assets.sources.protocol import ServerComposite
    from geo_assets_tests.sources.memory_source import grid

    changes = {"imagery": {"kind": "earth-engine", "collection": "projects/p/assets/c"}}
    campaign = a_campaign(tmp_path, changes)
    results = Results(data=str(tmp_path / "data"))
    layout = results.layout(campaign.name)
    composite = ServerComposite('{"result":"0"}', "{}", ("B04",), "uint8", label_band=False)
    for cluster in range(4):
        path = layout.composite_sidecar("north", "train", cluster)
        path.parent.mkdir(parents=True, exist_ok=True)
        ExpressionSidecar.of(composite, grid(8, 8), []).publish(path)
        if cluster != 1:
            layout.composite_preview("north", "train", cluster).write_bytes(b"png")
    path.write_text("{}")
    without_scene = layout.composite_sidecar("north", "train", 4)
    ExpressionSidecar.of(None, grid(8, 8), []).publish(without_scene)
    second = layout.composite_sidecar("north", "train", 2)
    second.write_text(second.read_text().replace('"result": "0"', '"result": "1"'))

    [question] = [each for each in QUESTIONS if each.on_server]
    assert question.problems(layout, "north", "train") == [
        {"cluster": "cluster-1", "problem": "it has no preview"},
        {"cluster": "cluster-2", "problem": "its checksum is of another expression"},
        {"cluster": "cluster-3", "problem": "it cannot be read"},
    ]
    names = {
        key.name
        for check in build_defs(campaign).asset_checks
        for key in check.check_keys
        if key.asset_key.path[-1] == "composite_image"
    }
    assert names == {"every_expression_is_whole"}
