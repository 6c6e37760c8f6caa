"""Look job, sensor and run together, over a real STAC API that gets new scenes."""

from __future__ import annotations

import contextlib
import copy
import datetime as dt
import json
import shutil

import dagster as dg
import geopandas
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geo_assets.assets.scene_watch import LOOK
from geo_assets.build import build_defs
from geo_assets.core.new_scenes import digest_of
from geo_assets.errors import SourceError
from geo_assets.partitions import tags_of_everything
from geo_assets.resources import Results
from geo_assets.sensors.new_scenes import NEW_SCENES_TAG
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.layout import model_of
from geo_assets.storage.seen_scenes import read_seen_scenes
from geo_assets_tests.campaign_testing import a_campaign
from geo_assets_tests.emulators.stac_api import free_port, serve_stac_api
from geo_assets_tests.sources.scene_testing import item_of, noise, write_raster

NORTH, SOUTH = "north|all", "south|all"
GRIDS = {
    "north": GeoBox((24, 24), Affine(10, 0, 500_000, 0, -10, 5_500_000), "EPSG:32633"),
    "south": GeoBox((24, 24), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633"),
}
FIRST_DAYS = ["2021-06-01", "2021-06-11"]


class Watched:
    """Two folds, a STAC API that can be stopped and come back with more, and Dagster's memory."""

    def __init__(self, folder, instance, port, changes=None):
        self.folder, self.instance = folder, instance
        self.port, self.items, self.cursor = port, [], None
        self.url = f"http://127.0.0.1:{self.port}"
        for fold in GRIDS:
            for day in FIRST_DAYS:
                self.add(fold, day)
        areas = [grid.pad(-4).extent.to_crs("EPSG:4326").geom for grid in GRIDS.values()]
        frame = geopandas.GeoDataFrame(
            {"fold": list(GRIDS)}, geometry=[box(*area.bounds) for area in areas], crs="EPSG:4326"
        )
        frame.to_file(folder / "areas.geojson")
        self.campaign = a_campaign(
            folder,
            {
                "splits": ["all"],
                "areas": {"file": "areas.geojson", "fold_column": "fold"},
                "imagery": {"kind": "stac", "catalog": self.url, "collections": ["tests"]},
                "cube": {"area": "box"},
                "spatial_labels.n_clusters": 2,
                "temporal_labels": {"n_clusters": 2, "every": "date"},
                "clouds": {"max_cover": 50},
                **(changes or {}),
            },
        )
        results = Results(data=str(folder / "data"))
        self.layout = results.layout(self.campaign.name)
        self.defs = build_defs(self.campaign, resources={"results": results})

    def add(self, fold, day, cloud_cover=0):
        """Add a scene of one fold to what the API will serve."""
        name = f"{fold}-{day}"
        grid, assets = GRIDS[fold], {}
        for seed, band in enumerate(("B04", "B08")):
            path = self.folder / "scenes" / name / f"{band}.tif"
            write_raster(path, noise(grid, seed, low=500), grid, nodata=0)
            assets[band] = {"href": str(path), "type": "image/tiff", "roles": ["data"]}
        when = f"{day}T10:00:00Z"
        cover = {"eo:cloud_cover": cloud_cover}
        self.items.append(item_of(assets, grid, id=name, datetime=when, **cover))

    @contextlib.contextmanager
    def api(self):
        with serve_stac_api(self.items, self.folder / "api", port=self.port) as url:
            assert url == self.url
            yield

    def run(self, job, key=None, tags=None, assets=None):
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=key,
            tags=tags,
            asset_selection=assets,
            raise_on_error=False,
        )

    def run_requested(self, request):
        """Run what the sensor requested, as the daemon does."""
        job = self.defs.get_repository_def().get_sensor_def("new_scenes_sensor").job_name
        key = request.partition_key
        return self.run(job, key, dict(request.tags), request.asset_selection)

    def look(self):
        return self.run(LOOK)

    def tick(self):
        repository = self.defs.get_repository_def()
        with dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=repository,
            resources={"results": self.defs.resources["results"]},
        ) as context:
            result = repository.get_sensor_def("new_scenes_sensor").evaluate_tick(context)
        self.cursor = result.cursor
        return result

    def requested(self):
        return [request.partition_key for request in self.tick().run_requests or []]

    def days(self, fold):
        (path,) = self.layout.ndvi_cubes(fold, "all").glob("cluster-0.*")
        with xr.open_zarr(path) as cube:
            return [str(day)[:10] for day in cube["time"].values]

    def files(self, fold):
        folders = self.layout.folder.glob(f"*/{fold}")
        paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return {path: path.stat().st_mtime_ns for path in paths}


@pytest.fixture
def watched(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(tmp_path, instance, free_port())


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Results of one run of both folds, to be copied."""
    folder = tmp_path_factory.mktemp("first")
    with dg.DagsterInstance.ephemeral() as instance:
        first = Watched(folder, instance, free_port())
        with first.api():
            for key in (NORTH, SOUTH):
                assert first.run("cubes_and_labels", key).success
    return first


@pytest.fixture
def running(first_run, tmp_path):
    """Both folds have been run once."""
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watched(tmp_path, instance, first_run.port)


def materialized(running, defs, name):
    """Materialize one asset of the northern fold by itself; say whether that went well."""
    assets = {dg.AssetKey(["tiny", name])}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=assets)
    return job.execute_in_process(instance=running.instance, partition_key=NORTH).success


def error_of(result):
    """What ended a run's first step that failed."""
    return result.get_step_failure_events()[0].step_failure_data.error.to_string()


def test_scenes_that_are_gone_take_no_results_with_them(running):
    cubes = running.layout.ndvi_cubes("north", "all")
    before = running.files("north")
    running.items = [item for item in running.items if not item["id"].startswith("north")]
    with running.api():
        result = running.run("cubes_and_labels", NORTH)
    assert not result.success
    assert "north|all: no scene is used: the source has none; what was made of 2" in error_of(
        result
    )
    after = running.files("north")
    assert after.keys() == before.keys()
    assert any(path.is_relative_to(cubes) for path in after)


def test_dates_without_a_scene_take_no_results_with_them(running):
    before = running.files("north")
    dates = {"start": dt.date(2031, 6, 1), "end": dt.date(2031, 6, 30)}
    later = running.campaign.model_copy(update=dates)
    defs = build_defs(later, resources={"results": Results(data=str(running.layout.root))})
    with running.api(), pytest.raises(SourceError, match="no scene is used: the source has none"):
        materialized(running, defs, "scenes")
    assert running.files("north") == before


def test_a_band_that_no_scene_has_is_named(first_run, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        shutil.copytree(
            first_run.layout.root / "tiny/aoi_clusters", tmp_path / "data/tiny/aoi_clusters"
        )
        more = {"cube": {"area": "box", "variables": ["NDVI", "B12"]}}
        watched = Watched(tmp_path, instance, first_run.port, more)
        with watched.api():
            result = watched.run("cubes_and_labels", NORTH)
    assert (
        "no scene is used: 2 missing_band (scene north-2021-06-11: has no band 'B12'; it offers"
        in error_of(result)
    )


def test_before_the_first_run_nothing_is_looked_for_and_nothing_requested(watched):
    assert watched.look().success
    result = watched.tick()
    assert not result.run_requests
    assert result.skip_message.startswith("nothing to request now: 0 partitions with new scenes")


def test_only_the_partition_with_a_new_scene_is_run_and_its_cube_gains_just_that_date(running):
    with running.api():
        assert running.look().success
    assert running.requested() == []
    south = running.files("south")

    running.add("north", "2021-06-21")
    running.add("south", "2021-06-21", cloud_cover=90)
    with running.api():
        assert running.look().success
        (request,) = running.tick().run_requests
        assert request.partition_key == NORTH
        digest = digest_of({(0, "north-2021-06-21")})
        assert request.run_key.startswith(f"{NORTH}#{digest}#1#")
        assert running.requested() == []
        assert running.run_requested(request).success
    assert running.days("north") == [*FIRST_DAYS, "2021-06-21"]
    assert running.days("south") == FIRST_DAYS
    assert not running.layout.composite_images("north", "all").exists()
    changed = {path for path, time in running.files("south").items() if south.get(path) != time}
    assert {path.relative_to(running.layout.folder).parts[:2] for path in changed} <= {
        (".state", "seen_scenes")
    }
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_chips_heal_after_new_scenes_were_taken_up(running):
    with running.api():
        assert running.run("areas_and_chips", NORTH).success
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
        (request,) = running.tick().run_requests
        assert running.run_requested(request).success
        assert running.run("redownload_failed_chips", NORTH).success
    rows = read_rows(running.layout.chip_catalog("north", "all"))
    scenes = {f"north-{day}" for day in (*FIRST_DAYS, "2021-06-21")}
    assert {row.outcome.status for row in rows} == {"ok"}
    assert all(set(row.spec.scene_ids) == scenes for row in rows)


def test_all_that_borrow_a_model_are_made_in_one_run_after_the_lender(first_run, tmp_path):
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        lender = {"temporal_labels.model_from": {"fold": "south", "split": "all"}}
        running = Watched(tmp_path, instance, first_run.port, lender)
        running.add("north", "2021-06-21")
        running.add("south", "2021-06-21")
        with running.api():
            running.look()
            (request,) = running.tick().run_requests
            assert request.partition_key is None
            assert request.tags.items() >= tags_of_everything(running.campaign).items()
            assert running.run_requested(request).success
        labels = running.layout.ndvi_temporal_labels
        models = [json.loads(model_of(labels(fold, "all", 0)).read_text()) for fold in GRIDS]
        assert models[0]["centers"] == models[1]["centers"]
        assert {model["fitted_on"] for model in models} == {"south|all cluster-0"}
        assert running.requested() == []
        assert json.loads(running.cursor) == {}

        running.add("north", "2021-07-01")
        with running.api():
            running.look()
        assert running.requested() == [NORTH]


def test_the_lender_waits_until_nobody_works_on_those_that_borrow(first_run, tmp_path):
    shutil.copytree(first_run.layout.root, tmp_path / "data")
    with dg.DagsterInstance.ephemeral() as instance:
        lender = {"temporal_labels.model_from": {"fold": "south", "split": "all"}}
        running = Watched(tmp_path, instance, first_run.port, lender)
        running.add("south", "2021-06-21")
        with running.api():
            running.look()
        instance.create_run_for_job(
            running.defs.resolve_job_def("everything"),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
        )
        assert running.requested() == []


def test_a_scene_that_another_run_put_in_the_table_is_new_until_the_cube_has_it(running):
    running.add("north", "2021-06-21")
    with running.api():
        # As areas_and_chips does, or a run whose ndvi_cube failed.
        assert materialized(running, running.defs, "scenes")
        assert running.look().success
        (request,) = running.tick().run_requests
        assert request.partition_key == NORTH
        assert running.run_requested(request).success
        assert running.look().success
    assert running.days("north") == [*FIRST_DAYS, "2021-06-21"]
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_without_a_note_of_the_cube_the_table_says_what_is_used(running):
    for fold in ("north", "south"):
        running.layout.used_scenes(fold, "all").unlink()
    with running.api():
        assert running.look().success
        assert running.requested() == []
        running.add("north", "2021-06-21")
    with running.api():
        assert running.look().success
    assert running.requested() == [NORTH]


def test_a_cube_of_chosen_clusters_notes_the_scenes_of_these_alone(running):
    campaign = running.campaign.model_copy(
        update={"clusters": running.campaign.clusters.model_copy(update={"only": (1,)})}
    )
    defs = build_defs(campaign, resources={"results": Results(data=str(running.layout.root))})
    note = running.layout.used_scenes("north", "all")
    assert len(json.loads(note.read_text())["scenes"]) == 2
    assert materialized(running, defs, "ndvi_cube")
    assert json.loads(note.read_text()) == {"scenes": [], "unread": []}
    assert running.days("north") == FIRST_DAYS


@pytest.mark.parametrize("damaged", ["scenes", "used_scenes"])
def test_what_is_damaged_of_one_partition_keeps_no_other_from_being_looked_at(running, damaged):
    for fold in ("north", "south"):
        running.add(fold, "2021-06-21")
    running.layout.used_scenes("north", "all").unlink()
    path = getattr(running.layout, damaged)("north", "all")
    path.write_text("{")
    with running.api():
        look = running.look()
    assert not look.success
    problem = read_seen_scenes(running.layout.seen_scenes("north", "all")).problem
    assert problem.startswith(f"{path}: is no ")
    assert running.requested() == [SOUTH]


def test_a_source_that_is_away_is_named_and_nothing_is_lost(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    away = running.look()
    assert not away.success
    # What was seen before the source went away is still requested.
    assert running.requested() == [NORTH]
    skipped = running.tick()
    assert not skipped.run_requests
    assert f"the latest look failed: {running.url}: " in skipped.skip_message

    running.add("south", "2021-06-21")
    with running.api():
        assert running.look().success
    assert running.requested() == [SOUTH]


def test_what_was_seen_is_told_in_the_observations_of_scenes(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    key = dg.AssetKey(["tiny", "scenes"])
    records = running.instance.fetch_observations(key, limit=2).records
    facts = {
        record.partition_key: {
            name: value.value for name, value in record.asset_observation.metadata.items()
        }
        for record in records
    }
    assert facts == {
        NORTH: {"seen": 3, "new": 1, "new_scenes": "north-2021-06-21", "unread": 0},
        SOUTH: {"seen": 2, "new": 0, "new_scenes": "", "unread": 0},
    }


@pytest.mark.parametrize(
    ("status", "again"),
    [(dg.DagsterRunStatus.FAILURE, [NORTH]), (dg.DagsterRunStatus.SUCCESS, [])],
    ids=["failed", "succeeded"],
)
def test_a_run_that_failed_is_requested_again_when_its_time_has_come(running, status, again):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    (request,) = running.tick().run_requests
    running.instance.create_run_for_job(
        running.defs.resolve_job_def("everything"),
        status=status,
        tags=dict(request.tags) | {"geo_assets/campaign": "tiny"},
    )
    assert running.requested() == []
    make_due(running)
    assert running.requested() == again


def cut_short(folder):
    """Cut files as a download that ended early leaves them; return what makes them whole."""
    whole = {file: file.read_bytes() for file in folder.iterdir()}
    for file, content in whole.items():
        file.write_bytes(content[: len(content) * 6 // 10])
    return whole


def make_due(running):
    cursor = json.loads(running.cursor)
    for entry in cursor.values():
        entry["requested"] = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=6)).isoformat()
    running.cursor = json.dumps(cursor)


@pytest.mark.parametrize("second", [False, True], ids=["a new day", "a second scene of a day"])
def test_a_scene_that_could_not_be_read_is_asked_for_until_it_can(running, second):
    running.add("north", "2021-06-21")
    name, days = "north-2021-06-21", [*FIRST_DAYS, "2021-06-21"]
    if second:
        with running.api():
            running.look()
            (request,) = running.tick().run_requests
            assert running.run_requested(request).success
        twin = copy.deepcopy(running.items[-1])
        name = twin["id"] = "A-second"
        scenes = running.folder / "scenes"
        shutil.copytree(scenes / "north-2021-06-21", scenes / name)
        for asset in twin["assets"].values():
            asset["href"] = asset["href"].replace("north-2021-06-21", name)
        running.items.append(twin)
    whole = cut_short(running.folder / "scenes" / name)
    with running.api():
        running.look()
        (request,) = running.tick().run_requests
        result = running.run_requested(request)
        assert result.success
        told = {c.check_name: c.passed for c in result.get_asset_check_evaluations()}
        assert not told["every_date_was_read"]
        assert running.days("north") == (days if second else FIRST_DAYS)
        used = running.layout.used_scenes("north", "all")
        assert json.loads(used.read_text())["unread"] == [[0, name]]
        assert running.requested() == []
        make_due(running)
        for file, content in whole.items():
            file.write_bytes(content)
        (request,) = running.tick().run_requests
        assert request.tags["geo_assets/attempt"] == "2"
        assert running.run_requested(request).success
    assert json.loads(used.read_text())["unread"] == []
    assert running.days("north") == days
    assert running.requested() == []
    assert json.loads(running.cursor) == {}


def test_a_partition_in_flight_is_not_requested(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    running.instance.create_run_for_job(
        running.defs.resolve_job_def("everything"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": NORTH, "geo_assets/campaign": "tiny"},
    )
    result = running.tick()
    assert not result.run_requests
    assert "1 are being worked on" in result.skip_message


def test_a_damaged_note_does_not_keep_the_others_waiting(running):
    for fold in ("north", "south"):
        running.add(fold, "2021-06-21")
    with running.api():
        running.look()
        running.layout.seen_scenes("north", "all").write_text("{")
        assert running.requested() == [SOUTH]
        assert running.look().success
    assert running.requested() == [NORTH]
    seen = read_seen_scenes(running.layout.seen_scenes("north", "all"))
    assert len(seen.scenes) == 3
    assert seen.problem == ""


def test_a_request_carries_the_tag_that_finds_its_run(running):
    running.add("north", "2021-06-21")
    with running.api():
        running.look()
    (request,) = running.tick().run_requests
    assert request.tags[NEW_SCENES_TAG] == request.run_key
    assert request.tags["dagster/partition/fold"] == "north"
