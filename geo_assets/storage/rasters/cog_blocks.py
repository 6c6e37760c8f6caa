"""Publication of a COG that is made block by block: no more of it than a block need be in memory.

Blocks go to an uncompressed file, overviews are laid beside it, and GDAL makes the COG of both: in
memory where it is small, else in a folder beside the COG.
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import Interleaving
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from geo_assets.errors import StorageError
from geo_assets.storage.atomic import publish, publish_bytes, scratch_folder
from geo_assets.storage.disk import free_bytes
from geo_assets.storage.rasters.block_cache import bound_block_cache
from geo_assets.storage.rasters.gdal_errors import reason_of
from geo_assets.storage.rasters.overviews import BLOCK_SIZE, write_overviews

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from rasterio.enums import Resampling

    from geo_assets.storage.rasters.overviews import Plain

Block = tuple[slice, slice, "NDArray[Any]", "NDArray[np.bool_] | None"]
"""Rows, columns, data (band, y, x) and, for a masked file, valid (y, x)."""

MEMORY_BYTES = 96 * 2**20
"""Bytes of pixels up to which a COG is made in memory: files would cost more than they save."""

_COG_OPTIONS = {
    "compress": "ZSTD",
    # Reflectance is noise below its upper bits: higher levels take ten times as long for 3 %.
    "level": 1,
    "predictor": "YES",
    "blocksize": BLOCK_SIZE,
    "overviews": "FORCE_USE_EXISTING",
    "bigtiff": "IF_SAFER",
    # The same bytes as with one thread.
    "num_threads": "ALL_CPUS",
}


def publish_cog(
    path: Path,
    plain: Plain,
    blocks: Iterable[Block],
    rules: Sequence[Resampling],
    describe: Callable[[rasterio.io.DatasetWriter], None],
) -> None:
    """Publish a COG.

    Args:
        path: Where it goes.
        plain: Its grid, bands, dtype and how it says no-data.
        blocks: Its pixels; together they fill the grid.
        rules: How each band's overviews are made.
        describe: Writes names, tags and colours.

    Raises:
        StorageError: It could not be written whole.
    """
    rows, cols = plain.geobox.shape.yx
    small = plain.count * rows * cols * plain.dtype.itemsize <= MEMORY_BYTES
    bound_block_cache()
    with (
        _named(path),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        _scratch(None if small else path) as name_of,
    ):
        base = name_of("base.tif")
        with plain.create(base) as dataset:
            for block_rows, block_cols, data, valid in blocks:
                window = Window.from_slices(block_rows, block_cols)
                dataset.write(data, window=window)
                if valid is not None:
                    dataset.write_mask(valid, window=window)
            describe(dataset)
        overviews = write_overviews(name_of, "base.tif", plain, rules)
        if small:
            # GDAL leaves a readable stump with holes where a disk is full; memory is none.
            with MemoryFile(filename="cog.tif") as cog:
                rasterio.shutil.copy(base, cog.name, driver="COG", **_COG_OPTIONS)
                publish_bytes(path, cog.read())
            return
        for file in (base, *overviews):
            _check_whole(path, file)
        with publish(path) as temporary:
            rasterio.shutil.copy(base, temporary, driver="COG", **_COG_OPTIONS)
            _check_whole(path, str(temporary))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say which file it is that GDAL cannot write.

    Raises:
        StorageError: In the place of its error.
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:  # a copy lets GDAL's own through
        free = free_bytes(path.parent) / 1024**2
        raise StorageError(
            f"{path}: cannot be written: {reason_of(error)} ({free:,.0f} MiB free on its disk)"
        ) from error


@contextmanager
def _scratch(beside: Path | None) -> Iterator[Callable[[str], str]]:
    """Give what turns names into files of one folder, beside a path or in memory."""
    with ExitStack() as stack:
        if beside is None:
            folder = uuid.uuid4().hex

            @cache
            def in_memory(name: str) -> str:
                file = stack.enter_context(MemoryFile(dirname=folder, filename=name))
                return str(file.name)

            yield in_memory
        else:
            place = stack.enter_context(scratch_folder(beside))
            yield lambda name: str(place / name)


def _check_whole(path: Path, file: str) -> None:
    """Ask whether every block lies in the file: where a disk is full, GDAL tells nobody.

    Raises:
        StorageError: One does not.
    """
    size = Path(file).stat().st_size
    with rasterio.open(file) as dataset:
        shapes = [dataset.shape]
        shapes += [tuple(-(-n // f) for n in dataset.shape) for f in dataset.overviews(1)]
        # Bands of a block lie together; a file in planes has a block for each band.
        bands = dataset.indexes if dataset.interleaving == Interleaving.band else (1,)
        for level, shape in enumerate(shapes):
            overview = {} if level == 0 else {"ovr": level - 1}
            rows, cols = (range(-(-n // BLOCK_SIZE)) for n in shape)
            for band, row, col in product(bands, rows, cols):
                start, length = (
                    dataset.get_tag_item(f"{what}_{col}_{row}", "TIFF", bidx=band, **overview)
                    for what in ("BLOCK_OFFSET", "BLOCK_SIZE")
                )
                if not start or not length or int(start) + int(length) > size:
                    raise StorageError(
                        f"{path}: could not be written whole, block {row}, {col} is missing; "
                        "is the disk full?"
                    )
