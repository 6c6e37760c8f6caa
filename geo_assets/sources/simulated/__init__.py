"""The simulated archive: a seeded landscape as a static STAC catalog of COGs, with its truth.

Written once, then read through the same code as a real archive. Light to import: the libraries
that draw and write are loaded when something is written. What is seen when, is in acquisitions;
what lies where, in layout; how it looks, in spectra and phenology.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.sources.simulated.spec import ArchiveSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["ArchiveSpec", "repair_archive", "write_archive"]


def write_archive(
    folder: Path,
    spec: ArchiveSpec = ArchiveSpec(),  # noqa: B008 - frozen, so one default serves all calls
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a simulated archive to ``folder``, unless that very archive is there already.

    Whole or not at all, and safe when several processes ask at once. Equal specs give equal bytes.

    Args:
        folder: Where to write; beside it lies a lock file while an archive is written.
        spec: What to write. An archive of another spec at ``folder`` is replaced.
        progress: Called with the items written and the items in all.

    Raises:
        SourceError: The folder holds files that are not a simulated archive.
    """
    from geo_assets.sources.simulated.archive import write

    write(folder, spec, progress)


def repair_archive(folder: Path) -> list[str]:
    """Repair the archive's one damaged file; return the hrefs repaired, none the second time.

    Raises:
        SourceError: The folder is no simulated archive.
    """
    from geo_assets.sources.simulated.faults import repair

    return repair(folder)
