from __future__ import annotations

import json
from pathlib import Path

from geo_assets.campaign_file import load_campaign
from geo_assets.resources import DATA_VARIABLE, ImagerySource, Results
from geo_assets_tests.small_world import write_world


def test_results_go_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "there"))
    assert Results().layout("demo").folder == tmp_path / "there/demo"


def test_results_go_below_the_working_directory_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    assert Results().layout("demo").folder == tmp_path / "data/demo"
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert Results().layout("demo").folder == tmp_path / "data/demo"


def test_the_environment_is_asked_when_a_run_asks(tmp_path, monkeypatch):
    """Definitions load in one process and run in another."""
    results = Results()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "later"))
    assert results.layout("demo").root == tmp_path / "later"


def test_a_folder_given_beats_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, "/nowhere")
    assert Results(data=str(tmp_path)).layout("demo").root == tmp_path


def test_a_home_folder_is_understood(monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, "~/results")
    assert Results().layout("demo").root == Path.home().resolve() / "results"


def test_imagery_is_what_the_campaign_names(tmp_path):
    campaign = write_world(tmp_path)
    source = ImagerySource().open(campaign, Results(data=str(tmp_path)).layout(campaign.name))
    assert source.single_raster
    assert str(tmp_path) not in json.dumps(source.describe())


def test_results_of_two_campaigns_lie_apart(tmp_path):
    results = Results(data=str(tmp_path))
    folders = {results.layout(load_campaign(name).name).folder for name in ("demo", "cashew")}
    assert len(folders) == 2
