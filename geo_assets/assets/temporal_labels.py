"""Temporal labels: K-Means on each pixel's NDVI series, one label raster a cube."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from geo_assets.assets.label_models import lending_key
from geo_assets.assets.label_publication import (
    METADATA,
    NO_DATE,
    label_pictures,
    ndvi_classes,
    picture,
)
from geo_assets.assets.pixel_labels import LabelAsset, Labelled, publish_areas
from geo_assets.assets.step import Facts, Partition, asset_step, shown_step

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign
    from geo_assets.core.label_fit import FitRules
    from geo_assets.products.labels.features import AreaFeatures, NdviSeries

KIND = "ndvi_temporal"

STARTS = 50
"""Starts of the fit: with 10, one of the demo's 12 clusters ended in an optimum that agreed less
with its true cover (adjusted Rand index 0.850 instead of 0.861)."""

_SCALINGS = {"robust": "common-robust", "standard": "common-standard", "none": "none"}


@asset_step(
    group="labels",
    kinds={"cog", "numpy"},
    upstream=("ndvi_cube",),
    metadata=METADATA,
    needs_first=lambda campaign: lending_key(campaign.temporal_labels),
)
def ndvi_temporal_labels(partition: Partition) -> Facts:
    """K-Means of each pixel's NDVI through time: one label raster for each cube.

    Series lie on a regular axis and share one scale. Short gaps are filled by days, nothing is
    extrapolated in silence, and a pixel that stays incomplete is 0; or steps without value are
    left out of distances. The model, its K report and the share that was filled lie beside.
    """
    from geo_assets.products.labels.features import NdviDays, NdviSeries, Placed
    from geo_assets.storage.cubes.opening import published_cubes

    campaign, layout = partition.campaign, partition.layout
    rules, place = campaign.temporal_labels, (partition.fold, partition.split)
    period = (str(campaign.start), str(campaign.end))
    series: dict[str, NdviSeries] = {}
    reasons: dict[str, str] = {}
    for name, path in published_cubes(layout, *place).items():
        cube = NdviDays.of(path)
        if cube.days:
            series[name] = NdviSeries(cube, rules.every, rules.max_gap_days, rules.missing, period)
        else:
            reasons[name] = NO_DATE
    areas: dict[str, AreaFeatures] = {
        name: Placed(each) if rules.position_weight else each for name, each in series.items()
    }
    lender = rules.model_from or partition
    asset = LabelAsset(
        "ndvi_temporal_labels",
        rules,
        _fit_rules(campaign),
        layout.ndvi_temporal_labels_folder(lender.fold, lender.split),
        {name: _wanted(campaign, each) for name, each in series.items()},
        folder=layout.ndvi_temporal_labels_folder(*place),
        raster=lambda name: layout.ndvi_temporal_labels(*place, name),
        classes=lambda made: _classes(made, series[made.name]),
        previews=lambda made: _previews(partition, series[made.name], made),
        also=lambda name: {
            "max_gap_days": rules.max_gap_days,
            "steps": list(series[name].names),
            "inputs": {"ndvi_cube": series[name].cube.checksum},
        },
        told=lambda name, reason: _told(campaign, reason, len(series[name].names)),
        shares=("filled_share", "held_share"),
    )
    return publish_areas(partition, asset, areas, reasons)


def _fit_rules(campaign: Campaign) -> FitRules:
    from geo_assets.core.label_fit import FitRules

    rules = campaign.temporal_labels
    return FitRules(
        rules.n_clusters,
        rules.k_range,
        cast("Any", _SCALINGS[rules.scaling]),
        rules.missing,
        rules.position_weight,
        campaign.seed,
        STARTS,
    )


def _wanted(campaign: Campaign, series: NdviSeries) -> dict[str, Any]:
    """What this area's axis and rules are, and a borrowed model's must be, by field.

    Of a regular axis the calendar counts, not the year: a model of May to August labels any year's.
    """
    rules = campaign.temporal_labels
    return {
        "kind": KIND,
        "fit": rules.fit,
        "every": rules.every,
        "time_axis": list(series.calendar),
        "missing": rules.missing,
        **({"max_gap_days": rules.max_gap_days} if rules.missing == "fill" else {}),
        "scaling": _SCALINGS[rules.scaling],
        "position_weight": rules.position_weight,
    }


def _told(campaign: Campaign, reason: str, steps: int) -> str:
    """Say what an operator can change where no pixel's series is complete."""
    rules = campaign.temporal_labels
    if not reason.startswith("no pixel") or rules.missing == "ignore":
        return reason
    return (
        f"no pixel has a value in each of the {steps} steps of {rules.every} from "
        f"{campaign.start} to {campaign.end}; narrow the dates, raise "
        f"temporal_labels.max_gap_days ({rules.max_gap_days}) or set temporal_labels.missing "
        "to ignore"
    )


def _classes(made: Labelled, series: NdviSeries) -> Any:
    import numpy as np

    return ndvi_classes(np.nanmean(made.model.centers[:, : len(series.names)], axis=1))


def _previews(partition: Partition, series: NdviSeries, made: Labelled) -> dict[str, Any]:
    """Show the clearest day beside the labels, and the series of the centres."""
    from geo_assets.previews.series import ndvi_series

    cube, steps = series.cube, series.names
    day, thinned = cube.clearest(), shown_step(series.geobox)
    centers = made.model.centers[:, : len(steps)]
    classes = _classes(made, series)
    area = f"{partition}, {made.name}"
    subtitle = f"{area}, {cube.days[day]}"
    pictures = label_pictures(
        cube.thinned(day, thinned),
        made.raster[::thinned, ::thinned],
        classes,
        centers[:, series.step_of(day), None],
        subtitle=subtitle,
    )
    pictures["series"] = picture(
        ndvi_series(centers, steps, classes, subtitle=area), "NDVI of each cluster in time"
    )
    return pictures
