from __future__ import annotations

import os

import pytest

from geo_assets.campaign_file import (
    CAMPAIGN_VARIABLE,
    find_campaign,
    load_campaign,
    packaged_campaigns,
)
from geo_assets.errors import CampaignError
from geo_assets_tests.campaign_testing import write_campaign

BROKEN = {
    "empty": (b"", "mine.yaml: a campaign is a mapping of keys, got nothing"),
    "comment alone": (b"# later\n", "mine.yaml: a campaign is a mapping of keys, got nothing"),
    "list": (b"- demo\n", "mine.yaml: a campaign is a mapping of keys, got the list ['demo']"),
    "text": (b"demo", "mine.yaml: a campaign is a mapping of keys, got the str 'demo'"),
    "not YAML": (b"name: demo\nfolds: [a\n", "mine.yaml, line 3, column 1: not valid YAML: "),
    "tab": (b"chips:\n\tsize: 3\n", "mine.yaml, line 2, column 1: not valid YAML: "),
    "twice": (b"seed: 1\nseed: 2\n", "mine.yaml, line 2, column 1: not valid YAML: the key 'seed'"),
    "code": (b"!!python/object:os.system x", "mine.yaml, line 1, column 1: not valid YAML: "),
    "no digits": (b"seed: 0x_\n", "mine.yaml: not valid YAML: invalid literal for int()"),
    "latin-1": ("title: Döberitz".encode("latin-1"), "mine.yaml: not UTF-8 text, byte 8 is none"),
    "UTF-16": ("title: x".encode("utf-16"), "mine.yaml: not UTF-8 text, byte 0 is none"),
    "binary": (b"\x00\x01\x02", "mine.yaml: not valid YAML: "),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_campaign_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(CampaignError) as caught:
        load_campaign(str(path))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", ["start", "end", "composite.start"])
@pytest.mark.parametrize("day", ["2021-13-31", "2021-02-30", "2021-05-01T25:00:00"])
def test_a_day_that_does_not_exist_is_named_with_its_key_and_how_days_are_written(
    tmp_path, key, day
):
    path = write_campaign(tmp_path, {key: day})
    path.write_text(path.read_text().replace(f"'{day}'", day))
    assert f": {day}\n" in path.read_text()
    with pytest.raises(CampaignError) as caught:
        load_campaign(str(path))
    assert str(caught.value) == (
        f"{path.name}: {key}: must be a day that exists, YYYY-MM-DD such as 2021-05-01 "
        f"(got {day!r})"
    )


def test_broken_yaml_does_not_show_its_line(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("token: hunter2: x\n")
    with pytest.raises(CampaignError, match="line 1") as caught:
        load_campaign(str(path))
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused_by_name(tmp_path):
    path = write_campaign(tmp_path)
    path.chmod(0)
    with pytest.raises(CampaignError, match="cannot be read: Permission denied"):
        load_campaign(str(path))


@pytest.mark.parametrize("wanted", ["nowhere", "nowhere.yaml", "../demo", "demo.yaml"])
def test_a_campaign_that_is_not_there_is_named_beside_those_that_are(tmp_path, monkeypatch, wanted):
    monkeypatch.chdir(tmp_path)  # a folder beside the checkout may be called demo
    with pytest.raises(CampaignError) as caught:
        find_campaign(wanted)
    assert str(caught.value) == (
        f"campaign {wanted!r}: is not there; allowed is the path of a YAML file (--campaign or "
        "GEO_ASSETS_CAMPAIGN) or one of cashew, demo, doeberitz, timberlea"
    )


def test_a_folder_is_no_campaign(tmp_path):
    with pytest.raises(CampaignError, match="is a folder; allowed is the path of a YAML file"):
        find_campaign(str(tmp_path))


def test_the_argument_comes_before_the_environment_and_that_before_the_demo(tmp_path, monkeypatch):
    mine = write_campaign(tmp_path)
    monkeypatch.delenv(CAMPAIGN_VARIABLE, raising=False)
    assert find_campaign().stem == "demo"
    monkeypatch.setenv(CAMPAIGN_VARIABLE, "cashew")
    assert find_campaign().stem == "cashew"
    assert find_campaign(str(mine)) == mine
    monkeypatch.setenv(CAMPAIGN_VARIABLE, "")
    assert find_campaign().stem == "demo"


def test_a_packaged_name_beats_a_folder_of_that_name(tmp_path, monkeypatch):
    """A results folder called demo must not hide the demo."""
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_campaign("demo").name == "demo"


def test_the_packaged_campaigns_validate():
    assert packaged_campaigns() == ["cashew", "demo", "doeberitz", "timberlea"]
    assert [load_campaign(name).name for name in packaged_campaigns()] == packaged_campaigns()
