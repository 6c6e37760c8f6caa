"""What a campaign may say of its land-cover labels: indices of the composite's own bands."""

from __future__ import annotations

import pytest

from geo_assets.errors import CampaignError
from geo_assets_tests.campaign_testing import a_campaign

BANDS = ["green", "B04", "B08"]


def with_indices(folder, *indices):
    return a_campaign(folder, {"composite.bands": BANDS, "land_cover": {"indices": [*indices]}})


def test_indices_of_the_composites_bands_are_taken_by_any_services_names(tmp_path):
    assert with_indices(tmp_path, "NDVI", "ndwi").land_cover.indices == ("NDVI", "ndwi")


@pytest.mark.parametrize("edge", ["B05", "rededge1"])
def test_an_index_of_a_red_edge_is_taken_where_the_band_is_there(tmp_path, edge):
    bands = {"composite.bands": [*BANDS, edge], "land_cover": {"indices": ["NDREI"]}}
    assert a_campaign(tmp_path, bands).land_cover.indices == ("NDREI",)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            "NDMI",
            r"'NDMI' needs swir16, which is not among composite\.bands \['green', 'B04', 'B08'\]",
        ),
        ("SAVI", "'SAVI' is .*with constants for reflectance .* allowed are indices that are the"),
        ("NDVIX", "'NDVIX': is unknown to the catalogue; near are .*NDVI"),
        ("ndvi", r"each once \(got NDVI more than once\)"),
    ],
)
def test_an_index_that_cannot_be_had_is_refused_when_the_campaign_is_read(tmp_path, index, message):
    with pytest.raises(CampaignError, match=rf"land_cover\.indices: .*{message}"):
        with_indices(tmp_path, "NDVI", index)


def test_every_wrong_index_is_named_at_once(tmp_path):
    with pytest.raises(CampaignError, match=r"(?s)'EVI' is .*'NDBI' needs swir16"):
        with_indices(tmp_path, "EVI", "NDBI")
