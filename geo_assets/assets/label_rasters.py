"""Label rasters: K-Means on NDVI, in space and in time, each with its model beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.step import Facts, Partition, asset_step, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.pixel_kmeans import PixelKMeans, Scaling

METADATA = {"values": "uint8; 0 = outside or no data, 1 to K by rising centre"}

SAMPLE = 50_000
"""Series that the temporal model is fitted on, spread over the cluster."""

STARTS = 50
"""Starts of the temporal fit: with 10, one of the demo's 12 clusters ended in an optimum that
agreed less with its true cover (adjusted Rand index 0.850 instead of 0.861)."""

SCALINGS: dict[str, Scaling] = {"robust": "common-robust", "none": "none"}


@asset_step(
    group="labels", kinds={"cog", "scikitlearn"}, upstream=("ndvi_cube",), metadata=METADATA
)
def ndvi_temporal_labels(partition: Partition) -> Facts:
    """K-Means of each pixel's NDVI through time: one label raster for each AOI cluster.

    Series lie on a regular axis and share one scale; short gaps are filled by days, nothing is
    extrapolated in silence, and a pixel that stays incomplete is 0.
    """
    import numpy as np

    from geo_assets.core.pixel_kmeans import label_raster
    from geo_assets.core.temporal_features import temporal_features
    from geo_assets.errors import ClusteringError
    from geo_assets.storage.leftovers import remove_all_but

    campaign, layout = partition.campaign, partition.layout
    rules = campaign.temporal_labels
    folder = layout.ndvi_temporal_labels_folder(partition.fold, partition.split)
    published: list[Path] = []
    rows = []
    previews: dict[str, Any] = {}
    for cluster, days, values, geobox in _cubes(partition):
        if not days:
            partition.log.warning(f"{partition} cluster {cluster}: no day, no labels")
            continue
        series = temporal_features(
            values,
            np.array(days, "datetime64[D]"),
            rules.every,
            rules.max_gap_days,
            period=(np.datetime64(campaign.start), np.datetime64(campaign.end)),
        )
        if not series.complete.any():
            partition.log.warning(
                f"{partition} cluster {cluster}: no pixel has a value in each of the "
                f"{len(series.steps)} steps of {rules.every} from {campaign.start} to "
                f"{campaign.end}, no labels; narrow the dates or raise "
                f"temporal_labels.max_gap_days ({rules.max_gap_days})"
            )
            continue
        try:
            model = _fit_series(partition, series.values, series.complete)
        except ClusteringError as error:
            partition.log.warning(f"{partition} cluster {cluster}: no labels: {error}")
            continue
        raster, inertia = label_raster(model, series.values, series.complete)
        path = layout.ndvi_temporal_labels(partition.fold, partition.split, cluster)
        steps = [str(step) for step in series.steps]
        published += _publish(
            partition,
            path,
            raster,
            geobox,
            names=_names(model.centers.mean(axis=1)),
            model={
                "kind": "ndvi_temporal",
                "cluster": cluster,
                "every": rules.every,
                "max_gap_days": rules.max_gap_days,
                "steps": steps,
                "filled_share": round(series.filled_share, 6),
                "held_share": round(series.held_share, 6),
                "inertia": inertia,
                **model.to_dict(),
            },
        )
        rows.append(
            {
                "cluster": cluster,
                "steps": len(steps),
                "labelled_share": round(float((raster > 0).mean()), 4),
                "filled_share": round(series.filled_share, 4),
                "held_share": round(series.held_share, 4),
                "inertia": round(inertia, 2),
            }
        )
        if not previews:
            middle = len(steps) // 2
            previews = _previews(
                series.values[middle],
                raster,
                model.centers[:, middle, None],
                names=_names(model.centers.mean(axis=1)),
                subtitle=f"{steps[middle]}, cluster {cluster}",
            ) | _series_preview(model, steps)
    remove_all_but(folder, published)
    return _summary(folder, rules.n_clusters, rows, previews)


def _cubes(partition: Partition) -> Iterator[tuple[int, list[str], NDArray[np.int16], GeoBox]]:
    """Yield (cluster, days, NDVI (day, y, x) in steps of 1e-4, grid) of each published cube."""
    import odc.geo.xr  # noqa: F401  # registers the accessor that knows a cube's grid

    from geo_assets.core.indices import quantise_index
    from geo_assets.storage.cube import open_cube

    folder = partition.layout.ndvi_cubes(partition.fold, partition.split)
    for path in sorted(folder.glob("cluster-*.zarr")):
        with open_cube(path, asset="ndvi_cube") as cube:
            days = [str(day) for day in cube["time"].values.astype("datetime64[D]")]
            values = quantise_index(cube["ndvi"].values)
            yield int(path.stem.removeprefix("cluster-")), days, values, cube.odc.geobox


def _fit_series(
    partition: Partition, values: NDArray[np.float32], complete: NDArray[np.bool_]
) -> PixelKMeans:
    """Fit the temporal model to complete series (step, y, x), drawn evenly over the cluster."""
    from geo_assets.core.pixel_kmeans import fit_pixels, spread_sample

    rules, seed = partition.campaign.temporal_labels, partition.campaign.seed
    drawn = spread_sample(complete, SAMPLE, seed)
    return fit_pixels(
        values.reshape(len(values), -1)[:, drawn].T,
        rules.n_clusters,
        scaling=SCALINGS[rules.scaling],
        seed=seed,
        sample_size=SAMPLE,
        n_init=STARTS,
    )


def _publish(
    partition: Partition,
    path: Path,
    raster: NDArray[np.uint8],
    geobox: GeoBox,
    *,
    names: Sequence[str],
    model: dict[str, Any],
) -> list[Path]:
    """Publish a label raster with its class names, and its model beside it."""
    import numpy as np

    from geo_assets.previews.palette import class_table
    from geo_assets.storage.atomic import publish_json
    from geo_assets.storage.class_table import class_names_path
    from geo_assets.storage.cog import write_cog
    from geo_assets.storage.layout import model_of

    campaign = partition.campaign
    tags = {"TIFFTAG_COPYRIGHT": campaign.licence, "TIFFTAG_ARTIST": campaign.attribution}
    publish_json(model_of(path), model)
    write_cog(
        path,
        raster[np.newaxis],
        geobox,
        nodata=0,
        band_names=["label"],
        class_table=class_table(names, ordered=True),
        overviews="mode",
        tags={key: value for key, value in tags.items() if value},
    )
    return [path, model_of(path), class_names_path(path)]


def _names(centers: NDArray[np.floating]) -> list[str]:
    return [f"NDVI {center:.3f}" for center in centers]


def _summary(
    folder: Path, k: int, rows: list[dict[str, Any]], previews: dict[str, Any]
) -> dict[str, Any]:
    """What people see of a partition: numbers first, then pictures, the long table last."""
    return {
        "empty": not rows,
        "path": dg.MetadataValue.path(str(folder)),
        "rasters": len(rows),
        "clusters": k,
        **previews,
        "table": table_of(rows[:100]),
    }


def _previews(
    ndvi: NDArray[np.floating],
    raster: NDArray[np.uint8],
    centers: NDArray[np.floating],
    *,
    names: Sequence[str],
    subtitle: str,
) -> dict[str, Any]:
    """NDVI beside its labels, one mask a cluster, and NDVI rebuilt from the centres (K, 1)."""
    from geo_assets.previews.labels import class_masks, label_map, rebuilt_image
    from geo_assets.previews.palette import class_table
    from geo_assets.previews.png import markdown_image

    classes = class_table(names, ordered=True)
    pictures = {
        "preview": label_map(ndvi, raster, classes, subtitle=subtitle),
        "masks": class_masks(raster, classes, subtitle=subtitle),
        "rebuilt": rebuilt_image(ndvi, raster, centers, subtitle=subtitle),
    }
    return {
        name: dg.MetadataValue.md(markdown_image(png, f"{name}: {subtitle}"))
        for name, png in pictures.items()
    }


def _series_preview(model: PixelKMeans, steps: list[str]) -> dict[str, Any]:
    from geo_assets.previews.palette import class_table
    from geo_assets.previews.png import markdown_image
    from geo_assets.previews.series import ndvi_series

    classes = class_table(_names(model.centers.mean(axis=1)), ordered=True)
    picture = ndvi_series(model.centers, steps, classes)
    return {"series": dg.MetadataValue.md(markdown_image(picture, "NDVI of each cluster in time"))}
