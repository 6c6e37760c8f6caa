"""What a campaign may say of its cubes: indices of the catalogue, bands, and how they lie."""

from __future__ import annotations

import datetime as dt

import pytest

from geo_assets.errors import CampaignError
from geo_assets_tests.campaign_testing import a_campaign

BANDS = ["B02", "B04", "B08", "B11"]


def cube_of(tmp_path, variables, **changes):
    return a_campaign(
        tmp_path,
        {"composite.bands": BANDS, "cube": {"variables": variables} | changes},
    )


@pytest.mark.parametrize(
    ("variables", "bands"),
    [
        (["NDVI"], ()),
        (["ndmi", "evi"], ()),
        (["NDVI", "NDBI", "B02"], ()),
        (["MNDWI"], ("green",)),
        (["NBR", "B03"], ("swir22", "B03")),
        (["NDREI"], ("rededge071",)),
    ],
)
def test_the_campaign_reads_the_bands_that_its_variables_need(tmp_path, variables, bands):
    assert cube_of(tmp_path, variables).bands == (*BANDS, *bands)


def test_red_and_nir_are_the_bands_that_the_cube_names(tmp_path):
    campaign = cube_of(tmp_path, ["SAVI"], red="red", nir="B8A")
    assert campaign.bands == (*BANDS, "red", "B8A")
    assert campaign.cube.band_of("nir", BANDS) == "B8A"
    assert campaign.cube.band_of("swir16", BANDS) == "B11"
    assert campaign.cube.band_of("green", BANDS) == "green"


def test_a_band_that_the_campaign_does_not_know_is_sent_to_the_composites_bands(tmp_path):
    with pytest.raises(CampaignError) as caught:
        cube_of(tmp_path, ["VV"])
    assert "'VV' is neither an index of the catalogue nor a band" in str(caught.value)
    assert str(caught.value).endswith("; a band that its scenes have goes to composite.bands first")
    campaign = a_campaign(
        tmp_path, {"composite.bands": ["B04", "B08", "VV"], "cube": {"variables": ["VV"]}}
    )
    assert campaign.cube.raw_bands(campaign.composite.bands) == ("VV",)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["NDVJ"], r"cube.variables: 'NDVJ' is neither an index .* near are (\w+, )*NDVI"),
        (["kNDVI"], r"cube.variables: index 'kNDVI': its formula .* needs 'kNN'"),
        (["bai"], r"could be BAI or BaI; write it exactly so"),
        (["bai", "BAI"], r"tiny.yaml: cube.variables: index 'bai': could be BAI or BaI"),
        (["NDVI", "EVI", "EVI"], r"cube.variables: names must differ \(got \['EVI', 'EVI'\]\)"),
        (["B11", "B11"], r"cube.variables: names must differ \(got \['B11', 'B11'\]\)"),
        (["NDVI", "ndvi"], r"cube.variables: names must differ \(got \['NDVI', 'ndvi'\]\)"),
        (["not a name"], r"cube.variables"),
        ([], r"cube.variables"),
    ],
)
def test_variables_that_cannot_be_are_named(tmp_path, variables, message):
    with pytest.raises(CampaignError, match=message):
        cube_of(tmp_path, variables)


def test_a_band_of_any_name_that_a_composite_can_have_goes_into_a_cube(tmp_path):
    names = ["sur_refl_b01", "10m.B-2", "VV"]
    campaign = a_campaign(
        tmp_path, {"composite.bands": [*BANDS, *names], "cube": {"variables": names}}
    )
    assert campaign.cube.raw_bands(campaign.composite.bands) == tuple(names)


@pytest.mark.parametrize("name", ["time", "x", "y", "spatial_ref", "ndvi", "B04_smoothed"])
def test_a_band_that_is_called_like_something_of_every_cube_is_refused(tmp_path, name):
    bands = {"composite.bands": [*BANDS, name]}
    assert a_campaign(tmp_path, bands | {"cube": {}}).composite.bands[-1] == name
    with pytest.raises(CampaignError, match=f"cube.variables: '{name}' cannot name a band of a cu"):
        a_campaign(tmp_path, bands | {"cube": {"variables": [name]}})


def test_an_index_whose_band_a_raster_does_not_have_is_refused(tmp_path):
    raster = {
        "imagery": {
            "kind": "raster",
            "file": "image.tif",
            "date": dt.date(2021, 6, 1),
            "band_names": ["red", "nir", "green"],
        },
        "composite.bands": ["red", "nir"],
    }
    cube = {"red": "red", "nir": "nir"}
    a_campaign(tmp_path, raster | {"cube": cube | {"variables": ["NDWI"]}})
    with pytest.raises(CampaignError, match="'NDMI' needs the band 'swir16'; the imagery has"):
        a_campaign(tmp_path, raster | {"cube": cube | {"variables": ["NDMI"]}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_snapshots_days": 0.01}, "cube.keep_snapshots_days"),
        ({"scale": 0.0}, "cube.scale"),
        ({"store": "netcdf"}, "cube.store"),
        ({"smoothing": {"window": 4}}, "'window' must be odd"),
        ({"smoothing": {"window": 3, "order": 3}}, "'order' must be less than 'window'"),
    ],
)
def test_values_out_of_bounds_are_named(tmp_path, changes, message):
    with pytest.raises(CampaignError, match=message):
        cube_of(tmp_path, ["NDVI"], **changes)


@pytest.mark.parametrize(
    ("changes", "key", "needed"),
    [
        ({"cube": {"smoothing": {"window": 9}}}, "window", "'method: savitzky-golay'"),
        (
            {"cube": {"smoothing": {"method": "whittaker", "order": 3}}},
            "order",
            "'method: savitzky-golay'",
        ),
        ({"cube": {"smoothing": {"strength": 5.0}}}, "strength", "'method: whittaker'"),
        ({"cube": {"outliers": {"n_sigma": 3.0}}}, "n_sigma", "'rule: mask' or 'rule: median'"),
        ({"cube": {"keep_snapshots_days": 7.0}}, "keep_snapshots_days", "'store: icechunk'"),
        (
            {"temporal_labels": {"missing": "ignore", "max_gap_days": 9}},
            "max_gap_days",
            "'missing: fill'",
        ),
        ({"clouds": {"band": None, "dilate_m": 50.0}}, "dilate_m", "a 'band' of classes"),
        (
            {
                "temporal_labels": {
                    "fit": "partition",
                    "model_from": {"fold": "north", "split": "train", "cluster": 0},
                }
            },
            "cluster",
            "'fit: cluster'",
        ),
    ],
)
def test_a_key_that_would_change_nothing_is_refused(tmp_path, changes, key, needed):
    with pytest.raises(CampaignError, match=f"'{key}' changes nothing without {needed}"):
        a_campaign(tmp_path, changes)


def test_a_key_that_holds_its_default_is_never_idle(tmp_path):
    smoothing = {"method": "linear", "window": 7, "strength": 10.0}
    assert cube_of(tmp_path, ["NDVI"], smoothing=smoothing).cube.smoothing.window == 7
