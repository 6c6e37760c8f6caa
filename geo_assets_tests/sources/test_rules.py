"""Clouds grow by metres on the ground, or not at all."""

from __future__ import annotations

import pytest
from odc.geo.geobox import GeoBox

from geo_assets.errors import SourceError
from geo_assets.sources.rules import CloudRules

UTM = GeoBox.from_bbox((500_000, 5_400_000, 501_000, 5_401_000), "EPSG:32633", resolution=20)


@pytest.mark.parametrize(("metres", "pixels"), [(0, 0), (9, 0), (20, 1), (50, 2), (70, 4)])
def test_metres_are_rounded_to_whole_pixels(metres: int, pixels: int) -> None:
    assert CloudRules(dilate_m=metres).dilation(UTM) == pixels


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2263"])
def test_a_grid_that_does_not_measure_metres_on_the_ground_is_refused(crs: str) -> None:
    there = UTM.to_crs(crs)
    with pytest.raises(SourceError, match=rf"clouds.dilate_m: 20 metres .* {crs}, which does not"):
        CloudRules(dilate_m=20).dilation(there)
    assert CloudRules(dilate_m=0).dilation(there) == 0
    assert CloudRules(band=None, dilate_m=20).dilation(there) == 0
