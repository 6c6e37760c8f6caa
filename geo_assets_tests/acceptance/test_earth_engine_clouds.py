"""A collection like Sentinel-2's: classes, cloud scores, several scenes a day, every reducer.

Small made-up rasters; the oracle is plain numpy over whole arrays, pixel by pixel from the rules
of ``docs/earth-engine.md``.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from geo_assets.campaign_file import load_campaign
from geo_assets.jobs import AREAS_AND_CHIPS
from geo_assets.storage.chips.catalog import read_rows
from geo_assets_tests.acceptance.support import Workplace, materialize, metadata_of, say
from geo_assets_tests.emulators.earth_engine import Assets, ImageFile
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

COLLECTION, SCORES = "COPERNICUS/S2_SR_HARMONIZED", "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
BANDS = ("B4", "B8")
CRS, PIXEL = "EPSG:32633", 10.0
WEST, NORTH, SIDE = 500_000.0, 5_200_000.0, 96
EXCLUDED = (0, 1, 3, 8, 9, 10)
CAMPAIGN = """\
name: clouds
areas: {{file: areas.geojson}}
imagery:
  kind: earth-engine
  collection: {collection}
  cloud_score: {score}
start: 2021-06-01
end: 2021-06-30
grid: {{resampling: {resampling}}}
clouds: {{max_cover: 80.0, dilate_m: {dilate}}}
composite: {{bands: [B4, B8], reducer: {reducer}, dtype: {dtype}}}
chips: {{size: 32, keep: all, preview_bands: [B8, B4, B4]}}
"""


@dataclass(frozen=True)
class Scene:
    """One image: when and how it was processed, and its pixels on its own lattice."""

    index: str
    time: dt.datetime
    baseline: str
    cover: float
    transform: Affine
    data: np.ndarray
    """(B4, B8, SCL), y, x."""
    valid: np.ndarray
    score: np.ndarray | None


def scenes(shift=(0.0, 0.0)):
    """Seven scenes of four days by the sun; all but the first lie off its lattice by a shift."""
    rng = np.random.default_rng(8)
    found = []
    for index, when, baseline, cover, corner, scored in (
        ("20210603_T1", "2021-06-03T10:00", "05.00", 10, (0, 0), True),
        # Night in Greenwich: one day by the sun over 15 degrees east, two in UTC.
        ("20210605_T1", "2021-06-05T23:30", "02.14", 20, (0, 0), True),
        ("20210606_T2", "2021-06-06T01:00", "05.00", 20, (0, 40), True),
        ("20210606_T3", "2021-06-06T01:01", "05.00", 20, (30, 10), True),
        ("20210611_T1", "2021-06-11T10:00", "05.00", 79, (0, 0), True),
        ("20210616_T1", "2021-06-16T10:00", "05.00", 30, (0, 0), False),
        ("20210621_T1", "2021-06-21T10:00", "05.00", 95, (0, 0), True),
    ):
        row, col = corner
        away = (0.0, 0.0) if not found else shift
        shape = (SIDE - row, SIDE - col)
        blocks = rng.choice([4, 5, 6, 11, 3, 8, 9, 0], (12, 12), p=[0.3, 0.2, 0.2] + [0.06] * 5)
        classes = np.kron(blocks, np.ones((8, 8), int))[: shape[0], : shape[1]]
        bands = rng.integers(0, 4000, (2, *shape))
        found.append(
            Scene(
                index,
                dt.datetime.fromisoformat(when).replace(tzinfo=dt.UTC),
                baseline,
                cover,
                Affine(
                    PIXEL, 0, WEST + col * PIXEL + away[0], 0, -PIXEL, NORTH - row * PIXEL - away[1]
                ),
                np.concatenate([bands, classes[None]]).astype("uint16"),
                rng.random(shape) > 0.05,
                rng.random(shape).astype("float32") if scored else None,
            )
        )
    return found


def served(folder, offered):
    """The scenes and their scores as rasters, offered as two collections."""
    images, scores = [], []
    for scene in offered:
        path = folder / f"{scene.index}.tif"
        write(path, scene, scene.data)
        properties = {
            "CLOUDY_PIXEL_PERCENTAGE": scene.cover,
            "PROCESSING_BASELINE": scene.baseline,
        }
        images.append(ImageFile(scene.index, path, scene.time, (*BANDS, "SCL"), properties))
        if scene.score is not None:
            path = folder / f"{scene.index}_score.tif"
            write(path, scene, scene.score[None])
            scores.append(ImageFile(scene.index, path, scene.time, ("cs_cdf",)))
    assets = Assets()
    assets.add_collection(COLLECTION, images)
    assets.add_collection(SCORES, scores)
    return assets


def write(path, scene, data):
    profile = {"driver": "GTiff", "crs": CRS, "transform": scene.transform, "dtype": data.dtype}
    rows, cols = data.shape[1:]
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", count=len(data), height=rows, width=cols, **profile) as file,
    ):
        file.write(data)
        file.write_mask(scene.valid)


# ------------------------------------------------------------------------------------ the oracle


def positions(scene, transform, shape):
    """Where the centres of a grid's pixels lie, in pixels of a scene: rows and columns."""
    x = transform.c + (np.arange(shape[1]) + 0.5) * transform.a
    y = transform.f + (np.arange(shape[0]) + 0.5) * transform.e
    own = scene.transform
    return (y - own.f) / own.e, (x - own.c) / own.a


def taken(array, row, col, missing):
    """Pixels of an array at rows and columns; ``missing`` beyond its edge."""
    inside = np.outer((row >= 0) & (row < array.shape[0]), (col >= 0) & (col < array.shape[1]))
    row, col = np.clip(row, 0, array.shape[0] - 1), np.clip(col, 0, array.shape[1] - 1)
    return np.where(inside, array[np.ix_(row, col)], missing)


def observed(scene, transform, shape, rules):
    """One scene on a grid: its bands as floats, and where they count."""
    row, col = positions(scene, transform, shape)
    r, c = np.floor(row).astype(int), np.floor(col).astype(int)
    there = taken(scene.valid, r, c, missing=False).astype(bool)
    if rules["resampling"] == "nearest":
        bands = np.stack([taken(band, r, c, 0).astype(float) for band in scene.data[:2]])
        valid = there.copy()
    else:
        bands, valid = bilinear(scene, row, col)
    # Rows and columns around the grid, whose clouds reach into it.
    reach = int(rules["dilate"] // PIXEL)
    wide_r = np.arange(r[0] - reach, r[-1] + reach + 1)
    wide_c = np.arange(c[0] - reach, c[-1] + reach + 1)
    classes = taken(np.where(scene.valid, scene.data[2], 4), wide_r, wide_c, 4)
    cloud = np.isin(classes, [one for one in EXCLUDED if one])
    rows, cols = shape
    unclear = np.isin(taken(scene.data[2], r, c, 4), EXCLUDED)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if (down**2 + right**2) * PIXEL**2 <= rules["dilate"] ** 2:
                top, left = reach + down, reach + right
                unclear |= cloud[top : top + rows, left : left + cols]
    valid &= there & ~unclear
    if rules["score"]:
        score = np.zeros(scene.valid.shape) if scene.score is None else scene.score
        valid &= taken(score, r, c, 0) >= 0.5
    return bands, valid


def bilinear(scene, row, col):
    """Bands weighed between four centres; nothing where one that counts is missing."""
    r, c = np.floor(row - 0.5).astype(int), np.floor(col - 0.5).astype(int)
    down, right = row - 0.5 - r, col - 0.5 - c
    bands, valid = np.zeros((2, len(row), len(col))), np.ones((len(row), len(col)), bool)
    for dr, wr in ((0, 1 - down), (1, down)):
        for dc, wc in ((0, 1 - right), (1, right)):
            weight = np.outer(wr, wc)
            there = taken(scene.valid, r + dr, c + dc, missing=False).astype(bool)
            valid &= there | (weight < 1e-9)
            for band in range(2):
                bands[band] += weight * taken(scene.data[band], r + dr, c + dc, 0)
    return bands, valid


def composite_by_hand(offered, transform, shape, rules):
    """The composite before rounding, NaN without a datum: scenes to days, days to one value."""
    days = defaultdict(list)
    for scene in offered:
        if scene.cover <= 80:
            days[(scene.time + dt.timedelta(hours=1)).date()].append(scene)
    assert sorted(len(day) for day in days.values()) == [1, 1, 1, 3]
    stack = []
    for _, day in sorted(days.items()):
        fused = np.full((2, *shape), np.nan)
        for scene in sorted(day, key=lambda one: (-float(one.baseline), one.index)):
            bands, valid = observed(scene, transform, shape, rules)
            fused = np.where(np.isnan(fused) & valid, bands, fused)
        stack.append(fused)
    reduce = getattr(np, f"nan{rules['reducer']}")
    none = np.isnan(stack).all(axis=0)
    return np.where(none, np.nan, reduce(np.where(none, 0, stack), axis=0))


# ------------------------------------------------------------------------------------- the tests

SCORED = f"{{collection: {SCORES}, minimum: 0.5}}"
SHIFT = (3.7, 2.3)
CASES = [
    ({"reducer": "median", "dilate": 25.0, "score": True}, (0, 0)),
    ({"reducer": "mean"}, (0, 0)),
    ({"reducer": "min", "dilate": 10.0}, SHIFT),
    ({"reducer": "max", "dtype": "float32"}, (0, 0)),
    ({"reducer": "median", "dtype": "float32", "resampling": "bilinear"}, SHIFT),
    ({"reducer": "max", "resampling": "bilinear"}, SHIFT),
]


@pytest.mark.parametrize(("changes", "shift"), CASES)
def test_chips_are_what_numpy_makes_of_the_scenes(changes, shift, tmp_path, monkeypatch):
    rules = {"dilate": 0.0, "score": False, "dtype": "native", "resampling": "nearest"} | changes
    offered = scenes(shift)
    place = Workplace(tmp_path)
    text = CAMPAIGN.format(
        **rules | {"collection": COLLECTION, "score": SCORED if rules["score"] else "null"}
    )
    (tmp_path / "clouds.yaml").write_text(text)
    write_area(tmp_path / "areas.geojson")
    campaign = load_campaign(str(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("GEO_ASSETS_EE_PROJECT", "clouds")
    monkeypatch.setenv("GEO_ASSETS_EE_LIMITS", str(tmp_path / "limits"))
    with EarthEngineEmulator(served(tmp_path, offered)) as emulator:
        monkeypatch.setenv("GEO_ASSETS_EE_URL", emulator.url)
        run = materialize(campaign, place, AREAS_AND_CHIPS)
        assert metadata_of(run, campaign, "chip_catalog")["all|all"]["failed"] == 0
    catalog = place.layout(campaign).chip_catalog("all", "all")
    seen = {"chips": 0, "datum": 0, "none": 0, "half to even down": 0, "half to even up": 0}
    for row in read_rows(catalog):
        transform, shape = row.spec.geobox.affine, row.spec.geobox.shape.yx
        exact = composite_by_hand(offered, transform, shape, rules)
        with rasterio.open(catalog.parent / row.href) as file:
            data, valid = file.read()[:2], file.dataset_mask() > 0
        # A chip over the area's edge holds nothing there.
        inside = within(transform, shape)
        there = ~np.isnan(exact).any(axis=0) & inside
        np.testing.assert_array_equal(valid, there)
        if rules["dtype"] == "float32":
            assert data.dtype == np.float32
            np.testing.assert_allclose(data[:, there], exact[:, there], rtol=1e-6)
            assert np.isnan(data[:, ~there]).all()
        else:
            assert data.dtype == np.uint16
            np.testing.assert_array_equal(data, np.where(there, np.rint(exact), 0))
        half = exact[:, there] % 1 == 0.5
        odd = np.floor(exact[:, there]) % 2 == 1
        for what, count in (
            ("chips", 1),
            ("datum", there.sum()),
            ("none", (~there & inside).sum()),
            ("half to even up", (half & odd).sum()),
            ("half to even down", (half & ~odd).sum()),
        ):
            seen[what] += int(count)
    say(f"\n{changes}: {seen}")
    assert seen["datum"]
    assert seen["none"] or not rules["score"]
    if changes in ({"reducer": "mean"}, CASES[0][0]):
        assert seen["half to even down"]
        assert seen["half to even up"]


AREA = (WEST + 155, NORTH - 705, WEST + 695, NORTH - 165)
"""Off the pixels, and within every scene of the first corner."""


def write_area(path):
    geopandas.GeoDataFrame(geometry=[shapely.box(*AREA)], crs=CRS).to_crs("EPSG:4326").to_file(
        path, driver="GeoJSON"
    )


def within(transform, shape):
    """Pixels of a chip that touch the area: the composite is whole pixels of the first scene."""
    x = transform.c + np.arange(shape[1]) * PIXEL
    y = transform.f - np.arange(shape[0]) * PIXEL
    west, south, east, north = AREA
    return np.outer(
        (y > south + 0.01) & (y - PIXEL < north - 0.01),
        (x < east - 0.01) & (x + PIXEL > west + 0.01),
    )
