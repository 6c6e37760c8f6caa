"""GeoTIFFs made by a template are what GDAL would have written, whatever pixels and place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile

from geo_assets.core.chips import ChipPixels
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips import geotiff as chip_geotiff
from geo_assets.storage.chips.expectation import ChipEncoding
from geo_assets.storage.chips.files import check_made, decode_chip, encode_chip
from geo_assets.storage.rasters.geotiff_template import template_of
from geo_assets_tests.storage.chips.chip_testing import a_spec

DTYPES = ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
PLACES = st.floats(-1e7, 1e7).map(lambda metres: round(metres, 3))


def a_chip(dtype, bands, shape, seed):
    generator = np.random.default_rng(seed)
    raw = generator.integers(0, 256, (bands, *shape, np.dtype(dtype).itemsize), dtype="uint8")
    data = raw.view(dtype)[..., 0].copy()
    return ChipPixels(data, generator.random(shape) < 0.6)


def encoded(pixels, geobox):
    bands = tuple(f"B{number:02}" for number in range(len(pixels.data)))
    spec = a_spec(geobox=geobox)
    encoding = ChipEncoding("tif", bands, pixels.data.dtype.name)
    return encode_chip(pixels, spec, encoding), spec, encoding


@given(
    dtype=st.sampled_from(DTYPES),
    bands=st.integers(1, 4),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corner=st.tuples(PLACES, PLACES),
)
@settings(max_examples=60, deadline=None)
def test_rasterio_reads_pixels_mask_names_and_place(dtype, bands, shape, corner):
    pixels = a_chip(dtype, bands, shape, seed=bands)
    geobox = GeoBox(shape, Affine(10, 0, corner[0], 0, -10, corner[1]), "EPSG:32633")
    payload, spec, encoding = encoded(pixels, geobox)
    with MemoryFile(payload) as memory, memory.open() as file:
        assert file.read().tobytes() == pixels.data.tobytes()
        np.testing.assert_array_equal(file.dataset_mask() > 0, pixels.valid)
        assert file.descriptions == encoding.bands
        assert file.transform == geobox.transform
        assert file.crs.to_epsg() == 32633
        assert file.nodata is None
    check_made(payload, pixels, spec, encoding)


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine(10, 0, 5, 0, 10, 7), "EPSG:32633"),
        (Affine(8, 3, 5.5, 3, -8, 7.25), "EPSG:32633"),
        (Affine(1e-4, 0, 15.123456789, 0, -1e-4, 48.987654321), "EPSG:4326"),
        (
            Affine(463.3, 0, 0, 0, -463.3, 5e6),
            "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs",
        ),
    ],
    ids=["south up", "rotated", "degrees", "no code"],
)
def test_every_orientation_and_crs_is_as_gdal_would_write_it(transform, crs):
    pixels = a_chip("uint16", 2, (12, 9), 1)
    geobox = GeoBox((12, 9), transform, crs)
    payload, _, _ = encoded(pixels, geobox)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=2, height=12, width=9, dtype="uint16",
            crs=geobox.crs.to_wkt(), transform=transform,
        ) as file:  # fmt: skip
            file.write(pixels.data)
        with memory.open() as wanted, MemoryFile(payload) as made, made.open() as found:
            assert found.transform == wanted.transform
            assert found.crs == wanted.crs
            assert found.bounds == wanted.bounds
            assert found.tags() == wanted.tags()
            np.testing.assert_array_equal(found.read(), wanted.read())


@given(position=st.floats(0, 0.9999), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_in_what_was_just_made_is_found_or_changes_nothing(position, bit):
    """One bit of a Zstandard frame's header says nothing (RFC 8878, 3.1.1.1.1.3)."""
    pixels = a_chip("uint16", 3, (24, 20), 2)
    geobox = GeoBox((24, 20), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")
    payload, spec, encoding = encoded(pixels, geobox)
    damaged = bytearray(payload)
    damaged[int(position * len(damaged))] ^= 1 << bit
    found = None
    try:
        check_made(bytes(damaged), pixels, spec, encoding)
    except ReadError as error:
        found = error
    if found is not None:
        assert "chip payload" in str(found)
        assert found.kind == "invalid_payload"
    else:
        assert bit == 4
        read = decode_chip(bytes(damaged), encoding.expect(geobox))
        np.testing.assert_array_equal(read.data, pixels.data)
        np.testing.assert_array_equal(read.valid, pixels.valid)


@pytest.mark.parametrize("cut", [0, 7, 300, -1])
def test_what_was_just_made_and_is_cut_is_found(cut):
    pixels = a_chip("uint16", 3, (24, 20), 2)
    geobox = GeoBox((24, 20), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")
    payload, spec, encoding = encoded(pixels, geobox)
    with pytest.raises(ReadError, match="chip payload"):
        check_made(payload[:cut], pixels, spec, encoding)


def test_other_pixels_another_mask_and_another_place_are_found():
    pixels = a_chip("float32", 2, (8, 8), 3)
    geobox = GeoBox((8, 8), Affine(10, 0, 0, 0, -10, 80), "EPSG:32633")
    payload, spec, encoding = encoded(pixels, geobox)
    other = a_chip("float32", 2, (8, 8), 4)
    for wrong, named in (
        (ChipPixels(other.data, pixels.valid), "its pixels"),
        (ChipPixels(pixels.data, other.valid), "its mask"),
    ):
        with pytest.raises(ReadError, match=named):
            check_made(payload, wrong, spec, encoding)
    moved = dataclasses.replace(spec, geobox=geobox.translate_pix(1, 0))
    with pytest.raises(ReadError, match="its header"):
        check_made(payload, pixels, moved, encoding)


def test_a_template_that_gdal_reads_otherwise_is_not_used(monkeypatch):
    """The proof is not the template's own."""
    monkeypatch.setattr(chip_geotiff, "_template", chip_geotiff._template.__wrapped__)
    honest = chip_geotiff.decode_geotiff

    def another(payload, expected):
        chip = honest(payload, expected)
        return ChipPixels(chip.data + 1, chip.valid)

    monkeypatch.setattr(chip_geotiff, "decode_geotiff", another)
    geobox = GeoBox((8, 8), Affine(10, 0, 0, 0, -10, 80), "EPSG:32633")
    with pytest.raises(StorageError, match="GDAL reads other pixels"):
        encoded(a_chip("uint16", 2, (8, 8), 3), geobox)


def test_a_file_without_a_mask_is_no_template():
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", count=1, height=4, width=4, dtype="uint8") as file:
            file.write(np.zeros((1, 4, 4), "uint8"))
        with pytest.raises(StorageError, match="1 directories instead of 2"):
            template_of(bytes(memory.getbuffer()))


def test_strips_are_zstandard_and_of_one_band_each():
    pixels = a_chip("uint16", 3, (24, 20), 2)
    geobox = GeoBox((24, 20), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")
    payload, _, _ = encoded(pixels, geobox)
    with MemoryFile(payload) as memory, memory.open() as file:
        assert file.compression == rasterio.enums.Compression.zstd
        assert file.interleaving == rasterio.enums.Interleaving.band
        assert file.block_shapes == [(24, 20)] * 3
