from __future__ import annotations

import numpy as np
import pytest

from geo_assets.assets.label_changes import ndvi_label_changes
from geo_assets.assets.land_cover import land_cover_labels
from geo_assets.assets.spatial_labels import ndvi_spatial_labels
from geo_assets.assets.temporal_labels import ndvi_temporal_labels
from geo_assets.core.workers import Threads
from geo_assets.products.labels import composite_bands
from geo_assets.products.labels import days as label_days
from geo_assets.products.labels import features as label_features
from geo_assets_tests.assets.label_cases import two_kinds, write_ndvi
from geo_assets_tests.assets.test_land_cover import a_land_cover_partition, an_image, write_image

STEPS = (ndvi_spatial_labels, ndvi_temporal_labels, ndvi_label_changes, land_cover_labels)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What all label assets publish with one thread and with eight, in small blocks."""
    patch = pytest.MonkeyPatch()
    for module in (label_features, composite_bands, label_days):
        patch.setattr(module, "_EDGE", 32)
    files = []
    for threads in (1, 8):
        folder = tmp_path_factory.mktemp("threads")
        partition = a_land_cover_partition(folder, indices=("NDVI",), smooth_px=1)
        object.__setattr__(partition, "workers", Threads(threads))
        changes = {
            "spatial_labels": {"fit": "partition", "n_clusters": 3},
            "temporal_labels": {"every": "date", "max_gap_days": 200, "n_clusters": 3},
        }
        campaign = partition.campaign.model_copy(
            update={
                name: getattr(partition.campaign, name).model_copy(update=values)
                for name, values in changes.items()
            }
        )
        object.__setattr__(partition, "campaign", campaign)
        write_ndvi(partition, two_kinds()[0])
        write_image(partition, an_image(noise=300)[0])
        for step in STEPS:
            step.make(partition)
        files.append(
            {
                path.relative_to(folder): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file() and any(step.name in path.parts for step in STEPS)
            }
        )
        files[-1]["folder"] = str(folder).encode()
    patch.undo()
    return files


def test_one_thread_and_eight_publish_the_same_bytes(published):
    one, eight = ({k: v for k, v in files.items() if k != "folder"} for files in published)
    assert len([path for path in one if path.suffix == ".tif"]) == 6
    assert one == eight


def test_no_published_file_names_a_folder_of_this_machine(published):
    for files in published:
        folder = files["folder"]
        for name, content in files.items():
            assert name == "folder" or folder not in content, name


def test_models_say_whose_they_are(published):
    import json

    models = [
        json.loads(content)
        for path, content in published[0].items()
        if path != "folder" and path.suffix == ".json" and "ndvi_label_changes" not in path.parts
    ]
    for model in models:
        assert model["fitted_on"] in {"north|train", "north|train cluster-0"}
        assert model["area"] == "cluster-0"
        assert model["n_clusters"] == len(model["centers"]) == 3
        assert np.isfinite(model["inertia"])
