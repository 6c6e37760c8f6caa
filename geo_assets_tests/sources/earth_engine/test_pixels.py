from __future__ import annotations

import io
import json

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.errors import ReadError
from geo_assets.sources.earth_engine.pixels import answered, grid_of, request_body
from geo_assets.sources.protocol import ServerComposite

GRID = GeoBox((3, 4), Affine(5, 0, 620_010.5, 0, -5, 5_270_000), "EPSG:26914")
IMAGE = np.arange(24, dtype=np.uint16).reshape(2, 3, 4) + 1
VALID = np.array([[1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]], np.uint16)


def composite(*bands, dtype="uint16", label_band=False):
    return ServerComposite("{}", "{}", bands, dtype, label_band)


def record(bands, data):
    """A record array (y, x) with a field a band, as the service writes it, saved by numpy."""
    array = np.zeros(data.shape[1:], [(name, data.dtype) for name in bands])
    for name, band in zip(bands, data, strict=True):
        array[name] = band
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


PAYLOAD = record(("R", "N", "valid"), np.concatenate([IMAGE, VALID[np.newaxis]]))
HEADER = len(PAYLOAD) - 3 * 4 * 3 * 2
ASKED = composite("R", "N")


def test_bands_come_in_order_and_pixels_without_datum_hold_the_fill():
    pixels = answered(PAYLOAD, ASKED, GRID)
    assert pixels.data.dtype == np.uint16
    assert (pixels.valid == VALID.astype(bool)).all()
    assert (pixels.data == np.where(VALID, IMAGE, 0)).all()


@pytest.mark.parametrize(("dtype", "fill"), [("int16", -32768), ("float32", np.nan), ("uint8", 0)])
def test_the_fill_is_that_of_the_dtype(dtype, fill):
    data = np.concatenate([IMAGE, VALID[np.newaxis]]).astype(dtype)
    pixels = answered(record(("R", "N", "valid"), data), composite("R", "N", dtype=dtype), GRID)
    np.testing.assert_array_equal(
        pixels.data, np.where(VALID, IMAGE, fill).astype(dtype), strict=True
    )


def test_labels_stay_where_the_image_has_no_datum():
    label = np.full((1, 3, 4), 7, np.uint16)
    payload = record(("R", "label", "valid"), np.concatenate([IMAGE[:1], label, VALID[None]]))
    pixels = answered(payload, composite("R", "label", label_band=True), GRID)
    assert (pixels.data[1] == 7).all()
    assert (pixels.data[0][VALID == 0] == 0).all()


def flipped(at, mask):
    damaged = bytearray(PAYLOAD)
    damaged[at] ^= mask
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_of_the_header_changes_what_is_accepted(bit):
    whole = answered(PAYLOAD, ASKED, GRID)
    refused = 0
    for at in range(HEADER):
        try:
            pixels = answered(flipped(at, 1 << bit), ASKED, GRID)
        except ReadError as error:
            assert error.kind == "invalid_payload"  # noqa: PT017  # some flips are harmless
            refused += 1
        else:
            # One blank for another, '=u2' for '<u2': the same array said in other bytes.
            np.testing.assert_array_equal(pixels.data, whole.data)
            np.testing.assert_array_equal(pixels.valid, whole.valid)
    assert refused >= HEADER - 3


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@given(at=st.integers(0, HEADER - 1), mask=st.integers(1, 255))
def test_no_damaged_byte_of_the_header_changes_what_is_accepted(at, mask):
    try:
        pixels = answered(flipped(at, mask), ASKED, GRID)
    except ReadError:
        return
    np.testing.assert_array_equal(pixels.data, answered(PAYLOAD, ASKED, GRID).data)


@pytest.mark.parametrize("value", [2, 255, 65535])
def test_validity_is_0_or_1(value):
    valid = VALID.copy()
    valid[1, 2] = value
    payload = record(("R", "N", "valid"), np.concatenate([IMAGE, valid[np.newaxis]]))
    with pytest.raises(ReadError, match="band valid") as raised:
        answered(payload, ASKED, GRID)
    assert raised.value.kind == "invalid_payload"


@pytest.mark.parametrize("value", [np.nan, 0.5, np.inf])
def test_validity_of_floating_point_is_0_or_1(value):
    data = np.concatenate([IMAGE, VALID[np.newaxis]]).astype(np.float32)
    data[-1, 0, 0] = value
    with pytest.raises(ReadError, match="band valid"):
        answered(record(("R", "N", "valid"), data), composite("R", "N", dtype="float32"), GRID)


STACK = np.concatenate([IMAGE, VALID[np.newaxis]])


def plain(data):
    file = io.BytesIO()
    np.save(file, data)
    return file.getvalue()


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (record(("N", "R", "valid"), STACK), "bands"),
        (record(("R", "N"), IMAGE), "bands"),
        (record(("R", "N", "valid"), STACK.astype(np.uint8)), "dtype"),
        (record(("R", "N", "valid"), STACK.astype(">u2")), "dtype"),
        (record(("R", "N", "valid"), STACK[:, :, :3]), "shape"),
        (record(("R", "N", "valid"), np.swapaxes(STACK, 1, 2)), "shape"),
        (plain(STACK), "bands"),
        (PAYLOAD[:-1], "body"),
        (PAYLOAD + b"\0", "body"),
        (PAYLOAD[:40], "header"),
        (b"", "beginning"),
        (b'{"error": {"code": 429}}', "beginning"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(payload, named):
    with pytest.raises(ReadError, match=named) as raised:
        answered(payload, ASKED, GRID)
    assert raised.value.kind == "invalid_payload"


def test_the_expression_travels_byte_for_byte():
    expression = '{"result":"0","values":{"0":{"constantValue":"\\u00e9 {} %s"}}}'
    body = request_body(expression, GRID)
    assert expression.encode() in body
    assert json.loads(body) == {
        "expression": json.loads(expression),
        "fileFormat": "NPY",
        "grid": grid_of(GRID),
    }


def test_the_grid_is_that_of_the_geobox_to_the_last_digit():
    fine = GeoBox((256, 128), Affine(1 / 3, 0, 0.1, 0, -1 / 7, 0.2), "EPSG:4326")
    said = json.loads(request_body("{}", fine))["grid"]
    transform = said["affineTransform"]
    assert transform["scaleX"] == fine.affine.a
    assert transform["scaleY"] == fine.affine.e
    assert transform["translateX"] == fine.affine.c
    assert transform["translateY"] == fine.affine.f
    assert said["dimensions"] == {"width": 128, "height": 256}
    assert said["crsCode"] == "EPSG:4326"
