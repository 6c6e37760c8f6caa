"""Many small chips from a service whose pixels say where they lie, as a run asks for them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import geopandas
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.core.areas import ClusterBox
from geo_assets.core.chip_grid import chip_grid
from geo_assets.products.chips.server_chips import ServerArea, ServerChips
from geo_assets.products.composites.builder import Labels
from geo_assets.sources.earth_engine.caller import Caller
from geo_assets.sources.earth_engine.credentials import Connection
from geo_assets.sources.earth_engine.pixels import grid_of
from geo_assets.sources.earth_engine.policy import RequestPolicy, Timeouts
from geo_assets.sources.earth_engine.session import Session
from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource
from geo_assets.sources.earth_engine.transport import Transport
from geo_assets.sources.protocol import SceneQuery
from geo_assets.sources.rules import CloudRules, CompositeRules
from geo_assets.storage.chips.catalog import ChipCollection, read_rows
from geo_assets.storage.chips.expectation import ChipEncoding
from geo_assets.storage.chips.paths import ChipPaths
from geo_assets.storage.chips.store import ChipStore
from geo_assets.storage.layout import Layout
from geo_assets_tests.emulators.earth_engine.assets import Assets
from geo_assets_tests.emulators.earth_engine.canned import VALID, LatticePixels, lattice_values
from geo_assets_tests.emulators.earth_engine.requests import chip_key

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.core.chips import ChipSpec
    from geo_assets.storage.chips.catalog_table import CatalogRow
    from geo_assets.storage.chips.reports import ConvergenceReport

COLLECTION = "projects/storm/assets/images"
BANDS = ("B", "G")
PIXEL = 10.0
CORNER = (500_000.0, 5_200_000.0)
CRS = "EPSG:32633"
DAY = dt.date(2021, 6, 1)
PIXELS = LatticePixels((*BANDS, VALID), "uint8")
NOTHING = geopandas.GeoDataFrame({"class": []}, geometry=[], crs=CRS)

PATIENT = RequestPolicy(
    wait_initial_s=0.02,
    wait_max_s=0.3,
    breaker_rest_s=0.1,
    concurrency=40,
    requests_per_second=None,
)
"""A policy whose waits are short, because the faults are."""
HURRIED = replace(PATIENT, timeouts=Timeouts(connect_s=2, read_s=1, total_s=2))
"""The same for answers that hang, and only there: on a busy machine, others may be that late."""


def area(rows: int, cols: int, size: int) -> GeoBox:
    """The pixels of ``rows`` × ``cols`` chips."""
    return GeoBox(
        (rows * size, cols * size), Affine(PIXEL, 0, CORNER[0], 0, -PIXEL, CORNER[1]), CRS
    )


def storm_assets(box: GeoBox) -> Assets:
    """A collection of one image over the area; its pixels are canned."""
    assets = Assets()
    assets.add_image_function(
        COLLECTION,
        "one",
        grid=box.pad(64),
        bands=BANDS,
        dtype="uint8",
        value=lambda row, col, band: row + col + band,
        time_start=dt.datetime.combine(DAY, dt.time(), dt.UTC),
    )
    return assets


@dataclass
class Storm:
    """A partition of chips of one service; each run opens the service anew, as a process would."""

    folder: Path
    url: str
    box: GeoBox
    size: int
    limits: Path
    policy: RequestPolicy = PATIENT
    confirm: bool = False
    chip_format: str = "npy"

    @property
    def encoding(self) -> ChipEncoding:
        return ChipEncoding(self.chip_format, (*BANDS, "label"), "uint8")  # type: ignore[arg-type]

    @property
    def store(self) -> ChipStore:
        layout = Layout(self.folder, "storm")
        return ChipStore(
            ChipPaths.of(layout, "f", "s"), self.encoding, ChipCollection("storm", "Storm", "other")
        )

    def source(self) -> EarthEngineSource:
        transport = Transport(
            self.url,
            project="storm",
            credentials=None,
            connections=self.policy.concurrency,
            timeouts=self.policy.timeouts,
        )
        session = Session(
            Connection(self.url, "storm", "none", None),
            Caller(transport, self.policy, self.limits),
        )
        rules = EarthEngineRules(COLLECTION, confirm=self.confirm)
        return EarthEngineSource(rules, session)

    def chips(self, source: EarthEngineSource) -> tuple[ServerChips, list[ChipSpec]]:
        """What is wanted, and what gets it."""
        west, south, east, north = self.box.boundingbox.bbox
        cluster = ClusterBox(0, CRS, (west, south, east, north), 1)
        items = source.select(SceneQuery(cluster, DAY, DAY, BANDS)).items
        assert len(items) == 1
        rules = CompositeRules(BANDS, "median", None, CloudRules(None), True, "max")
        chips = ServerChips(
            source,
            {0: ServerArea(self.box, items, source.composite(items, self.box, rules))},
            rules,
            Labels(NOTHING, NOTHING),
            None,
            (DAY, DAY),
            None,
        )
        grid = chip_grid(
            {0: self.box},
            NOTHING,
            fold="f",
            split="s",
            size=self.size,
            overlap=0,
            border="drop",
            keep="all",
        )
        return chips, chips.specs(grid, self.encoding)

    def run(self, *, run_id: str = "run", threads: int = 50) -> ConvergenceReport:
        """One run to its end."""
        source = self.source()
        chips, specs = self.chips(source)
        with chips:
            report = self.store.converge(specs, chips.read, run_id=run_id, workers=threads)
        self.traffic = source.traffic()
        source.session.caller.close()
        return report

    def rows(self) -> list[CatalogRow]:
        return read_rows(self.store.paths.catalog)

    def wrong(self, rows: list[CatalogRow]) -> list[str]:
        """Keys of the accepted chips whose pixels are not those of their place."""
        found = []
        for row in rows:
            if row.outcome.status != "ok":
                continue
            data = np.load(self.store.paths.file(row.href))
            if not np.array_equal(data, expected(row.spec)):
                found.append(key_of(row.spec))
        return found


def key_of(spec: ChipSpec) -> str:
    """The name of a chip in the ledger of the service."""
    return chip_key(grid_of(spec.geobox))


def expected(spec: ChipSpec) -> np.ndarray:
    """The bands (band, y, x) that the service has at a chip's place, and no label."""
    transform = spec.geobox.affine
    row, col = round(transform.f / transform.e), round(transform.c / transform.a)
    rows, cols = spec.geobox.shape
    bands = [lattice_values((row, col, rows, cols), band, "uint8") for band in range(len(BANDS))]
    return np.stack([*bands, np.zeros((rows, cols), np.uint8)])
