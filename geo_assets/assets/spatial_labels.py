"""Spatial labels: exact K-Means on the NDVI of dates, one label raster a date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.assets.label_models import (
    borrowed_model,
    borrows,
    check_agreement,
    lending_key,
)
from geo_assets.assets.label_publication import (
    METADATA,
    NO_DATE,
    k_facts,
    label_pictures,
    ndvi_classes,
    publish_labels,
    publish_model,
    refuse_if_nothing_was_made,
    summary,
)
from geo_assets.assets.step import Facts, Partition, asset_step, shown_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from geo_assets.core.histogram_kmeans import HistogramKMeans
    from geo_assets.core.k_report import KReport
    from geo_assets.products.labels.features import NdviDays

KIND = "ndvi_spatial"


@dataclass(frozen=True)
class DayModel:
    """What labels a day: a model, or the reason why there is none."""

    model: HistogramKMeans | None
    reason: str = ""
    report: KReport | None = None
    fitted_on: str = ""


@asset_step(
    group="labels",
    kinds={"cog", "numpy"},
    upstream=("ndvi_cube",),
    metadata=METADATA,
    needs_first=lambda campaign: lending_key(campaign.spatial_labels),
)
def ndvi_spatial_labels(partition: Partition) -> Facts:
    """Exact K-Means of NDVI: one label raster a day for each cube.

    NDVI is quantised, so the optimum is found exactly, by dynamic programming on its histogram: no
    start, no seed, the same answer every time. A model for each day; or one for all days of a
    cluster, or of a fold and split, so that labels mean the same through time. A day that cannot
    be labelled has no raster, and its reason in the table.
    """
    from geo_assets.core.indices import NDVI_SCALE
    from geo_assets.core.label_smoothing import smooth_labels
    from geo_assets.products.labels.days import day_labels
    from geo_assets.products.labels.features import NdviDays
    from geo_assets.storage.cubes.opening import published_cubes
    from geo_assets.storage.leftovers import remove_all_but

    layout, rules = partition.layout, partition.campaign.spatial_labels
    folder = layout.ndvi_spatial_labels_folder(partition.fold, partition.split)
    paths = published_cubes(layout, partition.fold, partition.split)
    cubes = {name: NdviDays.of(path) for name, path in paths.items()}
    models = _models(partition, cubes)
    rows: list[dict[str, Any]] = []
    rasters: dict[Path, list[Path]] = {}
    kept: list[Path] = []
    reasons: dict[str, str] = {}
    best_share, previews, shown = 0.0, dict[str, Any](), ""
    for name, cube in cubes.items():
        published: list[Path] = []
        if not cube.days:
            partition.log.warning(f"{partition} {name}: no labels: {NO_DATE}")
            rows.append(_row(name, "", NO_DATE))
        labelled = day_labels(cube, [each.model for each in models[name]], partition.workers)
        for number, (day, made, labels) in enumerate(
            zip(cube.days, models[name], labelled, strict=True)
        ):
            reason = made.reason
            if labels is not None and not labels.any():
                reason = "no pixel has a value"
            if reason or labels is None or made.model is None:
                reasons[f"{name} {day}"] = reason
                partition.log.warning(f"{partition} {name} {day}: no labels: {reason}")
                rows.append(_row(name, day, reason))
                continue
            raster = smooth_labels(labels, rules.smooth_px)
            published += publish_labels(
                partition,
                layout.ndvi_spatial_labels(partition.fold, partition.split, name, day),
                raster,
                cube.geobox,
                classes=ndvi_classes(made.model.centers * NDVI_SCALE),
                model=_document(partition, name, cube, made) | {"day": day},
                report=made.report if rules.fit == "date" else None,
            )
            rows.append(_row(name, day, "", made.model, raster))
            if rows[-1]["labelled_share"] > best_share:
                best_share, shown = rows[-1]["labelled_share"], made.fitted_on
                previews = _previews(cube, number, raster, made, f"{partition}, {name}, {day}")
        rasters[folder / name] = published
        if published:
            kept.append(folder / name)
            if rules.fit != "date":
                path = layout.ndvi_spatial_model(partition.fold, partition.split, name)
                shared = models[name][0]
                document = _document(partition, name, cube, shared)
                kept += publish_model(path, document, shared.report)
    made_rows = sum(not row["note"] for row in rows)
    # First: what a failure leaves is what was there.
    refuse_if_nothing_was_made(partition, "ndvi_spatial_labels", reasons, made_rows)
    for of_cube, published in rasters.items():
        remove_all_but(of_cube, published)
    remove_all_but(folder, kept)
    reports = {
        made.fitted_on: made.report for each in models.values() for made in each if made.report
    }
    return summary(folder, rules.n_clusters, rows, previews | k_facts(reports, shown))


def _models(partition: Partition, cubes: Mapping[str, NdviDays]) -> dict[str, list[DayModel]]:
    """Return the model of each day of each cube, as ``fit`` and ``model_from`` say."""
    import numpy as np

    from geo_assets.products.labels.days import day_histograms

    rules = partition.campaign.spatial_labels
    if cubes and borrows(partition, rules):
        borrowed = _borrowed(partition)
        return {name: [borrowed] * len(cube.days) for name, cube in cubes.items()}
    folds = rules.n_clusters == "auto"
    histograms = {
        name: day_histograms(cube, partition.workers, folds=folds) for name, cube in cubes.items()
    }
    if rules.fit == "date":
        return {
            name: [
                _fitted(partition, histogram, f"{partition} {name} {day}")
                for day, histogram in zip(cubes[name].days, each, strict=True)
            ]
            for name, each in histograms.items()
        }
    nothing = np.zeros((2 if folds else 1, 2**16), np.int64)
    sums = {name: sum(each, start=nothing) for name, each in histograms.items()}
    if rules.fit == "partition":
        shared = _fitted(partition, sum(sums.values(), start=nothing), str(partition))
        return {name: [shared] * len(cube.days) for name, cube in cubes.items()}
    return {
        name: [_fitted(partition, sums[name], f"{partition} {name}")] * len(cube.days)
        for name, cube in cubes.items()
    }


def _fitted(partition: Partition, histograms: NDArray[np.int64], fitted_on: str) -> DayModel:
    """Fit the exact model to the sum of histograms (fold, 65536), K chosen where asked."""
    from geo_assets.core.histogram_kmeans import fit_histogram
    from geo_assets.core.k_report import histogram_report
    from geo_assets.errors import ClusteringError

    rules = partition.campaign.spatial_labels
    if not histograms.any():
        return DayModel(None, "no pixel has a value")
    try:
        report = None
        k = rules.n_clusters
        if k == "auto":
            report = histogram_report(histograms, rules.k_range)
            k = report.chosen
        return DayModel(fit_histogram(histograms.sum(axis=0), k), "", report, fitted_on)
    except ClusteringError as error:
        return DayModel(None, str(error))


def _borrowed(partition: Partition) -> DayModel:
    from geo_assets.core.histogram_kmeans import HistogramKMeans
    from geo_assets.core.indices import NDVI_SCALE

    rules = partition.campaign.spatial_labels
    lender = rules.model_from
    assert lender is not None  # noqa: S101  # asked of partitions that borrow alone
    folder = partition.layout.ndvi_spatial_labels_folder(lender.fold, lender.split)
    model = borrowed_model(partition, "ndvi_spatial_labels", rules, folder)
    check_agreement(
        partition, "", rules, model, {"kind": KIND, "fit": rules.fit, "unit": NDVI_SCALE}
    )
    return DayModel(HistogramKMeans.from_dict(model), fitted_on=model["fitted_on"])


def _document(partition: Partition, name: str, cube: NdviDays, made: DayModel) -> dict[str, Any]:
    """Return a model as it is published beside the labels of a cube."""
    from geo_assets.core.indices import NDVI_SCALE
    from geo_assets.storage.layout import cluster_of

    assert made.model is not None  # noqa: S101  # asked of days that have one
    rules = partition.campaign.spatial_labels
    return {
        "kind": KIND,
        "fit": rules.fit,
        "fitted_on": made.fitted_on,
        "area": name,
        "cluster": cluster_of(name),
        "n_clusters": len(made.model.centers),
        "unit": NDVI_SCALE,
        "smooth_px": rules.smooth_px,
        "inputs": {"ndvi_cube": cube.checksum},
        **made.model.to_dict(),
    }


def _row(
    name: str,
    day: str,
    note: str,
    model: HistogramKMeans | None = None,
    raster: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """Return a line of the table; the distance is that of what the model was fitted on."""
    from geo_assets.core.indices import NDVI_SCALE

    counted: Sequence[int] = [0] if model is None else model.counts.tolist()
    spread = 0.0 if model is None else (model.inertia / sum(counted)) ** 0.5 * NDVI_SCALE
    centers = [] if model is None else (model.centers * NDVI_SCALE).tolist()
    return {
        "area": name,
        "day": day,
        "labelled_share": 0.0 if raster is None else round(float((raster > 0).mean()), 4),
        "K": len(centers),
        "centers": " ".join(f"{center:.3f}" for center in centers),
        "rms_distance": round(spread, 5),
        "note": note,
    }


def _previews(
    cube: NdviDays, day: int, raster: NDArray[np.uint8], made: DayModel, subtitle: str
) -> dict[str, Any]:
    from geo_assets.core.indices import NDVI_SCALE

    assert made.model is not None  # noqa: S101  # asked of days that have one
    step = shown_step(cube.geobox)
    centers = made.model.centers * NDVI_SCALE
    return label_pictures(
        cube.thinned(day, step),
        raster[::step, ::step],
        ndvi_classes(centers),
        centers[:, None],
        subtitle=subtitle,
    )
