"""``geo-assets export-cube``: one cube as a plain Zarr store elsewhere."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from geo_assets.commands.partitions import chosen, locked
from geo_assets.errors import StorageError
from geo_assets.partitions import partition_key

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout


def export_cube(
    campaign: Campaign,
    layout: Layout,
    to: Path,
    *,
    fold: str,
    split: str,
    cube: str,
    force: bool,
) -> Path:
    """Copy one cube to a plain Zarr store that says whence it comes.

    Args:
        campaign: The campaign.
        layout: Where its results lie.
        to: The store to make, where its name ends in ``.zarr``; else a folder, in which it will be
            ``CAMPAIGN-FOLD-SPLIT-CUBE.zarr``.
        fold: Fold of the cube.
        split: Split of the cube.
        cube: ``cluster-0``, or ``cluster-0-33UUU`` of a tile.
        force: Whether a store at that place may be replaced.

    Returns:
        Where the copy lies.

    Raises:
        CampaignError: If the campaign has no such fold or split.
        StorageError: If there is no such cube, it is damaged, or something is in the way.
        LockedError: If a run works on the cubes of the partition.
    """
    from geo_assets.storage.cubes.export import export_store
    from geo_assets.storage.cubes.opening import published_cubes
    from geo_assets.storage.layout import cluster_of

    chosen("fold", fold, campaign.folds)
    chosen("split", split, campaign.splits)
    to = to.expanduser().resolve()
    if to.suffix != ".zarr":
        to /= f"{campaign.name}-{fold}-{split}-{cube}.zarr"
    if to.is_relative_to(layout.folder.resolve()):
        raise StorageError(f"{to}: lies among the results of {campaign.name}; export elsewhere")
    names = {"campaign": campaign.name, "fold": fold, "split": split, "cube": cube}
    key = partition_key(fold, split)
    with ExitStack() as locks:
        # A run that publishes would leave days of two generations in the copy.
        locked(locks, layout, "ndvi_cube", key, "export-cube")
        cubes = published_cubes(layout, fold, split)
        if cube not in cubes:
            if cubes:
                there = ", ".join(cubes)
            elif layout.used_scenes(fold, split).is_file():
                there = "none: ndvi_cube found no area or no scene to make one of"
            else:
                there = "none; materialize ndvi_cube first"
            raise StorageError(f"{key}: has no cube {cube!r}; there are {there}")
        export_store(cubes[cube], to, names | {"cluster": cluster_of(cube)}, force=force)
    return to
