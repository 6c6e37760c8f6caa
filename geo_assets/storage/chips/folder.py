"""Chips as files of their own, in one folder (``Shelf``)."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geo_assets.core.chips import CHIP_FORMATS
from geo_assets.core.spatial_order import in_spatial_order
from geo_assets.storage.atomic import sweep_temporaries
from geo_assets.storage.atomic_batch import publish_many
from geo_assets.storage.chips.stamps import stamp_of
from geo_assets.storage.disk_errors import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from geo_assets.core.chips import ChipFormat, ChipSpec
    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chips.catalog_table import CatalogRow
    from geo_assets.storage.chips.paths import ChipPaths

_MOST_AT_A_TIME = 64


@dataclass(frozen=True)
class ChipFolder:
    """The chip files of one partition: ``{chip_id}.{format}``."""

    paths: ChipPaths
    format: ChipFormat

    def sweep(self) -> None:
        """Remove temporaries, see ``Shelf``."""
        sweep_temporaries(self.paths.chips)

    def stamps(self, hrefs: Iterable[str]) -> dict[str, FileStamp]:
        """Return sizes and times of files, see ``Shelf``."""
        ours = (href for href in hrefs if href.endswith(f".{self.format}"))
        found = {href: stamp_of(self.paths.file(href)) for href in ours}
        return {href: stamp for href, stamp in found.items() if stamp is not None}

    def read(self, href: str) -> bytes | None:
        """Return a file's bytes, see ``Shelf``."""
        try:
            return self.paths.file(href).read_bytes()
        except FileNotFoundError:
            return None

    def prepare(
        self, wanted: Sequence[ChipSpec], places: Sequence[tuple[str, str]], *, keeps: bool
    ) -> None:
        """Do nothing: a chip's place is its name."""

    def in_order(self, ask: Sequence[ChipSpec]) -> Sequence[ChipSpec]:
        """Return neighbours together, which are cut from the same blocks."""
        return in_spatial_order(ask)

    def batch(self, landed: Collection[str], *, must: bool) -> Collection[str]:  # noqa: ARG002  # of the protocol
        """Choose whatever waits: while one batch is synced, the next gathers."""
        return list(landed)[:_MOST_AT_A_TIME]

    def put(
        self,
        payloads: Mapping[str, bytes],
        is_kept: Callable[[str], bool],  # noqa: ARG002  # of the protocol
    ) -> tuple[dict[str, str], dict[str, FileStamp]]:
        """Publish one file a chip, see ``Shelf``."""
        files = {chip_id: self.paths.chips / f"{chip_id}.{self.format}" for chip_id in payloads}
        with writing(self.paths.chips):
            publish_many({files[chip_id]: payload for chip_id, payload in payloads.items()})
        hrefs = {chip_id: self.paths.href(file.name) for chip_id, file in files.items()}
        return hrefs, self.stamps(hrefs.values())

    def settle(self, rows: Sequence[CatalogRow]) -> bool:
        """Remove files that are not in the rows, see ``Shelf``."""
        published = {self.paths.file(row.href).name for row in rows if row.href is not None}
        remove_others(self.paths.chips, published)
        return False


def remove_others(chips: Path, published: Collection[str]) -> None:
    """Remove chips and stores of chips, of whatever format, that are not published.

    Args:
        chips: The folder; it may be missing.
        published: Names of files and stores that stay.
    """
    if not chips.is_dir():
        return
    with os.scandir(chips) as entries:
        leavers = [
            entry
            for entry in entries
            if entry.name not in published
            and entry.name.rpartition(".")[2] in CHIP_FORMATS
            and not entry.name.startswith(".")
        ]
    for entry in leavers:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
