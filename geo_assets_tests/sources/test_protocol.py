from __future__ import annotations

import subprocess
import sys

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.local_raster import LocalRasterSource
from geo_assets.sources.protocol import supported_assets
from geo_assets.sources.stac.source import StacSource


def test_what_a_source_supports_is_what_its_kind_supports() -> None:
    assert StacSource.supports == supported_assets("stac")
    assert LocalRasterSource.supports == supported_assets("raster")
    assert supported_assets("simulated") == supported_assets("stac")


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(SourceError, match=r"'wms' is unknown; allowed are \['earth-engine'"):
        supported_assets("wms")


def test_the_protocol_is_light_enough_for_definitions() -> None:
    code = (
        "import sys, geo_assets.sources.protocol; "
        "print([m for m in ('numpy', 'rasterio', 'xarray', 'pystac', 'odc') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
