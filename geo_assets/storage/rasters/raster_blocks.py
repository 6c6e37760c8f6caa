"""Windows cut from the blocks of a raster, each block decoded once.

Chips overlap, and several share a block: cutting them from decoded blocks costs a copy. Blocks are
decoded side by side, ahead of need where it is known which windows will be asked for.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import rasterio
import rasterio.errors
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geo_assets.core.grids import pixel_window
from geo_assets.errors import StorageError
from geo_assets.storage.file_version import FileVersion, version_of
from geo_assets.storage.rasters.block_cache import bound_block_cache
from geo_assets.storage.rasters.gdal_errors import reason_of
from geo_assets.storage.rasters.tiff_tiles import form_of, read_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

MOST_BYTES = 512 * 2**20
"""Decoded blocks of all rasters of a run that are held at most, beside those under way."""
_LEAST_BYTES = 64 * 2**20
_AHEAD = 2
"""Blocks decoded ahead, for each thread."""

_Place = tuple[int, int]
_Block = tuple["NDArray[Any]", "NDArray[np.bool_]"]


class Clean(Protocol):
    """Sets the pixels of a block right after it was decoded."""

    def __call__(self, data: NDArray[Any], valid: NDArray[np.bool_]) -> None:
        """Change ``data`` (band, y, x), of which ``valid`` (y, x) have a datum, in place."""


class RasterBlocks:
    """A raster of which many windows are cut, from many threads; use it as a context.

    Held are blocks that windows still need, at most two rows of them (or 64 MiB, if that
    is more) and ``most_bytes``; where that is too little, some are decoded again.

    Args:
        path: A GeoTIFF.
        clean: See ``Clean``.
        asset: Name of the asset that makes the file, for the message when it is absent.
        version: ``version_of`` the file that is meant; None: the one that lies there now.
        threads: Blocks decoded at a time; None: one for each processor this process may use.
        most_bytes: Decoded blocks that are held at most, beside those under way.

    Raises:
        StorageError: The file is absent, another or damaged.
    """

    def __init__(
        self,
        path: Path,
        *,
        clean: Clean | None = None,
        asset: str | None = None,
        version: FileVersion | None = None,
        threads: int | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if not path.is_file():
            advice = f"; materialize {asset} first" if asset else ""
            raise StorageError(f"{path}: does not exist{advice}")
        bound_block_cache()
        self._path = path
        self._version = version or version_of(path)
        self._clean = clean
        self._idle: LifoQueue[rasterio.DatasetReader] = LifoQueue()
        self._opened: list[rasterio.DatasetReader] = []
        self._lock = threading.Lock()
        self._blocks: OrderedDict[_Place, Future[_Block]] = OrderedDict()
        self._plan: list[_Place] = []
        self._places: dict[_Place, int] = {}
        self._planned = 0
        self._uses: Counter[_Place] = Counter()
        self._threads = threads or len(os.sched_getaffinity(0))
        dataset = self._handle()
        self.geobox = GeoBox(dataset.shape, dataset.transform, dataset.crs)
        self.dtype = np.dtype(dataset.dtypes[0])
        self.count: int = dataset.count
        self.outside: Sequence[float] = [0.0] * self.count
        """What each band holds beyond the raster's edge."""
        # Strips, which may be one row high, are taken many at a time.
        rows, cols = dataset.block_shapes[0]
        self._side = (max(rows, min(256, dataset.height)), max(cols, min(256, dataset.width)))
        self._bands = list(range(1, self.count + 1))
        self._idle.put(dataset)
        block_bytes = self._side[0] * self._side[1] * (self.count * self.dtype.itemsize + 1)
        in_a_row = -(-dataset.width // self._side[1])
        wanted = (2 * in_a_row + 2) * block_bytes
        self._most = max(4, min(max(wanted, _LEAST_BYTES), most_bytes) // block_bytes)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="block")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        for dataset in self._opened:
            dataset.close()
        self._blocks.clear()

    def expect(self, geoboxes: Sequence[GeoBox]) -> None:
        """Tell which windows will be asked for, in their order; wrong ones cost time alone."""
        if not geoboxes:
            return
        height, width = self._side
        affine = self.geobox.transform
        corners = np.array([(box.transform.f, box.transform.c, *box.shape) for box in geoboxes])
        top = np.rint((corners[:, 0] - affine.f) / affine.e).astype(int)
        left = np.rint((corners[:, 1] - affine.c) / affine.a).astype(int)
        rows, cols = self.geobox.shape
        spans = np.stack(
            [
                np.clip(top, 0, rows - 1) // height,
                np.clip(top + corners[:, 2].astype(int) - 1, 0, rows - 1) // height,
                np.clip(left, 0, cols - 1) // width,
                np.clip(left + corners[:, 3].astype(int) - 1, 0, cols - 1) // width,
            ],
            axis=1,
        )
        _, first, windows = np.unique(spans, axis=0, return_index=True, return_counts=True)
        plan: dict[_Place, int] = {}
        uses: Counter[_Place] = Counter()
        in_order = np.argsort(first)
        for span, count in zip(spans[first[in_order]], windows[in_order], strict=True):
            r0, r1, c0, c1 = span.tolist()
            for row in range(r0, r1 + 1):
                for col in range(c0, c1 + 1):
                    plan.setdefault((row, col), len(plan))
                    uses[row, col] += int(count)
        with self._lock:
            self._plan, self._places, self._planned, self._uses = list(plan), plan, 0, uses

    def window(self, geobox: GeoBox) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return pixels (band, y, x) and validity (y, x) of a window of the raster's lattice.

        Beyond the raster's edge bands hold ``outside`` and nothing is valid. The arrays are the
        caller's own.

        Raises:
            SourceError: The window is off the pixel lattice.
            StorageError: The file is damaged, or was replaced since the first look at it.
        """
        rows, cols = pixel_window(self.geobox, geobox)
        height, width = self.geobox.shape
        inner_rows = range(max(rows.start, 0), min(rows.stop, height))
        inner_cols = range(max(cols.start, 0), min(cols.stop, width))
        shape = (rows.stop - rows.start, cols.stop - cols.start)
        data = np.empty((self.count, *shape), self.dtype)
        valid = np.empty(shape, bool)
        if (len(inner_rows), len(inner_cols)) != shape:
            data[:] = np.array(self.outside, self.dtype)[:, np.newaxis, np.newaxis]
            valid[:] = False
        if not inner_rows or not inner_cols:
            return data, valid
        side_y, side_x = self._side
        for row in range(inner_rows[0] // side_y, inner_rows[-1] // side_y + 1):
            top = max(row * side_y, inner_rows[0])
            bottom = min((row + 1) * side_y, inner_rows[-1] + 1)
            to_y = slice(top - rows.start, bottom - rows.start)
            from_y = slice(top - row * side_y, bottom - row * side_y)
            for col in range(inner_cols[0] // side_x, inner_cols[-1] // side_x + 1):
                left = max(col * side_x, inner_cols[0])
                right = min((col + 1) * side_x, inner_cols[-1] + 1)
                to_x = slice(left - cols.start, right - cols.start)
                from_x = slice(left - col * side_x, right - col * side_x)
                block, block_valid = self._block((row, col))
                data[:, to_y, to_x] = block[:, from_y, from_x]
                valid[to_y, to_x] = block_valid[from_y, from_x]
                self._let_go((row, col))
        return data, valid

    def _block(self, place: _Place) -> _Block:
        with self._lock:
            found = self._request(place)
            until = self._places.get(place, -1) + 1 + _AHEAD * self._threads
            for coming in self._plan[self._planned : until]:
                self._request(coming)
            self._planned = max(self._planned, min(until, len(self._plan)))
            self._blocks.move_to_end(place)
            while len(self._blocks) > self._most + _AHEAD * self._threads:
                self._blocks.popitem(last=False)
        return found.result()

    def _let_go(self, place: _Place) -> None:
        """Forget a block after the last of the windows that were told of."""
        with self._lock:
            if place in self._uses:
                self._uses[place] -= 1
                if not self._uses[place]:
                    # The next block takes its memory, which is at hand.
                    self._blocks.pop(place, None)

    def _request(self, place: _Place) -> Future[_Block]:
        found = self._blocks.get(place)
        # What failed once, of a disk that was away for instance, is tried again.
        if found is None or (found.done() and found.exception() is not None):
            found = self._blocks[place] = self._pool.submit(self._decode, place)
        return found

    def _decode(self, place: _Place) -> _Block:
        (row, col), (side_y, side_x) = place, self._side
        window = Window(
            col * side_x,
            row * side_y,
            min(side_x, self.geobox.shape.x - col * side_x),
            min(side_y, self.geobox.shape.y - row * side_y),
        )
        dataset = self._handle()
        try:
            data = read_pixels(dataset, self._bands, window)
            valid = dataset.dataset_mask(window=window) > 0
        except rasterio.errors.RasterioError as error:
            raise StorageError(
                f"{self._path}: cannot be read as GeoTIFF: block {row}, {col}: {reason_of(error)}"
            ) from error
        finally:
            self._idle.put(dataset)
        if self._clean is not None:
            self._clean(data, valid)
        return data, valid

    def _handle(self) -> rasterio.DatasetReader:
        """Return a handle that no other thread uses; it must be put back."""
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        try:
            dataset = rasterio.open(self._path, driver="GTiff")
            form_of(dataset)  # before another file may take its place
        except rasterio.errors.RasterioError as error:
            reason = reason_of(error)
            raise StorageError(f"{self._path}: cannot be read as GeoTIFF: {reason}") from error
        # Handles of one raster must show one file; asked afterwards, for it may change until then.
        if version_of(self._path) != self._version:
            dataset.close()
            raise StorageError(f"{self._path}: was replaced while it was read; run the step again")
        with self._lock:
            self._opened.append(dataset)
        return dataset
