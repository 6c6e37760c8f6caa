"""Scenes in memory as a source of pixels, with faults where a test wants them, and its oracles.

The oracles compute on whole arrays in float64: no blocks, no windows, nothing of the package.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

import geopandas
import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import binary_dilation

from geo_assets.errors import ReadError
from geo_assets.sources.protocol import SceneRead

CRS = "EPSG:32633"
PIXEL = 10.0
CORNER = (500_480, 5_200_000)
"""A multiple of 64 pixels, so that leaves of the shared lattice begin there."""
EXCLUDED = (0, 1, 3, 8, 9, 10)


def grid(rows, cols, row=0, col=0, *, pixel=PIXEL, crs=CRS):
    """A window of one lattice, counted from a corner that all tests share."""
    corner = (CORNER[0] + col * pixel, CORNER[1] - row * pixel)
    return GeoBox((rows, cols), Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), crs)


@dataclass(frozen=True)
class Fault:
    """Rows and columns of a scene that cannot be read; None: all of it."""

    kind: str = "invalid_payload"
    rows: slice = field(default_factory=lambda: slice(None))
    cols: slice = field(default_factory=lambda: slice(None))
    error: str = "a block cannot be decoded"
    whole: bool = False


@dataclass(frozen=True)
class Scene:
    """One scene: data (band, y, x), valid (y, x), scl (y, x) or None, on a grid."""

    id: str
    day: str
    data: np.ndarray
    valid: np.ndarray
    scl: np.ndarray | None
    geobox: GeoBox
    baseline: str = "05.00"
    faults: tuple[Fault, ...] = ()
    bands: tuple[str, ...] = ("B04", "B08")

    @property
    def item(self):
        footprint = self.geobox.footprint("EPSG:4326")
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "id": self.id,
            "geometry": footprint.json,
            "bbox": list(footprint.boundingbox.bbox),
            "properties": {
                "datetime": f"{self.day}T10:00:00Z",
                "s2:processing_baseline": self.baseline,
            },
            "links": [],
            "assets": {band: {"href": f"/nowhere/{self.id}/{band}.tif"} for band in self.bands},
        }

    def with_faults(self, *faults):
        return replace(self, faults=faults)


@dataclass
class MemorySource:
    """A ``RasterSource`` over scenes of one lattice; counts what is read."""

    scenes: dict[str, Scene]
    single_raster: bool = False
    description: dict = field(default_factory=lambda: {"kind": "memory"})
    reads: list = field(default_factory=list)
    before_read: object = None
    supports = frozenset()

    @classmethod
    def of(cls, *scenes, **more):
        return cls({scene.id: scene for scene in scenes}, **more)

    def __post_init__(self):
        self._lock = threading.Lock()

    @property
    def items(self):
        return [scene.item for scene in self.scenes.values()]

    def change(self, *scenes):
        self.scenes |= {scene.id: scene for scene in scenes}

    def pixels_read(self, scene_id=None):
        return sum(
            box.shape.y * box.shape.x for name, box in self.reads if scene_id in (None, name)
        )

    def describe(self):
        return self.description

    def select(self, query):
        raise NotImplementedError

    def native_geobox(self, item, band):
        scene = self.scenes[item["id"]]
        assert band in scene.bands
        return scene.geobox

    def read(self, item, bands, geobox, *, scl_band=None):
        with self._lock:
            self.reads.append((item["id"], geobox))
        if self.before_read is not None:
            self.before_read()
        scene = self.scenes[item["id"]]
        there, here = _shared(scene.geobox, geobox)
        for fault in scene.faults:
            hit = np.zeros(scene.geobox.shape, bool)
            hit[fault.rows, fault.cols] = True
            if fault.kind == "permanent" or hit[there].any():
                raise ReadError(
                    f"scene {scene.id}: {fault.error}",
                    kind=fault.kind,
                    scene_id=scene.id,
                    whole=fault.whole,
                )
        numbers = [scene.bands.index(band) for band in bands]
        data = np.zeros((len(bands), *geobox.shape), scene.data.dtype)
        valid = np.zeros(geobox.shape, bool)
        data[:, *here] = scene.data[numbers][:, *there]
        valid[here] = scene.valid[there]
        scl = None
        if scl_band is not None and scene.scl is not None:
            scl = np.zeros(geobox.shape, np.uint8)
            scl[here] = scene.scl[there]
        return SceneRead(data, valid, scl)


def _shared(scene, wanted):
    """The pixels that two grids of one lattice share, as slices of each."""
    col = round((wanted.affine.c - scene.affine.c) / scene.affine.a)
    row = round((wanted.affine.f - scene.affine.f) / scene.affine.e)
    top, bottom = max(row, 0), max(min(row + wanted.shape.y, scene.shape.y), 0)
    left, right = max(col, 0), max(min(col + wanted.shape.x, scene.shape.x), 0)
    if top >= bottom or left >= right:
        return (slice(0, 0), slice(0, 0)), (slice(0, 0), slice(0, 0))
    return (
        (slice(top, bottom), slice(left, right)),
        (slice(top - row, bottom - row), slice(left - col, right - col)),
    )


def random_scene(seed, name, day, geobox, *, dtype="uint16", bands=("B04", "B08"), **more):
    """A scene of noise with some no-data and some clouds."""
    rng = np.random.default_rng(seed)
    shape = geobox.shape.yx
    low, high = (-300, 3000) if np.dtype(dtype).kind in "if" else (0, 250)
    data = rng.integers(low, high, (len(bands), *shape)).astype(dtype)
    valid = rng.random(shape) > 0.05
    scl = rng.choice([3, 4, 5, 8, 0], p=[0.002, 0.5, 0.478, 0.01, 0.01], size=shape)
    return Scene(name, day, data, valid, scl.astype(np.uint8), geobox, bands=tuple(bands), **more)


def clear_by_hand(scl, radius):
    """Clear pixels: a disk laid on every pixel of an excluded class but no-data."""
    unclear = np.isin(scl, EXCLUDED)
    if radius:
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
        disk = x**2 + y**2 <= radius**2
        unclear |= binary_dilation(unclear & (scl != 0), disk)
    return ~unclear


def days_by_hand(scenes, geobox, radius=0, *, clouds=True):
    """Fused days on a grid: {day: (data float64 (band, y, x) with NaN, valid (y, x))}."""
    days = {}
    for scene in sorted(scenes, key=lambda s: (-float(s.baseline), s.id)):
        there, here = _shared(scene.geobox, geobox)
        clear = scene.valid
        if clouds and scene.scl is not None:
            clear = clear & clear_by_hand(scene.scl, radius)
        data = np.full((len(scene.bands), *geobox.shape), np.nan)
        data[:, *here] = np.where(clear, scene.data.astype(float), np.nan)[:, *there]
        if scene.day in days:
            first = days[scene.day]
            data = np.where(np.isnan(first), data, first)
        days[scene.day] = data
    return dict(sorted(days.items()))


def polygons(*shapes, classes=None):
    """Label polygons given in pixels (row, col, height, width) of the shared lattice."""
    boxes = [
        shapely.box(
            CORNER[0] + col * PIXEL,
            CORNER[1] - (row + height) * PIXEL,
            CORNER[0] + (col + width) * PIXEL,
            CORNER[1] - row * PIXEL,
        )
        for row, col, height, width in shapes
    ]
    frame = geopandas.GeoDataFrame(
        {"class": list(classes or range(1, len(boxes) + 1))}, geometry=boxes, crs=CRS
    )
    return frame.to_crs("EPSG:4326")
