"""Cubes: indices and bands of every clear day, one store for each AOI cluster or MGRS tile."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from geo_assets.assets.areas import read_boxes
from geo_assets.assets.imagery import cloud_rules, warn_of_unread
from geo_assets.assets.scenes import scenes_of_boxes
from geo_assets.assets.step import DATA_VERSION, Facts, Partition, asset_step, shown_step, table_of
from geo_assets.core.index_catalogue import SMOOTHED
from geo_assets.progress import logged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.areas import ClusterBox
    from geo_assets.products.cubes.builder import CubeBuilder
    from geo_assets.products.cubes.facts import CubeFacts
    from geo_assets.products.cubes.rules import CubeRules
    from geo_assets.sources.protocol import Item


@asset_step(
    group="cubes",
    kinds={"zarr", "xarray"},
    upstream=("scenes",),
    metadata={"variable": "ndvi (time, y, x), int16 × 1e-4, -32768 is missing"},
)
def ndvi_cube(partition: Partition) -> Facts:
    """NDVI, further indices and bands of every clear day, one cube for each AOI cluster or tile.

    Missing outside the area, under cloud, where NIR + red is not positive and where |NDVI| > 1.
    Only days with new or changed scenes are read. Opened by ``geo_assets.open_cube(path)``, plain
    Zarr by ``xarray.open_zarr(path)`` too; published whole, or as one transaction of Icechunk.
    """
    import numpy as np

    from geo_assets.storage.cubes.icechunk_cube import collect_garbage, lock_of
    from geo_assets.storage.cubes.opening import cubes_replaced_by, results_of_other_clusters
    from geo_assets.storage.cubes.time_major import time_major_of
    from geo_assets.storage.layout import cluster_of
    from geo_assets.storage.leftovers import remove_all_but
    from geo_assets.storage.seen_scenes import UsedScenes, scenes_of_table, write_used_scenes

    choice = partition.campaign.cube
    assert choice is not None  # noqa: S101  # without it the asset is not in the graph
    folder = partition.layout.ndvi_cubes(partition.fold, partition.split)
    clusters = {box.cluster for box in read_boxes(partition)}
    # Read before the scenes of the cubes are: scenes that another run adds meanwhile stay new.
    used = scenes_of_table(partition.layout.scenes(partition.fold, partition.split)) or ()
    builders = cube_builders(partition)
    rows: list[dict[str, Any]] = []
    days: set[str] = set()
    published: list[Path] = []
    facts: dict[str, CubeFacts] = {}
    for path, builder in builders.items():
        name = path.stem
        made, how = builder.build(
            path,
            logged(partition.log, f"cube {partition} {name}: days"),
            partition.workers,
            cubes_replaced_by(path, builders.keys()),
        )
        partition.log.info(f"{partition} {name}: {how}")
        for day, reason in made.put_off:
            partition.log.warning(f"{partition} {name}: {day} stays as it was: {reason}")
        warn_of_unread(partition, name, made.failed)
        for index, count in made.outside:
            partition.log.warning(
                f"{partition} {name}: {count} values of {index} beyond ±3.2767 are missing"
            )
        if not made.days:
            why = _why_empty(builder, made, partition.campaign.clouds.min_clear)
            partition.log.warning(f"{partition} {name}: no date: {why}")
        if made.snapshot and how != "kept":
            collect_garbage(path, dt.timedelta(days=choice.keep_snapshots_days))
        facts[name] = made
        published += [path, lock_of(path), time_major_of(path)]
        days |= set(made.days)
        rows.append(
            {
                "cube": name,
                "done": how,
                "rows": builder.geobox.shape[0],
                "cols": builder.geobox.shape[1],
                "crs": str(builder.geobox.crs),
                "days": len(made.days),
                "days_left_out": len(made.left_out),
                "mean_valid_share": round(float(np.mean(made.valid_share or [0])), 4),
                "outliers": sum(made.outliers),
                "failed_windows": len(made.failed),
                "snapshot": made.snapshot or "",
            }
        )
    if partition.campaign.clusters.only is not None:
        published += results_of_other_clusters(folder, clusters)
    remove_all_but(folder, published)
    of_cubes = frozenset(scene for scene in used if scene[0] in clusters)
    unread = {(cluster_of(name), scene) for name, made in facts.items() for scene in made.unread}
    write_used_scenes(
        partition.layout.used_scenes(partition.fold, partition.split),
        UsedScenes(of_cubes, of_cubes & unread),
    )
    snapshots = {name: made.snapshot for name, made in facts.items() if made.snapshot}
    return {
        "empty": not builders,
        "path": dg.MetadataValue.path(str(folder)),
        "cubes": len(builders),
        "variables": ", ".join(_variables(builders)),
        "dates": len(days),
        "first_day": min(days, default="none"),
        "last_day": max(days, default="none"),
        "failed_windows": sum(row["failed_windows"] for row in rows),
        **({DATA_VERSION: _version(snapshots)} if snapshots else {}),
        **_previews(builders, facts),
        "table": table_of(rows),
    }


def cube_builders(partition: Partition) -> dict[Path, CubeBuilder]:
    """Return, by the place of each cube, what builds it.

    Raises:
        StorageError: If an upstream table is not materialized.
        SourceError: If cubes are by tile and a scene names none.
    """
    from geo_assets.products.cubes.builder import CubeBuilder
    from geo_assets.storage.geoparquet import read_table

    campaign, layout = partition.campaign, partition.layout
    choice = campaign.cube
    assert choice is not None  # noqa: S101  # without it the asset is not in the graph
    polygons = read_table(
        layout.aoi_clusters(partition.fold, partition.split), asset="aoi_clusters"
    )
    attrs = {
        "title": campaign.title or campaign.name,
        "attribution": campaign.attribution,
        "license": campaign.licence,
    }
    builders = {}
    for box, tile, items, grid in _areas(partition):
        path = layout.ndvi_cube(
            partition.fold, partition.split, box.cluster, tile=tile, store=choice.store
        )
        area = _area(choice.area, polygons[polygons["cluster"] == box.cluster], grid)
        builders[path] = CubeBuilder(
            partition.raster_source,
            items,
            grid,
            area,
            cube_rules(partition),
            {key: value for key, value in attrs.items() if value},
        )
    return builders


def cube_rules(partition: Partition) -> CubeRules:
    """Return how the campaign's observations become cubes."""
    from geo_assets.core.index_catalogue import find_index
    from geo_assets.core.smoothing import SmoothingRules
    from geo_assets.products.cubes.rules import CubeRules, IndexRule

    campaign = partition.campaign
    choice, bands = campaign.cube, campaign.composite.bands
    assert choice is not None  # noqa: S101  # without it the asset is not in the graph
    smoothing = choice.smoothing
    return CubeRules(
        choice.red,
        choice.nir,
        cloud_rules(campaign),
        campaign.clouds.min_clear,
        choice.outliers.rule,
        choice.outliers.n_sigma,
        indices=tuple(
            IndexRule(
                name,
                tuple((c, choice.band_of(c, bands)) for c in find_index(name).bands.values()),
            )
            for name in choice.indices(bands)
        ),
        raw_bands=choice.raw_bands(bands),
        scale=choice.scale,
        smoothing=None if smoothing is None else SmoothingRules(**smoothing.model_dump()),
    )


def _areas(partition: Partition) -> Iterator[tuple[ClusterBox, str | None, list[Item], GeoBox]]:
    """Yield cluster, tile, scenes and pixel grid of each cube there can be."""
    from geo_assets.products.area_grid import grid_of_area
    from geo_assets.products.cubes.tiles import grid_of_tile, items_by_tile

    campaign, source = partition.campaign, partition.raster_source
    by_tile = campaign.cube is not None and campaign.cube.cube_by == "tile"
    for box, items in scenes_of_boxes(partition):
        if not items:
            partition.log.warning(f"{partition} cluster {box.cluster}: no scene, no cube")
            continue
        if not by_tile:
            grid = grid_of_area(source, box, items, campaign.bands, campaign.grid)
            if grid is not None:
                yield box, None, items, grid
            continue
        for tile, of_tile in items_by_tile(items).items():
            grid = grid_of_tile(source, box, of_tile, campaign.bands, campaign.grid)
            if grid is None:
                partition.log.info(f"{partition} cluster {box.cluster}: tile {tile} lies beside it")
            else:
                yield box, tile, of_tile, grid


def _area(rule: str, polygons: Any, grid: GeoBox) -> NDArray[np.bool_]:
    import numpy as np

    from geo_assets.products.area_grid import mask_of_polygons

    return np.ones(grid.shape.yx, bool) if rule == "box" else mask_of_polygons(polygons, grid)


def _why_empty(builder: CubeBuilder, made: CubeFacts, min_clear: float) -> str:
    """Say why a cube has no date."""
    if not builder.area.any():
        return "no pixel has its centre in the area; cube.area: box takes all around it"
    if not made.left_out:
        return "no scene meets the area"
    days = f"of {len(made.left_out)} days none"
    if min_clear > 0:
        could = "could be read and " if made.failed else ""
        return f"{days} {could}is clear enough (clouds.min_clear: {min_clear})"
    if made.failed:
        return f"{days} could be read: {made.failed[0].error}"
    return f"{days} has a pixel of a scene in the area"


def _variables(builders: dict[Path, CubeBuilder]) -> list[str]:
    """Names of the variables of the cubes, which are the same for all."""
    for builder in builders.values():
        variables = builder.rules.variables({})
        smoothed = [index.variable + SMOOTHED for index in builder.rules.all_indices]
        return [v.name for v in variables] + (smoothed if builder.rules.smoothing else [])
    return []


def _version(snapshots: dict[str, str]) -> str:
    """The snapshot of a partition's one cube; of several, each with its name."""
    if len(snapshots) == 1:
        return next(iter(snapshots.values()))
    return ", ".join(f"{name} {snapshot}" for name, snapshot in sorted(snapshots.items()))


def _previews(builders: dict[Path, CubeBuilder], facts: dict[str, CubeFacts]) -> dict[str, Any]:
    """Pictures of the first cube that has a day."""
    import numpy as np

    from geo_assets.previews.cubes import ndvi_map, valid_share
    from geo_assets.previews.png import markdown_image
    from geo_assets.storage.cubes.opening import open_cube

    for path, builder in builders.items():
        name, made = path.stem, facts[path.stem]
        if not made.days:
            continue
        clearest = int(np.argmax(made.valid_share))
        day = made.days[clearest]
        with open_cube(path) as cube:
            # Every so many pixels of a wide area: a whole scene in float64 is a gigabyte.
            some = slice(None, None, shown_step(builder.geobox))
            seen = cube["ndvi"].isel(time=clearest, y=some, x=some).values
            picture = ndvi_map(seen, subtitle=f"{day}, {name}")
        shares = valid_share(made.valid_share, made.days)
        return {
            "preview": dg.MetadataValue.md(markdown_image(picture, f"NDVI of {name} on {day}")),
            "valid_share": dg.MetadataValue.md(markdown_image(shares, "Valid share by day")),
        }
    return {}
