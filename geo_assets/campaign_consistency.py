"""Whether the sections of a campaign fit together: what no section can tell alone.

Each function yields a line for each problem, which begins with the key it is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.campaign_imagery import EarthEngineImagery, RasterImagery, SimulatedImagery
from geo_assets.campaign_values import ARCHIVE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from geo_assets.campaign import Campaign
    from geo_assets.campaign_labels import PixelLabels, SpatialLabels

LABEL_BAND = "label"
"""Name of the band of labels that follows the image bands."""

SERVER_REDUCERS = ("median", "mean", "min", "max")
"""Reducers that are said to Earth Engine; the others are computed here."""


def problems_of(campaign: Campaign) -> Iterator[str]:
    """Yield what does not fit."""
    for problems in (
        _names,
        _areas,
        _dates,
        _clusters,
        _bands,
        _cube,
        _land_cover,
        _label_tables,
        _models,
        _resampling,
        _server_reducers,
    ):
        yield from problems(campaign)


def _names(campaign: Campaign) -> Iterator[str]:
    for field, names in (("folds", campaign.folds), ("splits", campaign.splits)):
        if len(set(names)) < len(names):
            yield f"{field}: names must differ (got {list(names)})"
    joined = [f"{fold}-{split}" for fold in set(campaign.folds) for split in set(campaign.splits)]
    if twins := sorted({name for name in joined if joined.count(name) > 1}):
        yield f"folds, splits: two pairs give the same chip ids: {', '.join(twins)}"


def _areas(campaign: Campaign) -> Iterator[str]:
    areas, folds = campaign.areas, list(campaign.folds)
    if areas.files is not None and set(areas.files) != set(folds):
        yield f"areas.files: needs exactly the folds {folds} (got {sorted(areas.files)})"
    if areas.file is not None and areas.fold_column is None and len(folds) > 1:
        yield f"areas.fold_column: missing; needed to tell the folds {folds} apart"
    if areas.split_column is None and campaign.splits != ("all",):
        yield (
            f"areas.split_column: missing; needed for the splits {list(campaign.splits)}, "
            "without it the one split is 'all'"
        )
    files = [areas.file] if areas.files is None else list(areas.files.values())
    if not isinstance(campaign.imagery, SimulatedImagery):
        for file in files:
            if str(file).startswith(ARCHIVE_PREFIX):
                yield (
                    f"areas: {ARCHIVE_PREFIX!r} goes with imagery of the kind 'simulated', "
                    f"not {campaign.imagery.kind!r} (got '{file}')"
                )


def _dates(campaign: Campaign) -> Iterator[str]:
    if campaign.end < campaign.start:
        yield f"end: {campaign.end} lies before start: {campaign.start}"
        return
    first, last = campaign.composite_dates
    if not campaign.start <= first <= last <= campaign.end:
        yield (
            f"composite.start, composite.end: {first} to {last} must lie in order "
            f"within {campaign.start} to {campaign.end}"
        )
    elif isinstance(campaign.imagery, RasterImagery) and not first <= campaign.imagery.date <= last:
        yield (
            f"imagery.date: {campaign.imagery.date} lies outside the dates of the composite, "
            f"{first} to {last}, which would have no imagery"
        )


def _clusters(campaign: Campaign) -> Iterator[str]:
    clusters = {"clusters.only": campaign.clusters.only or ()}
    for rules in label_rules(campaign):
        if rules.model_from is not None and rules.model_from.cluster is not None:
            clusters[f"{rules.section}.model_from.cluster"] = (rules.model_from.cluster,)
    count = campaign.clusters.count
    # With max_box_km there may be more, which the polygons say.
    for key, numbers in clusters.items() if campaign.clusters.max_box_km is None else ():
        if max(numbers, default=0) >= count:
            yield (
                f"{key}: {max(numbers)} does not exist; clusters are counted from 0 and "
                f"clusters.count is {count}"
            )


def _bands(campaign: Campaign) -> Iterator[str]:
    bands = list(campaign.composite.bands)
    if len(set(bands)) < len(bands):
        yield f"composite.bands: names must differ (got {bands})"
    if LABEL_BAND in bands:
        yield f"composite.bands: {LABEL_BAND!r} is the name of the label band (got {bands})"
    for band in campaign.chips.preview_bands or ():
        if band not in bands:
            yield f"chips.preview_bands: {band!r} is not among composite.bands {bands}"


def _cube(campaign: Campaign) -> Iterator[str]:
    if campaign.cube is not None:
        offered = (
            campaign.imagery.band_names if isinstance(campaign.imagery, RasterImagery) else None
        )
        yield from campaign.cube.problems(campaign.composite.bands, offered)


def _land_cover(campaign: Campaign) -> Iterator[str]:
    if campaign.land_cover is not None:
        yield from campaign.land_cover.problems(campaign.composite.bands)


def _resampling(campaign: Campaign) -> Iterator[str]:
    if isinstance(campaign.imagery, EarthEngineImagery) and campaign.grid.resampling == "average":
        yield (
            "grid.resampling: 'nearest', 'bilinear' or 'cubic' with imagery of the kind "
            "'earth-engine' (got 'average')"
        )


def _server_reducers(campaign: Campaign) -> Iterator[str]:
    reducer = campaign.composite.reducer
    if isinstance(campaign.imagery, EarthEngineImagery) and reducer not in SERVER_REDUCERS:
        yield (
            f"composite.reducer: {', '.join(SERVER_REDUCERS)} with imagery of the kind "
            f"'earth-engine' (got {reducer!r})"
        )


def _label_tables(campaign: Campaign) -> Iterator[str]:
    labels, folds = campaign.labels, list(campaign.folds)
    if labels.tables is None:
        return
    if not isinstance(campaign.imagery, EarthEngineImagery):
        yield (
            "labels.tables: goes with imagery of the kind 'earth-engine', "
            f"not {campaign.imagery.kind!r}"
        )
    if set(labels.tables) != set(folds):
        yield f"labels.tables: needs exactly the folds {folds} (got {sorted(labels.tables)})"
    if not labels.all_touched:
        yield "labels.all_touched: false is for polygons burned here, not for labels.tables"
    if labels.overlap not in {"max", "min"}:
        yield (
            "labels.overlap: 'max' or 'min' with labels.tables, whose features have no order "
            f"(got {labels.overlap!r})"
        )


def _models(campaign: Campaign) -> Iterator[str]:
    for rules in label_rules(campaign):
        lender = rules.model_from
        if lender is None:
            continue
        for field, value, allowed in (
            ("fold", lender.fold, campaign.folds),
            ("split", lender.split, campaign.splits),
        ):
            if value not in allowed:
                yield (
                    f"{rules.section}.model_from.{field}: {value!r} is not among the campaign's "
                    f"{field}s {list(allowed)}"
                )


def label_rules(campaign: Campaign) -> Iterator[SpatialLabels | PixelLabels]:
    """Yield the rules of each kind of labels that a campaign has."""
    yield campaign.spatial_labels
    yield campaign.temporal_labels
    if campaign.land_cover is not None:
        yield campaign.land_cover
