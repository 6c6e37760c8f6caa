"""One chip by one request: the body of ``image:computePixels``, and its answer proved to be it.

NPY travels: its header says shape, bands and dtype in plain text and is checked in full, while a
flipped byte in the structure of a TIFF may move pixels and stay unseen.
https://developers.google.com/earth-engine/reference/rest/v1/projects.image/computePixels
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.core.grids import authority_code, crs_of
from geo_assets.sources.earth_engine.expressions import VALID
from geo_assets.sources.protocol import ServerPixels
from geo_assets.storage.chips.expectation import ChipExpectation, invalid
from geo_assets.storage.chips.npy import decode_npy

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import ServerComposite

_RECORDS = re.compile(rb"['\"]descr['\"]\s*:\s*\[")
"""What the header of an array says that has a field a band."""
_HEADER_BYTES = 65_536


def request_body(expression: str, geobox: GeoBox) -> bytes:
    """Return the body that asks for an expression on a grid; the expression is not encoded again.

    Args:
        expression: Its JSON.
        geobox: The grid, north up.
    """
    grid = json.dumps(grid_of(geobox), separators=(",", ":"))
    return f'{{"expression":{expression},"fileFormat":"NPY","grid":{grid}}}'.encode()


def grid_of(geobox: GeoBox) -> dict[str, Any]:
    """Return a grid in the words of the service (``PixelGrid``)."""
    transform = geobox.affine
    return {
        "dimensions": {"width": geobox.shape.x, "height": geobox.shape.y},
        "affineTransform": {
            "scaleX": transform.a,
            "shearX": transform.b,
            "translateX": transform.c,
            "shearY": transform.d,
            "scaleY": transform.e,
            "translateY": transform.f,
        },
        "crsCode": authority_code(crs_of(geobox)),
    }


def answered(payload: bytes, composite: ServerComposite, geobox: GeoBox) -> ServerPixels:
    """Return the pixels of an answer after its header and its validity proved to be right.

    Raises:
        ReadError: (``invalid_payload``) Whatever differs from what was asked for, by name.
    """
    expected = ChipExpectation(
        format="npy",
        bands=(*composite.bands, VALID),
        dtype=composite.dtype,
        geobox=geobox,
        label_band=False,
    )
    stack = decode_npy(payload, expected).data
    if not _RECORDS.search(payload, 0, _HEADER_BYTES):
        raise invalid("its bands", "not named", list(expected.bands))
    said = stack[-1]
    valid = said == 1
    if not (valid | (said == 0)).all():
        raise invalid(f"its band {VALID}", sorted(np.unique(said).tolist())[:5], "0 or 1")
    data = stack[:-1]
    image = data[:-1] if composite.label_band else data
    image[:, ~valid] = fill_value(data.dtype)
    return ServerPixels(data, valid)
