"""The cashew campaign on a loopback Earth Engine, compared with rasterio and plain numpy."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio
from PIL import Image

from geo_assets.campaign_file import load_campaign
from geo_assets.partitions import fold_and_split, partition_keys
from geo_assets.sources.earth_engine.pixels import grid_of
from geo_assets_tests.acceptance.earth_engine_support import (
    BANDS,
    COLLECTION,
    TABLE,
    cashew,
    labels_by_hand,
    median_by_hand,
    scenes_of,
    serve_assets,
)
from geo_assets_tests.acceptance.support import Workplace, chip_files, rows_of, say
from geo_assets_tests.conftest import REPOSITORY
from geo_assets_tests.emulators.earth_engine.requests import chip_key
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign

pytestmark = pytest.mark.real_data

EVERYTHING = "fold1|train...fold3|test"


@dataclass(frozen=True)
class Served:
    """A campaign that was materialized on a service that was asked for nothing else."""

    place: Workplace
    path: Path
    campaign: Campaign
    emulator: EarthEngineEmulator


@pytest.fixture(scope="module")
def environment():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEO_ASSETS_EE_PROJECT", "cashew")
        yield patch


@pytest.fixture(scope="module")
def served(real_data, environment, tmp_path_factory):
    place = Workplace(tmp_path_factory.mktemp("cashew"))
    path = cashew(place.folder)
    with EarthEngineEmulator(serve_assets(real_data, place.folder)) as emulator:
        environment.setenv("GEO_ASSETS_EE_URL", emulator.url)
        assert place.run("geo-assets", "home").returncode == 0
        run = place.materialize("*", EVERYTHING, path)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
        yield Served(place, path, load_campaign(str(path)), emulator)


def opened(served, key, row):
    """A chip's bands, its validity, its transform and shape, as rasterio reads them."""
    layout = served.place.layout(served.campaign)
    path = layout.chip_catalog(*fold_and_split(key)).parent / row.href
    with rasterio.open(path) as file:
        return file.read(), file.dataset_mask() > 0, file.transform, file.shape, file.profile


def test_every_chip_is_the_median_that_numpy_computes_from_the_files(served, real_data):
    scenes = scenes_of(real_data)
    chips = masked = 0
    for key, rows in rows_of(served.place, served.campaign).items():
        assert rows, key
        for row in rows:
            assert row.outcome.status == "ok", row.outcome
            data, valid, transform, shape, profile = opened(served, key, row)
            assert profile["dtype"] == "uint8"
            assert profile["crs"].to_epsg() == 26914
            composite = served.place.layout(served.campaign).composite_sidecar(
                *fold_and_split(key), row.spec.cluster
            )
            inside = within(json.loads(composite.read_text()), transform, shape)
            expected, there = median_by_hand(scenes, transform, shape)
            there &= inside
            np.testing.assert_array_equal(valid, there)
            np.testing.assert_array_equal(data[:-1], np.where(there, expected, 0))
            label = labels_by_hand(served.path.parent, *fold_and_split(key), transform, shape)
            np.testing.assert_array_equal(data[-1], np.where(inside, label, 0))
            chips += 1
            masked += not there.all()
    say(f"\n{chips} chips, {masked} of them with pixels without a datum")
    assert chips > 100


def within(composite, transform, shape):
    """Pixels of a grid that the composite covers, by their centres."""
    scale, _, west, _, _, north = composite["transform"]
    rows, cols = composite["shape"]
    x = transform.c + (np.arange(shape[1]) + 0.5) * transform.a
    y = transform.f + (np.arange(shape[0]) + 0.5) * transform.e
    return np.outer(
        (y < north) & (y > north - rows * scale), (x > west) & (x < west + cols * scale)
    )


def test_chips_lie_on_the_first_images_own_pixels(served, real_data):
    _, _, first = scenes_of(real_data)[0].pixels
    for key, rows in rows_of(served.place, served.campaign).items():
        for row in rows:
            _, _, transform, _, _ = opened(served, key, row)
            assert (transform.a, transform.e) == (first.a, first.e)
            away = np.array([transform.c - first.c, transform.f - first.f]) / 5
            np.testing.assert_allclose(away, np.rint(away), atol=1e-6)


def test_one_request_a_chip_and_one_a_preview(served):
    layout = served.place.layout(served.campaign)
    wanted = Counter()
    for key, rows in rows_of(served.place, served.campaign).items():
        wanted.update(chip_key(grid_of(row.spec.geobox)) for row in rows)
        wanted["preview"] += len(list(layout.composite_images(*fold_and_split(key)).glob("*.png")))
    asked = Counter(entry.key for entry in served.emulator.ledger.entries)
    previews = sum(count for key, count in asked.items() if key not in wanted)
    assert previews == wanted.pop("preview") == 18
    assert {key: count for key, count in asked.items() if key in wanted} == wanted


def test_composites_hold_their_expression_with_pinned_scenes_and_a_preview(served):
    layout = served.place.layout(served.campaign)
    found = 0
    for key in partition_keys(served.campaign):
        for path in sorted(layout.composite_images(*fold_and_split(key)).glob("*.json")):
            content = json.loads(path.read_text())
            canonical = json.dumps(content["expression"], sort_keys=True, separators=(",", ":"))
            assert content["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
            assert len(content["scene_ids"]) == 10
            assert all("biannual" not in name for name in content["scene_ids"])
            for name in content["scene_ids"]:
                assert f"{COLLECTION}/{name}" in canonical
            assert served.emulator.url not in path.read_text()
            with Image.open(path.with_suffix(".png")) as preview:
                assert min(preview.size) > 100
            found += 1
    assert found == 18


def test_the_older_scripts_expression_gives_the_same_pixels(served):
    """Written with plain ``ee`` calls, as in system S0, and fetched by the client itself."""
    import ee

    from geo_assets.sources.earth_engine.credentials import Connection
    from geo_assets.sources.earth_engine.policy import RequestPolicy
    from geo_assets.sources.earth_engine.session import open_session

    layout = served.place.layout(served.campaign)
    key = "fold1|train"
    row = rows_of(served.place, served.campaign)[key][0]
    box = ee_bounds(layout.aoi_clusters(*fold_and_split(key)), row.spec.cluster)
    # The client is one for a process: whoever asked it last, it is to ask this service now.
    open_session(
        Connection(served.emulator.url, "cashew", "none", None), RequestPolicy()
    )._initialize()  # what the session does at its first use

    region = ee.Geometry.BBox(*box)
    collection = (
        ee.ImageCollection(COLLECTION)
        .filter(ee.Filter.eq("cadence", "monthly"))
        .filterDate("2009-01-01", "2020-12-31")
        .select(list(BANDS))
        .filterBounds(region)
    )
    projection = collection.first().projection()
    image = collection.map(lambda one: one.clip(region)).median().reproject(projection)
    polygons = ee.FeatureCollection(TABLE.format(fold="fold1")).map(
        lambda polygon: polygon.set("label", 1)
    )
    label = polygons.filter(ee.Filter.eq("split", "train")).reduceToImage(
        ["label"], ee.Reducer.max()
    )
    image = image.addBands(label.reproject(projection).rename("label"))
    pixels = ee.data.computePixels(
        {"expression": image, "fileFormat": "NUMPY_NDARRAY", "grid": grid_of(row.spec.geobox)}
    )

    data, valid, transform, shape, _ = opened(served, key, row)
    assert valid.any()
    for number, band in enumerate(BANDS):
        # The service's median is floating point; ours is rounded there, half to even.
        rounded = np.rint(pixels[band][valid])
        np.testing.assert_array_equal(data[number][valid], rounded)
    own = labels_by_hand(served.path.parent, "fold1", "train", transform, shape)
    np.testing.assert_array_equal(
        data[-1][valid] == 1, (pixels["label"][valid] == 1) & (own[valid] != 255)
    )


def ee_bounds(path, cluster):
    from geo_assets.core.areas import ClusterBox
    from geo_assets.storage.geoparquet import read_metadata

    boxes = [ClusterBox.from_dict(box) for box in read_metadata(path)["boxes"]]
    return next(box for box in boxes if box.cluster == cluster).wgs84_bounds()


def test_after_a_kill_the_next_run_goes_on_at_once(served, tmp_path):
    """A killed run of Dagster stays started, and must not keep its pool from the next."""
    place = served.place.copy(tmp_path)
    place.home.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", place.home)
    assert place.run("geo-assets", "home").returncode == 0
    layout = place.layout(served.campaign)
    shutil.rmtree(layout.folder / "chips")
    served.emulator.ledger.reset()
    served.emulator.latency_s = 1.0
    words = ("dagster", "asset", "materialize", "-m", "geo_assets.definitions")
    selected = ("--select", "cashew/chip_catalog", "--partition-range", EVERYTHING)
    killed = subprocess.Popen(
        place.words(*words, *selected),
        env=place.environment(served.path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not served.emulator.ledger.entries:
        assert killed.poll() is None
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    served.emulator.latency_s = 0.0
    assert (
        not layout.folder.joinpath("chips").exists() or len(chip_files(place, served.campaign)) < 60
    )

    again = place.materialize("cashew/chip_catalog", EVERYTHING, served.path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "blocked by limit" not in again.stderr
    statuses = {
        row.outcome.status for rows in rows_of(place, served.campaign).values() for row in rows
    }
    assert statuses == {"ok"}
