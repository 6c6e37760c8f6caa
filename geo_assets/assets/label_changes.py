"""Label changes: what becomes of each cluster from date to date, and where labels drop for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.label_models import LABELS_TAG, model_of_labels, read_model
from geo_assets.assets.label_publication import (
    SHOWN_ROWS,
    file_tags,
    ndvi_classes,
    picture,
)
from geo_assets.assets.step import Facts, Partition, asset_step, shown_step, table_of
from geo_assets.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.label_changes import ChangeCounts

METADATA = {
    "values": "uint16, internal mask; changes, drop_date, from_label, to_label: see the bands"
}


@asset_step(
    group="labels",
    kinds={"cog", "numpy"},
    upstream=("ndvi_spatial_labels", "ndvi_temporal_labels"),
    metadata=METADATA,
)
def ndvi_label_changes(partition: Partition) -> Facts:
    """What becomes of each cluster through time: a change map and tables for each cube.

    The spatial labels of all dates are of one model, so that they can be followed: transitions
    between dates, areas of clusters, agreement with the temporal labels, and for each pixel how
    often its label changes and when it drops for good. Of fewer than two dates nothing can be
    followed, which is an answer.
    """
    import numpy as np

    from geo_assets.core.label_changes import BANDS
    from geo_assets.products.labels.days import FollowedArea
    from geo_assets.storage.atomic import publish_json
    from geo_assets.storage.layout import cluster_of, model_of
    from geo_assets.storage.leftovers import remove_all_but
    from geo_assets.storage.rasters.cog import read_geobox, write_cog_of_blocks
    from geo_assets.storage.rasters.overviews import Plain

    layout = partition.layout
    folder = layout.ndvi_label_changes_folder(partition.fold, partition.split)
    spatial = layout.ndvi_spatial_labels_folder(partition.fold, partition.split)
    published: list[Path] = []
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    previews: dict[str, Any] = {}
    dropped = followed = 0
    # By models too: a raster that was lost has left its own.
    kinds = ("cluster-*/*.tif", "cluster-*/*.json")
    names = {path.parent.name for kind in kinds for path in spatial.glob(kind)}
    for name in sorted(names, key=lambda name: (cluster_of(name), name)):
        dates, days, centers = _labels_of(partition, name)
        if len(days) < 2:
            reasons[name] = f"labels of {len(days)} date; two are needed to follow them"
            partition.log.warning(f"{partition} {name}: no changes: {reasons[name]}")
            continue
        labels = dates.digest()
        geobox = read_geobox(dates.paths[0], asset="ndvi_spatial_labels")
        area = FollowedArea(dates, geobox, shown_step(geobox))
        path = layout.ndvi_label_changes(partition.fold, partition.split, name)
        write_cog_of_blocks(
            path,
            area.blocks(partition.workers),
            Plain(geobox, len(BANDS), np.dtype(np.uint16), masked=True, nodata=None),
            band_names=list(BANDS),
            band_descriptions=list(BANDS.values()),
            overviews="mode",
            tags=file_tags(partition) | {LABELS_TAG: labels},
        )
        counts = area.counts
        assert counts is not None  # noqa: S101  # a grid has at least one block
        tables = _tables(counts, days, centers, _square_metres(geobox))
        named = {"kind": "ndvi_label_changes", "area": name, "labels_sha256": labels}
        publish_json(model_of(path), named | tables)
        published += [path, model_of(path)]
        dropped += area.dropped
        followed += area.followed
        rows += [
            {
                "area": name,
                "day": date["day"],
                "valid_share": round(date["valid_share"], 4),
                "shares": " ".join(f"{share:.3f}" for share in date["shares"]),
                "adjusted_rand": _text(date["adjusted_rand"]),
                "normalized_mutual_information": _text(date["normalized_mutual_information"]),
            }
            for date in tables["dates"]
        ]
        if not previews:
            previews = _previews(counts, area.shown, days, centers, f"{partition}, {name}")
    remove_all_but(folder, published)
    return {
        "empty": not published,
        "path": dg.MetadataValue.path(str(folder)),
        "rasters": len(published) // 2,
        "not_followed": "; ".join(f"{name}: {reason}" for name, reason in reasons.items()),
        "dropped_share": round(dropped / max(followed, 1), 4),
        **previews,
        "table": table_of(rows[:SHOWN_ROWS]),
    }


def _labels_of(partition: Partition, name: str) -> tuple[Any, list[str], NDArray[np.float64]]:
    """Return the label rasters of an area's dates, their days, and the centres of their model.

    Raises:
        StorageError: If the rasters are not of one model and one state of the cube, or not of the
            models beside them, or if one is not there whose model is.
    """
    import numpy as np

    from geo_assets.core.indices import NDVI_SCALE
    from geo_assets.products.labels.days import LabelDates

    layout = partition.layout
    shared = layout.ndvi_spatial_model(partition.fold, partition.split, name)
    if not shared.is_file():
        raise StorageError(
            f"{shared}: no model for all dates; materialize "
            f"{partition.campaign.name}/ndvi_spatial_labels of {partition} first"
        )
    of_all = read_model(shared)
    centers, cube = of_all["centers"], _cube_of(of_all)
    folder = layout.ndvi_spatial_labels_folder(partition.fold, partition.split) / name
    paths = sorted(folder.glob("*.tif"))
    for model in sorted(folder.glob("????-??-??.json")):  # a day's; K reports have other names
        raster = model.with_suffix(".tif")
        if raster not in paths:
            raise StorageError(
                f"{raster}: does not exist, but its model does; materialize "
                f"{partition.campaign.name}/ndvi_spatial_labels of {partition} again"
            )
    for path in paths:
        own = model_of_labels(path)
        others = {
            "model": own["centers"] != centers,
            "state of the cube": _cube_of(own) != cube,
            "smooth_px": own.get("smooth_px") != of_all.get("smooth_px"),
        }
        if any(others.values()):
            what = next(what for what, other in others.items() if other)
            raise StorageError(
                f"{path}: is of another {what} than the other dates; materialize "
                f"{partition.campaign.name}/ndvi_spatial_labels of {partition} again"
            )
    series: Path | None = layout.ndvi_temporal_labels(partition.fold, partition.split, name)
    n_series = 0
    of_series = model_of_labels(series) if series is not None and series.is_file() else None
    if of_series is not None and _cube_of(of_series) == cube:
        n_series = len(of_series["centers"])
    else:
        series = None
        why = "" if of_series is None else "; those that lie there are of another state of the cube"
        partition.log.warning(f"{partition} {name}: no temporal labels to compare with{why}")
    days = [path.stem for path in paths]
    dates = LabelDates(tuple(paths), series, len(centers), n_series)
    return dates, days, np.array(centers) * NDVI_SCALE


def _cube_of(model: Mapping[str, Any]) -> object:
    """Return what tells the cube that a model's labels were made of."""
    return model.get("inputs", {}).get("ndvi_cube")


def _tables(
    counts: ChangeCounts,
    days: Sequence[str],
    centers: NDArray[np.float64],
    square_metres: float | None,
) -> dict[str, Any]:
    """Return the tables of an area as JSON values; matrices are pixels from row to column.

    The valid share of a date is that of the raster, as the labelled share of all labels.
    """
    from geo_assets.core.label_changes import adjusted_rand, normalized_mutual_information

    dates = []
    for number, day in enumerate(days):
        pixels = counts.areas[number]
        valid = int(pixels[1:].sum())
        together = counts.with_series[number]
        dates.append(
            {
                "day": day,
                "valid_share": valid / max(int(pixels.sum()), 1),
                "pixels": pixels[1:].tolist(),
                "square_metres": None
                if square_metres is None
                else [float(count) * square_metres for count in pixels[1:].tolist()],
                "shares": [count / max(valid, 1) for count in pixels[1:].tolist()],
                "adjusted_rand": adjusted_rand(together),
                "normalized_mutual_information": normalized_mutual_information(together),
            }
        )
    return {
        "centers": centers.tolist(),
        "pixel_square_metres": square_metres,
        "dates": dates,
        "transitions": counts.observed.tolist(),
        "first_to_last": counts.first_last.tolist(),
        "between_dates": [
            {"from": days[number], "to": days[number + 1], "pixels": matrix.tolist()}
            for number, matrix in enumerate(counts.successive)
        ],
    }


def _square_metres(geobox: GeoBox) -> float | None:
    """Return the area of a pixel; None where a metre of the CRS is none on the ground."""
    from geo_assets.core.areas import measures_metres
    from geo_assets.core.grids import crs_of

    if not measures_metres(str(crs_of(geobox))):
        return None
    return abs(float(geobox.resolution.x) * float(geobox.resolution.y))


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _previews(
    counts: ChangeCounts,
    shown: tuple[NDArray[np.uint16], NDArray[np.bool_]],
    days: list[str],
    centers: NDArray[np.float64],
    subtitle: str,
) -> dict[str, Any]:
    from geo_assets.previews.changes import area_series, drop_map, transition_map

    classes = ndvi_classes(centers)
    drops, valid = shown
    return {
        "drops": picture(
            drop_map(drops, valid, days, subtitle=subtitle),
            f"Lasting drops, {subtitle}",
        ),
        "transitions": picture(
            transition_map(
                counts.observed, classes, subtitle=f"{subtitle}, from one valid date to the next"
            ),
            f"Transitions between dates, {subtitle}",
        ),
        "first_to_last": picture(
            transition_map(
                counts.first_last,
                classes,
                title="From the first to the last date",
                subtitle=f"{subtitle}, of each pixel",
                counted="its pixels",
            ),
            f"Transitions from first to last date, {subtitle}",
        ),
        "areas": picture(
            area_series(
                counts.areas, days, classes, subtitle=f"{subtitle}, shares of the whole raster"
            ),
            f"Area of each cluster, {subtitle}",
        ),
    }
