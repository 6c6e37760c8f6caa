"""The two strips of real places in the README: image, NDVI and the labels that K-Means finds.

    .venv/bin/python -m geo_assets_tests.browser.pictures real

runs the two campaigns on the folder of real data and draws what they published.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas
import numpy as np
import shapely
from rasterio.windows import Window

from geo_assets.assets.imagery import rgb_indices
from geo_assets.campaign_file import load_campaign
from geo_assets.previews.cubes import colour_bar, shown_ndvi
from geo_assets.previews.palette import MUTED, ClassTable, class_table, paint_labels
from geo_assets.previews.raster import fitted_shape, resample_labels
from geo_assets.previews.rgb import shown
from geo_assets.previews.style import MARGIN, TEXT_SIZE, Sheet, legend_of
from geo_assets.storage.cubes.opening import open_cube, published_cubes
from geo_assets.storage.rasters.cog import read_cog
from geo_assets_tests.acceptance.support import Workplace, materialize, render

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from geo_assets.campaign import Campaign
    from geo_assets.storage.layout import Layout

BYTES = 300_000
PANEL, GAP, CAPTION = 300, 20, 46
ALL = ("all", "all")


@dataclass(frozen=True)
class Place:
    """A campaign that was run."""

    campaign: Campaign
    layout: Layout
    shown_day: str
    """The day whose NDVI and spatial labels are shown."""


def rufiji(folder: Path, real_data: Path) -> Place:
    """Run the campaign of the mangrove coast."""
    items = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((real_data / "s2_rufiji/items").glob("*/*.json"))
    ]
    west, south, east, north = np.array([item["bbox"] for item in items]).T
    box = shapely.box(west.min(), south.min(), east.max(), north.max())
    path = render("rufiji", folder, catalog=real_data / "s2_rufiji/catalog.json")
    frame = geopandas.GeoDataFrame(geometry=[box], crs="EPSG:4326")
    frame.to_file(folder / "area.geojson")
    return _run(path, folder, "2019-06-15")


def slovenia(folder: Path, real_data: Path) -> Place:
    """Run the campaign of the square kilometre of land use."""
    path = render("slovenia", folder, GEO_ASSETS_TEST_DATA=real_data)
    return _run(path, folder, "2015-08-30")


def _run(path: Path, folder: Path, day: str) -> Place:
    campaign, place = load_campaign(str(path)), Workplace(folder)
    if not materialize(path, place).success:
        msg = f"{path.name}: the run failed"
        raise RuntimeError(msg)
    return Place(campaign, place.layout(campaign), day)


def strip(place: Place) -> bytes:
    """Return the strip of a place: composite, NDVI, spatial, temporal and land-cover labels."""
    layout, campaign = place.layout, place.campaign
    image = read_cog(layout.composite_image(*ALL, 0))
    spatial = read_cog(layout.ndvi_spatial_labels(*ALL, "cluster-0", place.shown_day)).data[0]
    temporal = read_cog(layout.ndvi_temporal_labels(*ALL, "cluster-0")).data[0]
    land_cover = read_cog(layout.land_cover_labels(*ALL, 0)).data[0]
    (cube_path,) = published_cubes(layout, *ALL).values()
    with open_cube(cube_path) as cube:
        ndvi = cube["ndvi"].sel(time=place.shown_day, method="nearest").values
        days = cube.sizes["time"]
    crop = _where_known(image.valid)
    rgb = image.data[rgb_indices(campaign)][:, crop[0], crop[1]]
    shape = fitted_shape(rgb.shape[1:], PANEL, PANEL)
    indices = campaign.land_cover.indices if campaign.land_cover else ()
    panels = [
        ("Composite", f"median of {days} dates"),
        ("NDVI", place.shown_day),
        ("Spatial labels", f"K = {campaign.spatial_labels.n_clusters}, the exact optimum"),
        ("Temporal labels", f"K = {campaign.temporal_labels.n_clusters}, {days} dates"),
        ("Land cover", " + ".join([f"{len(campaign.composite.bands)} bands", *indices])),
    ]
    lefts = [MARGIN + index * (PANEL + GAP) for index in range(len(panels))]
    top = MARGIN + CAPTION
    sheet = Sheet(lefts[-1] + shape[1] + MARGIN, top + shape[0] + 56)
    for x, (caption, note) in zip(lefts, panels, strict=True):
        sheet.text(x, MARGIN, caption, size=TEXT_SIZE + 3, bold=True, room=PANEL)
        sheet.text(x, MARGIN + 22, note, colour=MUTED, room=PANEL)
    photograph, known = shown(rgb, image.valid[crop], shape)
    sheet.photo(lefts[0], top, photograph, known)
    sheet.photo(lefts[1], top, shown_ndvi(ndvi[crop], shape))
    ranked = by_ndvi(land_cover, ndvi)
    for x, labels in zip(lefts[2:], (spatial, temporal, ranked), strict=True):
        _labels(sheet, (x, top), labels[crop], shape)
    for x in lefts:
        sheet.frame(x, top, shape[1], shape[0])
    colour_bar(sheet, lefts[1] + 8, top + shape[0] + 14, PANEL - 60)
    return sheet.png(BYTES)


def by_ndvi(labels: NDArray[np.uint8], ndvi: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return labels numbered by the mean NDVI of their pixels, so that colours mean the same."""
    values = [value for value in np.unique(labels).tolist() if value]
    ordered = sorted(values, key=lambda value: float(np.nanmean(ndvi[labels == value])))
    new = np.zeros(256, np.uint8)
    new[ordered] = np.arange(1, len(ordered) + 1)
    return new[labels]


def _labels(
    sheet: Sheet, place: tuple[int, int], labels: NDArray[np.uint8], shape: tuple[int, int]
) -> None:
    """Draw a label raster and, below it, its classes."""
    names = [str(value) for value in range(1, int(labels.max()) + 1)]
    table: ClassTable = class_table(names, ordered=True)
    sheet.paint(*place, paint_labels(resample_labels(labels, shape), table))
    sheet.legend(place[0], place[1] + shape[0] + 14, legend_of(table), PANEL, len(names))


def _where_known(valid: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest window that holds every datum."""
    window = Window.from_slices(
        *(
            slice(int(lines[0]), int(lines[-1]) + 1)
            for lines in (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
        )
    )
    rows, columns = window.toslices()
    return rows, columns
