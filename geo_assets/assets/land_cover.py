"""Land-cover labels: K-Means on the bands of the composite and on indices of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.assets.imagery import rgb_indices
from geo_assets.assets.label_models import lending_key
from geo_assets.assets.label_publication import (
    METADATA,
    k_facts,
    label_pictures,
    picture,
    publish_labels,
    refuse_if_nothing_was_made,
    shown_step,
    summary,
)
from geo_assets.assets.pixel_labels import LabelAsset, Labelled, label_areas, model_document
from geo_assets.assets.step import Facts, Partition, asset_step

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign
    from geo_assets.campaign_labels import LandCoverLabels
    from geo_assets.core.label_fit import FitRules
    from geo_assets.products.labels.composite_bands import CompositeBands
    from geo_assets.products.labels.features import AreaFeatures

KIND = "land_cover"

STARTS = 50
"""Starts of the fit, as many as the temporal labels have."""


@asset_step(
    group="labels",
    kinds={"cog", "numpy"},
    upstream=("composite_image",),
    metadata=METADATA,
    needs_first=lambda campaign: lending_key(campaign.land_cover),
)
def land_cover_labels(partition: Partition) -> Facts:
    """K-Means on all bands of the composite and on indices: one label raster for each AOI cluster.

    Each band and index has a scale of its own, so that the brightest does not rule; the label band
    is never a feature, and what is no data in the composite is no data here. The model lies beside.
    """
    from geo_assets.core.band_names import common_name
    from geo_assets.core.land_cover_features import check_indices
    from geo_assets.products.labels.composite_bands import CompositeBands
    from geo_assets.products.labels.features import Placed
    from geo_assets.storage.leftovers import remove_all_but

    campaign, layout = partition.campaign, partition.layout
    rules = _rules(campaign)
    bands = campaign.composite.bands
    names = tuple(common_name(band) for band in bands)
    check_indices(rules.indices, names)
    folder = layout.land_cover_labels_folder(partition.fold, partition.split)
    images = {
        path.stem: CompositeBands.of(path, bands, names, rules.indices)
        for path in _composites(partition)
    }
    areas: dict[str, AreaFeatures] = {
        name: Placed(each) if rules.position_weight else each for name, each in images.items()
    }
    lender = rules.model_from or partition
    asset = LabelAsset(
        "land_cover_labels",
        rules,
        _fit_rules(campaign),
        layout.land_cover_labels_folder(lender.fold, lender.split),
        {name: _wanted(rules, each) for name, each in areas.items()},
    )
    published: list[Path] = []
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    previews: dict[str, Any] = {}
    for made in label_areas(partition, asset, areas):
        if not isinstance(made, Labelled):
            name, reason = made
            partition.log.warning(f"{partition} {name}: no labels: {reason}")
            reasons[name] = reason
            rows.append(_row(name, reason))
            continue
        document = model_document(rules, areas[made.name], made)
        published += publish_labels(
            partition,
            layout.land_cover_labels(partition.fold, partition.split, document["cluster"]),
            made.raster,
            areas[made.name].geobox,
            classes=_classes(made, areas[made.name].names),
            model=document
            | _wanted(rules, areas[made.name])
            | {"inputs": {"composite_image": _digest(images[made.name].path)}},
            report=made.made.report,
        )
        rows.append(_row(made.name, "", made, document))
        if not previews:
            previews = _previews(partition, images[made.name], made)
    remove_all_but(folder, published)
    refuse_if_nothing_was_made(
        partition, "land_cover_labels", reasons, sum(not row["note"] for row in rows)
    )
    return summary(folder, rules.n_clusters, rows, previews)


def _rules(campaign: Campaign) -> LandCoverLabels:
    assert campaign.land_cover is not None  # noqa: S101  # without it the asset is not in the graph
    return campaign.land_cover


def _composites(partition: Partition) -> list[Path]:
    """Return the composites of a partition, by rising cluster."""
    from geo_assets.storage.cubes.opening import cluster_of

    folder = partition.layout.composite_images(partition.fold, partition.split)
    return sorted(folder.glob("cluster-*.tif"), key=lambda path: cluster_of(path.stem))


def _fit_rules(campaign: Campaign) -> FitRules:
    from geo_assets.core.label_fit import FitRules

    rules = _rules(campaign)
    return FitRules(
        rules.n_clusters,
        rules.k_range,
        rules.scaling,
        "fill",
        rules.position_weight,
        campaign.seed,
        STARTS,
    )


def _wanted(rules: LandCoverLabels, features: AreaFeatures) -> dict[str, Any]:
    """What this area's features are, and a borrowed model's must be, by field."""
    return {
        "kind": KIND,
        "fit": rules.fit,
        "features": list(features.names),
        "units": list(features.units),
        "scaling": rules.scaling,
        "position_weight": rules.position_weight,
    }


def _digest(path: Path) -> str:
    from geo_assets.storage.atomic import sha256_of

    return f"sha256:{sha256_of(path)}"


def _row(
    name: str,
    note: str,
    made: Labelled | None = None,
    document: dict[str, Any] | None = None,
) -> dict[str, Any]:
    facts = document or {}
    return {
        "area": name,
        "features": len(facts.get("features", ())),
        "K": facts.get("n_clusters", 0),
        "labelled_share": 0.0 if made is None else round(float((made.raster > 0).mean()), 4),
        "inertia": round(facts.get("inertia", 0.0), 2),
        "model": facts.get("fitted_on", ""),
        "note": note,
    }


def _classes(made: Labelled, features: tuple[str, ...]) -> Any:
    """Name clusters by number, and by their NDVI where that is a feature."""
    from geo_assets.previews.palette import class_table

    names = [f"cluster {k}" for k in range(1, len(made.model.centers) + 1)]
    for column, feature in enumerate(features):
        if feature.casefold() == "ndvi":
            ndvi = made.model.centers[:, column]
            names = [f"{name}, NDVI {value:.2f}" for name, value in zip(names, ndvi, strict=True)]
    return class_table(names)


def _previews(partition: Partition, image: CompositeBands, made: Labelled) -> dict[str, Any]:
    """Show red, green and blue beside the labels, and the centres over bands and indices."""
    from geo_assets.previews.spectra import centre_spectra

    shown = rgb_indices(partition.campaign)
    step = shown_step(image.geobox)
    pixels, valid = image.thinned(shown, step)
    classes, subtitle = _classes(made, image.names), f"{partition}, {made.name}"
    centers = made.model.centers[:, : len(image.names)]
    pictures = label_pictures(
        pixels,
        made.raster[::step, ::step],
        classes,
        centers[:, shown],
        valid=valid,
        subtitle=subtitle,
    )
    pictures["spectra"] = picture(
        centre_spectra(centers, image.bands, image.indices, classes, subtitle=subtitle),
        "Centre of each cluster over bands and indices",
    )
    return pictures | ({} if made.made.report is None else k_facts(made.made.report, subtitle))
