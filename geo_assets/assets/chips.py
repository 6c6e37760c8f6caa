"""Chips: their grid on the pixel lattice, and the catalog that converges to it.

Convergence is ``core/convergence.py`` and ``storage/chips/store.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.assets.areas import read_labels_of_fold
from geo_assets.assets.chip_sources import chip_store, chip_threads, partition_chips, traffic_of
from geo_assets.assets.imagery import cluster_areas, label_classes, rgb_indices
from geo_assets.assets.step import Facts, Partition, asset_step
from geo_assets.progress import logged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from odc.geo.geobox import GeoBox

    from geo_assets.campaign import Campaign
    from geo_assets.previews.chips import ChipTile
    from geo_assets.storage.chips.store import ChipStore

GRID_COLUMNS = {
    "chip_id": ("string", "Stable id: fold, split, CRS, row and column on the pixel lattice"),
    "fold": ("string", "Fold"),
    "split": ("string", "Split"),
    "cluster": ("int64", "AOI cluster that the chip is cut from"),
    "row": ("int64", "Row of its upper-left pixel on the lattice"),
    "col": ("int64", "Column of its upper-left pixel on the lattice"),
    "size": ("int64", "Pixels a side"),
    "proj:code": ("string", "CRS of the pixels"),
    "proj:transform": ("list<double>", "Affine transform of the pixels, row by row"),
    "proj:shape": ("list<int64>", "Rows and columns"),
    "geometry": ("polygon", "Footprint (EPSG:4326)"),
}
CATALOG_COLUMNS = {
    "id": ("string", "STAC item id, the chip's id"),
    "chip_id": ("string", "Stable id: fold, split, CRS, row and column on the pixel lattice"),
    "fold": ("string", "Fold"),
    "split": ("string", "Split"),
    "cluster": ("int32", "AOI cluster that the chip is cut from"),
    "status": ("string", "ok, no_imagery (an answer), or failed (asked again)"),
    "error_kind": ("string", "transient, permanent, invalid_payload or corrupt"),
    "error": ("string", "What went wrong, without paths or secrets"),
    "attempts": ("int32", "How often it was asked under its recipe"),
    "file:size": ("int64", "Bytes of its file"),
    "file:checksum": ("string", "Multihash of its bytes: SHA-256, in a Zarr store XXH3"),
    "valid_fraction": ("double", "Share of pixels with imagery"),
    "label_fraction": ("double", "Share of pixels with a class"),
    "recipe": ("string", "sha256 of everything that decides its pixels: the data version"),
    "scene_ids": ("list<string>", "Scenes that it is made of"),
    "updated": ("timestamp", "When its outcome was found"),
    "geometry": ("polygon", "Footprint (EPSG:4326)"),
}


@asset_step(
    group="chips",
    kinds={"geopandas", "geoparquet"},
    upstream=("composite_image",),
    columns=GRID_COLUMNS,
)
def chip_grid(partition: Partition) -> Facts:
    """Chip footprints: windows at whole strides of the pixel lattice, each once.

    An id depends on where the window lies on the lattice, not on the areas it was cut for:
    overlapping clusters make no twins and a new polygon renames nothing.
    """
    from geo_assets.core.chip_grid import chip_grid as make_chip_grid
    from geo_assets.storage.geoparquet import write_table

    chips = partition.campaign.chips
    areas = {cluster: area.geobox for cluster, area in cluster_areas(partition).items()}
    _check_size(partition, areas)
    grid = make_chip_grid(
        areas,
        read_labels_of_fold(partition).own,
        fold=partition.fold,
        split=partition.split,
        size=chips.size,
        overlap=chips.overlap,
        border=chips.border,
        keep=chips.keep,
    )
    path = partition.layout.chip_grid(partition.fold, partition.split)
    write_table(grid, path)
    return {
        "dagster/row_count": len(grid),
        "empty": bool(grid.empty),
        "path": dg.MetadataValue.path(str(path)),
        "chips": len(grid),
        "pixels_a_side": chips.size,
    }


def _check_size(partition: Partition, areas: Mapping[int, GeoBox]) -> None:
    """Warn of areas smaller than a chip, and refuse more chips than the campaign allows."""
    from geo_assets.core.chip_grid import count_chip_windows
    from geo_assets.errors import CampaignError

    chips = partition.campaign.chips
    for cluster, area in areas.items():
        if min(area.shape) < chips.size:
            partition.log.warning(
                f"{partition} cluster {cluster}: {area.shape[0]} × {area.shape[1]} pixels are "
                f"fewer than a chip of {chips.size} × {chips.size} has"
            )
    count = sum(
        count_chip_windows(area, chips.size, chips.overlap, chips.border) for area in areas.values()
    )
    if count > chips.max_count:
        raise CampaignError(
            f"{partition}: {count:,} chips of {chips.size} pixels with overlap {chips.overlap} "
            f"would cover its boxes, chips.max_count allows {chips.max_count:,}; take larger "
            "chips, less overlap, smaller boxes (clusters.count), or raise the limit"
        )


@asset_step(
    group="chips",
    kinds={"stac", "geoparquet"},
    upstream=("chip_grid",),
    columns=CATALOG_COLUMNS,
    asks_imagery=True,
)
def chip_catalog(partition: Partition) -> Facts:
    """Chip catalog: one row a chip, which ended ok, without imagery, or failed.

    Materializing converges. It asks for what is not yet ok under the current recipe, or whose file
    is gone or another, and touches nothing else: the same command resumes, retries and completes.
    With ``clusters.only``, chips of other clusters stay as they are.
    Windows of the composites that could not be read are read again first, and only those.
    """
    from geo_assets.previews.chips import contact_sheet, status_map
    from geo_assets.previews.png import markdown_image
    from geo_assets.storage.chips.catalog import open_catalog
    from geo_assets.storage.disk import require_room
    from geo_assets.storage.geoparquet import read_table

    campaign, layout = partition.campaign, partition.layout
    grid = read_table(layout.chip_grid(partition.fold, partition.split), asset="chip_grid")
    chips = partition_chips(partition)
    store = chip_store(campaign, layout, partition.fold, partition.split)
    specs = chips.specs(grid, store.encoding)
    size = campaign.chips.size**2 * (len(campaign.composite.bands) + 1) * 4
    require_room(store.paths.chips, size * len(specs), f"chip_catalog {partition}")
    traffic = traffic_of(partition)
    tell = logged(partition.log, f"chips {partition}:", detail=traffic.line if traffic else None)
    with chips:
        report = store.converge(
            specs,
            chips.read,
            run_id=partition.run_id,
            workers=chip_threads(campaign),
            clusters=campaign.clusters.only,
            expect=chips.expect,
            progress=lambda done, total, _: tell(done, total),
        )
    catalog = open_catalog(store.paths.catalog)
    return {
        "dagster/row_count": len(catalog),
        "empty": bool(catalog.empty),
        "path": dg.MetadataValue.path(str(store.paths.catalog)),
        "ok": report.ok,
        "no_imagery": report.no_imagery,
        "failed": report.failed,
        "asked": report.asked,
        "kept": report.kept,
        "removed": report.removed,
        "bytes": report.bytes,
        **(traffic.facts() if traffic else {}),
        "preview": dg.MetadataValue.md(
            markdown_image(
                contact_sheet(
                    _tiles(campaign, store),
                    label_classes(partition),
                    counts={
                        "ok": report.ok,
                        "no_imagery": report.no_imagery,
                        "failed": report.failed,
                    },
                ),
                f"Chips of {partition}",
            )
        ),
        "status_map": dg.MetadataValue.md(
            markdown_image(status_map(catalog), f"Chips of {partition} by status")
        ),
    }


def _tiles(campaign: Campaign, store: ChipStore) -> list[ChipTile]:
    """Return some chips of a catalog as tiles of a contact sheet."""
    from geo_assets.core.grids import lattice_position
    from geo_assets.previews.chips import ChipTile, sample_rows
    from geo_assets.storage.chips.catalog import read_rows
    from geo_assets.storage.chips.expectation import PICTURES

    rows = read_rows(store.paths.catalog)
    tiles = []
    for number in sample_rows([row.outcome.status for row in rows]):
        row = rows[number]
        chip_row, chip_col = lattice_position(row.spec.geobox)
        name = f"{chip_row % 10000:04d} {chip_col % 10000:04d}"
        if row.href is None:
            kind = row.outcome.error_kind
            tiles.append(ChipTile(name, row.outcome.status, error_kind=kind))
            continue
        chip = store.read(row)
        picture = store.encoding.format in PICTURES
        bands = [0, 1, 2] if picture else rgb_indices(campaign)
        labels = None if picture else chip.data[-1].astype("uint8")
        tiles.append(ChipTile(name, "ok", chip.data[bands], chip.valid, labels))
    return tiles
