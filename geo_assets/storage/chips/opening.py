"""Opening a published chip by its id, whatever its format."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rasterio.io import MemoryFile

from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.checksums import agrees
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.description import described, only_member
from geo_assets.storage.chips.expectation import ChipExpectation
from geo_assets.storage.chips.stamps import stamp_of
from geo_assets.storage.chips.zarr_metadata import PIXELS, ChipArrays, metadata_of
from geo_assets.storage.chips.zarr_pixels import decode_zarr
from geo_assets.storage.chips.zarr_shard_files import ChipShards

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geo_assets.core.convergence import FileStamp


def open_chip(catalog: Path, chip_id: str) -> tuple[NDArray[Any], GeoBox]:
    """Return pixels (band, y, x) and grid of one chip of a catalog.

    Raises:
        StorageError: If there is no such chip, it is not ``ok``, or its file is not what was
            published.
    """
    row = next((row for row in read_rows(catalog) if row.spec.chip_id == chip_id), None)
    if row is None:
        raise StorageError(f"{catalog.name}: no chip {chip_id!r}")
    if row.href is None:
        raise StorageError(
            f"{catalog.name}: chip {chip_id!r} is {row.outcome.status}: {row.outcome.error}"
        )
    payloads = Payloads(catalog)
    payload = payloads.read(row.href)
    name = row.href.rpartition("/")[2]
    if payload is None:
        raise StorageError(f"{name}: is missing; materialize chip_catalog to restore it")
    if len(payload) != row.outcome.size:
        raise StorageError(
            f"{name}: has {len(payload)} bytes instead of {row.outcome.size}; "
            "materialize chip_catalog to restore it"
        )
    if not agrees(payload, row.outcome.checksum):
        raise StorageError(
            f"{name}: is not what its row says: a run is about to replace it, or it is damaged; "
            "run geo-assets verify"
        )
    if "#" not in name:
        return _pixels(payload, Path(name).suffix), row.spec.geobox
    try:
        chip = decode_zarr(payload, payloads.expected(row.href, payload, row.spec.geobox))
    except ReadError as error:
        raise StorageError(f"{name}: {error}; run geo-assets verify") from error
    return chip.data, row.spec.geobox


@dataclass
class Payloads:
    """What lies at the hrefs of a catalog, files or parts of a Zarr store.

    A store whose metadata are damaged is a ``StorageError``: nothing can be said of its chips.

    Attributes:
        catalog: The catalog.
    """

    catalog: Path
    _stores: dict[Path, tuple[ChipArrays, ChipShards] | None] = field(default_factory=dict)

    def read(self, href: str) -> bytes | None:
        """Return a chip's payload, damaged or not; None where nothing lies."""
        file, _, index = href.partition("#")
        if index:
            store = self._store(file)
            return None if store is None else store[1].read(int(index))
        try:
            return (self.catalog.parent / file).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, href: str) -> int | None:
        """Return how many bytes a chip's payload has; None where nothing lies."""
        file, _, index = href.partition("#")
        if index:
            store = self._store(file)
            return None if store is None else store[1].size(int(index))
        path = self.catalog.parent / file
        return path.stat().st_size if path.is_file() else None

    def stamp(self, href: str) -> FileStamp | None:
        """Return what tells that a payload has not changed (``Shelf``); None where nothing lies."""
        file, _, index = href.partition("#")
        if not index:
            return stamp_of(self.catalog.parent / file)
        store = self._store(file)
        return None if store is None else store[1].stamp(int(index) // store[1].slots)

    def expected(self, href: str, payload: bytes, geobox: GeoBox) -> ChipExpectation:
        """Return what a chip must be by its own file, or by the metadata of its store.

        What the campaign says may have changed since the chip was published.

        Raises:
            StorageError: The store is missing, or its metadata are not those of such a store.
            ReadError: (``invalid_payload``) The file is none of its format.
        """
        file, _, index = href.partition("#")
        if not index:
            return described(payload, file.rpartition(".")[2], geobox)
        store = self._store(file)
        if store is None:
            raise StorageError(f"{file}: is missing; materialize chip_catalog to restore it")
        arrays = store[0]
        return ChipExpectation("zarr", arrays.bands, arrays.dtype, geobox, label_band=False)

    def _store(self, file: str) -> tuple[ChipArrays, ChipShards] | None:
        path = self.catalog.parent / file
        if path not in self._stores:
            self._stores[path] = _opened(path) if path.is_dir() else None
        return self._stores[path]


def _opened(path: Path) -> tuple[ChipArrays, ChipShards]:
    try:
        found = json.loads((path / PIXELS / "zarr.json").read_bytes())
        length, bands, rows, columns = found["shape"]
        arrays = ChipArrays(tuple(map(str, range(bands))), found["data_type"], rows, columns)
        made = metadata_of(arrays, length)[PIXELS]
        wrong = [field for field in ("chunk_grid", "codecs") if found[field] != made[field]]
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise _unreadable(path, type(error).__name__) from error
    if wrong:
        raise _unreadable(path, f"{' and '.join(wrong)} do not go with shape and data type")
    return arrays, ChipShards(path, arrays.slots)


def _unreadable(path: Path, why: str) -> StorageError:
    return StorageError(
        f"{path.name}: no readable metadata ({why}); materialize chip_catalog, which writes them "
        "again"
    )


def _pixels(payload: bytes, suffix: str) -> NDArray[Any]:
    if suffix == ".npy":
        array: NDArray[Any] = np.load(io.BytesIO(payload), allow_pickle=False)
        return array
    if suffix in {".png", ".jpg"}:
        return np.moveaxis(np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")), -1, 0)
    if suffix == ".zip":
        payload = only_member(payload)
    with MemoryFile(payload) as memory, memory.open(driver="GTiff") as raster:
        bands: NDArray[Any] = raster.read()
        return bands
