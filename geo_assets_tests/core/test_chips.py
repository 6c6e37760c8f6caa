"""Chips as values, and the digest that is their data version."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib

import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geo_assets.core.chips import ChipSpec, recipe_digest
from geo_assets.errors import StorageError

SPEC = ChipSpec(
    chip_id="north-train-r1-c2",
    fold="north",
    split="train",
    cluster=0,
    geobox=GeoBox((8, 8), Affine(10, 0, 500_000, 0, -10, 5_900_000), "EPSG:32633"),
    recipe="0" * 64,
    scene_ids=("S2A",),
    start=dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
    end=dt.datetime(2024, 8, 1, tzinfo=dt.UTC),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abc"), inner),
    max_leaves=10,
)
recipes = st.dictionaries(st.text(alphabet="abc"), json_values)


@given(recipes)
def test_a_digest_does_not_depend_on_the_order_of_keys(recipe):
    assert recipe_digest(recipe) == recipe_digest(dict(reversed(recipe.items())))


@given(recipes, recipes)
def test_other_recipes_have_other_digests(first, second):
    # repr keeps 1, 1.0 and True apart, as JSON does.
    same = repr(sorted(first.items())) == repr(sorted(second.items()))
    if recipe_digest(first) == recipe_digest(second):
        assert same or first == second


def test_a_digest_is_the_sha256_of_canonical_json():
    wanted = hashlib.sha256('{"a":[1,"ä"],"b":null}'.encode()).hexdigest()
    assert recipe_digest({"b": None, "a": (1, "ä")}) == wanted


@pytest.mark.parametrize(
    "path", ["/data/x.tif", "C:\\x.tif", "c:/x.tif", "file:///x.tif", "~/x.tif", "\\\\host\\x"]
)
def test_a_recipe_with_an_absolute_path_is_refused_by_name(path):
    with pytest.raises(StorageError, match=r"recipe\.source\.files\[1\].*absolute path"):
        recipe_digest({"source": {"files": ["x.tif", path]}})


def test_an_absolute_path_as_key_is_refused():
    with pytest.raises(StorageError, match="absolute path"):
        recipe_digest({"checksums": {"/data/x.tif": "0"}})


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, {3}, dt.date(2024, 1, 1)])
def test_a_recipe_that_is_not_plain_json_is_refused(value):
    with pytest.raises(StorageError, match="recipe"):
        recipe_digest({"value": value})


def test_relative_paths_and_urls_are_welcome():
    assert len(recipe_digest({"a": "x/y.tif", "b": "https://host/c.json", "c": "B04/B08"})) == 64


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chip_id", "../up"),
        ("chip_id", ""),
        ("fold", "a/b"),
        ("split", ".hidden"),
        ("recipe", "abc"),
        ("start", dt.datetime(2024, 5, 1)),  # noqa: DTZ001 - the missing zone is the point
        ("end", dt.datetime(2024, 4, 1, tzinfo=dt.UTC)),
    ],
)
def test_a_chip_that_could_not_be_stored_is_refused_by_field(field, value):
    with pytest.raises(StorageError, match=field):
        dataclasses.replace(SPEC, **{field: value})
