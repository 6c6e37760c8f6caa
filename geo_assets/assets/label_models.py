"""Which model labels an area, one fitted here or that of another partition; which has labelled it.

A borrowed model is the JSON that the other partition published. It must be of the same kind,
features, units, scaling and K; where it is not, the field and both values are named.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from geo_assets.errors import ClusteringError, StorageError
from geo_assets.partitions import partition_key
from geo_assets.storage.json_files import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from geo_assets.assets.step import Partition
    from geo_assets.campaign import Campaign
    from geo_assets.campaign_labels import LabelRules, PixelLabels, SpatialLabels

MODEL_TAG = "MODEL_SHA256"
"""Tag of a label raster: the digest of the model that labelled it. Raster and model are two files,
and a kill between them leaves the raster of before beside a new model."""
INPUTS_TAG = "INPUTS_SHA256"
"""The same of what it was made of, and how it was smoothed."""

LABELS_TAG = "LABELS_SHA256"
"""Tag of a change map: the digest of the labels that it follows, which its tables hold too."""

_MODEL = re.compile(r"cluster-(?P<cluster>[0-9]+)(-[0-9A-Z]+)?\.json")


def lending_key(rules: LabelRules | None) -> str | None:
    """Return the key of the partition whose model labels all others; None if each has its own."""
    lender = None if rules is None else rules.model_from
    return None if lender is None else partition_key(lender.fold, lender.split)


def borrowing_rules(campaign: Campaign) -> dict[str, LabelRules]:
    """Return the rules of the label assets whose model is that of one partition, by asset."""
    rules: dict[str, LabelRules | None] = {"land_cover_labels": campaign.land_cover}
    if campaign.cube is not None:
        rules["ndvi_spatial_labels"] = campaign.spatial_labels
        rules["ndvi_temporal_labels"] = campaign.temporal_labels
    return {asset: each for asset, each in rules.items() if each and each.model_from is not None}


def lending_keys(campaign: Campaign) -> set[str | None]:
    """Return the keys of the partitions whose models label others: these come first."""
    return {lending_key(rules) for rules in borrowing_rules(campaign).values()}


def borrows(partition: Partition, rules: LabelRules) -> bool:
    """Whether this partition's areas are labelled by the model of another one."""
    return lending_key(rules) not in {None, str(partition)}


def borrowed_model(
    partition: Partition, asset: str, rules: SpatialLabels | PixelLabels, folder: Path
) -> dict[str, Any]:
    """Return the model that ``model_from`` names, as its JSON says.

    Args:
        partition: The partition that borrows.
        asset: Name of the label asset.
        rules: Its rules, with ``model_from``.
        folder: Where the lending partition's rasters and models of this asset lie.

    Raises:
        StorageError: If it is not there, or damaged.
        ClusteringError: If there are several and none is named, or none of the named cluster.
    """
    lender = rules.model_from
    assert lender is not None  # noqa: S101  # asked of partitions that borrow alone
    key = lending_key(rules)
    found = published_models(folder, lender.cluster)
    if not found:
        if others := published_models(folder):
            raise ClusteringError(
                f"{rules.section}.model_from.cluster: {lender.cluster}; {key} has models of "
                f"{', '.join(others)}"
            )
        raise StorageError(
            f"{folder}: no model; materialize {partition.campaign.name}/{asset} of {key} first"
        )
    if len(found) > 1 and rules.fit != "partition":
        several = f"{key} has a model for each of {', '.join(found)}"
        if lender.cluster is None:
            raise ClusteringError(
                f"{rules.section}.model_from.cluster: missing; {several}: name one, or set fit: "
                "partition for one model of all"
            )
        raise ClusteringError(
            f"{rules.section}.model_from.cluster: {lender.cluster}; {several}, one a tile; set "
            "fit: partition for one model of all"
        )
    return read_model(next(iter(found.values())))


def published_models(folder: Path, cluster: int | None = None) -> dict[str, Path]:
    """Return the models in a folder of label rasters by name: all of them, or a cluster's."""
    return {
        path.name.removesuffix(".json"): path
        for path in sorted(folder.glob("cluster-*.json"))
        if (match := _MODEL.fullmatch(path.name)) and cluster in {None, int(match["cluster"])}
    }


def read_model(path: Path) -> dict[str, Any]:
    """Return a published model.

    Raises:
        StorageError: If the file is not there, or damaged.
    """
    model = read_json(path, _model, "model", "materialize its labels again")
    if model is None:
        raise StorageError(f"{path}: does not exist; materialize its labels again")
    return model


def _model(value: dict[str, Any]) -> dict[str, Any]:
    from geo_assets.core.histogram_kmeans import HistogramKMeans
    from geo_assets.core.pixel_model import PixelKMeans

    fitted = HistogramKMeans if "boundaries" in value else PixelKMeans
    k = len(fitted.from_dict(value).centers)
    if value.get("n_clusters", k) != k:
        raise ValueError(f"n_clusters: {value['n_clusters']}, and {k} centers")
    return value


def model_digest(model: Mapping[str, Any]) -> str:
    """Return the digest of what decides a model's labels, and of what they mean."""
    fields = ("centers", "boundaries", "scaled_centers", "offsets", "scales")
    return _digest_of(model, fields)


def origin_tags(model: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a raster of a model: which it is, and of what and how the raster is made.

    A borrowed model stays the same where the cube has changed.
    """
    return {
        MODEL_TAG: model_digest(model),
        INPUTS_TAG: _digest_of(model, ("inputs", "smooth_px")),
    }


def _digest_of(model: Mapping[str, Any], fields: Iterable[str]) -> str:
    said = [model.get(field) for field in fields]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def labelled_by(raster: Path, model: Mapping[str, Any]) -> bool:
    """Whether a label raster says that this model labelled it, of these inputs.

    One that does not say its model is not; those from before inputs were told may be.

    Raises:
        StorageError: If the raster is not there, or damaged.
    """
    tags, wanted = tags_of(raster), origin_tags(model)
    return {INPUTS_TAG: wanted[INPUTS_TAG], **tags}.items() >= wanted.items()


def tags_of(raster: Path) -> Mapping[str, str]:
    """Return what a raster says of its origin.

    Raises:
        StorageError: If the raster is not there, or damaged.
    """
    from geo_assets.storage.rasters.cog import open_raster

    with open_raster(raster) as opened:
        return opened.window(opened.geobox[:1, :1]).tags


def model_of_labels(raster: Path) -> dict[str, Any]:
    """Return the model beside a label raster, with which its labels can be read.

    Raises:
        StorageError: If one of the two is not there or damaged, or another model labelled it.
    """
    from geo_assets.storage.layout import model_of

    model = read_model(model_of(raster))
    if not labelled_by(raster, model):
        raise StorageError(
            f"{raster}: was labelled by another model than the one beside it; materialize its "
            "labels again"
        )
    return model


def check_agreement(
    partition: Partition,
    area: str,
    rules: LabelRules,
    model: Mapping[str, Any],
    wanted: Mapping[str, Any],
) -> None:
    """Refuse a borrowed model that was made for other features.

    Args:
        partition: The partition that borrows.
        area: Name of the area to be labelled; empty: all of them.
        rules: The asset's rules.
        model: The borrowed model.
        wanted: What this area asks of it, by field; K is asked too, unless it is ``auto``.

    Raises:
        ClusteringError: It names the first field that differs, and both values.
    """
    fields = dict(wanted)
    if rules.n_clusters != "auto":
        fields["n_clusters"] = rules.n_clusters
    for field, mine in fields.items():
        theirs = model.get(field)
        if theirs != mine:
            raise ClusteringError(
                f"{rules.section}.model_from: {field} differ: the model of {lending_key(rules)} "
                f"has {theirs}, {f'{partition} {area}'.rstrip()} has {mine}; if that model is of "
                f"earlier rules, materialize {lending_key(rules)} first"
            )
