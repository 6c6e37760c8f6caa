"""Chips as GeoTIFF, bare or as the one member of a zip archive.

Validity is an internal mask band, never a no-data tag: value 0 is background in the label band
and may be a datum in the image bands.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import rasterio
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.io import MemoryFile

from geo_assets.core.chips import ChipPixels
from geo_assets.errors import StorageError
from geo_assets.storage.chips.expectation import (
    ChipExpectation,
    crs_of,
    decoding,
    invalid,
    valid_by_value,
)
from geo_assets.storage.rasters.geotiff_template import GeotiffTemplate, template_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geo_assets.core.chips import ChipSpec
    from geo_assets.storage.chips.expectation import ChipEncoding

_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_SAFE_MEMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\.tiff?", re.IGNORECASE)
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_TRANSFORM_TOLERANCE_PX = 0.01


def encode_geotiff(pixels: ChipPixels, spec: ChipSpec, encoding: ChipEncoding) -> bytes:
    """Return the chip as a GeoTIFF: Zstandard with predictor, band names, internal mask."""
    template = _template(_Kind.of(spec, encoding))
    return template.pack(pixels.data, pixels.valid, spec.geobox.transform)


def check_geotiff(
    payload: bytes, pixels: ChipPixels, spec: ChipSpec, encoding: ChipEncoding
) -> None:
    """Check that a GeoTIFF that was just made holds the pixels, mask and place it was made of.

    The header is compared with that of its kind, which GDAL has read in full before any chip is
    written; every strip is unpacked again.

    Raises:
        ReadError: (``invalid_payload``) What differs, by name.
    """
    template = _template(_Kind.of(spec, encoding))
    if wrong := template.check(payload, pixels.data, pixels.valid, spec.geobox.transform):
        raise invalid(wrong, "another", "what the chip was made of")


@dataclass(frozen=True)
class _Kind:
    """What chips share that share a template."""

    bands: tuple[str, ...]
    dtype: str
    shape: tuple[int, int]
    crs: str
    orientation: tuple[float, float, float, float]

    @classmethod
    def of(cls, spec: ChipSpec, encoding: ChipEncoding) -> Self:
        rows, columns = spec.geobox.shape
        a, b, _, d, e, _ = spec.geobox.transform[:6]
        crs = str(crs_of(spec.geobox))
        return cls(encoding.bands, encoding.dtype, (int(rows), int(columns)), crs, (a, b, d, e))


@lru_cache(maxsize=64)
def _template(kind: _Kind) -> GeotiffTemplate:
    """Return the template of chips of a kind, after GDAL has read a chip made of it."""
    a, b, d, e = kind.orientation
    generator = np.random.default_rng(0)
    shape = (len(kind.bands), *kind.shape)
    data = generator.integers(0, 256, shape).astype(kind.dtype)
    valid = generator.random(kind.shape) < 0.5
    example = _written_by_gdal(data, valid, kind, Affine(a, b, 1, d, e, 2))
    template = template_of(example)
    elsewhere = Affine(a, b, 310_000.25, d, e, 5_900_000.5)
    payload = template.pack(data, valid, elsewhere)
    expected = ChipExpectation(
        "tif", kind.bands, kind.dtype, GeoBox(kind.shape, elsewhere, kind.crs), label_band=False
    )
    back = decode_geotiff(payload, expected)
    if not (np.array_equal(back.data, data) and np.array_equal(back.valid, valid)):
        raise StorageError(f"GeoTIFF template of {kind}: GDAL reads other pixels than were packed")
    return template


def _written_by_gdal(
    data: NDArray[Any], valid: NDArray[np.bool_], kind: _Kind, transform: Affine
) -> bytes:
    bands, rows, columns = data.shape
    profile = {
        "driver": "GTiff",
        "width": columns,
        "height": rows,
        "count": bands,
        "dtype": kind.dtype,
        "crs": CRS(kind.crs).to_wkt(),
        "transform": transform,
        "compress": "zstd",
        "predictor": 3 if np.issubdtype(data.dtype, np.floating) else 2,
        "interleave": "band",
        "blockysize": rows,
        # Without these GDAL takes four uint8 bands for red, green, blue and alpha.
        "photometric": "minisblack",
        "alpha": "unspecified",
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(**profile) as dataset:
            dataset.write(data)
            dataset.write_mask(valid)
            dataset.descriptions = kind.bands
        return bytes(memory.getbuffer())


def decode_geotiff(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Read every band of a GeoTIFF in full, after its header proved to be what is expected.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    if not payload.startswith(_MAGIC):
        raise invalid("its beginning", payload[:8], "that of a TIFF")
    with (
        decoding("GeoTIFF"),
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        MemoryFile(payload) as memory,
        memory.open(driver="GTiff") as dataset,
    ):
        _check_header(dataset, expected)
        data = dataset.read()
        if MaskFlags.per_dataset in dataset.mask_flag_enums[0]:
            valid = dataset.read_masks(1) > 0
        else:
            valid = valid_by_value(data[:-1] if expected.label_band else data)
    return ChipPixels(data, valid)


def encode_zip(pixels: ChipPixels, spec: ChipSpec, encoding: ChipEncoding) -> bytes:
    """Return the chip's GeoTIFF as the one member of a zip archive without times of its own."""
    member = zipfile.ZipInfo(f"{spec.chip_id}.tif", date_time=_ZIP_EPOCH)
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    member.create_system = 3  # Unix on every system, so that the bytes are equal
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr(member, encode_geotiff(pixels, spec, encoding))
    return archive.getvalue()


def decode_zip(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Read the GeoTIFF in a zip archive: one member, a harmless name, no more than plausible.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    if not payload.startswith(b"PK\x03\x04"):
        raise invalid("its beginning", payload[:8], "that of a zip archive")
    most = 2 * int(np.prod(expected.shape)) * np.dtype(expected.dtype).itemsize + 2**20
    with decoding("zip archive"), zipfile.ZipFile(io.BytesIO(payload)) as archive:
        members = archive.infolist()
        if len(members) != 1:
            raise invalid("the number of members", len(members), 1)
        member = members[0]
        if not _SAFE_MEMBER.fullmatch(member.filename) or stat.S_ISLNK(member.external_attr >> 16):
            raise invalid("the member's name", repr(member.filename), "a plain name ending in .tif")
        if member.file_size > most:
            raise invalid("the member's size", f"{member.file_size} bytes", f"at most {most}")
        # The stated size may lie: never unpack more than one byte too many.
        with archive.open(member) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise invalid("the member's size", f"more than {most} bytes", f"at most {most}")
    return decode_geotiff(content, expected)


def _check_header(dataset: rasterio.DatasetReader, expected: ChipExpectation) -> None:
    shape = (dataset.count, dataset.height, dataset.width)
    if shape != expected.shape:
        raise invalid("its shape (band, y, x)", shape, expected.shape)
    if set(dataset.dtypes) != {expected.dtype}:
        raise invalid("its dtype", sorted(set(dataset.dtypes)), expected.dtype)
    # A file without any band names is taken by its order; wrong names are refused.
    if any(dataset.descriptions) and dataset.descriptions != expected.bands:
        raise invalid("its bands", list(dataset.descriptions), list(expected.bands))
    wanted_crs = crs_of(expected.geobox)
    # odc-geo compares EPSG codes where both have one, and whole definitions where not.
    if dataset.crs is None or CRS(dataset.crs.to_wkt()) != wanted_crs:
        raise invalid("its CRS", dataset.crs, wanted_crs)
    to_pixels = ~expected.geobox.transform @ dataset.transform
    _, rows, columns = expected.shape
    for corner in ((0, 0), (columns, 0), (0, rows), (columns, rows)):
        x, y = to_pixels @ corner
        if not max(abs(x - corner[0]), abs(y - corner[1])) <= _TRANSFORM_TOLERANCE_PX:
            raise invalid(
                "its transform", tuple(dataset.transform)[:6], tuple(expected.geobox.transform)[:6]
            )
