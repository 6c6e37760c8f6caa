"""Timberlea and Doeberitz end to end, as a user runs them, against services of their form.

The services answer on the loopback: real items' form, true tile grids, made-up land of known
classes. Of the campaigns nothing is changed but the address of the API (``STAC_API_URL``).
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import pytest
import rasterio
import rasterio.features
from affine import Affine
from odc.geo.geobox import GeoBox
from sklearn.metrics import adjusted_rand_score

from geo_assets.campaign_file import find_campaign, load_campaign
from geo_assets.storage.scenes import read_scenes
from geo_assets_tests.acceptance.support import Workplace, last_line
from geo_assets_tests.emulators import earth_search, planetary_computer
from geo_assets_tests.emulators.file_server import serve_files
from geo_assets_tests.emulators.sentinel_tiles import Tile, land_at, parcels, refine
from geo_assets_tests.emulators.stac_api import serve_stac_api

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from geo_assets.storage.layout import Layout

pytestmark = pytest.mark.real_data

ALL = "all|all"


@dataclass(frozen=True)
class Ran:
    """A campaign that was materialized by Dagster's own command."""

    layout: Layout
    process: subprocess.CompletedProcess[str]
    items: dict[str, dict]
    """What the service has, by id."""
    files: Path
    """Where its rasters lie."""
    land: np.ndarray
    cells: GeoBox
    """True classes of cells of 60 m, and where they lie."""


def the_template(real_data, name):
    content = json.loads((real_data / name).read_text(encoding="utf-8"))
    return content["features"][0] if content["type"] == "FeatureCollection" else content


def noon(day: str) -> dt.datetime:
    return dt.datetime.fromisoformat(f"{day}T10:30:21+00:00")


# ------------------------------------------------------------ Timberlea, on the Planetary Computer

TIMBERLEA = Tile("18TWR")
ORIGINAL_GRID = GeoBox((207, 228), Affine(10, 0, 585080, 0, -10, 5032950), "EPSG:32618")

PASSES = [
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-06-30"), 0.1),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-07-01"), 2.4, drift=-10),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-07-13"), 64.2),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-07-20"), 5.0),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-08-07"), 4.999999, drift=10),
    planetary_computer.Acquisition(
        TIMBERLEA, noon("2021-08-22"), 0.0, baseline="05.00", offset=1000
    ),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-08-30"), 1.3, drift=20),
    planetary_computer.Acquisition(TIMBERLEA, noon("2021-08-31"), 0.2),
]
USED = ["2021-07-01", "2021-08-07", "2021-08-22", "2021-08-30"]

SPECTRA = np.array(
    [
        [420, 480, 300, 180, 220, 200, 190, 190, 120, 90, 500, 150],
        [250, 450, 280, 3200, 900, 2300, 2900, 3400, 1500, 700, 260, 3500],
        [480, 800, 750, 2400, 1300, 2000, 2300, 2600, 2700, 1700, 450, 2500],
        [1300, 1500, 1700, 2100, 1900, 2000, 2100, 2200, 2500, 2300, 1200, 2200],
    ]
)
"""(class, band): water, forest, fields, built; bands as in ``planetary_computer.RESOLUTIONS``."""


@pytest.fixture(scope="module")
def timberlea(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("timberlea")
    template = the_template(real_data, planetary_computer.TEMPLATE)
    collection = the_template(real_data, planetary_computer.COLLECTION)
    cells = TIMBERLEA.window(tuple(ORIGINAL_GRID.boundingbox.bbox))
    land = parcels(cells.shape, len(SPECTRA), seed=1)
    clouds = np.zeros(cells.shape, bool)
    clouds[10:14, 12:20] = True
    items = []
    for scene in PASSES:
        item = planetary_computer.scene_item(template, scene)
        cloudy = clouds if scene.when.day == 7 else None
        planetary_computer.write_scene(
            folder / "blobs", item, scene, land=land, cells=cells, spectra=SPECTRA, clouds=cloudy
        )
        items.append(item)
    with planetary_computer.serve_planetary_computer(
        items, collection, folder / "blobs", folder
    ) as service:
        place = Workplace(folder / "work", {"STAC_API_URL": service.api, **service.environment})
        process = place.materialize("*", ALL, "timberlea")
        service_requests = list(service.requests), list(service.tokens)
    layout = place.layout(load_campaign("timberlea"))
    by_id = {item["id"]: item for item in items}
    ran = Ran(layout, process, by_id, folder / "blobs", land, cells)
    return ran, service_requests


def test_timberlea_runs_to_its_end(timberlea):
    ran, _ = timberlea
    assert ran.process.returncode == 0, last_line(ran.process.stderr)
    assert "STAC_API_URL is set: http://127.0.0.1:" in ran.process.stderr


def test_blobs_are_read_with_one_token_which_is_never_told(timberlea):
    ran, (blobs, tokens) = timberlea
    assert blobs
    assert tokens == ["/sentinel2l2a01/sentinel2-l2"]
    told = ran.process.stderr + ran.process.stdout
    assert "loopback-signature" not in told
    for path in ran.layout.folder.rglob("*"):
        if path.is_file():
            assert b"loopback-signature" not in path.read_bytes(), path


def test_scenes_of_timberlea_are_those_of_the_dates_and_below_the_cloud_limit(timberlea):
    ran, _ = timberlea
    table = read_scenes(ran.layout.scenes("all", "all"))
    assert [item["properties"]["datetime"][:10] for item in table.items] == USED
    reasons = {out["id"].split("_")[2][:8]: out["reason"] for out in table.left_out}
    assert reasons == {"20210713": "cloud", "20210720": "cloud"}


def test_the_composite_of_timberlea_is_the_median_of_what_the_items_say(timberlea):
    """Nearest pixels of 10, 20 and 60 m, offset by baseline, clouds out, on the original's grid."""
    ran, _ = timberlea
    bands = load_campaign("timberlea").composite.bands
    used = [item for item in ran.items.values() if item["properties"]["datetime"][:10] in USED]
    with rasterio.open(ran.layout.composite_image("all", "all", 0)) as image:
        assert image.crs == rasterio.CRS.from_epsg(32618)
        assert image.transform == ORIGINAL_GRID.affine
        assert image.shape == (207, 228)
        assert image.descriptions[:-1] == bands
        found = image.read(masked=True)
    clear = [pixels_at(ran, item, "SCL") != 9 for item in used]
    assert [mask.all() for mask in clear] == [True, False, True, True]
    for band, values in zip(bands, found[:-1], strict=True):
        stack = np.ma.array(
            [
                pixels_at(ran, item, band).astype(int)
                - (1000 if item["properties"]["s2:processing_baseline"] >= "04.00" else 0)
                for item in used
            ],
            mask=~np.array(clear),
        )
        np.testing.assert_array_equal(values, np.rint(np.ma.median(stack, axis=0)))


def pixels_at(ran, item, key, grid=ORIGINAL_GRID):
    """The nearest pixel of an asset at each pixel of a grid in its CRS."""
    path = ran.files / item["assets"][key]["href"].split("/", 3)[3]
    x = grid.affine.c + 10 * (np.arange(grid.shape.x) + 0.5)
    y = grid.affine.f - 10 * (np.arange(grid.shape.y) + 0.5)
    with rasterio.open(path) as file:
        cols = ((x - file.transform.c) // file.transform.a).astype(int)
        rows = ((y - file.transform.f) // file.transform.e).astype(int)
        window = ((rows[0], rows[-1] + 1), (cols[0], cols[-1] + 1))
        return file.read(1, window=window)[np.ix_(rows - rows[0], cols - cols[0])]


def test_the_labels_of_timberlea_are_the_four_land_covers(timberlea):
    ran, _ = timberlea
    path = ran.layout.folder / "land_cover_labels/all/all/cluster-0.tif"
    with rasterio.open(path) as raster:
        assert raster.transform == ORIGINAL_GRID.affine
        labels = raster.read(1)
    truth = land_at(ran.land, ran.cells, ORIGINAL_GRID)
    assert set(np.unique(labels)) == {1, 2, 3, 4}
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > 0.95


def test_the_cube_of_timberlea_has_the_clear_days(timberlea):
    import xarray as xr

    ran, _ = timberlea
    (path,) = (ran.layout.folder / "ndvi_cube/all/all").glob("cluster-0*")
    with xr.open_zarr(path) as cube:
        assert [str(day)[:10] for day in cube["time"].values] == USED
        assert cube["ndvi"].shape == (4, 207, 228)


# ------------------------------------------------------------------- Doeberitz, on Earth Search

HEATH, NEXT_ZONE = Tile("33UUU"), Tile("32UQD")
NDVI = (0.02, 0.18, 0.34, 0.5, 0.66)
SCENES = [
    earth_search.Acquisition(HEATH, noon("2019-12-31"), 0.1),
    earth_search.Acquisition(HEATH, noon("2020-01-01"), 0.5),
    earth_search.Acquisition(HEATH, noon("2020-01-16"), 0.4),
    earth_search.Acquisition(HEATH, noon("2020-01-19"), 1.000001),
    earth_search.Acquisition(HEATH, noon("2020-01-24"), 0.02),
    earth_search.Acquisition(HEATH, noon("2020-02-01"), 0.9, baseline="05.00", sequence=1),
    earth_search.Acquisition(HEATH, noon("2020-02-02"), 0.1),
    earth_search.Acquisition(NEXT_ZONE, noon("2020-01-16"), 0.7),
    earth_search.Acquisition(NEXT_ZONE, noon("2020-01-24"), 0.03),
]
DAYS = ["2020-01-01", "2020-01-16", "2020-01-24", "2020-02-01"]


@pytest.fixture(scope="module")
def heath_service(real_data, tmp_path_factory):
    """The loopback Earth Search: its URL, items, folder and truth."""
    folder = tmp_path_factory.mktemp("earth_search")
    template = the_template(real_data, earth_search.TEMPLATE)
    record = the_template(real_data, earth_search.COLLECTION)
    area = geopandas.read_file(load_campaign("doeberitz").areas.file)
    cells = HEATH.window(tuple(area.to_crs(HEATH.epsg).total_bounds))
    land = parcels(cells.shape, len(NDVI), seed=2)
    items = []
    with serve_files(folder / "files") as files:
        for scene in SCENES:
            item = earth_search.scene_item(template, scene, files.url)
            own = scene.tile.window(tuple(area.to_crs(scene.tile.epsg).total_bounds))
            classes = land_at(land, cells, refine(own, 10))
            earth_search.write_scene(
                folder / "files", item, scene, classes=classes, cells=own, ndvi=NDVI
            )
            items.append(item)
        collection = earth_search.collection_record(record)
        with serve_stac_api(items, folder / "api", [collection]) as url:
            yield url, items, folder / "files", land, cells


@pytest.fixture(scope="module")
def doeberitz(heath_service, tmp_path_factory):
    url, items, files, land, cells = heath_service
    place = Workplace(tmp_path_factory.mktemp("doeberitz"))
    settings = f"STAC_API_URL={url}\nAWS_SECRET_ACCESS_KEY=hunter2\n"
    (place.folder / ".env").write_text(settings)
    process = place.materialize("*", ALL, "doeberitz")
    by_id = {item["id"]: item for item in items}
    layout = place.layout(load_campaign("doeberitz"))
    return Ran(layout, process, by_id, files, land, cells)


def test_doeberitz_runs_to_its_end_with_what_env_says(doeberitz, heath_service):
    assert doeberitz.process.returncode == 0, last_line(doeberitz.process.stderr)
    said = doeberitz.process.stderr
    assert f"STAC_API_URL is set: {heath_service[0]} is asked" in said
    assert "hunter2" not in said + doeberitz.process.stdout


def test_scenes_of_doeberitz_are_those_of_the_dates_and_at_most_one_percent_cloudy(doeberitz):
    table = read_scenes(doeberitz.layout.scenes("all", "all"))
    found = sorted((item["properties"]["grid:code"], item["id"]) for item in table.items)
    assert found == [
        ("MGRS-32UQD", "S2A_32UQD_20200116_0_L2A"),
        ("MGRS-32UQD", "S2A_32UQD_20200124_0_L2A"),
        ("MGRS-33UUU", "S2A_33UUU_20200101_0_L2A"),
        ("MGRS-33UUU", "S2A_33UUU_20200116_0_L2A"),
        ("MGRS-33UUU", "S2A_33UUU_20200124_0_L2A"),
        ("MGRS-33UUU", "S2A_33UUU_20200201_1_L2A"),
    ]
    assert {out["id"]: out["reason"] for out in table.left_out} == {
        "S2A_33UUU_20200119_0_L2A": "cloud"
    }


def test_plan_tells_what_a_run_would_do_and_which_api_it_asks(heath_service, tmp_path):
    place = Workplace(tmp_path, {"STAC_API_URL": heath_service[0]})
    planned = place.run("geo-assets", "plan", campaign="doeberitz")
    assert planned.returncode == 0, planned.stderr
    rows = [line.replace("│", " ").split() for line in planned.stdout.splitlines()]
    # One cluster, six scenes in it; two bands and the scene classification of each, twice.
    assert [row[2:4] + row[5:6] for row in rows if row[:2] == ["all", "all"]] == [["1", "6", "36"]]
    assert f"warning STAC_API_URL is set: {heath_service[0]} is asked" in planned.stdout


def test_the_retired_names_find_the_same_scenes_and_say_so(doeberitz, heath_service, tmp_path):
    text = find_campaign("doeberitz").read_text(encoding="utf-8")
    area = load_campaign("doeberitz").areas.file
    text = text.replace("[sentinel-2-l2a]", "[sentinel-s2-l2a-cogs]")
    text = text.replace("earth-search.aws.element84.com/v1", "earth-search.aws.element84.com/v0")
    text = text.replace("doeberitz/doeberitzer_multipolygon.geojson", str(area))
    path = tmp_path / "old.yaml"
    path.write_text(text, encoding="utf-8")
    place = Workplace(tmp_path, {"STAC_API_URL": heath_service[0]})
    names = ("labels", "aoi_clusters", "scenes")
    selection = " or ".join(f'key:"doeberitz/{name}"' for name in names)
    process = place.materialize(selection, ALL, path)
    assert process.returncode == 0, last_line(process.stderr)
    assert "collection sentinel-s2-l2a-cogs has retired: sentinel-2-l2a is searched" in (
        process.stderr
    )
    there, here = (
        [item["id"] for item in read_scenes(layout.scenes("all", "all")).items]
        for layout in (doeberitz.layout, place.layout(load_campaign(str(path))))
    )
    assert here == there


def outside(grid) -> np.ndarray:
    """Pixels whose centre lies in no polygon of the area."""
    area = geopandas.read_file(load_campaign("doeberitz").areas.file).to_crs(str(grid.crs))
    return rasterio.features.geometry_mask(area.geometry, grid.shape, grid.affine)


def label_rasters(ran, asset) -> dict[str, tuple[np.ndarray, GeoBox]]:
    """Every raster of an asset by its name below the partition, with its grid."""
    folder = ran.layout.folder / asset / "all" / "all"
    rasters = {}
    for path in sorted(folder.rglob("*.tif")):
        with rasterio.open(path) as file:
            grid = GeoBox(file.shape, file.transform, file.crs)
            rasters[path.relative_to(folder).with_suffix("").as_posix()] = file.read(1), grid
    return rasters


def test_spatial_labels_of_doeberitz_are_the_five_levels_of_ndvi(doeberitz):
    rasters = label_rasters(doeberitz, "ndvi_spatial_labels")
    assert {name.rpartition("/")[2] for name in rasters} == set(DAYS)
    for name, (labels, grid) in rasters.items():
        truth = land_at(doeberitz.land, doeberitz.cells, grid)
        truth[outside(grid)] = 0
        # Pixels at the edges of parcels come from either side where zones meet.
        assert (labels == truth).mean() > 0.9, name
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}, name
        assert not labels[outside(grid)].any(), name


def test_temporal_labels_of_doeberitz_have_five_classes_inside_the_area(doeberitz):
    rasters = label_rasters(doeberitz, "ndvi_temporal_labels")
    assert rasters
    for name, (labels, grid) in rasters.items():
        inside = labels[~outside(grid)]
        truth = land_at(doeberitz.land, doeberitz.cells, grid)[~outside(grid)]
        assert set(np.unique(labels)) == {0, 1, 2, 3, 4, 5}, name
        assert adjusted_rand_score(truth, inside) > 0.8, name


def test_cubes_and_labels_of_doeberitz_are_laid_out_by_mgrs_tile(doeberitz):
    stores = {path.stem for path in (doeberitz.layout.folder / "ndvi_cube/all/all").iterdir()}
    assert stores == {"cluster-0-33UUU", "cluster-0-32UQD"}
    spatial = {name.partition("/")[0] for name in label_rasters(doeberitz, "ndvi_spatial_labels")}
    temporal = set(label_rasters(doeberitz, "ndvi_temporal_labels"))
    assert spatial == temporal == stores
