"""A whole scene of 10,980² pixels, 24 dates: every asset is made of it in bounded memory."""

from __future__ import annotations

import subprocess
from copy import deepcopy

import geopandas
import pystac
import pytest
from shapely.geometry import shape

from geo_assets_tests.acceptance.support import Workplace, peak_bytes, render, runs_on, say
from geo_assets_tests.benchmarks.scene_files import read_items, write_scenes

SIDE, DATES, FILES = 10_980, 24, 3
STACK = SIDE**2 * DATES * 2 * 2
"""Bytes of both bands of all dates: 11.6 GB."""
BOUND = 2.5e9
"""Bytes that a run may use, Python, Dagster and all libraries included."""

ASSETS = (
    "composite_image",
    "ndvi_cube",
    "ndvi_spatial_labels",
    "ndvi_temporal_labels",
    "ndvi_label_changes",
    "land_cover_labels",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tile's catalog in which three scenes come eight times each, and the tile as area."""
    folder = tmp_path_factory.mktemp("scene")
    write_scenes(folder, SIDE, FILES)
    scenes = read_items(folder)
    catalog = pystac.Catalog("archive", "One tile.")
    for number in range(DATES):
        item = deepcopy(scenes[number % FILES])
        item["id"] = f"S2-{number:03d}"
        item["properties"]["datetime"] = (
            f"2024-{1 + number // 2:02d}-{5 + number % 2 * 14:02d}T10:00:00Z"
        )
        catalog.add_item(pystac.Item.from_dict(item))
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    # A little within the scene, so that no edge in degrees reaches beyond it.
    area = shape(scenes[0]["geometry"]).buffer(-0.002)
    geopandas.GeoDataFrame({"class": [1]}, geometry=[area], crs=4326).to_file(
        folder / "area.geojson"
    )
    place = Workplace(folder)
    render("full_scene", folder)
    done = place.run("geo-assets", "home", campaign=folder / "full_scene.yaml")
    assert done.returncode == 0, done.stderr
    return place


def peak_of(place, names):
    """Bytes at most resident while assets are materialized by a process of their own."""
    selection = ",".join(f"full-scene/{name}" for name in names)
    with (place.folder / "run.log").open("wb") as log:
        process = subprocess.Popen(
            place.words(
                *("dagster", "asset", "materialize", "-m", "geo_assets.definitions"),
                *("--select", selection, "--partition", "all|all"),
            ),
            env=place.environment(place.folder / "full_scene.yaml"),
            cwd=place.folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        peak = 0
        while runs_on(process, 0.1):
            peak = max(peak, peak_bytes(process.pid))
    assert process.returncode == 0, (place.folder / "run.log").read_text()[-5000:]
    return peak


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_whole_scene_of_24_dates_is_made_in_bounded_memory(place):
    peak_of(place, ("labels", "aoi_clusters", "scenes"))
    peaks = {}
    for name in ASSETS:
        peaks[name] = peak_of(place, (name,))
        say(f"\n{name}: {peaks[name] / 1e6:.0f} MB")
    assert max(peaks.values()) < BOUND < STACK / 4
