"""From the campaign's words to a source: the one place that knows every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.campaign_imagery import (
    EarthEngineImagery,
    RasterImagery,
    SimulatedImagery,
    StacImagery,
)
from geo_assets.sources.archive import prepare_archive

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign
    from geo_assets.sources.protocol import RasterSource, ServerSource
    from geo_assets.storage.layout import Layout

SCENE_CACHE = "scene_cache"
"""Folder below the root of results where downloaded assets are kept, for all campaigns."""


def open_source(campaign: Campaign, layout: Layout) -> RasterSource | ServerSource:
    """Return the campaign's imagery, ready to be searched and read.

    Raises:
        SourceError: If the imagery is not there, or may not be asked.
    """
    from geo_assets.sources.local_raster import LocalRasterSource, RasterRules
    from geo_assets.sources.simulated import ArchiveSpec
    from geo_assets.sources.stac.services import stac_service
    from geo_assets.sources.stac.source import StacRules, StacSource

    match campaign.imagery:
        case SimulatedImagery(seed=seed):
            archive = prepare_archive(campaign, layout)
            return StacSource(
                StacRules(
                    str(archive / "catalog.json"),
                    kind="static",
                    resampling=campaign.grid.resampling,
                    identity={"simulated": ArchiveSpec(seed=seed).digest()},
                )
            )
        case StacImagery() as stac:
            service = stac_service(stac)
            return StacSource(
                StacRules(
                    service.catalog,
                    service.collections,
                    signing=stac.signing,
                    offsets=service.offsets,
                    nodata=stac.nodata,
                    resampling=campaign.grid.resampling,
                    keep_scenes=layout.root / SCENE_CACHE if campaign.keep_scenes else None,
                )
            )
        case RasterImagery() as raster:
            return LocalRasterSource(
                RasterRules(
                    raster.file,
                    raster.date,
                    raster.band_names,
                    resampling=campaign.grid.resampling,
                )
            )
        case EarthEngineImagery() as earth_engine:
            return _earth_engine(earth_engine, campaign.grid.resampling)


def _earth_engine(imagery: EarthEngineImagery, resampling: str) -> ServerSource:
    from geo_assets.sources.earth_engine.credentials import find_connection
    from geo_assets.sources.earth_engine.expressions import CloudScoreRules
    from geo_assets.sources.earth_engine.policy import RequestPolicy
    from geo_assets.sources.earth_engine.session import open_session
    from geo_assets.sources.earth_engine.source import EarthEngineRules, EarthEngineSource

    score = imagery.cloud_score
    policy = RequestPolicy(
        concurrency=imagery.concurrency, requests_per_second=imagery.requests_per_second
    )
    return EarthEngineSource(
        EarthEngineRules(
            imagery.collection,
            cadence=imagery.cadence,
            cloud_score=None
            if score is None
            else CloudScoreRules(score.collection, score.band, score.minimum),
            resampling=resampling,
            confirm=imagery.confirm == "twice",
        ),
        open_session(find_connection(imagery.endpoint), policy),
    )
