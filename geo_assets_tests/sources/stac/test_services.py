from __future__ import annotations

import pytest

from geo_assets.campaign_imagery import StacImagery
from geo_assets.errors import SourceError
from geo_assets.sources.stac.services import stac_service

HERE = "https://stac.example.org/v1"
TODAY = "https://earth-search.aws.element84.com/v1"


def imagery(**changes):
    return StacImagery.model_validate({"kind": "stac", "catalog": HERE} | changes)


def test_a_campaign_of_today_is_asked_as_it_is():
    service = stac_service(imagery(collections=("sentinel-2-l2a",), offsets={"a": -1000}), {})
    assert (service.catalog, service.collections) == (HERE, ("sentinel-2-l2a",))
    assert service.offsets == {"a": -1000}
    assert service.notices == ()


def test_the_environment_names_another_api_and_that_is_told():
    service = stac_service(imagery(), {"STAC_API_URL": "http://127.0.0.1:8000"})
    assert service.catalog == "http://127.0.0.1:8000"
    assert service.notices == (
        "STAC_API_URL is set: http://127.0.0.1:8000 is asked, not https://stac.example.org/v1",
    )


@pytest.mark.parametrize("value", ["", "  ", HERE])
def test_a_variable_that_changes_nothing_is_not_told(value):
    service = stac_service(imagery(), {"STAC_API_URL": value})
    assert (service.catalog, service.notices) == (HERE, ())


def test_a_catalog_by_path_is_no_api_that_could_be_another():
    there = imagery(catalog="/data/catalog.json", collections=("sentinel-s2-l2a-cogs",))
    service = stac_service(there, {"STAC_API_URL": "http://127.0.0.1:8000"})
    assert service.catalog == "/data/catalog.json"
    assert service.collections == ("sentinel-s2-l2a-cogs",)
    assert service.notices == ()


@pytest.mark.parametrize("old", ["", "/", "/search"])
@pytest.mark.parametrize("by", ["campaign", "environment"])
def test_the_retired_earth_search_is_todays_and_that_is_told(old, by):
    retired = f"https://earth-search.aws.element84.com/v0{old}"
    service = (
        stac_service(imagery(catalog=retired), {})
        if by == "campaign"
        else stac_service(imagery(), {"STAC_API_URL": retired})
    )
    assert service.catalog == TODAY
    assert service.notices[-1] == f"{retired} has retired: {TODAY} is asked"


def test_another_host_with_a_version_0_is_asked_as_it_is():
    assert stac_service(imagery(catalog="https://stac.example.org/v0"), {}).notices == ()


@pytest.mark.parametrize("old", ["sentinel-s2-l2a-cogs", "sentinel-s2-l2a"])
def test_a_retired_collection_is_todays_in_search_and_offsets_and_that_is_told(old):
    service = stac_service(imagery(collections=(old, "landsat-c2-l2"), offsets={old: 0}), {})
    assert service.collections == ("sentinel-2-l2a", "landsat-c2-l2")
    assert service.offsets == {"sentinel-2-l2a": 0}
    assert service.notices == (f"collection {old} has retired: sentinel-2-l2a is searched",)


def test_old_and_new_name_of_one_collection_are_one():
    names = ("sentinel-s2-l2a-cogs", "sentinel-2-l2a", "sentinel-s2-l2a")
    assert stac_service(imagery(collections=names), {}).collections == ("sentinel-2-l2a",)


@pytest.mark.parametrize(
    "value",
    [
        "https://me:hunter2@stac.example.org",
        "https://stac.example.org?token=hunter2",
        "ftp://hunter2.example.org",
        "hunter2",
        "http://",
        "http://[hunter2",
        "file:///hunter2",
    ],
)
def test_an_address_that_is_none_or_a_secret_is_refused_without_being_shown(value):
    with pytest.raises(SourceError, match="STAC_API_URL: must be the http or https URL") as caught:
        stac_service(imagery(), {"STAC_API_URL": value})
    assert "hunter2" not in str(caught.value)
