"""Which bands of a composite its previews show."""

from __future__ import annotations

import pytest

from geo_assets.assets.imagery import rgb_indices
from geo_assets_tests.campaign_testing import a_campaign


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (["B02", "B03", "B04", "B08"], ["B04", "B03", "B02"]),
        (["B03", "B04", "B08"], ["B08", "B04", "B03"]),
        (["B04", "B08", "B11"], ["B11", "B08", "B04"]),
        (["B05", "B06", "B07", "B12"], ["B05", "B06", "B07"]),
        (["B08", "B04"], ["B08", "B08", "B08"]),
    ],
)
def test_true_colours_are_shown_else_infrared_else_what_comes_first(tmp_path, bands, shown):
    campaign = a_campaign(tmp_path, {"composite.bands": bands})
    assert [bands[index] for index in rgb_indices(campaign)] == shown
