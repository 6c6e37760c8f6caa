"""Pixels as bytes: NPY, GeoTIFF (also zipped), PNG and JPEG.

Masked pixels are 0, as in the service's files; a PNG is transparent there.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from PIL import Image as Picture
from rasterio.io import MemoryFile

from geo_assets_tests.emulators.earth_engine.algorithms import ALGORITHMS
from geo_assets_tests.emulators.earth_engine.algorithms.image_structure import as_projection
from geo_assets_tests.emulators.earth_engine.values import Image, Pixels, bad_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_BYTES = 50_331_648
MOST_SIDE = 32_768
MOST_BANDS = 1_024
CONTENT_TYPES = {
    "NPY": "application/octet-stream",
    "GEO_TIFF": "image/tiff",
    "ZIPPED_GEO_TIFF": "application/zip",
    "ZIPPED_GEO_TIFF_PER_BAND": "application/zip",
    "PNG": "image/png",
    "JPEG": "image/jpeg",
}


def grid_of(image: Image, grid: Mapping[str, Any] | None) -> GeoBox:
    """Return the grid of a request; without one the image's own.

    Raises:
        ServiceError: If the image has no edges, or the grid makes no sense.
    """
    first = image.bands[0]
    if not grid:
        if first.shape is None:
            raise bad_request("Image has no fixed footprint: region and scale must be given.")
        return GeoBox(first.shape, first.projection.transform, first.projection.crs)
    size = grid.get("dimensions") or {}
    t = grid.get("affineTransform")
    if not size.get("width") or not size.get("height"):
        raise bad_request("Pixel grid dimensions must be positive.")
    affine = first.projection.transform
    if t:
        affine = Affine(
            *(float(t.get(n, 0)) for n in ("scaleX", "shearX", "translateX")),
            *(float(t.get(n, 0)) for n in ("shearY", "scaleY", "translateY")),
        )
    crs = as_projection(grid["crsCode"]).crs if grid.get("crsCode") else first.projection.crs
    return GeoBox((int(size["height"]), int(size["width"])), affine, crs)


def render(
    image: Image,
    file_format: str,
    grid: Mapping[str, Any] | None = None,
    band_ids: Sequence[str] | None = None,
    visualization: Mapping[str, Any] | None = None,
) -> bytes:
    """Return an image's pixels on a grid as a file.

    Raises:
        ServiceError: If it is too large, or of a format that is not known.
    """
    if not image.bands:
        raise bad_request("Image.getPixels: The image has no bands.")
    if band_ids:
        image = ALGORITHMS["Image.select"].function(image, list(band_ids))
    if visualization:
        ranges = (visualization.get("ranges") or [{}])[0]
        image = ALGORITHMS["Image.visualize"].function(
            image, min=ranges.get("min", 0), max=ranges.get("max", 255)
        )
    box = grid_of(image, grid)
    _check_size(image, box)
    parts = image.all(box)
    dtypes = [np.dtype(band.dtype) for band in image.bands]
    flat = [
        np.where(mask, data, 0).astype(dtype)
        for (data, mask), dtype in zip(parts, dtypes, strict=True)
    ]
    if file_format == "NPY":
        return _npy(flat, image.named())
    if file_format in {"PNG", "JPEG", "AUTO_JPEG_PNG"}:
        return _picture(parts, "JPEG" if file_format == "JPEG" else "PNG")
    if file_format == "GEO_TIFF":
        return _tiff(flat, image.named(), box)
    if file_format == "ZIPPED_GEO_TIFF":
        return _zipped({"download.tif": _tiff(flat, image.named(), box)})
    if file_format == "ZIPPED_GEO_TIFF_PER_BAND":
        return _zipped(
            {
                f"download.{name}.tif": _tiff([data], [name], box)
                for name, data in zip(image.named(), flat, strict=True)
            }
        )
    raise bad_request(f"Invalid file format {file_format!r}.")


def _check_size(image: Image, box: GeoBox) -> None:
    height, width = box.shape
    if max(height, width) > MOST_SIDE:
        raise bad_request(f"Pixel grid dimensions ({width}x{height}) must be at most {MOST_SIDE}.")
    if len(image.bands) > MOST_BANDS:
        raise bad_request(f"Too many bands: {len(image.bands)}; at most {MOST_BANDS}.")
    size = height * width * sum(np.dtype(band.dtype).itemsize for band in image.bands)
    if size > MOST_BYTES:
        raise bad_request(
            f"Total request size ({size} bytes) must be less than or equal to {MOST_BYTES} bytes."
        )


def _npy(arrays: Sequence[np.ndarray], names: Sequence[str]) -> bytes:
    record = np.zeros(arrays[0].shape, [(n, a.dtype) for n, a in zip(names, arrays, strict=True)])
    for name, array in zip(names, arrays, strict=True):
        record[name] = array
    file = io.BytesIO()
    np.save(file, record)
    return file.getvalue()


def _tiff(arrays: Sequence[np.ndarray], names: Sequence[str], box: GeoBox) -> bytes:
    dtype = np.result_type(*arrays)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            height=box.shape.y,
            width=box.shape.x,
            count=len(arrays),
            dtype=dtype,
            crs=str(box.crs),
            transform=box.affine,
            compress="lzw",
        ) as file:
            for number, (array, name) in enumerate(zip(arrays, names, strict=True), start=1):
                file.write(array.astype(dtype), number)
                file.set_band_description(number, name)
        return bytes(memory.getbuffer())


def _zipped(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _picture(parts: Sequence[Pixels], kind: str) -> bytes:
    if len(parts) not in {1, 3}:
        raise bad_request("Must specify visualization parameters for an image of several bands.")
    bands = [np.clip(np.where(mask, data, 0), 0, 255).astype(np.uint8) for data, mask in parts]
    colours = np.stack(bands * 3 if len(bands) == 1 else bands, axis=-1)
    known = np.logical_and.reduce([mask for _, mask in parts])
    file = io.BytesIO()
    if kind == "JPEG":
        Picture.fromarray(colours).save(file, "JPEG", quality=90)
    elif known.all():
        Picture.fromarray(colours).save(file, "PNG")
    else:
        opaque = np.where(known, 255, 0).astype(np.uint8)
        Picture.fromarray(np.dstack([colours, opaque])).save(file, "PNG")
    return file.getvalue()
