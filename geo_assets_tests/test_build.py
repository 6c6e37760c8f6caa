from __future__ import annotations

import pytest

from geo_assets.build import STEPS, build_defs
from geo_assets.campaign_file import load_campaign, packaged_campaigns
from geo_assets_tests.campaign_testing import a_campaign

CUBES = {"ndvi_cube", "ndvi_spatial_labels", "ndvi_temporal_labels", "ndvi_label_changes"}


def _facts(defs):
    """What people and other programs call by name, in a form whose changes show as a diff."""
    graph = defs.resolve_asset_graph()
    repository = defs.get_repository_def()
    return {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "partitions": graph.get(key).partitions_def.get_partition_keys(),
                "dimensions": graph.get(key).partitions_def.partition_dimension_names,
                "upstream": sorted(p.to_user_string() for p in graph.get(key).parent_keys),
                "kinds": sorted(graph.get(key).kinds),
                "owners": sorted(graph.get(key).owners),
                "checks": sorted(check.name for check in graph.get(key).check_keys),
                "columns": [
                    f"{column.name} {column.type}"
                    for column in getattr(
                        graph.get(key).metadata.get("dagster/column_schema"), "columns", ()
                    )
                ],
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in sorted(repository.get_all_jobs(), key=lambda job: job.name)
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: [schedule.job_name, schedule.cron_schedule, schedule.default_status.name]
            for schedule in sorted(repository.schedule_defs, key=lambda each: each.name)
        },
        "sensors": {
            sensor.name: [sensor.job_name, sensor.minimum_interval_seconds]
            for sensor in repository.sensor_defs
        },
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_the_definitions_of_the_demo_are_what_they_were(snapshot):
    """An asset renamed by accident loses its history in every deployment.

    After a change that is meant: pytest geo_assets_tests/test_build.py --snapshot-update.
    """
    assert _facts(build_defs(load_campaign("demo"))) == snapshot


@pytest.mark.parametrize("name", packaged_campaigns())
def test_every_asset_says_what_it_is(name):
    graph = build_defs(load_campaign(name)).resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert key.path[0] == name
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key


def test_without_a_cube_there_are_no_cube_assets(tmp_path):
    changes = {"land_cover": {}, "spatial_labels.fit": "cluster"}
    with_cube = _facts(build_defs(a_campaign(tmp_path, {"cube": {}, **changes})))
    without = _facts(build_defs(a_campaign(tmp_path, changes)))
    names = {key.partition("/")[2] for key in with_cube["assets"]}
    assert names == {step.name for step in STEPS}
    assert {key.partition("/")[2] for key in without["assets"]} == names - CUBES
    assert "cubes_and_labels" in with_cube["jobs"]
    assert "cubes_and_labels" not in without["jobs"]


def test_without_land_cover_there_is_no_such_asset(tmp_path):
    names = _names(build_defs(a_campaign(tmp_path)))
    assert "composite_image" in names
    assert "land_cover_labels" not in names


def test_labels_of_a_model_for_each_date_are_not_followed(tmp_path):
    for fit, there in (("date", False), ("cluster", True), ("partition", True)):
        changes = {"cube": {}, "spatial_labels.fit": fit}
        names = _names(build_defs(a_campaign(tmp_path, changes)))
        assert ("ndvi_label_changes" in names) is there


def test_labels_of_one_raster_which_has_one_date_are_not_followed(tmp_path):
    raster = {"kind": "raster", "file": "image.tif", "date": "2021-06-01"}
    changes = {"imagery": raster, "cube": {}, "spatial_labels.fit": "partition"}
    names = _names(build_defs(a_campaign(tmp_path, changes)))
    assert names >= CUBES - {"ndvi_label_changes"}
    assert "ndvi_label_changes" not in names


def _names(defs):
    return {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()}


def test_the_graph_shows_what_the_source_supports():
    """Cubes of Earth Engine are not in the graph even if a campaign describes one."""
    cashew = load_campaign("cashew")
    with_cube = cashew.model_copy(update={"cube": load_campaign("demo").cube})
    names = {
        key.path[-1] for key in build_defs(with_cube).resolve_asset_graph().get_all_asset_keys()
    }
    assert "chip_catalog" in names
    assert not names & CUBES


def test_steps_that_ask_earth_engine_share_a_pool():
    def pools(name):
        graph = build_defs(load_campaign(name)).resolve_asset_graph()
        return {
            node.key.path[-1]: node.assets_def.op.pool
            for node in graph.asset_nodes
            if node.assets_def.op.pool is not None
        }

    asking = {"scenes", "composite_image", "chip_catalog"}
    assert pools("cashew") == dict.fromkeys(asking, "earth_engine")
    assert pools("demo") == {}


def test_a_composite_that_stays_on_a_server_says_so():
    def description(name):
        graph = build_defs(load_campaign(name)).resolve_asset_graph()
        node = next(n for n in graph.asset_nodes if n.key.path[-1] == "composite_image")
        return node.description

    assert "an expression that the server evaluates" in description("cashew")
    assert "one COG" in description("demo")


def test_names_with_a_hyphen_become_definitions(tmp_path):
    changes = {"name": "my-farm", "folds": ["north-1", "south-1"], "splits": ["a-b", "c"]}
    facts = _facts(build_defs(a_campaign(tmp_path, changes)))
    assert facts["assets"]["my-farm/labels"]["partitions"][0] == "north-1|a-b"
    assert "everything" in facts["jobs"]


def test_a_resource_given_takes_the_place_of_ours(tmp_path):
    from geo_assets.resources import Results

    mine = Results(data=str(tmp_path))
    defs = build_defs(load_campaign("demo"), resources={"results": mine})
    repository = defs.get_repository_def()
    assert repository.get_top_level_resources()["results"].configurable_resource_cls is Results
    assert defs.resources["results"] is mine
    assert set(defs.resources) == {"results", "imagery", "compute"}
