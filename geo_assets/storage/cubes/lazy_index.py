"""Stored indices as float32 arrays whose values are read when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from geo_assets.core.indices import dequantise_index

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray


class LazyIndex(BackendArray):
    """A spectral index of int16 steps, of which a selection is read and decoded at once.

    xarray by itself would compute float64, in twice the memory and the time; and what is decoded
    by tasks of Dask is read in whole chunks, whatever is selected.

    Args:
        stored: (time, y, x) int16, -32768 where missing, itself read lazily.
    """

    def __init__(self, stored: xr.Variable) -> None:
        self._stored = stored
        self.shape = stored.shape
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Return the selected values, NaN where missing."""
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        return dequantise_index(np.asarray(self._stored[key].values))


def lazy_index(stored: xr.Variable) -> indexing.LazilyIndexedArray:
    """Return a variable's data, which xarray's selections make smaller before they are read."""
    return indexing.LazilyIndexedArray(LazyIndex(stored))
