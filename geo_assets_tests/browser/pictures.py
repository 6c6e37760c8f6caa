"""The pictures of the README, made again from a finished demo.

    make demo && .venv/bin/python -m geo_assets_tests.browser.pictures
    .venv/bin/python -m geo_assets_tests.browser.pictures real

The first needs Chromium for the asset graph, and finds the results of the demo where make put
them; the second runs two campaigns on the folder of real data (GEO_ASSETS_TEST_DATA).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from geo_assets import open_catalog, open_chip, open_cube
from geo_assets.assets.imagery import label_classes, rgb_indices
from geo_assets.assets.step import Partition
from geo_assets.build import STEPS
from geo_assets.campaign_file import load_campaign
from geo_assets.commands.home import HOME_VARIABLE
from geo_assets.previews.strip import StripParts, readme_strip
from geo_assets.resources import ImagerySource, Results
from geo_assets.sources.archive import archive_folder
from geo_assets.storage.rasters.cog import read_cog, read_window
from geo_assets_tests.browser import real_strips
from geo_assets_tests.browser.dagster_pages import dagster_ui, graph_page, screenshot
from geo_assets_tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from geo_assets.storage.layout import Layout

IMAGES = REPOSITORY / "docs" / "images"
SHOWN = ("south", "test", 0)
"""Fold, split and cluster of the strip."""

MARGIN = 30
"""Pixels around the graph."""


def strip(layout: Layout, fold: str, split: str, cluster: int) -> bytes:
    """Return the strip of one cluster of the demo: image, chips, NDVI, temporal labels, truth."""
    campaign = load_campaign("demo")
    partition = Partition(
        campaign, layout, fold, split, ImagerySource(), "pictures", logging.getLogger(__name__)
    )
    image = read_cog(layout.composite_image(fold, split, cluster))
    temporal = read_cog(layout.ndvi_temporal_labels(fold, split, cluster))
    land_cover = f"land_cover-{image.geobox.crs.epsg}.tif"
    truth = read_window(archive_folder(campaign, layout) / "truth" / land_cover, image.geobox)
    rgb = rgb_indices(campaign)
    catalog = open_catalog(layout.chip_catalog(fold, split))
    chips = catalog[(catalog["cluster"] == cluster) & (catalog["status"] == "ok")]
    shown = chips.sort_values("label_fraction", ascending=False)["chip_id"].head(9)
    with open_cube(layout.ndvi_cube(fold, split, cluster)) as cube:
        clearest = int(np.argmax(cube["ndvi"].notnull().mean(("y", "x")).values))
        ndvi = cube["ndvi"].isel(time=clearest).values
        day = str(cube["time"].values[clearest].astype("datetime64[D]"))
        days = cube.sizes["time"]
    first, last = campaign.composite_dates
    return readme_strip(
        StripParts(
            image=image.data[rgb],
            valid=image.valid,
            labels=image.data[-1].astype(np.uint8),
            classes=label_classes(partition),
            chips=[open_chip(layout.chip_catalog(fold, split), chip)[0][rgb] for chip in shown],
            ndvi=ndvi,
            temporal=temporal.data[0],
            truth=truth.data[0],
            truth_classes=truth_classes(archive_folder(campaign, layout)),
        ),
        (
            f"median {first:%B} to {last:%B}",
            f"{len(chips)} of {campaign.chips.size} × {campaign.chips.size} pixels",
            f"{day}, one of {days} days",
            f"K-Means, K = {campaign.temporal_labels.n_clusters}, colours matched",
            f"as simulated; adjusted Rand index {agreement(temporal.data[0], truth.data[0]):.2f}",
        ),
    )


def agreement(labels: np.ndarray, truth: np.ndarray) -> float:
    """Return the adjusted Rand index of two label rasters where both are known (0 = unknown)."""
    known = (labels > 0) & (truth > 0)
    return float(adjusted_rand_score(truth[known], labels[known]))


def truth_classes(archive: Path) -> dict[int, tuple[str, str]]:
    """Return name and colour of each true land cover of the simulated archive."""
    classes = json.loads((archive / "truth" / "classes.json").read_text(encoding="utf-8"))
    return {int(value): (about["name"], about["colour"]) for value, about in classes.items()}


def asset_graph(home: Path, data: Path, target: Path) -> None:
    """Write the asset graph, cut from the page: what is neither page nor dotted background."""
    groups = list(dict.fromkeys(step.group for step in STEPS))
    with dagster_ui(home, data) as address:
        screenshot(graph_page(address, groups), target)
    with Image.open(target) as page:
        pixels = page.convert("RGB")
    left, top = pixels.width // 4, pixels.height // 8
    right = pixels.width - 70
    canvas = np.asarray(pixels.crop((left, top, right, pixels.height))).min(axis=2)
    drawn = canvas < 215
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    box = (
        left + max(columns[0] - MARGIN, 0),
        top + max(rows[0] - MARGIN, 0),
        left + min(columns[-1] + MARGIN, drawn.shape[1]),
        top + min(rows[-1] + MARGIN, drawn.shape[0]),
    )
    pixels.crop(box).quantize(128, dither=Image.Dither.NONE).save(target, optimize=True)


def real() -> None:
    """Make the pictures of real places."""
    given = os.environ.get("GEO_ASSETS_TEST_DATA", REPOSITORY / "../shared/data")
    real_data = Path(given).resolve()
    for run in (real_strips.rufiji, real_strips.slovenia):
        with tempfile.TemporaryDirectory() as folder:
            picture = real_strips.strip(run(Path(folder), real_data))
        (IMAGES / f"{run.__name__}.png").write_bytes(picture)


def main() -> None:
    """Make every picture."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    if sys.argv[1:] == ["real"]:
        real()
        return
    layout = Results().layout("demo")
    (IMAGES / "strip.png").write_bytes(strip(layout, *SHOWN))
    home = Path(os.environ.get(HOME_VARIABLE) or REPOSITORY / ".dagster_home")
    asset_graph(home, layout.root, IMAGES / "asset_graph.png")


if __name__ == "__main__":
    main()
