from __future__ import annotations

from types import SimpleNamespace

import pytest

from geo_assets.campaign_imagery import RasterImagery, SimulatedImagery
from geo_assets.errors import CampaignError
from geo_assets.sources import simulated
from geo_assets.sources.archive import archive_folder, prepare_archive
from geo_assets.storage.layout import Layout

SIMULATED = SimpleNamespace(name="c", imagery=SimulatedImagery(kind="simulated", seed=5))


def test_archives_lie_beside_the_campaigns_one_for_each_seed(tmp_path):
    one, other = Layout(tmp_path, "one"), Layout(tmp_path, "other")
    folder = tmp_path / "simulated_archive" / "seed-5"
    assert archive_folder(SIMULATED, one) == archive_folder(SIMULATED, other) == folder


def test_an_archive_is_written_with_the_seed_of_the_campaign(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(simulated, "write_archive", lambda *given: asked.append(given))
    folder = prepare_archive(SIMULATED, Layout(tmp_path, "c"))
    assert asked == [(folder, simulated.ArchiveSpec(seed=5))]


def test_a_campaign_without_simulated_imagery_has_no_archive(tmp_path):
    raster = SimpleNamespace(
        name="real",
        imagery=RasterImagery(kind="raster", file=tmp_path / "a.tif", date="2021-05-01"),
    )
    with pytest.raises(CampaignError, match=r"real: paths 'archive:\.\.\.'.*'raster'"):
        archive_folder(raster, Layout(tmp_path, "real"))
