from __future__ import annotations

import os

import pytest

from geo_assets.campaign_environment import names_in_env_file, read_env_file
from geo_assets.campaign_file import CAMPAIGN_VARIABLE, load_campaign
from geo_assets.errors import CampaignError
from geo_assets_tests.campaign_testing import write_campaign


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A working directory and an environment of the test's own, which is put back after it."""
    for name in ("STAC_API_URL", CAMPAIGN_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = dict(os.environ)
    yield os.environ
    os.environ.clear()
    os.environ.update(before)


def test_env_of_the_working_directory_is_read_before_a_campaign_is_sought(tmp_path, environment):
    campaign = write_campaign(tmp_path)
    (tmp_path / "here/.env").write_text(f"{CAMPAIGN_VARIABLE}={campaign}\nSTAC_API_URL=http://a\n")
    assert load_campaign().name == "tiny"
    assert environment["STAC_API_URL"] == "http://a"


def test_env_beside_the_campaign_is_read(tmp_path, environment):
    campaign = write_campaign(tmp_path)
    (tmp_path / ".env").write_text("STAC_API_URL=http://beside\n")
    load_campaign(str(campaign))
    assert environment["STAC_API_URL"] == "http://beside"


def test_the_environment_beats_the_working_directory_and_that_the_campaigns_folder(
    tmp_path, environment
):
    campaign = write_campaign(tmp_path)
    environment["FIRST"] = "environment"
    (tmp_path / "here/.env").write_text("FIRST=here\nSECOND=here\n")
    (tmp_path / ".env").write_text("FIRST=beside\nSECOND=beside\nTHIRD=beside\n")
    load_campaign(str(campaign))
    found = [environment[name] for name in ("FIRST", "SECOND", "THIRD")]
    assert found == ["environment", "here", "beside"]


def test_an_empty_variable_of_the_environment_is_kept(environment, tmp_path):
    """So that what .env says can be switched off for one command."""
    environment["STAC_API_URL"] = ""
    (tmp_path / ".env").write_text("STAC_API_URL=http://a\n")
    read_env_file(tmp_path)
    assert environment["STAC_API_URL"] == ""


def test_without_a_file_nothing_happens(tmp_path, environment):
    before = dict(environment)
    read_env_file(tmp_path)
    assert dict(environment) == before
    assert names_in_env_file(tmp_path) == []


def test_names_are_told_without_values(tmp_path):
    (tmp_path / ".env").write_text("TOKEN=hunter2\nAWS_ACCESS_KEY_ID='x'\n")
    assert names_in_env_file(tmp_path) == ["AWS_ACCESS_KEY_ID", "TOKEN"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"TOKEN=hunter2\xff\n", "not UTF-8 text, byte"),
        (b"TOKEN=hunter2\x00\n", "a value holds a null byte"),
    ],
    ids=["latin-1", "null byte"],
)
def test_a_file_that_cannot_be_read_is_named_and_not_shown(tmp_path, content, words):
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(CampaignError) as caught:
        read_env_file(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / '.env'}: ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_line_that_is_none_is_passed_over_without_being_shown(tmp_path, caplog, environment):
    (tmp_path / ".env").write_text("hunter2 is no assignment\nGOOD=1\n")
    read_env_file(tmp_path)
    assert environment["GOOD"] == "1"
    assert "line 1" in caplog.text
    assert "hunter2" not in caplog.text
