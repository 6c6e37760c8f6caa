"""Pixels of one scene on one grid: bands found by name, no-data and offset applied.

Where files lie and why they fail is in ``asset_files``, grids in ``resampling``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj.exceptions import CRSError

from geo_assets.errors import ReadError
from geo_assets.sources.protocol import SceneRead
from geo_assets.sources.scenes.asset_files import AssetFiles, is_remote
from geo_assets.sources.scenes.band_keys import (
    BandAsset,
    BandError,
    find_band,
    find_offered_band,
    is_sentinel_2,
)
from geo_assets.sources.scenes.processing import stated_version
from geo_assets.sources.scenes.reflectance import add_offset, digital_number_offset, raster_band
from geo_assets.sources.scenes.resampling import on_grid
from geo_assets.sources.scenes.window import NativeWindow, NoData, Room, native_grid, read_native

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from rasterio import DatasetReader

    from geo_assets.sources.protocol import Item

SENTINEL_2_NODATA = 0
"""Sentinel-2 products mean no-data by 0 (ESA, Products Specification Document 14.9, NODATA)."""
Result = TypeVar("Result")
_THREADS = 8
"""Bands of a remote scene that are read at once: waiting costs no processor."""


@dataclass(frozen=True)
class SceneReader:
    """Reads scenes.

    Attributes:
        files: Opens assets.
        resampling: GDAL's name of the rule off the scene's lattice; classes are always nearest.
        nodata: No-data value where neither item nor file states one.
        offsets: Digital-number offset by collection, where items state none, or no whole number.
    """

    files: AssetFiles = field(default_factory=AssetFiles)
    resampling: str = "nearest"
    nodata: float | None = None
    offsets: Mapping[str, int] = field(default_factory=dict)

    def native_geobox(self, item: Item, band: str) -> GeoBox:
        """Return the pixel grid of a band: as the item states it, else as its file has it.

        Raises:
            ReadError: If there is no such band, or the file has to be opened and cannot be.
        """
        place = _found(find_band, item, band)
        stated = stated_geobox(item, place.asset_key)
        return stated or self._read(item, place.asset_key, native_grid)

    def read(
        self, item: Item, bands: Sequence[str], geobox: GeoBox, scl_band: str | None = None
    ) -> SceneRead:
        """Return a scene's pixels on a grid, see ``RasterSource.read``."""
        scl = None if scl_band is None else _found(find_offered_band, item, scl_band)
        wanted = _Wanted([_found(find_band, item, band) for band in bands], scl, geobox)
        windows = self._read_all(item, wanted)
        data, valid = self._bands_on_grid(item, wanted, windows)
        if scl is None:
            return SceneRead(data, valid, None)
        values, known = on_grid(wanted.stack([scl], windows), geobox, "nearest")
        return SceneRead(data, valid, _classes(item, scl, values[0], known))

    def _read_all(self, item: Item, wanted: _Wanted) -> dict[str, NativeWindow]:
        indexes = wanted.indexes

        def read(key: str) -> NativeWindow:
            nodata = [self._nodata(item, key, index) for index in indexes[key]]
            place = wanted.place_of(key)
            nearest = self.resampling == "nearest" or wanted.is_of_classes(key)

            def work(file: DatasetReader) -> NativeWindow:
                return read_native(
                    file, indexes[key], nodata, wanted.geobox, place, nearest=nearest
                )

            return self._read(item, key, work)

        if any(is_remote(item["assets"][key]["href"]) for key in indexes):
            with ThreadPoolExecutor(min(_THREADS, len(indexes))) as pool:
                return dict(zip(indexes, pool.map(read, indexes), strict=True))
        return {key: read(key) for key in indexes}

    def _bands_on_grid(
        self, item: Item, wanted: _Wanted, windows: Mapping[str, NativeWindow]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        places, geobox = wanted.places, wanted.geobox
        groups = _of_one_grid(places, windows)
        if len(groups) == 1:
            data, valid = on_grid(wanted.stack(places, windows), geobox, self.resampling)
        else:
            dtype = np.result_type(*(windows[place.asset_key].data.dtype for place in places))
            data = np.zeros((len(places), *geobox.shape), dtype)
            valid = np.ones(geobox.shape, bool)
            for numbers in groups:
                # Bands of one grid are warped at once: its transformer is the costly part.
                stack = wanted.stack([places[number] for number in numbers], windows)
                data[numbers], known = on_grid(stack, geobox, self.resampling)
                valid &= known
        for number, place in enumerate(places):
            offset = digital_number_offset(item, place.asset_key, self.offsets, index=place.index)
            if offset != 0:
                window, at = wanted.found(place, windows)
                add_offset(data[number], valid, offset, window.nodata[at])
        return data, valid

    def _nodata(self, item: Item, asset_key: str, index: int) -> NoData:
        """What a band means by no-data."""
        stated = raster_band(item["assets"][asset_key], index).get("nodata")
        if stated is not None:
            return NoData(float(stated))  # "nan" is how JSON says it
        usual = SENTINEL_2_NODATA if is_sentinel_2(item) else None
        return NoData(otherwise=usual if self.nodata is None else self.nodata)

    def _read(self, item: Item, asset_key: str, work: Callable[[DatasetReader], Result]) -> Result:
        href = item["assets"][asset_key]["href"]
        what = f"scene {item['id']}, asset {asset_key}"
        try:
            return self.files.read(href, work, what, stated_version(item))
        except ReadError as error:
            error.scene_id = item["id"]
            raise


class _Wanted:
    """Bands of a scene, and the room that they are read into."""

    def __init__(self, places: Sequence[BandAsset], scl: BandAsset | None, geobox: GeoBox) -> None:
        self.places = list(places)
        self.geobox = geobox
        self.indexes: dict[str, list[int]] = {}
        for place in [*places, scl] if scl else places:
            self.indexes.setdefault(place.asset_key, []).append(place.index)
        self._room = Room(len(self.places), geobox)

    def is_of_classes(self, key: str) -> bool:
        """Whether none of an asset's bands is wanted but as classes."""
        return all(place.asset_key != key for place in self.places)

    def place_of(self, key: str) -> Callable[[GeoBox, Any], NDArray[Any] | None] | None:
        """Return what gives the place of an asset's bands; None if they do not come together."""
        together = [BandAsset(key, index) for index in self.indexes[key]]
        if together[0] not in self.places:
            return None
        first = self.places.index(together[0])
        if self.places[first : first + len(together)] != together:
            return None
        return partial(self._room.place, first, len(together))

    def stack(
        self, places: Sequence[BandAsset], windows: Mapping[str, NativeWindow]
    ) -> NativeWindow:
        """Return some bands of one grid, in order; not copied if they lie in the room."""
        found = [self.found(place, windows) for place in places]
        first = found[0][0]
        data = self._room.pixels
        if data is None or places != self.places or not all(w.data.base is data for w, _ in found):
            data = np.stack([window.data[at] for window, at in found])
        masks = [window.valid[at] for window, at in found]
        valid = masks[0] & masks[-1]  # another array, whether there is one band or are two
        for mask in masks[1:-1]:
            valid &= mask
        nodata = tuple(window.nodata[at] for window, at in found)
        return NativeWindow(data, valid[None], first.geobox, first.whole, nodata)

    def found(
        self, place: BandAsset, windows: Mapping[str, NativeWindow]
    ) -> tuple[NativeWindow, int]:
        """Return the window with a band's pixels, and their number there."""
        return windows[place.asset_key], self.indexes[place.asset_key].index(place.index)


def stated_geobox(item: Item, asset_key: str) -> GeoBox | None:
    """Return the grid that an item states for an asset (projection extension), None if it does not.

    Understood are ``proj:code`` and ``proj:epsg``, ``proj:transform`` and ``proj:shape``, of the
    asset or, where the asset says nothing, of the item.
    """
    said = {**item["properties"], **item["assets"][asset_key]}
    code = said.get("proj:code") or said.get("proj:epsg")
    transform, shape = said.get("proj:transform"), said.get("proj:shape")
    if not (code and transform and shape):
        return None
    try:
        return GeoBox(tuple(shape), Affine(*transform[:6]), CRS(code))
    except (CRSError, TypeError, ValueError):
        return None  # the file knows


def _found(find: Callable[[Item, str], Result], item: Item, band: str) -> Result:
    try:
        return find(item, band)
    except BandError as error:
        raise ReadError(str(error), kind="permanent", scene_id=item["id"]) from error


def _classes(
    item: Item, place: BandAsset, values: NDArray[Any], known: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the classes of a band, 0 where there is none."""
    with np.errstate(invalid="ignore"):  # NaN, which is never known
        classes = values.astype(np.uint8, copy=False)
    if classes is not values and (strange := values[known & (classes != values)]).size:
        raise ReadError(
            f"scene {item['id']}, asset {place.asset_key}: {strange[0]} ({values.dtype}) is no "
            "class; clouds.band must name a band of classes, whole numbers from 0 to 255, and "
            "no quality band whose bits have a meaning each",
            kind="permanent",
            scene_id=item["id"],
        )
    return classes * known


def _of_one_grid(
    places: Sequence[BandAsset], windows: Mapping[str, NativeWindow]
) -> list[list[int]]:
    """Numbers of the bands that lie on one window of one grid in one dtype, together."""
    groups: list[tuple[NativeWindow, list[int]]] = []
    for number, place in enumerate(places):
        window = windows[place.asset_key]
        for first, numbers in groups:
            if (first.whole, first.geobox, first.data.dtype) == (
                window.whole,
                window.geobox,
                window.data.dtype,
            ):
                numbers.append(number)
                break
        else:
            groups.append((window, [number]))
    return [numbers for _, numbers in groups]
