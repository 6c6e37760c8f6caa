"""What is wrong with published label rasters and change maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geo_assets.assets.label_models import (
    LABELS_TAG,
    labelled_by,
    model_digest,
    published_models,
    read_model,
    tags_of,
)
from geo_assets.storage.json_files import read_json

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.assets.problems import Problems
    from geo_assets.campaign_labels import ModelFrom
    from geo_assets.storage.layout import Layout


def spatial_labels(layout: Layout, fold: str, split: str) -> Problems:
    """Return the spatial labels that are not of their model."""
    return _labels_of_another_model(layout.ndvi_spatial_labels_folder(fold, split))


def temporal_labels(layout: Layout, fold: str, split: str) -> Problems:
    """Return the temporal labels that are not of their model."""
    return _labels_of_another_model(layout.ndvi_temporal_labels_folder(fold, split))


def land_cover_labels(layout: Layout, fold: str, split: str) -> Problems:
    """Return the land-cover labels that are not of their model."""
    return _labels_of_another_model(layout.land_cover_labels_folder(fold, split))


def labels_of_another_lender(
    layout: Layout, fold: str, split: str, *, asset: str, lender: ModelFrom
) -> Problems:
    """Return the labels whose model is no longer that of the partition it was borrowed of."""
    if (fold, split) == (lender.fold, lender.split):
        return []
    folder_of = {
        "ndvi_spatial_labels": layout.ndvi_spatial_labels_folder,
        "ndvi_temporal_labels": layout.ndvi_temporal_labels_folder,
        "land_cover_labels": layout.land_cover_labels_folder,
    }[asset]
    lent = {
        model_digest(read_model(path))
        for path in published_models(folder_of(lender.fold, lender.split), lender.cluster).values()
    }
    told = "has another model now" if lent else "has no model"
    return [
        {"area": name, "lender": f"{lender.fold}|{lender.split} {told}"}
        for name, path in published_models(folder_of(fold, split)).items()
        if model_digest(read_model(path)) not in lent
    ]


def spatial_labels_of_another_cube(layout: Layout, fold: str, split: str) -> Problems:
    """Return the cubes that have changed since their spatial labels were made."""
    folder = layout.ndvi_spatial_labels_folder(fold, split)
    return _labels_of_another_cube(folder, layout, fold, split)


def temporal_labels_of_another_cube(layout: Layout, fold: str, split: str) -> Problems:
    """Return the cubes that have changed since their temporal labels were made."""
    folder = layout.ndvi_temporal_labels_folder(fold, split)
    return _labels_of_another_cube(folder, layout, fold, split)


def _labels_of_another_cube(folder: Path, layout: Layout, fold: str, split: str) -> Problems:
    from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
    from geo_assets.storage.cubes.opening import open_group, published_cubes
    from geo_assets.storage.layout import model_of

    made_from: dict[str, set[str | None]] = {}
    for path in sorted(folder.rglob("*.tif")):
        if model_of(path).is_file():  # else said by the check of labels and their model
            model = read_model(model_of(path))
            inputs = model.get("inputs", {})
            made_from.setdefault(str(model.get("area")), set()).add(inputs.get("ndvi_cube"))
    there = {
        name: open_group(path).attrs.get(CHECKSUM_ATTRIBUTE)
        for name, path in published_cubes(layout, fold, split).items()
    }
    return [
        {"area": area, "ndvi_cube": "has changed since" if area in there else "is gone"}
        for area, checksums in made_from.items()
        if area not in there or checksums != {there[area]}
    ]


def land_cover_of_another_composite(layout: Layout, fold: str, split: str) -> Problems:
    """Return the land-cover labels whose composite was healed or made anew since."""
    from geo_assets.storage.layout import model_of

    images = layout.composite_images(fold, split)
    problems: Problems = []
    for path in sorted(layout.land_cover_labels_folder(fold, split).glob("*.tif")):
        if not model_of(path).is_file():
            continue  # said by the check of labels and their model
        made_from = read_model(model_of(path)).get("inputs", {}).get("composite_image")
        there = _digest_of_composite(images / path.name)
        if made_from != there:
            told = "has changed since" if there else "is gone"
            problems.append({"raster": path.name, "composite_image": told})
    return problems


def _digest_of_composite(image: Path) -> str | None:
    """Return the digest of a composite as its sidecar says it, else of the file; None: is gone."""
    from geo_assets.products.composites.sidecar import Sidecar
    from geo_assets.storage.atomic import sha256_of

    if not image.is_file():
        return None
    sidecar = Sidecar.read(image.with_suffix(".json"))
    return f"sha256:{sha256_of(image) if sidecar is None else sidecar.sha256}"


def _labels_of_another_model(folder: Path) -> Problems:
    from geo_assets.storage.layout import model_of
    from geo_assets.storage.rasters.cog import highest_values

    problems: Problems = []
    for path in sorted(folder.rglob("*.tif")):
        model = read_model(model_of(path)) if model_of(path).is_file() else None
        highest = max(highest_values(path))
        if model is None:
            told = "no model"
        elif not labelled_by(path, model):
            told = "another model"
        elif highest > len(model["centers"]):
            told = str(len(model["centers"]))
        else:
            continue
        problems.append(
            {
                "raster": path.relative_to(folder).as_posix(),
                "highest_label": highest,
                "clusters": told,
            }
        )
    return problems


def label_changes(layout: Layout, fold: str, split: str) -> Problems:
    """Return the change maps that are not of the labels of their tables, or hold more."""
    from geo_assets.storage.layout import model_of
    from geo_assets.storage.rasters.cog import highest_values

    folder = layout.ndvi_label_changes_folder(fold, split)
    problems: Problems = []
    for path in sorted(folder.glob("*.tif")):
        tables = read_json(
            model_of(path), _Tables.of, "table of changes", "materialize ndvi_label_changes again"
        )
        changes, drop, before, after = highest_values(path)
        followed = tags_of(path).get(LABELS_TAG)
        if tables is None:
            told = "no tables"
        elif not followed:
            told = "an older map, which names no labels"
        elif followed != tables.labels:
            told = "tables of other labels"
        elif max(before, after) > tables.clusters or max(changes, drop) > tables.dates:
            told = f"{tables.clusters} clusters, {tables.dates} dates"
        else:
            continue
        problems.append(
            {
                "raster": path.relative_to(folder).as_posix(),
                "highest_label": max(before, after),
                "highest_date": drop,
                "told": told,
            }
        )
    return problems


@dataclass(frozen=True)
class _Tables:
    """What the tables beside a change map say of it."""

    clusters: int
    dates: int
    labels: str | None

    @classmethod
    def of(cls, value: dict[str, Any]) -> _Tables:
        return cls(len(value["centers"]), len(value["dates"]), value.get("labels_sha256"))
