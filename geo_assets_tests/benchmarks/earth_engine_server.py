"""A loopback Earth Engine in a process of its own, and what every approach asks it for."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from affine import Affine
from odc.geo.geobox import GeoBox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from geo_assets.core.chips import ChipSpec
    from geo_assets.products.chips.server_chips import ServerChips
    from geo_assets.sources.earth_engine.policy import RequestPolicy
    from geo_assets.sources.earth_engine.source import EarthEngineSource

BANDS = ("B2", "B3", "B4", "B8")
VALID = "valid"
COLLECTION = "projects/benchmark/assets/images"
DAY = dt.date(2021, 6, 1)
PROJECT = "benchmark"
CRS = "EPSG:32633"


@contextmanager
def serving(*options: str) -> Iterator[str]:
    """Start the server with canned pixels; give its address."""
    words = [sys.executable, "-m", "geo_assets_tests.emulators.earth_engine", "--port", "0"]
    process = subprocess.Popen([*words, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        assert found is not None, "the server says where it listens"
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def chip_grids(count: int, size: int) -> list[GeoBox]:
    """Grids of chips side by side."""
    west, north, pixel = 500_000.0, 5_200_000.0, 10.0
    return [
        GeoBox(
            (size, size),
            Affine(
                pixel, 0, west + n % 100 * size * pixel, 0, -pixel, north - n // 100 * size * pixel
            ),
            CRS,
        )
        for n in range(count)
    ]


def image_item() -> dict[str, Any]:
    """One image, as the service describes it."""
    from geo_assets.sources.earth_engine.images import item_of

    band = {
        "data_type": {"type": "PixelType", "precision": "int", "min": 0, "max": 65535},
        "crs": CRS,
        "crs_transform": [10, 0, 499_980, 0, -10, 5_200_020],
        "dimensions": [30_000, 60_000],
    }
    milliseconds = dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp() * 1000
    return item_of(
        {
            "id": f"{COLLECTION}/one",
            "bands": [{"id": name, **band} for name in BANDS],
            "properties": {"system:index": "one", "system:time_start": milliseconds},
        },
        COLLECTION,
    )


def our_source(url: str, policy: RequestPolicy, limits: Path) -> EarthEngineSource:
    """Return our source of a server, with limits that nobody else shares."""
    from geo_assets.sources.earth_engine.caller import Caller
    from geo_assets.sources.earth_engine.credentials import Connection
    from geo_assets.sources.earth_engine.session import Session
    from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource
    from geo_assets.sources.earth_engine.transport import Transport

    transport = Transport(
        url,
        project=PROJECT,
        credentials=None,
        connections=policy.concurrency,
        timeouts=policy.timeouts,
    )
    session = Session(Connection(url, PROJECT, "none", None), Caller(transport, policy, limits))
    session.prepare()
    return EarthEngineSource(EarthEngineRules(COLLECTION), session)


def our_chips(
    source: EarthEngineSource, grids: Sequence[GeoBox]
) -> tuple[ServerChips, list[ChipSpec]]:
    """Return what a run of the graph would ask for, and what gets it."""
    import geopandas

    from geo_assets.core.chip_grid import ChipWindow, chip_frame
    from geo_assets.products.chips.server_chips import ServerArea, ServerChips
    from geo_assets.products.composites.builder import Labels
    from geo_assets.sources.rules import CloudRules, CompositeRules

    rules = CompositeRules(BANDS, "median", None, CloudRules(None), True, "max")
    size = grids[0].shape.x
    area = GeoBox((size * (len(grids) // 100 + 1), size * 100), grids[0].affine, CRS)
    nothing = geopandas.GeoDataFrame({"class": []}, geometry=[], crs=CRS)
    item = image_item()
    chips = ServerChips(
        source,
        {0: ServerArea(area, [item], source.composite([item], area, rules))},
        rules,
        Labels(nothing, nothing),
        None,
        (DAY, DAY),
        None,
    )
    windows = [
        (0, ChipWindow(n // 100 * size, n % 100 * size, size, grid)) for n, grid in enumerate(grids)
    ]
    frame = chip_frame(windows, fold="f", split="s")
    return chips, chips.specs(frame, encoding())


def encoding() -> Any:
    from geo_assets.storage.chips.expectation import ChipEncoding

    return ChipEncoding("npy", (*BANDS, "label"), "uint16")


def store(folder: Path) -> Any:
    """Return a store of chips in a folder."""
    from geo_assets.storage.chips.catalog import ChipCollection
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.store import ChipStore
    from geo_assets.storage.layout import Layout

    paths = ChipPaths.of(Layout(folder, "benchmark"), "f", "s")
    return ChipStore(paths, encoding(), ChipCollection("benchmark", "Benchmark", "other"))


def composite_of_the_client() -> Any:
    """Return a composite as the older scripts write it, with the client's own calls."""
    import ee

    region = ee.Geometry.BBox(15.0, 46.0, 16.0, 47.0)
    images = (
        ee.ImageCollection(COLLECTION)
        .filterDate("2021-01-01", "2021-12-31")
        .select(list(BANDS))
        .filterBounds(region)
    )
    projection = images.first().projection()
    return images.map(lambda image: image.clip(region)).median().reproject(projection)


def initialise_the_client(url: str) -> None:
    """Initialise the client as the older scripts do, with nothing asked of another host."""
    import ee
    import ee.deprecation

    os.environ["NO_PROXY"] = "127.0.0.1"
    nothing = ee.deprecation.DeprecatedAsset("", None, None, None)
    ee.deprecation.deprecated_assets = {nothing.id: nothing}
    ee.Initialize(credentials=None, project=PROJECT, url=url)
