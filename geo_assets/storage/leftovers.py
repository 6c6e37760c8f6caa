"""Files of results that nothing refers to any more."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def remove_all_but(folder: Path, kept: Iterable[Path]) -> list[Path]:
    """Remove what lies in a folder of one partition's results, but for what was just published.

    Only under the partition's lock, after the publication. What dead runs left under temporary
    names goes too; of a link, the link.

    Args:
        folder: The folder.
        kept: What stays, directly in it.

    Returns:
        What was removed.
    """
    if not folder.is_dir():
        return []
    names = {path.name for path in kept}
    leftovers = [path for path in sorted(folder.iterdir()) if path.name not in names]
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return leftovers
