from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from geo_assets.core.band_names import bands_of_ndvi, common_name
from geo_assets.sources.scenes.band_keys import (
    AmbiguousBandError,
    BandAsset,
    BandError,
    find_band,
    find_offered_band,
)

if TYPE_CHECKING:
    from pathlib import Path

EARTH_SEARCH_KEYS = {
    "B01": "coastal",
    "B02": "blue",
    "B03": "green",
    "B04": "red",
    "B05": "rededge1",
    "B06": "rededge2",
    "B07": "rededge3",
    "B08": "nir",
    "B8A": "nir08",
    "B09": "nir09",
    "B11": "swir16",
    "B12": "swir22",
    "SCL": "scl",
}
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"id": "scene", "properties": properties, "assets": assets}


def first_item(real_data: Path, name: str) -> dict[str, Any]:
    records = json.loads((real_data / "stac_json" / name).read_text())
    features: list[dict[str, Any]] = (
        records if isinstance(records, list) else records.get("features", [records])
    )
    return features[0]


@pytest.mark.real_data
@pytest.mark.parametrize(("esa", "earth_search"), EARTH_SEARCH_KEYS.items())
def test_either_archives_name_finds_the_band_in_either_archive(
    real_data: Path, esa: str, earth_search: str
) -> None:
    archives = {
        "earth_search_v1_sentinel-2-c1-l2a_items.json": earth_search,
        "planetary_computer_sentinel-2-l2a_two_items.json": esa,
        "planetary_computer_sentinel-2-l2a_items_list.json": esa,
        "earth_search_v0_S2A_28QCH_20200714_0_L2A.json": esa,
    }
    for name, key in archives.items():
        scene = first_item(real_data, name)
        for asked in (esa, earth_search, esa.lower(), earth_search.upper()):
            assert find_band(scene, asked) == BandAsset(key, 1), (name, asked)


@pytest.mark.real_data
def test_a_band_of_a_multi_band_asset_is_found_by_its_name(real_data: Path) -> None:
    naip = first_item(real_data, "planetary_computer_naip_items_list.json")
    assert find_band(naip, "nir") == BandAsset("image", 4)
    assert find_band(naip, "NIR") == BandAsset("image", 4)
    assert find_band(naip, "Red") == BandAsset("image", 1)


def test_a_band_of_its_own_beats_the_same_band_within_several() -> None:
    stack = {"type": COG, "eo:bands": [{"name": "B04"}, {"name": "B03"}]}
    alone = {"type": COG, "eo:bands": [{"name": "B04"}]}
    assert find_band(item({"rgb": stack, "x": alone}), "red") == BandAsset("x", 1)


def test_pictures_are_never_taken_for_bands() -> None:
    bands = [{"name": "B04", "common_name": "red"}]
    scene = item(
        {
            "visual": {"type": COG, "eo:bands": bands},
            "small": {"type": COG, "roles": ["overview"], "eo:bands": bands},
            "sheet": {"type": "application/xml", "eo:bands": bands},
        }
    )
    with pytest.raises(BandError, match="no raster at all"):
        find_band(scene, "B04")


def test_an_ambiguous_name_is_refused_with_what_it_could_be() -> None:
    scene = item({k: {"eo:bands": [{"name": k, "common_name": "rededge"}]} for k in ("B05", "B06")})
    with pytest.raises(BandError, match=r"'rededge' is ambiguous.*B05 \(band 1\), B06"):
        find_band(scene, "rededge")
    with pytest.raises(AmbiguousBandError):
        find_offered_band(scene, "rededge")
    assert find_offered_band(scene, "nir") is None
    assert find_offered_band(scene, "B05") == BandAsset("B05", 1)


def test_a_missing_band_is_refused_with_what_the_scene_offers() -> None:
    scene = item({"red": {"eo:bands": [{"name": "B04"}]}, "B08": {}})
    with pytest.raises(BandError, match=r"no band 'B10'; it offers red \(B04\), B08"):
        find_band(scene, "B10")


def test_sentinel_2_names_are_not_taken_for_those_of_another_sensor() -> None:
    landsat = item({"nir08": {"eo:bands": [{"name": "OLI_B5"}]}}, platform="landsat-8")
    with pytest.raises(BandError):
        find_band(landsat, "B8A")
    assert find_band(landsat, "nir08").asset_key == "nir08"


def test_bands_are_understood_as_stac_1_1_says_them() -> None:
    scene = item({"data": {"bands": [{"name": "x"}, {"name": "y", "eo:common_name": "red"}]}})
    assert find_band(scene, "red") == BandAsset("data", 2)


@pytest.mark.parametrize(
    ("band", "name"),
    [("B04", "red"), ("red", "red"), ("R", "red"), ("N", "nir"), ("B8A", "nir08"), ("VV", "VV")],
)
def test_common_names_are_known_for_sentinel_2_and_planet(band: str, name: str) -> None:
    assert common_name(band) == name


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        (("B04", "B08"), ("B04", "B08")),
        (("N", "G", "R"), ("R", "N")),
        (("B02", "B8A"), ("red", "nir")),
        (("nir", "B08", "B02"), ("red", "nir")),
    ],
)
def test_the_bands_of_ndvi_are_among_those_read_or_called_by_their_common_names(
    bands: tuple[str, ...], expected: tuple[str, str]
) -> None:
    assert bands_of_ndvi(bands) == expected
