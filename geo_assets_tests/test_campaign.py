from __future__ import annotations

import datetime as dt
import json

import jsonschema
import pytest
import yaml
from dagster._core.definitions.utils import is_valid_owner

from geo_assets.campaign_consistency import LABEL_BAND
from geo_assets.campaign_file import campaign_schema, find_campaign, packaged_campaigns
from geo_assets.campaign_values import looks_secret
from geo_assets.errors import CampaignError
from geo_assets.storage.rasters import cog
from geo_assets_tests.campaign_testing import ABSENT, a_campaign, campaign_content
from geo_assets_tests.conftest import REPOSITORY

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
EARTH_ENGINE = {"kind": "earth-engine", "collection": "projects/p/assets/c"}
KINDS = "'stac', 'raster', 'simulated', 'earth-engine'"

RASTER = {"kind": "raster", "file": "image.tif", "date": dt.date(2021, 6, 1)}

WRONG = {
    # unknown keys
    "misspelt": (
        {"chips.sise": 64},
        "chips.sise: unknown key; did you mean 'size'? Allowed here: ",
    ),
    "unheard-of": ({"zebra": "red"}, "zebra: unknown key. Allowed here: areas, attribution, "),
    "of another kind": (
        {"imagery.seed": 7},
        "imagery.seed: unknown key. Allowed here: catalog, collections, kind, nodata, offsets",
    ),
    "deep": (
        {"cube.outliers.sigma": 3},
        "cube.outliers.sigma: unknown key; did you mean 'n_sigma'? Allowed here: n_sigma, rule",
    ),
    # units out of range
    "size too small": ({"chips.size": 7}, "chips.size: must be greater than or equal to 8 (got 7)"),
    "overlap of one": ({"chips.overlap": 1}, "chips.overlap: must be less than 1 (got 1)"),
    "cloud percent": (
        {"clouds.max_cover": 101},
        "clouds.max_cover: must be less than or equal to 100 (got 101)",
    ),
    "clear share as percent": (
        {"clouds.min_clear": 80},
        "clouds.min_clear: must be less than or equal to 1 (got 80)",
    ),
    "class of ignore": (
        {"areas.class_column": "crop", "areas.classes": {"oat": 255}},
        "areas.classes.oat: must be less than or equal to 254 (got 255)",
    ),
    "no metre": (
        {"clusters.buffer_m": float("nan")},
        "clusters.buffer_m: must be a finite number (got nan)",
    ),
    "endless box": (
        {"clusters.max_box_km": float("inf")},
        "clusters.max_box_km: must be a finite number (got inf)",
    ),
    "cluster below zero": (
        {"clusters.only": [0, -1]},
        "clusters.only.1: must be greater than or equal to 0 (got -1)",
    ),
    "no pixel": (
        {"grid.resolution": 0},
        "grid.resolution: must be 'native', or must be greater than 0 (got 0)",
    ),
    "a cluster that cannot be": (
        {"clusters": {"count": 3, "only": [2, 7]}},
        "clusters.only: 7 does not exist; clusters are counted from 0 and clusters.count is 3",
    ),
    "a model of a cluster that cannot be": (
        {
            "temporal_labels": {
                "model_from": {"fold": "north", "split": "train", "cluster": 1},
            },
        },
        "temporal_labels.model_from.cluster: 1 does not exist; clusters are counted from 0 and cl",
    ),
    "a K above the greatest": (
        {"temporal_labels": {"n_clusters": 50}},
        "temporal_labels.n_clusters: must be less than or equal to 32, or must be 'auto' (got 50)",
    ),
    "a K in words": (
        {"land_cover": {"n_clusters": "many"}},
        "land_cover.n_clusters: must be a valid integer, or must be 'auto' (got 'many')",
    ),
    # wrong types
    "text for a number": ({"chips.size": "64"}, "chips.size: must be a valid integer (got '64')"),
    "part of a pixel": ({"chips.size": 64.5}, "chips.size: must be a valid integer (got 64.5)"),
    "yes for a number": (
        {"clusters.count": True},
        "clusters.count: must be a valid integer (got T",
    ),
    "number for a name": ({"name": 7}, "name: must be text; put it in quotes (got 7)"),
    "YAML's no": ({"folds": [False]}, "folds.0: must be text; put it in quotes (got False)"),
    "text for a list": ({"folds": "north"}, "folds: must be a list (got 'north')"),
    "no fold": ({"folds": []}, "folds: must hold at least 1 (got [])"),
    "text for a section": ({"chips": "big"}, "chips: must be a mapping of keys (got 'big')"),
    "no such day": (
        {"start": "2021-02-30"},
        "start: must be a day that exists, YYYY-MM-DD such as 2021-05-01 (got '20",
    ),
    "year alone": (
        {"start": 2021},
        "start: must be a day that exists, YYYY-MM-DD such as 2021-05-01 (got 2021)",
    ),
    "word for a date": (
        {"end": "soon"},
        "end: must be a day that exists, YYYY-MM-DD such as 2021-05-01 (got 'soon')",
    ),
    "a CRS by name": (
        {"grid.crs": "UTM 33"},
        "grid.crs: must be 'auto' or an EPSG code such as EPSG:32637 (got 'UTM 33')",
    ),
    "a path as name": ({"name": "../up"}, f"name: must match pattern '{NAME}' (got '../up')"),
    "a pair as fold": ({"folds": ["a|b"]}, f"folds.0: must match pattern '{NAME}' (got 'a|b')"),
    "no owner": ({"owners": ["me"]}, "owners.0: must match pattern '^(team:.+|"),
    "an address that Dagster refuses": ({"owners": ["a@b.c"]}, "owners.0: must match pattern '^("),
    "unknown rule": (
        {"labels.overlap": "most"},
        "labels.overlap: must be 'max', 'min', 'first' or 'last' (got 'most')",
    ),
    "two colours": (
        {"chips.preview_bands": ["B04", "B08"]},
        "chips.preview_bands.2: missing",
    ),
    # the union of imagery kinds
    "unknown kind": (
        {"imagery": {"kind": "sentinel"}},
        f"imagery: kind must be one of {KINDS} (got 'sentinel')",
    ),
    "no kind": ({"imagery": {"catalog": "x"}}, "imagery: 'kind' is missing"),
    "imagery as text": ({"imagery": "stac"}, "imagery: must be a mapping of keys (got 'stac')"),
    "missing of a kind": ({"imagery": {"kind": "stac"}}, "imagery.catalog: missing"),
    "unsigned": (
        {"imagery.signing": "aws"},
        "imagery.signing: must be 'none' or 'planetary-computer' (got 'aws')",
    ),
    # what is missing
    "no areas": ({"areas": ABSENT}, "areas: missing"),
    "no bands": ({"composite": {}}, "composite.bands: missing"),
    "no file of areas": (
        {"areas.file": ABSENT},
        "areas: give either 'files' (one for each fold) or 'file' (one for all), not both",
    ),
    # impossible combinations
    "file and files": (
        {"areas.files": {"north": "n", "south": "s"}},
        "areas: give either 'files' (one for each fold) or 'file' (one for all), not both",
    ),
    "fold column of files": (
        {"areas.file": ABSENT, "areas.files": {"north": "n", "south": "s"}},
        "areas: 'fold_column' goes with 'file'; with 'files' each file is a fold",
    ),
    "a fold without file": (
        {"areas": {"files": {"north": "n.geojson"}, "split_column": "split"}},
        "areas.files: needs exactly the folds ['north', 'south'] (got ['north'])",
    ),
    "folds without column": (
        {"areas.fold_column": ABSENT},
        "areas.fold_column: missing; needed to tell the folds ['north', 'south'] apart",
    ),
    "splits without column": (
        {"areas.split_column": ABSENT},
        "areas.split_column: missing; needed for the splits ['train', 'test']",
    ),
    "classes without column": (
        {"areas.classes": {"oat": 1}},
        "areas: 'classes' needs 'class_column'",
    ),
    "twice the same fold": (
        {"folds": ["north", "north"]},
        "folds: names must differ (got ['north', 'north'])",
    ),
    "one id for two pairs": (
        {"folds": ["a", "a-b"], "splits": ["c", "b-c"]},
        "folds, splits: two pairs give the same chip ids: a-b-c",
    ),
    "end before start": (
        {"end": dt.date(2020, 1, 1)},
        "end: 2020-01-01 lies before start: 2021-01-01",
    ),
    "composite outside": (
        {"composite.end": dt.date(2022, 1, 1)},
        "composite.start, composite.end: 2021-01-01 to 2022-01-01 must lie in order within 2021-",
    ),
    "a raster of another year": (
        {"imagery": RASTER | {"date": dt.date(2019, 6, 1)}},
        "imagery.date: 2019-06-01 lies outside the dates of the composite, 2021-01-01 to 2021-12-",
    ),
    "a raster outside the composite": (
        {"imagery": RASTER, "composite.start": dt.date(2021, 7, 1)},
        "imagery.date: 2021-06-01 lies outside the dates of the composite, 2021-07-01 to 2021-12-",
    ),
    "twice the same band": (
        {"composite.bands": ["B04", "B04"]},
        "composite.bands: names must differ (got ['B04', 'B04'])",
    ),
    "a band called label": (
        {"composite.bands": ["B04", "label"]},
        "composite.bands: 'label' is the name of the label band",
    ),
    "preview of other bands": (
        {"chips.preview_bands": ["B04", "B08", "B02"]},
        "chips.preview_bands: 'B02' is not among composite.bands ['B04', 'B08']",
    ),
    "stretch that falls": (
        {"chips.stretch": [3000, 0]},
        "chips: 'stretch' must rise from black to white (got [3000.0, 0.0])",
    ),
    "archive of another kind": (
        {"areas.file": "archive:labels/north.geojson"},
        "areas: 'archive:' goes with imagery of the kind 'simulated', not 'stac'",
    ),
    # label rasters
    "a model of another fold": (
        {"spatial_labels": {"fit": "cluster", "model_from": {"fold": "west", "split": "train"}}},
        "spatial_labels.model_from.fold: 'west' is not among the campaign's folds ['north', 'sou",
    ),
    "a model of another split": (
        {"land_cover": {"model_from": {"fold": "north", "split": "all"}}},
        "land_cover.model_from.split: 'all' is not among the campaign's splits ['train', 'test']",
    ),
    "a model for each date to borrow": (
        {"spatial_labels": {"model_from": {"fold": "north", "split": "train"}}},
        "spatial_labels: 'model_from' needs 'fit: cluster' or 'fit: partition', one model for all",
    ),
    "places of another area": (
        {"temporal_labels": {"position_weight": 1.0, "fit": "partition"}},
        "temporal_labels: 'position_weight' needs 'fit: cluster' and no 'model_from': a place me",
    ),
    "a range of K that is known": (
        {"temporal_labels": {"n_clusters": 4, "k_range": [2, 6]}},
        "temporal_labels: 'k_range' changes nothing without 'n_clusters: auto' (got (2, 6)); rem",
    ),
    "K that does not rise": (
        {"land_cover": {"k_range": [5, 5]}},
        "land_cover: 'k_range' must rise (got [5, 5])",
    ),
    # Earth Engine
    "more than the service allows": (
        {"imagery": EARTH_ENGINE | {"concurrency": 41}},
        "imagery.concurrency: must be less than or equal to 40 (got 41)",
    ),
    "confirmed thrice": (
        {"imagery": EARTH_ENGINE | {"confirm": "thrice"}},
        "imagery.confirm: must be 'once' or 'twice' (got 'thrice')",
    ),
    "no score": (
        {"imagery": EARTH_ENGINE | {"cloud_score": {"minimum": 60}}},
        "imagery.cloud_score.minimum: must be less than or equal to 1 (got 60)",
    ),
    "tables without a server": (
        {"labels.tables": {"north": "t", "south": "t"}},
        "labels.tables: goes with imagery of the kind 'earth-engine', not 'stac'",
    ),
    "a fold without table": (
        {"imagery": EARTH_ENGINE, "labels.tables": {"north": "t"}},
        "labels.tables: needs exactly the folds ['north', 'south'] (got ['north'])",
    ),
    "pixel centres on the server": (
        {
            "imagery": EARTH_ENGINE,
            "labels": {"tables": {"north": "t", "south": "t"}, "all_touched": False},
        },
        "labels.all_touched: false is for polygons burned here, not for labels.tables",
    ),
    "a resampling it has not": (
        {"imagery": EARTH_ENGINE, "grid.resampling": "average"},
        "grid.resampling: 'nearest', 'bilinear' or 'cubic' with imagery of the kind 'earth-e",
    ),
    "a reducer it has not": (
        {"imagery": EARTH_ENGINE, "composite.reducer": "medoid"},
        "composite.reducer: median, mean, min, max with imagery of the kind 'earth-engine' (got 'm",
    ),
    "a percentile without its number": (
        {"composite.reducer": "percentile"},
        "composite: 'percentile' goes with the reducer 'percentile', which needs it",
    ),
    "order of features without order": (
        {
            "imagery": EARTH_ENGINE,
            "labels": {"tables": {"north": "t", "south": "t"}, "overlap": "last"},
        },
        "labels.overlap: 'max' or 'min' with labels.tables, whose features have no order",
    ),
}


@pytest.mark.parametrize(("changes", "line"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_file_key_value_and_what_is_allowed(tmp_path, changes, line):
    with pytest.raises(CampaignError) as caught:
        a_campaign(tmp_path, changes)
    lines = str(caught.value).splitlines()
    assert any(told.startswith(f"tiny.yaml: {line}") for told in lines), lines


@pytest.mark.parametrize("code", [32637, "32637", "epsg:32637", "EPSG 32637", "EPSG: 32637"])
def test_an_epsg_code_that_is_written_otherwise_is_answered_with_what_to_write(tmp_path, code):
    with pytest.raises(CampaignError) as caught:
        a_campaign(tmp_path, {"grid.crs": code})
    assert str(caught.value) == (
        f"tiny.yaml: grid.crs: must be 'auto' or an EPSG code; write EPSG:32637 (got {code!r})"
    )


@pytest.mark.parametrize("code", [True, 7, "", ["EPSG:32637"]])
def test_what_is_no_epsg_code_is_answered_with_one(tmp_path, code):
    with pytest.raises(CampaignError) as caught:
        a_campaign(tmp_path, {"grid.crs": code})
    assert str(caught.value) == (
        f"tiny.yaml: grid.crs: must be 'auto' or an EPSG code such as EPSG:32637 (got {code!r})"
    )


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(CampaignError) as caught:
        a_campaign(tmp_path, {"chips.size": 1, "composite.bands": [], "grid.crs": "x", "a": 1})
    keys = [line.split(": ")[1] for line in str(caught.value).splitlines()]
    assert sorted(keys) == ["a", "chips.size", "composite.bands", "grid.crs"]


SECRETS = {
    "token": {"token": "hunter2"},
    "password": {"imagery.password": "hunter2"},
    "api key": {"imagery.api_key": "hunter2"},
    "secret": {"imagery.clientSecret": "hunter2"},
    "key": {"areas.key": "hunter2"},
    "mapping of them": {"credentials": {"user": "hunter2"}},
    "user of a URL": {"imagery.catalog": "https://me:hunter2@stac.example/v1"},
    "query of a URL": {"imagery.catalog": "https://stac.example/v1?sig=hunter2"},
}


@pytest.mark.parametrize("changes", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_refused_and_not_shown(tmp_path, changes):
    with pytest.raises(CampaignError) as caught:
        a_campaign(tmp_path, changes)
    (line,) = str(caught.value).splitlines()
    assert f"{next(iter(changes))}: " in line
    assert "secrets belong in the environment, never in a campaign file" in line
    assert "hunter2" not in line


def test_a_secret_beside_another_mistake_is_not_shown(tmp_path):
    """A message once showed the whole section that it was about."""
    for changes in (
        {"imagery": {"seed": 1, "token": "hunter2"}},
        {"areas": {"token": "hunter2"}},
        {"chips": [{"token": "hunter2"}]},
        {"name": {"token": "hunter2"}},
        {"tokne": "hunter2"},
    ):
        with pytest.raises(CampaignError) as caught:
            a_campaign(tmp_path, changes)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        *((key, True) for key in ("apiKey", "API-KEY", "x_token", "passwd", "sig", "auth", "key")),
        *((key, False) for key in ("keep", "chips", "monkey", "design", "keyboard", "author")),
    ],
)
def test_a_secret_is_known_by_its_key(key, secret):
    assert looks_secret(key) is secret


def test_no_key_of_a_campaign_looks_secret():
    """Else its own users would be told to take it out."""

    def keys(part):
        for key, value in part.items() if isinstance(part, dict) else ():
            if key == "properties":
                yield from value
            yield from keys(value)

    assert not [key for key in keys(campaign_schema()) if looks_secret(key)]


def test_paths_are_relative_to_the_campaigns_file(tmp_path):
    campaign = a_campaign(tmp_path)
    assert campaign.areas.file == tmp_path / "areas.geojson"
    assert campaign.imagery.catalog == str(tmp_path / "catalog.json")
    url = {"imagery.catalog": "https://stac.example/v1?limit=3"}
    assert a_campaign(tmp_path, url).imagery.catalog == url["imagery.catalog"]


def test_every_band_is_read_once(tmp_path):
    changes = {"cube": {"red": "B04", "nir": "B8A"}}
    assert a_campaign(tmp_path, changes).bands == ("B04", "B08", "B8A")
    assert a_campaign(tmp_path).bands == ("B04", "B08")


def test_the_bands_that_choose_observations_are_read_too(tmp_path):
    changes = {"composite": {"bands": ["B02", "B8A"], "reducer": "max-ndvi"}}
    assert a_campaign(tmp_path, changes).bands == ("B02", "B8A", "red", "nir")
    changes["composite"]["bands"] = ["B08", "B02", "B04"]
    assert a_campaign(tmp_path, changes).bands == ("B08", "B02", "B04")


def test_the_composites_days_are_the_campaigns_unless_stated(tmp_path):
    first, last, june = dt.date(2021, 1, 1), dt.date(2021, 12, 31), dt.date(2021, 6, 1)
    assert a_campaign(tmp_path).composite_dates == (first, last)
    assert a_campaign(tmp_path, {"composite.start": june}).composite_dates == (june, last)


def test_the_label_band_is_called_what_it_is_called_in_files():
    assert LABEL_BAND == cog.LABEL_BAND


def test_the_committed_schema_is_current():
    """After a change of the campaign: geo-assets schema > docs/campaign.schema.json."""
    committed = (REPOSITORY / "docs/campaign.schema.json").read_text(encoding="utf-8")
    assert json.loads(committed) == campaign_schema()


def test_the_schema_is_a_valid_one():
    jsonschema.Draft202012Validator.check_schema(campaign_schema())


def _as_json(content):
    return json.loads(json.dumps(content, default=str))


@pytest.mark.parametrize("name", packaged_campaigns())
def test_the_schema_admits_the_packaged_campaigns(name):
    content = yaml.safe_load(find_campaign(name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(campaign_schema()).validate(_as_json(content))


@pytest.mark.parametrize(
    "changes", [{"chips.sise": 3}, {"chips.size": 7}, {"imagery.kind": "x"}, {"name": "a b"}]
)
def test_the_schema_refuses_what_loading_refuses(changes):
    content = _as_json(campaign_content(changes))
    assert not jsonschema.Draft202012Validator(campaign_schema()).is_valid(content)
    assert jsonschema.Draft202012Validator(campaign_schema()).is_valid(_as_json(campaign_content()))


@pytest.mark.parametrize("owner", ["a.b+c@d-e.org", "team:geo", "team:a b!", "_@x.museum"])
def test_owners_that_a_campaign_takes_are_taken_by_dagster(tmp_path, owner):
    campaign = a_campaign(tmp_path, {"owners": [owner]})
    assert campaign.owners == (owner,)
    assert is_valid_owner(owner)


@pytest.mark.parametrize("owner", ["a@b.c", "a b@c.de", "@c.de", "%a@c.de", "a@c.de.", "team:"])
def test_owners_that_dagster_refuses_are_refused_by_name(tmp_path, owner):
    assert not is_valid_owner(owner)
    with pytest.raises(CampaignError, match=r"owners\.0: must match pattern"):
        a_campaign(tmp_path, {"owners": [owner]})


def test_with_a_longest_box_there_may_be_more_clusters_than_are_counted(tmp_path):
    campaign = a_campaign(tmp_path, {"clusters": {"only": [7], "max_box_km": 5.0}})
    assert campaign.clusters.only == (7,)
