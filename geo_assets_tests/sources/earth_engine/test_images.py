from __future__ import annotations

import pystac
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box, shape

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine.images import (
    band_names,
    dtype_of_band,
    geobox_of_band,
    has_band,
    item_of,
)

GRID = GeoBox((20, 24), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")


def band(name, low=0, high=65535, precision="int", **changes):
    return {
        "id": name,
        "data_type": {"type": "PixelType", "precision": precision, "min": low, "max": high},
        "dimensions": [24, 20],
        "crs": "EPSG:32633",
        "crs_transform": [10, 0, 500_000, 0, -10, 5_400_000],
    } | changes


def info(*bands, **properties):
    return {
        "type": "Image",
        "id": "COPERNICUS/S2_SR_HARMONIZED/20200601T1_T33UUP",
        "version": 1_600_000_000_000_000,
        "bands": list(bands or (band("B4"),)),
        "properties": {
            "system:index": "20200601T1_T33UUP",
            "system:time_start": 1_590_969_600_123,
            **properties,
        },
    }


def item(*bands, **properties):
    return item_of(info(*bands, **properties), "COPERNICUS/S2_SR_HARMONIZED")


def test_an_image_becomes_a_valid_item():
    made = item(CLOUDY_PIXEL_PERCENTAGE=12.5, PROCESSING_BASELINE="05.09")
    read = pystac.Item.from_dict(made, preserve_dict=True)
    assert read.id == "20200601T1_T33UUP"
    assert read.datetime.isoformat() == "2020-06-01T00:00:00.123000+00:00"
    assert read.properties["eo:cloud_cover"] == 12.5
    assert read.properties["s2:processing_baseline"] == "05.09"
    assert read.properties["ee:version"] == "1600000000000000"
    assert shape(read.geometry).bounds == tuple(read.bbox)


def test_the_footprint_is_that_of_the_service_or_of_the_grid():
    stated = {"type": "LinearRing", "coordinates": [[15, 48], [15.1, 48], [15.1, 48.1], [15, 48]]}
    assert shape(item(**{"system:footprint": stated})["geometry"]).area == pytest.approx(0.005)
    derived = shape(item()["geometry"])
    assert derived.symmetric_difference(GRID.footprint("EPSG:4326").geom).area < 1e-12


def test_a_footprint_without_edges_is_the_world():
    endless = {
        "type": "LinearRing",
        "coordinates": [[-float("inf"), -90], [float("inf"), -90], [0, 90], [-float("inf"), -90]],
    }
    made = item(band("B4", dimensions=None), **{"system:footprint": endless})
    assert shape(made["geometry"]).equals(box(-180, -90, 180, 90))


def test_every_band_has_a_grid_of_its_own():
    coarse = band("B11", dimensions=[12, 10], crs_transform=[20, 0, 500_000, 0, -20, 5_400_000])
    made = item(band("B4"), coarse)
    assert geobox_of_band(made, "B4") == GRID
    assert geobox_of_band(made, "B11").resolution.x == 20
    assert geobox_of_band(made, "B11").boundingbox == GRID.boundingbox


def test_an_image_cut_from_a_larger_one_begins_at_its_origin():
    made = item(band("B4", origin=[3, 5], dimensions=[4, 6]))
    assert geobox_of_band(made, "B4") == GRID[5:11, 3:7]


@pytest.mark.parametrize(
    ("low", "high", "precision", "dtype"),
    [
        (0, 255, "int", "uint8"),
        (0, 65535, "int", "uint16"),
        (0, 10000, "int", "uint16"),
        (-32768, 32767, "int", "int16"),
        (-1, 1, "int", "int8"),
        (0, 4294967295, "int", "uint32"),
        (-(2**31), 2**31 - 1, "int", "int32"),
        (-(2**53), 2**53, "int", "float64"),
        (None, None, "int", "int32"),
        (0, 1, "float", "float32"),
        (None, None, "double", "float64"),
    ],
)
def test_the_dtype_holds_every_value_that_the_service_states(low, high, precision, dtype):
    assert dtype_of_band(item(band("B4", low, high, precision)), "B4") == dtype


def test_bands_are_known_by_their_own_names_alone():
    made = item(band("B4"), band("B8"))
    assert band_names(made) == ["B4", "B8"]
    assert has_band(made, "B4")
    assert not has_band(made, "red")
    with pytest.raises(ReadError, match=r"no band 'red'; it has B4, B8") as raised:
        geobox_of_band(made, "red")
    assert raised.value.kind == "permanent"


def test_a_crs_without_a_code_asks_for_a_grid():
    made = item(band("B4", crs='PROJCS["unknown"]'))
    with pytest.raises(ReadError, match=r"grid\.crs"):
        geobox_of_band(made, "B4")


@pytest.mark.parametrize("absent", ["id", "bands", "properties"])
def test_an_image_that_states_too_little_is_named_with_its_collection(absent):
    said = info()
    del said[absent]
    with pytest.raises(SourceError, match="some/collection"):
        item_of(said, "some/collection")
