"""The asset graph as a person sees it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from geo_assets.build import STEPS
from geo_assets_tests.browser.dagster_pages import (
    GRAPH_SIZE,
    chromium,
    dagster_ui,
    dom,
    graph_page,
    screenshot,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium"),
]


def test_the_asset_graph_shows_every_asset_by_name(tmp_path):
    groups = dict.fromkeys(step.group for step in STEPS)
    picture = tmp_path / "asset_graph.png"
    with dagster_ui(tmp_path / "home", tmp_path / "data") as address:
        page = graph_page(address, list(groups))
        screenshot(page, picture)
        html = dom(page)

    for name in [*groups, *(step.name for step in STEPS)]:
        assert f">{name}<" in html, f"{name} is not on the page"
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    assert pixels.shape[1] == GRAPH_SIZE[0]
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    assert len(colours) > 300
    assert counts.max() < 0.9 * counts.sum()
