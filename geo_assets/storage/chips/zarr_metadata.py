"""The metadata of a store of chips, as Zarr v3 and xarray want it, and its small arrays.

    zarr.json   group; holds the metadata of every array, so that readers see one generation of them
    pixels      (chip, band, y, x), sharded: a chunk is a chip
    valid       (chip, y, x) bool, sharded alike; False where nothing lies
    chip_id     (chip) text, empty where nothing lies
    crs         (chip) text: authority and code, or WKT
    transform   (chip, coefficient) six doubles: column and row to x and y, in the order of Affine
    band        (band) text: names in order

https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html. A chip's index never says which chip
it is: ``chip_id`` and the catalog do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numcodecs import VLenUTF8, Zstd  # type: ignore[import-untyped]  # ships no types

from geo_assets.core.grids import code_of
from geo_assets.storage.chips.expectation import crs_of
from geo_assets.storage.chips.zarr_pixels import BLOCK_BYTES, COMPRESSOR, LEVEL, crc_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from odc.geo.geobox import GeoBox

PIXELS, VALID = "pixels", "valid"
SMALL_ARRAYS = ("chip_id", "crs", "transform", "band")
_ROWS = 4096
"""Chips in a chunk of the small arrays."""
_MOST_SLOTS = 64
_MOST_SHARD_BYTES = 64 * 2**20
_ZSTD = Zstd(level=3)
_CRC = {"name": "crc32c"}
_VLEN_UTF8 = {"name": "vlen-utf8", "configuration": {}}
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_BYTES = {"name": "bytes"}


@dataclass(frozen=True)
class ChipArrays:
    """What decides the form of a store's arrays; two stores of equal form have equal chunks."""

    bands: tuple[str, ...]
    dtype: str
    rows: int
    columns: int

    @property
    def chip_bytes(self) -> int:
        """Bytes of one chip's pixels."""
        return len(self.bands) * self.rows * self.columns * np.dtype(self.dtype).itemsize

    @property
    def slots(self) -> int:
        """Chips of a shard: 64, or as many as 64 MiB hold before they are packed."""
        return max(1, min(_MOST_SLOTS, _MOST_SHARD_BYTES // self.chip_bytes))


def files_of(
    arrays: ChipArrays, length: int, chips: Mapping[int, tuple[str, GeoBox]]
) -> dict[str, bytes]:
    """Return every file of a store but the shards, by path in the store, ``zarr.json`` last.

    Args:
        arrays: The form of the store.
        length: Of the axis of chips.
        chips: Id and grid of the chips that lie in the store, by index.
    """
    metadata = metadata_of(arrays, length)
    files: dict[str, bytes] = {"band/c/0": _texts(arrays.bands, len(arrays.bands))}
    for number in range(-(-length // _ROWS)):
        part = {
            index - number * _ROWS: chips[index]
            for index in range(number * _ROWS, min((number + 1) * _ROWS, length))
            if index in chips
        }
        names, codes = [""] * _ROWS, [""] * _ROWS
        transforms = np.full((_ROWS, 6), np.nan, "<f8")
        for place, (chip_id, geobox) in part.items():
            crs = crs_of(geobox)
            names[place] = chip_id
            codes[place] = code_of(crs) or crs.to_wkt()
            transforms[place] = geobox.transform[:6]
        files[f"chip_id/c/{number}"] = _texts(names, _ROWS)
        files[f"crs/c/{number}"] = _texts(codes, _ROWS)
        files[f"transform/c/{number}/0"] = _packed(transforms.tobytes())
    for name, fields in metadata.items():
        files[f"{name}/zarr.json"] = _json(fields)
    consolidated = {"kind": "inline", "must_understand": False, "metadata": metadata}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    files["zarr.json"] = _json({**group, "consolidated_metadata": consolidated})
    return files


def metadata_of(arrays: ChipArrays, length: int) -> dict[str, dict[str, Any]]:
    """Return the metadata of each array by name, see ``files_of``."""
    chip = {"band": len(arrays.bands), "y": arrays.rows, "x": arrays.columns}
    plane = {"y": arrays.rows, "x": arrays.columns}
    fill = 0.0 if np.dtype(arrays.dtype).kind == "f" else 0
    text: dict[str, Any] = {
        "data_type": "string",
        "fill_value": "",
        "codecs": [_VLEN_UTF8, *_PACKED],
    }
    return {
        PIXELS: _sharded(arrays.dtype, fill, {"chip": length, **chip}, arrays.slots),
        VALID: _sharded("bool", False, {"chip": length, **plane}, arrays.slots),  # a fill value
        "chip_id": _array({"chip": length}, (_ROWS,), **text),
        "crs": _array({"chip": length}, (_ROWS,), **text),
        "transform": _array(
            {"chip": length, "coefficient": 6},
            (_ROWS, 6),
            data_type="float64",
            fill_value="NaN",
            codecs=[_LITTLE_ENDIAN, *_PACKED],
        ),
        "band": _array({"band": len(arrays.bands)}, (len(arrays.bands),), **text),
    }


_PACKED: list[dict[str, Any]] = [
    {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
    _CRC,
]


def _array(
    shape: Mapping[str, int], chunk: tuple[int, ...], *, separator: str = "/", **fields: Any
) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape.values()),
        "dimension_names": list(shape),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "attributes": {},
        "storage_transformers": [],
        **fields,
    }


def _sharded(
    dtype: str, fill: float | bool, shape: Mapping[str, int], slots: int
) -> dict[str, Any]:
    chunk = tuple(shape.values())[1:]
    return _array(
        shape,
        (slots, *chunk),
        separator=".",
        data_type=dtype,
        fill_value=fill,
        codecs=[_sharding((1, *chunk), np.dtype(dtype).itemsize)],
        attributes={"coordinates": "chip_id crs transform"},
    )


def _sharding(chunk: tuple[int, ...], typesize: int) -> dict[str, Any]:
    blosc = {
        "typesize": typesize,
        "cname": COMPRESSOR,
        "clevel": LEVEL,
        "shuffle": "bitshuffle",
        "blocksize": BLOCK_BYTES,
    }
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunk),
            "codecs": [
                _LITTLE_ENDIAN if typesize > 1 else _BYTES,
                {"name": "blosc", "configuration": blosc},
                _CRC,
            ],
            "index_codecs": [_LITTLE_ENDIAN, _CRC],
            "index_location": "end",
        },
    }


def _texts(texts: Sequence[str], length: int) -> bytes:
    array = np.array([*texts, *[""] * (length - len(texts))], dtype=object)
    return _packed(bytes(VLenUTF8().encode(array)))


def _packed(content: bytes) -> bytes:
    frame = bytes(_ZSTD.encode(content))
    return frame + crc_of(frame)


def _json(fields: Mapping[str, Any]) -> bytes:
    return (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode()
