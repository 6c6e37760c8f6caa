"""How label rasters are published and shown: what all label assets have in common.

A raster goes out with its class names, its model and, where it chose K, the K report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.label_models import origin_tags
from geo_assets.assets.step import Partition, table_of
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.k_report import KReport
    from geo_assets.previews.palette import ClassTable

METADATA = {"values": "uint8; 0 = outside or no data, 1 to K by rising centre"}

NO_DATE = "the cube has no date"
"""An answer rather than a failure, as is a partition without cubes."""

SHOWN_ROWS = 100
"""Rows of a table in the metadata; the rasters themselves are all there."""


def publish_labels(
    partition: Partition,
    path: Path,
    raster: NDArray[np.uint8],
    geobox: GeoBox,
    *,
    classes: ClassTable,
    model: Mapping[str, Any],
    report: KReport | None = None,
) -> list[Path]:
    """Publish a label raster with its class names, its model and K report; return the files."""
    from geo_assets.storage.layout import model_of
    from geo_assets.storage.rasters.class_table import class_names_path
    from geo_assets.storage.rasters.cog import write_cog

    published = publish_model(model_of(path), model, report)
    write_cog(
        path,
        raster[None],
        geobox,
        nodata=0,
        band_names=["label"],
        class_table=classes,
        overviews="mode",
        tags=file_tags(partition) | origin_tags(model),
    )
    return [path, class_names_path(path), *published]


def publish_model(path: Path, model: Mapping[str, Any], report: KReport | None) -> list[Path]:
    """Publish a model as JSON and, where there is one, its K report; return the files."""
    from geo_assets.storage.atomic import publish_json
    from geo_assets.storage.layout import k_report_of

    if report is None:
        publish_json(path, dict(model))
        return [path]
    publish_json(k_report_of(path), report.to_dict())
    publish_json(path, {**model, "k_report": report.to_dict()})
    return [path, k_report_of(path)]


def file_tags(partition: Partition) -> dict[str, str]:
    """Return attribution and licence as tags of a GeoTIFF."""
    campaign = partition.campaign
    tags = {"TIFFTAG_COPYRIGHT": campaign.licence, "TIFFTAG_ARTIST": campaign.attribution}
    return {key: value for key, value in tags.items() if value}


def ndvi_classes(centers: NDArray[np.floating]) -> ClassTable:
    """Return a class for each centre (K,), coloured from bare brown to dense green.

    Names begin with the label, for centres that are written alike.
    """
    from geo_assets.previews.palette import class_table

    names = [f"{label}: NDVI {center:.3f}" for label, center in enumerate(centers, start=1)]
    return class_table(names, ordered=True)


def refuse_if_nothing_was_made(
    partition: Partition, asset: str, reasons: Mapping[str, str], made: int
) -> None:
    """End a partition with areas of which none could be labelled as a failure.

    Cubes without a date do not count: there is nothing to label.

    Raises:
        ClusteringError: It names the reason of each area.
    """
    failed = [f"{area}: {reason}" for area, reason in reasons.items() if reason != NO_DATE]
    if failed and not made:
        told = "; ".join(failed[:5])
        more = f"; and {len(failed) - 5} more" if len(failed) > 5 else ""
        msg = f"{asset} {partition}: no raster could be made: {told}{more}"
        raise ClusteringError(msg)


def summary(
    folder: Path, k: int | str, rows: Sequence[Mapping[str, Any]], previews: Mapping[str, Any]
) -> dict[str, Any]:
    """What people see of a partition: numbers first, then pictures, the long table last.

    Args:
        folder: Where the rasters are.
        k: K as the campaign has it.
        rows: One for each raster; those with a ``note`` are of areas or dates that have none.
        previews: Pictures, and what belongs to them.
    """
    made = [row for row in rows if not row["note"]]
    chosen = sorted({row["K"] for row in made})
    return {
        "empty": not made,
        "path": dg.MetadataValue.path(str(folder)),
        "rasters": len(made),
        "without_raster": len(rows) - len(made),
        "clusters": _range_of(chosen) if chosen else k,
        **previews,
        # What went wrong comes first: the table may be cut.
        "table": table_of(sorted(rows, key=lambda row: not row["note"])[:SHOWN_ROWS]),
    }


def k_facts(reports: Mapping[str, KReport], shown: str = "") -> dict[str, Any]:
    """Return K reports as one table, and a plot of one of them.

    Args:
        reports: By what their models were fitted on; without any there is nothing to show.
        shown: Which one is plotted, its lines first; where it is none of them, the first.
    """
    from geo_assets.previews.k_report import k_plot

    if not reports:
        return {}
    ordered = sorted(reports.items(), key=lambda item: item[0] != shown)
    plotted, report_shown = ordered[0]
    rows = [
        {
            "model": fitted_on,
            "K": row.k,
            "chosen": "yes" if row.k == report.chosen else "",
            "inertia": round(row.inertia, 4),
            "silhouette": round(row.silhouette, 4),
            "calinski_harabasz": round(row.calinski_harabasz, 1),
            "stability_seeds": _rounded(row.stability_seeds),
            "stability_folds": _rounded(row.stability_folds),
        }
        for fitted_on, report in ordered
        for row in report.rows
    ]
    return {
        "k_plot": picture(k_plot(report_shown, subtitle=plotted), f"Criteria of each K, {plotted}"),
        "k_report": table_of(rows[:SHOWN_ROWS]),
        "k_rule": report_shown.rule,
    }


def label_pictures(
    image: NDArray[Any],
    raster: NDArray[np.uint8],
    classes: ClassTable,
    centers: NDArray[np.floating],
    *,
    valid: NDArray[np.bool_] | None = None,
    subtitle: str,
    name: str = "",
) -> dict[str, Any]:
    """Show an image beside its labels, one mask a cluster, and the image rebuilt from centres.

    Args:
        image: NDVI (y, x), or red, green, blue (3, y, x).
        raster: Its labels (y, x).
        classes: Names and colours.
        centers: (K, band) in units and bands of ``image``.
        valid: (y, x), where the image has data.
        subtitle: Which day, which cluster.
        name: Which bands the image shows; empty: NDVI.
    """
    from geo_assets.previews.labels import class_masks, label_map, rebuilt_image

    return {
        key: picture(png, f"{key}: {subtitle}")
        for key, png in {
            "preview": label_map(image, raster, classes, valid, subtitle=subtitle, name=name),
            "masks": class_masks(raster, classes, subtitle=subtitle),
            "rebuilt": rebuilt_image(image, raster, centers, valid, subtitle=subtitle, name=name),
        }.items()
    }


def picture(png: bytes, alt: str) -> dg.MarkdownMetadataValue:
    """Return a picture as metadata."""
    from geo_assets.previews.png import markdown_image

    return dg.MetadataValue.md(markdown_image(png, alt))


def _range_of(numbers: Sequence[int]) -> int | str:
    """Return the one number there is, or the least and the greatest of rising ones."""
    return numbers[0] if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _rounded(value: float | None) -> str:
    """As text: a column of a table holds one type, and some criteria are absent."""
    return "" if value is None else f"{value:.4f}"
