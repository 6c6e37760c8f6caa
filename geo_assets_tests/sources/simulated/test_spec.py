"""The spec: what it refuses, and that asking for it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from geo_assets.errors import SourceError
from geo_assets.sources.simulated import ArchiveSpec

HEAVY = ("numpy", "rasterio", "geopandas", "scipy", "sklearn", "shapely", "odc", "xarray")


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", -1), ("year", 1999), ("tile_size", 700), ("tile_size", 120), ("tile_size", 6000)],
)
def test_an_impossible_spec_is_refused_by_field_and_value(field, value):
    with pytest.raises(SourceError, match=rf"{field}: {value}.*allowed"):
        ArchiveSpec(**{field: value})


def test_every_field_changes_the_digest():
    specs = [ArchiveSpec(), ArchiveSpec(seed=8), ArchiveSpec(year=2022), ArchiveSpec(tile_size=240)]
    assert len({spec.digest() for spec in specs}) == len(specs)
    assert ArchiveSpec().digest() == ArchiveSpec(seed=7).digest()


def test_importing_the_room_loads_no_heavy_library():
    code = (
        "import sys, geo_assets.sources.simulated\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
