"""How much freed memory stays with the process for the next array."""

from __future__ import annotations

import ctypes
import os
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's ``malloc.h``."""
_MAPPED_BYTES = 32 * 2**20
"""Larger arrays get memory of their own, which goes back when they do: glibc's own upper bound."""
_KEPT_BYTES = 2 * _MAPPED_BYTES
_SAID_BY_OPERATOR = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@cache
def keep_freed_memory() -> None:
    """Let arrays that come and go block by block take the memory of those before, from the start.

    The C library gives freed memory back to the system, which clears each page before it hands it
    out again: a tenth of what an index of a whole scene takes. glibc stops giving back once a large
    array was freed, so that it depended on what a run had done before; its bounds are set here to
    where they end up then (mallopt(3)): each thread's part of the heap keeps some tens of megabytes
    at its end. What the operator says in the environment stays; so does what Dask's nannies say
    there to their workers.
    """
    if any(name in os.environ for name in _SAID_BY_OPERATOR):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
