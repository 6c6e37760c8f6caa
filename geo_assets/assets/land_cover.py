"""Land-cover labels: K-Means on the bands of the composite and on indices of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from geo_assets.assets.imagery import rgb_indices
from geo_assets.assets.label_models import lending_key, read_model
from geo_assets.assets.label_publication import (
    METADATA,
    label_pictures,
    picture,
)
from geo_assets.assets.pixel_labels import LabelAsset, Labelled, publish_areas
from geo_assets.assets.step import Facts, Partition, asset_step, shown_step
from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable
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
    from geo_assets.products.labels.composite_bands import CompositeBands
    from geo_assets.products.labels.features import Placed
    from geo_assets.storage.layout import cluster_of

    campaign, layout = partition.campaign, partition.layout
    rules = _rules(campaign)
    bands = campaign.composite.bands
    names = tuple(common_name(band) for band in bands)
    paths = {path.stem: path for path in _composites(partition)}
    digests = {name: _digest(path) for name, path in paths.items()}
    images = {
        name: CompositeBands.of(path, bands, names, rules.indices) for name, path in paths.items()
    }
    areas: dict[str, AreaFeatures] = {
        name: Placed(each) if rules.position_weight else each for name, each in images.items()
    }
    scales = _band_scales(partition, images)
    lender, place = rules.model_from or partition, (partition.fold, partition.split)
    asset = LabelAsset(
        "land_cover_labels",
        rules,
        _fit_rules(campaign),
        layout.land_cover_labels_folder(lender.fold, lender.split),
        {
            name: _wanted(rules, each) | {"band_scales": scales[name]}
            for name, each in areas.items()
        },
        folder=layout.land_cover_labels_folder(*place),
        raster=lambda name: layout.land_cover_labels(*place, cluster_of(name)),
        classes=lambda made: _classes(made, areas[made.name].names),
        previews=lambda made: _previews(partition, images[made.name], made),
        also=lambda name: {"inputs": _inputs(paths[name], digests[name])},
    )
    return publish_areas(partition, asset, areas)


def _rules(campaign: Campaign) -> LandCoverLabels:
    assert campaign.land_cover is not None  # noqa: S101  # without it the asset is not in the graph
    return campaign.land_cover


def _composites(partition: Partition) -> list[Path]:
    """Return the composites of a partition, by rising cluster."""
    from geo_assets.storage.layout import cluster_of

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


def _band_scales(partition: Partition, areas: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """What the scenes of each area say of the scale of each band: a model holds for one alone.

    Scenes of clusters that are not among those chosen (``clusters.only``) were not looked for: what
    was known when they were labelled still holds, as their composites stay. Empty where there are
    no scenes, as of images that a server composes.
    """
    from geo_assets.storage.layout import cluster_of, model_of

    only, place = partition.campaign.clusters.only, (partition.fold, partition.split)
    of_scenes = _band_scales_of_scenes(partition)
    scales = {}
    for name in areas:
        cluster = cluster_of(name)
        scales[name] = of_scenes.get(cluster, {})
        if only is not None and cluster not in only:
            with suppress(StorageError):  # never labelled: nothing is known
                model = read_model(model_of(partition.layout.land_cover_labels(*place, cluster)))
                scales[name] = model.get("band_scales", {})
    return scales


def _band_scales_of_scenes(partition: Partition) -> dict[int, dict[str, list[str]]]:
    from geo_assets.sources.scenes.band_keys import BandError
    from geo_assets.sources.scenes.reflectance_scale import known_scale
    from geo_assets.storage.scenes import read_scenes

    path = partition.layout.scenes(partition.fold, partition.split)
    if not path.is_file():
        return {}
    table, bands = read_scenes(path), partition.campaign.composite.bands
    scales = {cluster: {band: set[str]() for band in bands} for cluster in table.clusters}
    for item, cluster in zip(table.items, table.clusters, strict=True):
        for band in bands:
            with suppress(BandError):  # which reading it tells
                scales[cluster][band].add(str(known_scale(item, band)))
    return {
        cluster: {band: sorted(known) for band, known in of_bands.items()}
        for cluster, of_bands in scales.items()
    }


def _inputs(path: Path, digest: str) -> dict[str, str]:
    """Return what tells the composite that was labelled, if it is still the same.

    Raises:
        StorageError: It is not: blocks of two may have been read.
    """
    if _digest(path) != digest:
        msg = f"{path}: changed while its labels were made; materialize them again"
        raise StorageError(msg)
    return {"composite_image": digest}


def _digest(path: Path) -> str:
    from geo_assets.storage.atomic import sha256_of

    return f"sha256:{sha256_of(path)}"


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
        name=f"{', '.join(image.bands[band] for band in shown)} as RGB",
    )
    pictures["spectra"] = picture(
        centre_spectra(centers, image.bands, image.indices, classes, subtitle=subtitle),
        "Centre of each cluster over bands and indices",
    )
    return pictures
