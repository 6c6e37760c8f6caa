"""What a chip's bytes may be, format by format, compared with rasterio, numpy and Pillow."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
import zipfile

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from PIL import Image
from rasterio.io import MemoryFile

from geo_assets.core.chips import CHIP_FORMATS, ChipPixels, ChipSpec
from geo_assets.errors import ReadError, StorageError
from geo_assets.storage.chips.files import (
    ChipEncoding,
    Stretch,
    check_made,
    check_payload,
    decode_chip,
    encode_chip,
)

GEOBOX = GeoBox((24, 32), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633")
BANDS = ("B02", "B03", "B04", "B08", "label")
STRETCH = Stretch(bands=(2, 1, 0), low=(0.0, 0.0, 0.0), high=(3000.0, 3000.0, 3000.0))
SPEC = ChipSpec(
    chip_id="north-train-r1-c2",
    fold="north",
    split="train",
    cluster=0,
    geobox=GEOBOX,
    recipe="0" * 64,
    scene_ids=("S2A",),
    start=dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
    end=dt.datetime(2024, 8, 1, tzinfo=dt.UTC),
)


def an_encoding(chip_format="tif", dtype="uint16", bands=BANDS):
    return ChipEncoding(format=chip_format, bands=bands, dtype=dtype, stretch=STRETCH)


def some_pixels(dtype="uint16", bands=5, seed=0):
    generator = np.random.default_rng(seed)
    data = generator.integers(1, 250, (bands, *GEOBOX.shape)).astype(dtype)
    valid = np.ones(GEOBOX.shape, bool)
    valid[:6] = False
    data[:-1, ~valid] = 0
    data[-1] = 0
    data[-1, :12, :16] = 3
    data[-1, 12:, :16] = 255
    return ChipPixels(data, valid)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("chip_format", ["tif", "zip", "npy"])
def test_a_lossless_chip_comes_back_as_it_was(chip_format, dtype):
    encoding = an_encoding(chip_format, dtype)
    pixels = some_pixels(dtype)
    back = decode_chip(encode_chip(pixels, SPEC, encoding), encoding.expect(GEOBOX))
    np.testing.assert_array_equal(back.data, pixels.data)
    np.testing.assert_array_equal(back.valid, pixels.valid)


@pytest.mark.parametrize("chip_format", CHIP_FORMATS)
def test_equal_pixels_give_equal_bytes(chip_format):
    encoding = an_encoding(chip_format)
    first, second = (encode_chip(some_pixels(), SPEC, encoding) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("chip_format", ["tif", "zip", "npy", "png"])
def test_a_checked_chip_counts_its_data_and_its_labels(chip_format):
    encoding = an_encoding(chip_format)
    payload = encode_chip(some_pixels(), SPEC, encoding)
    chip = check_payload(payload, encoding.expect(GEOBOX))
    assert chip.valid_fraction == 0.75
    assert chip.label_fraction == (None if chip_format == "png" else 0.25)
    assert chip.size == len(payload)


@pytest.mark.parametrize("bands", [("g",), BANDS[1:], BANDS[:4], BANDS])
def test_rasterio_reads_a_chip_with_its_names_its_mask_and_no_nodata_tag(bands):
    pixels = some_pixels("uint8", bands=len(bands))
    payload = encode_chip(pixels, SPEC, an_encoding(dtype="uint8", bands=bands))
    with MemoryFile(payload) as memory, memory.open() as dataset:
        assert dataset.descriptions == bands
        assert dataset.nodata is None
        assert set(dataset.nodatavals) == {None}
        assert dataset.compression == rasterio.enums.Compression.zstd
        assert dataset.transform == GEOBOX.transform
        assert dataset.crs.to_epsg() == 32633
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, pixels.valid)
        np.testing.assert_array_equal(dataset.read(), pixels.data)


def test_values_of_zero_are_data_where_the_mask_says_so():
    pixels = ChipPixels(np.zeros((5, 24, 32), "uint16"), np.ones((24, 32), bool))
    encoding = an_encoding()
    assert (
        check_payload(encode_chip(pixels, SPEC, encoding), encoding.expect(GEOBOX)).valid_fraction
        == 1
    )


def a_foreign_geotiff(data, *, crs="EPSG:32633", transform=GEOBOX.transform, **profile):
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=data.shape[0],
            height=data.shape[1],
            width=data.shape[2],
            dtype=data.dtype,
            crs=crs,
            transform=transform,
            **profile,
        ) as dataset:
            dataset.write(data)
        return bytes(memory.getbuffer())


def test_without_a_mask_zero_in_every_image_band_is_no_data():
    data = some_pixels().data
    chip = check_payload(a_foreign_geotiff(data), an_encoding().expect(GEOBOX))
    assert chip.valid_fraction == 0.75


def test_a_geobox_without_epsg_code_is_recognised():
    sinusoidal = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
    geobox = GeoBox(GEOBOX.shape, Affine(463.3, 0, 0, 0, -463.3, 5e6), sinusoidal)
    spec = dataclasses.replace(SPEC, geobox=geobox)
    payload = encode_chip(some_pixels(), spec, an_encoding())
    assert check_payload(payload, an_encoding().expect(geobox)).valid_fraction == 0.75
    with pytest.raises(ReadError, match="its CRS"):
        check_payload(payload, an_encoding().expect(GEOBOX))


SHIFTED = GEOBOX.transform @ Affine.translation(0.02, 0)
WIDER = GEOBOX.transform @ Affine.scale(1.001)
DATA = some_pixels().data


def a_zip_of(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def an_npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def a_picture(array, name):
    file = io.BytesIO()
    Image.fromarray(array).save(file, name)
    return file.getvalue()


RGB = np.full((24, 32, 3), 7, "uint8")
RECORDS = np.zeros(GEOBOX.shape, [(name, "<u2") for name in BANDS])

REFUSED = {
    "html with status 200": ("tif", b"<!doctype html><title>500</title>", "its beginning"),
    "nothing": ("tif", b"", "its beginning"),
    "a png for a tif": ("tif", a_picture(RGB, "PNG"), "its beginning"),
    "too few bands": ("tif", a_foreign_geotiff(DATA[:4]), "its shape"),
    "too few rows": ("tif", a_foreign_geotiff(DATA[:, :-1]), "its shape"),
    "another dtype": ("tif", a_foreign_geotiff(DATA.astype("float32")), "its dtype"),
    "another CRS": ("tif", a_foreign_geotiff(DATA, crs="EPSG:32632"), "its CRS"),
    "shifted by 2 % of a pixel": ("tif", a_foreign_geotiff(DATA, transform=SHIFTED), "transform"),
    "wider by a thousandth": ("tif", a_foreign_geotiff(DATA, transform=WIDER), "its transform"),
    "a truncated tif": ("tif", a_foreign_geotiff(DATA)[:-900], "in full"),
    "a zip of nothing": ("zip", a_zip_of(("a.txt", b"")), "the member's name"),
    "a zip with two members": ("zip", a_zip_of(("a.tif", b""), ("b.tif", b"")), "members"),
    "a zip that climbs": ("zip", a_zip_of(("../a.tif", b"")), "the member's name"),
    "a zip bomb": ("zip", a_zip_of(("a.tif", bytes(2**21))), "the member's size"),
    "a zip of another thing": ("zip", a_zip_of(("a.tif", b"GIF89a")), "its beginning"),
    "a tif for a zip": ("zip", a_foreign_geotiff(DATA), "its beginning"),
    "a pickle": ("npy", an_npy(np.array([{}]), allow_pickle=True), "dtype|shape"),
    "a pickle of the right shape": (
        "npy",
        an_npy(np.full(DATA.shape, None), allow_pickle=True),
        "its dtype",
    ),
    "an npy of another dtype": ("npy", an_npy(DATA.astype("float32")), "its dtype"),
    "an npy of another byte order": ("npy", an_npy(DATA.astype(">u2")), "its dtype"),
    "an npy of another shape": ("npy", an_npy(DATA[:, :, :-1]), "its shape"),
    "an npy with other bands": (
        "npy",
        an_npy(np.zeros(GEOBOX.shape, [(f"x{i}", "<u2") for i in range(5)])),
        "its bands",
    ),
    "a truncated npy": ("npy", an_npy(DATA)[:-1], "its body"),
    "an npy with a tail": ("npy", an_npy(DATA) + b"x", "its body"),
    "a grey png": ("png", a_picture(RGB[..., 0], "PNG"), "its mode"),
    "a small png": ("png", a_picture(RGB[:-1], "PNG"), "its shape"),
    "a truncated png": ("png", a_picture(RGB, "PNG")[:-4], "its end"),
    "a truncated jpg": ("jpg", a_picture(RGB, "JPEG")[:-4], "its end"),
    "a jpg for a png": ("png", a_picture(RGB, "JPEG"), "its beginning"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_payload_that_was_not_asked_for_is_refused_by_name(case):
    chip_format, payload, named = REFUSED[case]
    with pytest.raises(ReadError, match=named) as caught:
        check_payload(payload, an_encoding(chip_format).expect(GEOBOX))
    assert caught.value.kind == "invalid_payload"


def test_a_tif_with_other_band_names_is_refused():
    payload = encode_chip(some_pixels(), SPEC, an_encoding(bands=(*BANDS[:4], "cover")))
    with pytest.raises(ReadError, match="its bands"):
        check_payload(payload, an_encoding().expect(GEOBOX))


def test_a_transform_within_a_hundredth_of_a_pixel_is_accepted():
    nearly = GEOBOX.transform @ Affine.translation(0.005, 0.005)
    payload = a_foreign_geotiff(DATA, transform=nearly)
    assert check_payload(payload, an_encoding().expect(GEOBOX)).valid_fraction == 0.75


def test_a_record_array_of_earth_engine_is_read_band_by_band():
    records = RECORDS.copy()
    for name, band in zip(BANDS, DATA, strict=True):
        records[name] = band
    back = decode_chip(an_npy(records), an_encoding("npy").expect(GEOBOX))
    np.testing.assert_array_equal(back.data, DATA)


def test_a_png_with_transparency_is_valid_where_it_is_opaque():
    rgba = np.dstack([RGB, np.full(GEOBOX.shape, 255, "uint8")])
    rgba[:12, :, 3] = 0
    chip = check_payload(a_picture(rgba, "PNG"), an_encoding("png").expect(GEOBOX))
    assert chip.valid_fraction == 0.5


def test_a_png_holds_the_stretched_bands_and_zero_only_without_data():
    pixels = some_pixels()
    payload = encode_chip(pixels, SPEC, an_encoding("png"))
    with Image.open(io.BytesIO(payload)) as image:
        got = np.moveaxis(np.asarray(image), -1, 0)
    wanted = np.rint(1 + pixels.data[[2, 1, 0]].astype(float) / 3000 * 254)
    np.testing.assert_array_equal(got, np.where(pixels.valid, wanted, 0))
    assert got[:, pixels.valid].min() >= 1


@given(cut=st.floats(0, 0.999), chip_format=st.sampled_from(CHIP_FORMATS))
@settings(max_examples=60, deadline=None)
def test_no_truncated_chip_is_accepted(cut, chip_format):
    encoding = an_encoding(chip_format)
    payload = encode_chip(some_pixels(), SPEC, encoding)
    with pytest.raises(ReadError):
        check_payload(payload[: int(cut * len(payload))], encoding.expect(GEOBOX))


@given(
    position=st.floats(0, 0.9999), bit=st.integers(0, 7), chip_format=st.sampled_from(CHIP_FORMATS)
)
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_is_refused_or_gives_pixels_of_the_right_kind(position, bit, chip_format):
    # A flip among the pixels can decode: that is what the checksum is for (verify).
    encoding = an_encoding(chip_format)
    payload = bytearray(encode_chip(some_pixels(), SPEC, encoding))
    payload[int(position * len(payload))] ^= 1 << bit
    expected = encoding.expect(GEOBOX)
    try:
        shape = decode_chip(bytes(payload), expected).data.shape
    except ReadError:
        shape = expected.shape
    assert shape == expected.shape


@pytest.mark.parametrize(
    "pixels",
    [
        some_pixels("uint8"),
        some_pixels(bands=4),
        ChipPixels(DATA[:, 1:], np.ones((23, 32), bool)),
    ],
    ids=["dtype", "bands", "rows"],
)
def test_pixels_that_do_not_fit_are_not_written(pixels):
    with pytest.raises(StorageError, match="north-train-r1-c2: pixels are"):
        encode_chip(pixels, SPEC, an_encoding())


@pytest.mark.parametrize(("chip_format", "looked_at"), [("npy", 100), ("tif", 100), ("zarr", 7)])
def test_chips_that_hold_other_pixels_are_found_all_of_them_or_a_sixteenth(chip_format, looked_at):
    encoding = an_encoding(chip_format)
    specs = [dataclasses.replace(SPEC, chip_id=f"north-train-r{row}-c2") for row in range(100)]
    found = []
    for spec in specs:
        payload = encode_chip(some_pixels(seed=1), spec, encoding)
        try:
            check_made(payload, some_pixels(seed=2), spec, encoding)
        except ReadError:
            found.append(spec.chip_id)
    assert len(found) == looked_at


def test_validity_of_another_shape_is_refused():
    with pytest.raises(StorageError, match="boolean"):
        ChipPixels(DATA, np.ones((2, 2), bool))


def test_a_picture_without_a_stretch_is_refused():
    with pytest.raises(StorageError, match="stretch"):
        ChipEncoding(format="png", bands=BANDS, dtype="uint16")
