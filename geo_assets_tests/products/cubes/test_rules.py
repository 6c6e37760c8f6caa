"""What decides every day of a cube, as its recipe has it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geo_assets.core.index_catalogue import find_index
from geo_assets.products.cubes import rules as cube_rules
from geo_assets.products.cubes.rules import CubeRules, IndexRule, index_of
from geo_assets.sources.rules import CloudRules

BANDS = (("nir", "B08"), ("red", "B04"), ("blue", "B02"))


def said_of(name):
    rules = CubeRules("B04", "B08", CloudRules(), 0.0, "none", 10.0, (IndexRule(name, BANDS),))
    return rules.to_dict()


def test_an_index_counts_by_its_name_in_the_catalogue_however_it_is_spelled():
    assert said_of("evi") == said_of("EVI") != said_of("ARVI")


@pytest.mark.parametrize("change", [{"formula": "2.5*(N-R)"}, {"constants": {"g": 2.4}}])
def test_another_formula_in_a_later_catalogue_makes_another_cube(monkeypatch, change):
    before = said_of("EVI")
    later = replace(find_index("EVI"), **change)
    monkeypatch.setattr(cube_rules, "find_index", lambda _: later)
    assert said_of("EVI") != before


def test_ndvi_is_described_in_the_words_of_the_catalogue_like_any_other_index():
    ndvi, evi = (index_of(IndexRule(name, BANDS)) for name in ("NDVI", "EVI"))
    found = find_index("NDVI")
    assert ndvi.attributes["comment"] == f"NDVI = {found.formula}"
    assert ndvi.attributes["long_name"].casefold() == found.long_name.casefold()
    assert evi.attributes["comment"].startswith(f"EVI = {find_index('EVI').formula}, ")


def test_the_comment_of_an_index_states_the_constants_of_its_formula():
    savi, evi, ndvi = (index_of(IndexRule(name, BANDS)) for name in ("SAVI", "EVI", "NDVI"))
    assert savi.attributes["comment"] == "SAVI = (1.0+L)*(N-R)/(N+R+L), L = 1.0"
    assert evi.attributes["comment"].endswith(", g = 2.5, C1 = 6.0, C2 = 7.5, L = 1.0")
    assert ndvi.attributes["comment"] == "NDVI = (N-R)/(N+R)"
