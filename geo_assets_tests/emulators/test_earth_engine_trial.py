"""What a person tries the loopback Earth Engine with."""

from __future__ import annotations

import rasterio
from click.testing import CliRunner

from geo_assets.campaign_file import load_campaign
from geo_assets.sources.label_files import read_labels
from geo_assets.storage.layout import Layout
from geo_assets_tests.emulators.earth_engine import Assets
from geo_assets_tests.emulators.earth_engine.trial import main


def test_a_trial_is_a_campaign_and_the_imagery_it_asks_for(tmp_path):
    folder = tmp_path / "trial"
    done = CliRunner(catch_exceptions=False).invoke(main, [str(folder)])
    assert done.exit_code == 0, done.output
    campaign = load_campaign(str(folder / "trial.yaml"))
    labels = read_labels(campaign, Layout(tmp_path, campaign.name)).frame
    assert set(zip(labels["fold"], labels["split"], strict=True)) == {
        (fold, split) for fold in campaign.folds for split in campaign.splits
    }
    assets = Assets()
    assets.add_stac(campaign.imagery.collection, folder / "imagery")
    images = assets.collection(campaign.imagery.collection).images
    assert done.output == f"{len(images)} scenes and the campaign {folder / 'trial.yaml'}\n"
    assert len({image.properties["system:index"] for image in images}) == len(images) > 10
    for path in folder.glob("imagery/*/image.tif"):
        with rasterio.open(path) as file:
            assert set(campaign.composite.bands) < set(file.descriptions)
            assert file.read(5).max() <= 11
            assert file.dataset_mask().any()
    again = CliRunner().invoke(main, [str(folder)])
    assert again.exit_code == 1
    assert "is not empty" in again.stderr
