"""Blosc with one thread for a chunk.

Its own threads lay the blocks of a chunk in the order in which they finish: other bytes for the
same data. Chunks are packed side by side by threads of ours.
"""

from __future__ import annotations

import numcodecs.blosc  # type: ignore[import-untyped]  # ships no types
from numcodecs.blosc import Blosc

numcodecs.blosc.use_threads = False

__all__ = ["Blosc"]
