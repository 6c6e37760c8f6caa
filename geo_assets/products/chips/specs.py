"""What chips are wanted: a spec for each row of a chip grid, with its own recipe.

A recipe holds what decides this chip's pixels and nothing else: its own scenes and polygons, so
that a new polygon or scene asks only the chips that it meets again. How pixels are had is in
``composite_chips`` (cut from local composites) and ``server_chips`` (asked of a server).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geo_assets.core.chip_grid import geobox_of_row
from geo_assets.core.chips import ChipSpec, recipe_digest
from geo_assets.core.grids import pixel_window
from geo_assets.errors import StorageError
from geo_assets.products.observations import footprint_of
from geo_assets.products.recipes import grid_recipe, scene_pins
from geo_assets.sources.scenes.order import solar_day
from geo_assets.storage.chips.expectation import PICTURES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from geopandas import GeoDataFrame
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import Item
    from geo_assets.storage.chips.expectation import ChipEncoding


FORMAT_VERSIONS = {"tif": 2, "zip": 2}
"""Raised when equal pixels begin to give other bytes: chips of the older version are made again.
2: Zstandard instead of deflate."""


@dataclass(frozen=True)
class ChipArea:
    """What the chips of one cluster have in common.

    Attributes:
        geobox: The composite's pixels: beyond its edge chips hold no data.
        items: The composite's scenes.
        recipe: What decides the pixels of all of its chips, as JSON values.
    """

    geobox: GeoBox
    items: Sequence[Item]
    recipe: Mapping[str, Any]


def chip_specs(
    grid: GeoDataFrame,
    areas: Mapping[int, ChipArea],
    label_digests: Sequence[str],
    dates: tuple[dt.date, dt.date],
) -> list[ChipSpec]:
    """Return the wanted chips of one partition, in the order of its chip grid.

    Args:
        grid: The chip grid.
        areas: By cluster.
        label_digests: For each row, what decides its label band beside the common recipe.
        dates: First and last day of the composites, for chips without a scene.

    Raises:
        StorageError: If a cluster of the grid has no composite.
    """
    clusters = [int(cluster) for cluster in grid["cluster"]]
    for cluster in clusters:
        if cluster not in areas:
            raise StorageError(
                f"chip_grid names cluster {cluster}, which has no composite now; "
                "materialize composite_image and chip_grid first"
            )
    specs = []
    for chip_id, fold, split, cluster, geobox, digest, scenes in zip(
        grid["chip_id"],
        grid["fold"],
        grid["split"],
        clusters,
        geoboxes_of(grid),
        label_digests,
        _scenes_of(grid, areas),
        strict=True,
    ):
        area = areas[cluster]
        recipe = {
            **area.recipe,
            "grid": grid_recipe(geobox),
            "covered": covered_part(area.geobox, geobox),
            "scenes": scene_pins(scene.item for scene in scenes),
            "labels": digest,
        }
        days = [scene.day for scene in scenes] or list(dates)
        specs.append(
            ChipSpec(
                chip_id=chip_id,
                fold=fold,
                split=split,
                cluster=cluster,
                geobox=geobox,
                recipe=recipe_digest(recipe),
                scene_ids=tuple(scene.item["id"] for scene in scenes),
                start=_midnight(min(days)),
                end=_midnight(max(days)),
            )
        )
    return specs


def geoboxes_of(grid: GeoDataFrame) -> list[GeoBox]:
    """Return the pixels of each chip of a chip grid."""
    return [geobox_of_row(row) for row in grid.to_dict("records")]


def covered_part(area: GeoBox, chip: GeoBox) -> list[int]:
    """Rows and columns of a chip (start, stop, start, stop) that lie within its composite."""
    rows, cols = pixel_window(chip, area)
    top, bottom = np.clip((rows.start, rows.stop), 0, chip.shape.y)
    left, right = np.clip((cols.start, cols.stop), 0, chip.shape.x)
    return [int(top), int(bottom), int(left), int(right)]


def encoding_recipe(encoding: ChipEncoding) -> dict[str, Any]:
    """What of the file format decides a chip's bytes; the stretch is in pictures alone."""
    recipe: dict[str, Any] = {"format": encoding.format, "dtype": encoding.dtype}
    if version := FORMAT_VERSIONS.get(encoding.format):
        recipe["version"] = version
    if encoding.format in PICTURES and encoding.stretch is not None:
        recipe["stretch"] = [list(values) for values in asdict(encoding.stretch).values()]
    return recipe


@dataclass(frozen=True)
class _Scene:
    """A scene and its solar day, which is costly to find for each chip anew."""

    item: Item
    day: dt.date


def _scenes_of(grid: GeoDataFrame, areas: Mapping[int, ChipArea]) -> list[list[_Scene]]:
    """The scenes of its cluster that each chip may show, in order of their ids."""
    found: list[list[_Scene]] = [[] for _ in range(len(grid))]
    for cluster in sorted(set(grid["cluster"])):
        items = sorted(areas[int(cluster)].items, key=lambda item: item["id"])
        scenes = [_Scene(item, solar_day(item).item()) for item in items]
        rows = (grid["cluster"] == cluster).to_numpy().nonzero()[0]
        tree = shapely.STRtree([footprint_of(item) for item in items])
        met = tree.query(grid.geometry.to_numpy()[rows], predicate="intersects")
        for chip, scene in sorted(met.T.tolist()):
            found[rows[chip]].append(scenes[scene])
    return found


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
