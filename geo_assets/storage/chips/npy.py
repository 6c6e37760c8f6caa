"""Chips as numpy's own array file: no georeference and no validity, just numbers.

Written as a plain array (band, y, x). Earth Engine answers with a record array (y, x) with one
field a band; both are read. https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geo_assets.core.chips import ChipPixels
from geo_assets.storage.chips.expectation import decoding, invalid, valid_by_value

if TYPE_CHECKING:
    from geo_assets.storage.chips.expectation import ChipExpectation


def encode_npy(pixels: ChipPixels) -> bytes:
    """Return the chip as an ``.npy`` file of shape (band, y, x)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(pixels.data), allow_pickle=False)
    return file.getvalue()


def decode_npy(payload: bytes, expected: ChipExpectation) -> ChipPixels:
    """Read an ``.npy`` file, after its header proved to be what is expected; never a pickle.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs, by name.
    """
    if not payload.startswith(np.lib.format.MAGIC_PREFIX):
        raise invalid("its beginning", payload[:8], "that of an npy file")
    file = io.BytesIO(payload)
    with decoding("npy header"):
        version = np.lib.format.read_magic(file)
        if version not in {(1, 0), (2, 0)}:
            raise invalid("its npy version", version, "1.0 or 2.0")
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read_header(file)
    _check_header(shape, dtype, expected)
    body = memoryview(payload)[file.tell() :]
    wanted_bytes = int(np.prod(shape)) * dtype.itemsize
    if len(body) != wanted_bytes:
        raise invalid("its body", f"{len(body)} bytes", f"{wanted_bytes} bytes")
    array = np.frombuffer(body, dtype).reshape(shape, order="F" if fortran_order else "C")
    data: npt.NDArray[Any] = (
        array if dtype.names is None else np.stack([array[name] for name in dtype.names])
    )
    return ChipPixels(data, valid_by_value(data[:-1] if expected.label_band else data))


def _check_header(shape: tuple[int, ...], dtype: np.dtype[Any], expected: ChipExpectation) -> None:
    records = dtype.names is not None
    wanted_shape = expected.shape[1:] if records else expected.shape
    if shape != wanted_shape:
        raise invalid("its shape", shape, wanted_shape)
    if records and dtype.names != expected.bands:
        raise invalid("its bands", list(dtype.names or ()), list(expected.bands))
    fields = {dtype} if dtype.fields is None else {field[0] for field in dtype.fields.values()}
    if fields != {np.dtype(expected.dtype)}:
        raise invalid("its dtype", dtype, expected.dtype)
