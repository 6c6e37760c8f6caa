"""How much memory GDAL keeps decoded blocks in."""

from __future__ import annotations

import os

_VARIABLE = "GDAL_CACHEMAX"
_MEGABYTES, _LEAST_MEGABYTES = 192, 16
"""A row of blocks of a scene with a dozen bands is what making a COG comes back to."""


def bound_block_cache(limit_bytes: int | None = None) -> None:
    """Bound the blocks that GDAL keeps in this process, unless the operator did.

    Left alone GDAL takes a twentieth of the machine's memory. It reads ``GDAL_CACHEMAX`` when it
    first keeps a block, so this comes before anything is read. There is one cache for all threads:
    a bound that one of them set for a while would hold for the others, or stay.

    Args:
        limit_bytes: What this process may use in all: an eighth of that at most. None: unknown.
    """
    if limit_bytes is None:
        os.environ.setdefault(_VARIABLE, str(_MEGABYTES))
    # What is inherited from a process that knew no limit is no wish of the operator's.
    elif os.environ.get(_VARIABLE, str(_MEGABYTES)) == str(_MEGABYTES):
        share = max(min(_MEGABYTES, limit_bytes // 8 // 2**20), _LEAST_MEGABYTES)
        os.environ[_VARIABLE] = str(share)
