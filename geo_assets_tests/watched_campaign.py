"""A campaign over a STAC API that gets new scenes, and loses them, with Dagster's memory."""

from __future__ import annotations

import contextlib

import dagster as dg
import geopandas
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from geo_assets.assets.scene_watch import LOOK
from geo_assets.build import build_defs
from geo_assets.resources import Results
from geo_assets_tests.campaign_testing import a_campaign
from geo_assets_tests.emulators.stac_api import serve_stac_api
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


def materialized(running, defs, name):
    """Materialize one asset of the northern fold by itself; say whether that went well."""
    assets = {dg.AssetKey(["tiny", name])}
    job = defs.resolve_implicit_global_asset_job_def().get_subset(asset_selection=assets)
    return job.execute_in_process(instance=running.instance, partition_key=NORTH).success
