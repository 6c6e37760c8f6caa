from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import class_table, rgb_of
from geo_assets.previews.png import MAX_BYTES
from geo_assets.previews.spectra import centre_spectra

BANDS = ("B02", "B03", "B04", "B08")


@pytest.mark.parametrize(("k", "indices"), [(2, ()), (8, ("NDVI", "NDWI")), (32, ("NDVI",))])
def test_each_centre_is_a_line_in_its_colour(k, indices):
    centres = np.random.default_rng(0).uniform(0, 4000, (k, 4 + len(indices)))
    classes = class_table([f"cluster {n}" for n in range(1, k + 1)])
    png = centre_spectra(centres, BANDS, indices, classes, subtitle="cluster 0")
    assert len(png) <= MAX_BYTES
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    for _, colour in list(classes.values())[:8]:
        assert (picture == rgb_of(colour)).all(axis=-1).any()


def test_centres_of_other_features_are_refused():
    with pytest.raises(GeoAssetsError, match=r"centres of shape \(2, 3\) for 2 classes, 4 bands"):
        centre_spectra(np.zeros((2, 3)), BANDS, (), class_table(["a", "b"]))
