"""What labels of series and of land cover share: sample, fit or borrow a model, label, publish.

Both cluster pixels by several features; which features these are is the asset's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping  # noqa: TC003  # types of fields of dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.assets.label_models import borrowed_model, borrows, check_agreement
from geo_assets.assets.label_publication import (
    k_facts,
    publish_labels,
    refuse_if_nothing_was_made,
    summary,
)
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from geo_assets.assets.step import Facts, Partition
    from geo_assets.campaign_labels import PixelLabels
    from geo_assets.core.k_report import KReport
    from geo_assets.core.label_fit import FitRules
    from geo_assets.core.pixel_kmeans import PixelKMeans
    from geo_assets.previews.palette import ClassTable
    from geo_assets.products.labels.areas import AreaSample
    from geo_assets.products.labels.features import AreaFeatures

SAMPLE = 50_000
"""Pixels that a model is fitted on, spread over the area."""

NO_PIXEL = "no pixel has all features"


@dataclass(frozen=True)
class LabelAsset:
    """What one label asset asks for, in one partition."""

    name: str
    rules: PixelLabels
    fit: FitRules
    lending: Path
    """Folder of the lending partition's rasters and models."""
    wanted: Mapping[str, Mapping[str, Any]]
    """What each area asks of a borrowed model, by field."""
    folder: Path
    """Where the rasters go."""
    raster: Callable[[str], Path]
    """Place of an area's raster."""
    classes: Callable[[Labelled], ClassTable]
    previews: Callable[[Labelled], Mapping[str, Any]]
    """Pictures of an area beside those of K reports."""
    also: Callable[[str], Mapping[str, Any]]
    """What an area's model says beside what all say."""
    told: Callable[[str, str], str] = lambda _, reason: reason
    """Says why an area has no labels in words that an operator can act on."""
    shares: tuple[str, ...] = ()
    """Fields of the model that the table shows."""


@dataclass(frozen=True)
class AreaModel:
    """What labels an area: a model, or the reason why there is none."""

    model: PixelKMeans | None
    reason: str = ""
    report: KReport | None = None
    fitted_on: str = ""


@dataclass(frozen=True)
class Labelled:
    """An area with its labels."""

    name: str
    made: AreaModel
    model: PixelKMeans
    raster: NDArray[np.uint8]
    inertia: float
    filled_share: float
    held_share: float


def publish_areas(
    partition: Partition,
    asset: LabelAsset,
    areas: Mapping[str, AreaFeatures],
    reasons: Mapping[str, str] | None = None,
) -> Facts:
    """Publish the labels of each area, and say of the others why they have none.

    Args:
        partition: The partition.
        asset: What is asked.
        areas: Features of each area, by its name.
        reasons: Why further areas have no features, by their names.

    Raises:
        ClusteringError: If there are areas, and none could be labelled.
    """
    from geo_assets.storage.leftovers import remove_all_but

    published: list[Path] = []
    rows: list[dict[str, Any]] = []
    previews: dict[str, Any] = {}
    reports: dict[str, KReport] = {}
    without = dict(reasons or {})
    for made in _labelled(partition, asset, areas):
        if not isinstance(made, Labelled):
            name, reason = made
            without[name] = asset.told(name, reason)
            continue
        model = {
            **_document(asset.rules, areas[made.name], made),
            **asset.wanted[made.name],
            **asset.also(made.name),
        }
        published += publish_labels(
            partition,
            asset.raster(made.name),
            made.raster,
            areas[made.name].geobox,
            classes=asset.classes(made),
            model=model,
            report=made.made.report,
        )
        rows.append(_row(asset, made.name, "", model, float((made.raster > 0).mean())))
        if made.made.report is not None:
            reports[made.made.fitted_on] = made.made.report
        if not previews:
            previews = dict(asset.previews(made))
    for name, reason in without.items():
        partition.log.warning(f"{partition} {name}: no labels: {reason}")
        rows.append(_row(asset, name, reason, {}, 0.0))
    made_rows = sum(not row["note"] for row in rows)
    # First: what a failure leaves is what was there.
    refuse_if_nothing_was_made(partition, asset.name, without, made_rows)
    remove_all_but(asset.folder, published)
    previews |= k_facts(reports)
    return summary(asset.folder, asset.rules.n_clusters, rows, previews)


def _row(
    asset: LabelAsset, name: str, note: str, model: Mapping[str, Any], labelled_share: float
) -> dict[str, Any]:
    return {
        "area": name,
        "features": len(model.get("features", ())),
        "K": model.get("n_clusters", 0),
        "labelled_share": round(labelled_share, 4),
        **{field: round(model.get(field, 0.0), 4) for field in asset.shares},
        "inertia": round(model.get("inertia", 0.0), 2),
        "model": model.get("fitted_on", ""),
        "note": note,
    }


def _labelled(
    partition: Partition, asset: LabelAsset, areas: Mapping[str, AreaFeatures]
) -> Iterator[Labelled | tuple[str, str]]:
    """Yield the labels of each area, or its name and the reason why it has none."""
    from geo_assets.core.label_smoothing import smooth_labels
    from geo_assets.products.labels.areas import label_area

    for name, made in _models(partition, asset, areas):
        features = areas[name]
        if made.model is None:
            yield name, made.reason
            continue
        labelled = label_area(features, made.model, partition.workers)
        if not labelled.raster.any():
            yield name, NO_PIXEL
            continue
        yield Labelled(
            name,
            made,
            made.model,
            smooth_labels(labelled.raster, asset.rules.smooth_px),
            labelled.inertia,
            labelled.filled_share,
            labelled.held_share,
        )


def _models(
    partition: Partition, asset: LabelAsset, areas: Mapping[str, AreaFeatures]
) -> Iterator[tuple[str, AreaModel]]:
    """Yield each area with what labels it: borrowed, fitted to all, or to it alone."""
    if not areas:
        return
    if borrows(partition, asset.rules):
        yield from _borrowed(partition, asset, areas).items()
    elif asset.rules.fit == "partition":
        yield from _fitted_to_all(partition, asset, areas).items()
    else:
        for name, features in areas.items():
            # A sample is let go of before the next is drawn: there may be a thousand areas.
            alone = {name: features}
            samples = _samples(partition, asset, alone)
            yield name, _fit(asset.fit, alone, samples, f"{partition} {name}")


def _samples(
    partition: Partition, asset: LabelAsset, areas: Mapping[str, AreaFeatures]
) -> dict[str, AreaSample]:
    from geo_assets.products.labels.areas import sample_area

    return {
        name: sample_area(features, partition.workers, size=SAMPLE, seed=asset.fit.seed)
        for name, features in areas.items()
    }


def _fitted_to_all(
    partition: Partition, asset: LabelAsset, areas: Mapping[str, AreaFeatures]
) -> dict[str, AreaModel]:
    """Fit one model to all areas."""
    samples = _samples(partition, asset, areas)
    # An area without a pixel says nothing: a composite without any has no dtype of its own.
    pooled = {name: area for name, area in areas.items() if samples[name].valid}
    models = dict.fromkeys(areas, AreaModel(None, NO_PIXEL))
    if pooled:
        _refuse_different(asset, list(pooled), str(partition))
        shared = _fit(asset.fit, pooled, samples, str(partition))
        models |= dict.fromkeys(pooled, shared)
    return models


def _refuse_different(asset: LabelAsset, areas: list[str], partition: str) -> None:
    """Refuse one model for areas whose features are not the same.

    Raises:
        ClusteringError: It names the first field that differs, two areas and their values.
    """
    first = asset.wanted[areas[0]]
    for name in areas[1:]:
        for field, value in asset.wanted[name].items():
            if value != first[field]:
                raise ClusteringError(
                    f"{asset.name} {partition}: fit: partition needs the same features of all "
                    f"areas, and {field} differ: {areas[0]} has {first[field]}, {name} has "
                    f"{value}; set fit: cluster"
                )


def _fit(
    fit: FitRules,
    areas: Mapping[str, AreaFeatures],
    samples: Mapping[str, AreaSample],
    fitted_on: str,
) -> AreaModel:
    """Fit one model to areas of the same features."""
    from geo_assets.core.label_fit import fit_labels
    from geo_assets.products.labels.areas import pooled_sample

    values, folds = pooled_sample(areas, samples, SAMPLE)
    if len(values) == 0:
        return AreaModel(None, NO_PIXEL)
    try:
        fitted = fit_labels(values, fit, folds, names=next(iter(areas.values())).names)
    except ClusteringError as error:
        return AreaModel(None, str(error))
    return AreaModel(fitted.model, "", fitted.report, fitted_on)


def _borrowed(
    partition: Partition, asset: LabelAsset, areas: Mapping[str, AreaFeatures]
) -> dict[str, AreaModel]:
    from geo_assets.core.pixel_kmeans import PixelKMeans
    from geo_assets.products.labels.areas import sample_area

    model = borrowed_model(partition, asset.name, asset.rules, asset.lending)
    borrowed = AreaModel(PixelKMeans.from_dict(model), fitted_on=model["fitted_on"])
    models = dict.fromkeys(areas, borrowed)
    for name, features in areas.items():
        try:
            check_agreement(partition, name, asset.rules, model, asset.wanted[name])
        except ClusteringError:
            # Without a pixel, an area has no dtype, days or scale of its own.
            if sample_area(features, partition.workers, size=1, seed=asset.fit.seed).valid:
                raise
            models[name] = AreaModel(None, NO_PIXEL)
    return models


def _document(rules: PixelLabels, features: AreaFeatures, labelled: Labelled) -> dict[str, Any]:
    """Return what every model says of itself, to be published as JSON."""
    from geo_assets.storage.layout import cluster_of

    return {
        "fit": rules.fit,
        "fitted_on": labelled.made.fitted_on,
        "area": labelled.name,
        "cluster": cluster_of(labelled.name),
        "n_clusters": len(labelled.model.centers),
        "features": list(features.names),
        "units": list(features.units),
        "position_weight": rules.position_weight,
        "smooth_px": rules.smooth_px,
        "inertia": labelled.inertia,
        "filled_share": round(labelled.filled_share, 6),
        "held_share": round(labelled.held_share, 6),
        **labelled.model.to_dict(),
    }
