"""Cubes: NDVI of every clear day, one Zarr store for each AOI cluster."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.imagery import cloud_rules, scenes_of_boxes
from geo_assets.assets.step import Facts, Partition, asset_step, table_of
from geo_assets.progress import logged

if TYPE_CHECKING:
    from geo_assets.sources.cubes import CubeBuilder


@asset_step(
    group="cubes",
    kinds={"zarr", "xarray"},
    upstream=("scenes",),
    metadata={"variable": "ndvi (time, y, x), int16 × 1e-4, -32768 is missing"},
)
def ndvi_cube(partition: Partition) -> Facts:
    """NDVI of every clear day, one Zarr cube for each AOI cluster.

    Missing outside the area, under cloud, where NIR + red is not positive and where |NDVI| > 1.
    Opened by ``xarray.open_zarr(path)``; published whole.
    """
    import numpy as np

    from geo_assets.previews.cubes import ndvi_map, valid_share
    from geo_assets.previews.png import markdown_image
    from geo_assets.storage.cube import open_cube
    from geo_assets.storage.disk import require_room
    from geo_assets.storage.leftovers import remove_all_but

    layout = partition.layout
    folder = layout.ndvi_cubes(partition.fold, partition.split)
    builders = cube_builders(partition)
    sizes = [b.geobox.shape[0] * b.geobox.shape[1] * 2 * len(b.items) for b in builders.values()]
    require_room(folder, sum(sizes), f"ndvi_cube {partition}", at_once=max(sizes, default=0))
    rows: list[dict[str, Any]] = []
    days: set[str] = set()
    published = []
    previews: dict[str, Any] = {}
    for cluster, builder in builders.items():
        path = layout.ndvi_cube(partition.fold, partition.split, cluster)
        made, how = builder.build(
            path,
            logged(partition.log, f"cube {partition} cluster {cluster}: blocks"),
            partition.workers,
        )
        for error, windows in Counter(window.error for window in made.failed).items():
            partition.log.warning(f"{partition} cluster {cluster}: {error} ({windows} windows)")
        published.append(path)
        days |= set(made.days)
        rows.append(
            {
                "cluster": cluster,
                "done": how,
                "rows": builder.geobox.shape[0],
                "cols": builder.geobox.shape[1],
                "crs": str(builder.geobox.crs),
                "days": len(made.days),
                "mean_valid_share": round(float(np.mean(made.valid_share or [0])), 4),
                "outliers": sum(made.outliers),
                "failed_windows": len(made.failed),
            }
        )
        if not previews and made.days:
            clearest = int(np.argmax(made.valid_share))
            with open_cube(path) as cube:
                picture = ndvi_map(
                    cube["ndvi"].isel(time=clearest).values,
                    subtitle=f"{made.days[clearest]}, cluster {cluster}",
                )
            previews["preview"] = dg.MetadataValue.md(
                markdown_image(picture, f"NDVI of cluster {cluster} on {made.days[clearest]}")
            )
            previews["valid_share"] = dg.MetadataValue.md(
                markdown_image(valid_share(made.valid_share, made.days), "Valid share by day")
            )
    if partition.campaign.clusters.only is None:
        remove_all_but(folder, published)
    return {
        "empty": not builders,
        "path": dg.MetadataValue.path(str(folder)),
        "cubes": len(builders),
        "dates": len(days),
        "first_day": min(days, default="none"),
        "last_day": max(days, default="none"),
        "failed_windows": sum(row["failed_windows"] for row in rows),
        **previews,
        "table": table_of(rows),
    }


def cube_builders(partition: Partition) -> dict[int, CubeBuilder]:
    """Return, for each cluster with a pixel grid, what builds its cube.

    Raises:
        StorageError: If an upstream table is not materialized.
    """
    import numpy as np

    from geo_assets.sources.area_grid import grid_of_area, mask_of_polygons
    from geo_assets.sources.cubes import CubeBuilder, CubeRules
    from geo_assets.storage.geoparquet import read_table

    campaign, layout = partition.campaign, partition.layout
    choice = campaign.cube
    assert choice is not None  # noqa: S101  # without it the asset is not in the graph
    rules = CubeRules(
        choice.red,
        choice.nir,
        cloud_rules(campaign),
        campaign.clouds.min_clear,
        choice.outliers.rule,
        choice.outliers.n_sigma,
    )
    polygons = read_table(
        layout.aoi_clusters(partition.fold, partition.split), asset="aoi_clusters"
    )
    attrs = {
        "title": campaign.title or campaign.name,
        "attribution": campaign.attribution,
        "license": campaign.licence,
    }
    builders = {}
    for box, items in scenes_of_boxes(partition):
        grid = grid_of_area(partition.raster_source, box, items, campaign.bands, campaign.grid)
        if grid is None or not items:
            partition.log.warning(f"{partition} cluster {box.cluster}: no scene, no cube")
            continue
        if choice.area == "box":
            area = np.ones(grid.shape.yx, bool)
        else:
            area = mask_of_polygons(polygons[polygons["cluster"] == box.cluster], grid)
        builders[box.cluster] = CubeBuilder(
            partition.raster_source, items, grid, area, rules, {k: v for k, v in attrs.items() if v}
        )
    return builders
