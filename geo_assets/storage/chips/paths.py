"""Where the chips of one partition lie, below the folder of the campaign's results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo_assets.storage.layout import Layout


@dataclass(frozen=True)
class ChipPaths:
    """The files of one fold and split."""

    catalog: Path
    """The published table."""
    chips: Path
    """Folder of the chip files; nothing else lies there."""
    journals: Path
    """Folder of the journals of runs that are not yet published."""
    lock: Path
    """Lock file; its owner lies beside it."""
    stamps: Path
    """Sizes and times of the chip files when they were published."""

    @classmethod
    def of(cls, layout: Layout, fold: str, split: str) -> ChipPaths:
        """Return the paths of one partition of a campaign."""
        return cls(
            catalog=layout.chip_catalog(fold, split),
            chips=layout.chips_folder(fold, split),
            journals=layout.journal_folder(fold, split),
            lock=layout.lock("chips", fold, split),
            stamps=layout.chip_stamps(fold, split),
        )

    def href(self, file_name: str) -> str:
        """Return a chip file's address relative to the catalog's folder."""
        return f"{self._folder_href}/{file_name}"

    @cached_property
    def _folder_href(self) -> str:
        return f"../../{self.chips.relative_to(self.catalog.parents[2]).as_posix()}"

    def file(self, href: str) -> Path:
        """Return where the chip file of an address lies."""
        return self.chips / Path(href).name
