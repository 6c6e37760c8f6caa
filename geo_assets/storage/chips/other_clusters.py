"""Chips of clusters that a run leaves alone (``clusters.only``): their rows and payloads stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.files import decode_chip

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from geo_assets.core.chips import ChipSpec
    from geo_assets.storage.chips.catalog_table import CatalogRow
    from geo_assets.storage.chips.expectation import ChipEncoding
    from geo_assets.storage.chips.memory import Remembered
    from geo_assets.storage.chips.paths import ChipPaths
    from geo_assets.storage.chips.shelf import Shelf


def rows_of_other_clusters(
    paths: ChipPaths, wanted: Sequence[ChipSpec], clusters: Collection[int] | None
) -> list[CatalogRow]:
    """Return the published rows of clusters that are not worked on.

    Args:
        paths: Where the partition lies.
        wanted: Chips that are wanted: none of them is another cluster's.
        clusters: Numbers of those that are worked on; None: all.
    """
    if clusters is None or not paths.catalog.exists():
        return []
    ids = {spec.chip_id for spec in wanted}
    return [
        row
        for row in read_rows(paths.catalog)
        if row.spec.cluster not in clusters and row.spec.chip_id not in ids
    ]


def require_one_form(
    others: Sequence[CatalogRow],
    memory: Mapping[str, Remembered],
    shelf: Shelf,
    encoding: ChipEncoding,
) -> None:
    """Make sure that chips that stay can lie beside new ones: all of a catalog have one encoding.

    Raises:
        StorageError: Those that stay have another format, dtype or bands, or none is sound.
    """
    held = [row for row in others if row.href is not None]
    sound = next((row for row in held if memory[row.spec.chip_id].stamp is not None), None)
    if not held:
        return
    found = "none of them is there and sound in that format"
    payload = None if sound is None else shelf.read(sound.href or "")
    if sound is not None and payload is not None:
        try:
            decode_chip(payload, encoding.expect(sound.spec.geobox))
        except ReadError as error:
            found = f"{sound.spec.chip_id}: {error}"
        else:
            return
    clusters = sorted({row.spec.cluster for row in held})
    raise StorageError(
        f"chips of clusters {clusters} stay as they are (clusters.only), but chips are now "
        f"{encoding.format} of {encoding.dtype} with bands {list(encoding.bands)}, and {found}; "
        "materialize chip_catalog without clusters.only, or under another campaign name"
    )
