"""Where a campaign's imagery comes from: one model for each kind of source."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictFloat, StrictInt

from geo_assets.campaign_values import Band, CampaignPath, CatalogAddress, Day, Section


class StacImagery(Section):
    """A STAC API, or a static STAC catalog by path or URL."""

    kind: Literal["stac"]
    catalog: CatalogAddress = Field(description="URL, or path relative to the campaign's file.")
    collections: tuple[str, ...] = Field((), description="Collections to search; empty: all.")
    signing: Literal["none", "planetary-computer"] = Field("none", description="How to sign hrefs.")
    offsets: dict[str, StrictInt] = Field(
        default_factory=dict,
        description="Digital-number offset by collection, for items that state none, "
        "or no whole number.",
    )
    nodata: StrictFloat | None = Field(
        None,
        allow_inf_nan=True,
        description="No-data value where neither item nor file states one.",
    )


class RasterImagery(Section):
    """One multi-band GeoTIFF."""

    kind: Literal["raster"]
    file: CampaignPath = Field(description="The raster.")
    date: Day = Field(description="Day of acquisition.")
    band_names: tuple[Band, ...] | None = Field(
        None,
        min_length=1,
        description="Names in file order; absent: the file's own band descriptions.",
    )


class SimulatedImagery(Section):
    """The simulated archive: a seeded landscape with known land cover, written at first use."""

    kind: Literal["simulated"]
    seed: StrictInt = Field(7, ge=0, lt=2**32, description="Seed of the landscape.")


class CloudScore(Section):
    """Cloud Score+ of Sentinel-2: how clear each pixel of each scene is, 0 to 1."""

    collection: str = Field(
        "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED",
        description="Collection of the scores, with an image for each scene's system:index.",
    )
    band: Literal["cs", "cs_cdf"] = Field(
        "cs_cdf", description="Score: against a clear pixel, or against the pixel's own history."
    )
    minimum: StrictFloat = Field(0.6, ge=0, le=1, description="Least score that counts as clear.")


class EarthEngineImagery(Section):
    """An Earth Engine image collection; project and credentials come from the environment."""

    kind: Literal["earth-engine"]
    collection: str = Field(description="Id of the image collection.")
    cadence: str | None = Field(None, description="Keep images whose 'cadence' property is this.")
    endpoint: Literal["high-volume", "standard"] = Field("high-volume", description="Service.")
    concurrency: StrictInt = Field(
        38, ge=1, le=40, description="Requests in flight on one machine."
    )
    requests_per_second: StrictFloat = Field(90, gt=0, le=100, description="Token bucket's rate.")
    confirm: Literal["once", "twice"] = Field(
        "once",
        description="Accept a chip's first valid answer, or only one that was given twice alike.",
    )
    cloud_score: CloudScore | None = Field(
        None, description="Mask pixels by Cloud Score+; absent: not."
    )


Imagery = Annotated[
    StacImagery | RasterImagery | SimulatedImagery | EarthEngineImagery,
    Field(discriminator="kind"),
]
