"""The sidecar of a composite: a JSON file that pins what the image was made of.

How composites are made is in ``builder``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.errors import SourceError
from geo_assets.products.windows import FailedWindow
from geo_assets.storage.atomic import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geo_assets.products.composites.expression_sidecar import ExpressionSidecar

DTYPE_WITHOUT_PIXELS = "uint16"
"""dtype of a composite of which nothing could be read, so that the source's is not known."""


@dataclass(frozen=True)
class Sidecar:
    """What a published composite was made of.

    Attributes:
        recipe: Digest of everything that decides its file.
        shape: Rows and columns.
        dtype: dtype of all bands.
        days: Solar days of its scenes.
        scene_ids: Scenes that may have pixels on its grid.
        failed_windows: What could not be read; no-data in the image.
        valid_fraction: Share of its pixels with a datum, 0 to 1.
        size: Bytes of the image.
        sha256: Checksum of the image.
    """

    recipe: str
    shape: tuple[int, int]
    dtype: str
    days: tuple[str, ...]
    scene_ids: tuple[str, ...]
    failed_windows: tuple[FailedWindow, ...]
    valid_fraction: float
    size: int
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Sidecar | None:
        """Return the sidecar at a path; None if there is none, or none of this version."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values["failed_windows"] = tuple(FailedWindow(**w) for w in values["failed_windows"])
            for field in ("shape", "days", "scene_ids"):
                values[field] = tuple(values[field])
            return cls(**values)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def describes(self, image: Path) -> bool:
        """Whether the image is the very file that the sidecar was written for."""
        return (
            image.is_file()
            and image.stat().st_size == self.size
            and sha256_of(image) == self.sha256
        )


def dtype_of_composites(sidecars: Sequence[Sidecar | ExpressionSidecar]) -> str:
    """Return the dtype that the chips of several composites share: that of those with pixels.

    Without any there are no pixels to be of another; a server's pixels count until a preview
    shows none.

    Raises:
        SourceError: If they have pixels of several dtypes.
    """
    found = sorted({sidecar.dtype for sidecar in sidecars if sidecar.valid_fraction != 0})
    if len(found) > 1:
        raise SourceError(
            f"the composites of one partition have pixels of {found}, and its chips share one "
            "dtype; ask for composite.dtype: float32"
        )
    return found[0] if found else DTYPE_WITHOUT_PIXELS
