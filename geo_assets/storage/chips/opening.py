"""Opening a published chip by its id, whatever its format."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rasterio.io import MemoryFile

from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips.catalog import read_rows
from geo_assets.storage.chips.expectation import ChipExpectation
from geo_assets.storage.chips.zarr_metadata import PIXELS
from geo_assets.storage.chips.zarr_pixels import decode_zarr
from geo_assets.storage.chips.zarr_shard_files import ChipShards

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


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
    if "#" not in name:
        return _pixels(payload, Path(name).suffix), row.spec.geobox
    try:
        chip = decode_zarr(payload, payloads.expected(row.href, row.spec.geobox))
    except ReadError as error:
        raise StorageError(f"{name}: {error}; run geo-assets verify") from error
    return chip.data, row.spec.geobox


@dataclass
class Payloads:
    """What lies at the hrefs of a catalog, files or parts of a Zarr store.

    Attributes:
        catalog: The catalog.
    """

    catalog: Path
    _stores: dict[Path, tuple[dict[str, Any], ChipShards] | None] = field(default_factory=dict)

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

    def expected(self, href: str, geobox: GeoBox) -> ChipExpectation:
        """Return what the metadata of a chip's store says of it.

        Raises:
            StorageError: The store has no readable metadata.
        """
        file = href.partition("#")[0]
        store = self._store(file)
        if store is None:
            raise StorageError(f"{file}: has no readable metadata; materialize chip_catalog")
        bands = tuple(str(number) for number in range(store[0]["shape"][1]))
        return ChipExpectation("zarr", bands, store[0]["data_type"], geobox, label_band=False)

    def _store(self, file: str) -> tuple[dict[str, Any], ChipShards] | None:
        path = self.catalog.parent / file
        if path not in self._stores:
            self._stores[path] = _opened(path)
        return self._stores[path]


def _opened(path: Path) -> tuple[dict[str, Any], ChipShards] | None:
    try:
        metadata = json.loads((path / PIXELS / "zarr.json").read_bytes())
        slots = int(metadata["chunk_grid"]["configuration"]["chunk_shape"][0])
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return metadata, ChipShards(path, slots)


def _pixels(payload: bytes, suffix: str) -> NDArray[Any]:
    if suffix == ".npy":
        array: NDArray[Any] = np.load(io.BytesIO(payload), allow_pickle=False)
        return array
    if suffix in {".png", ".jpg"}:
        return np.moveaxis(np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")), -1, 0)
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            payload = archive.read(archive.namelist()[0])
    with MemoryFile(payload) as memory, memory.open(driver="GTiff") as raster:
        bands: NDArray[Any] = raster.read()
        return bands
