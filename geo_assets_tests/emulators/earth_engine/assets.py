"""What the service offers: image collections over rasters on the disk, and tables of polygons."""

from __future__ import annotations

import datetime as dt
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import MaskFlags
from rasterio.windows import Window
from shapely.geometry import shape as shape_of

from geo_assets_tests.emulators.earth_engine.sampling import sampled
from geo_assets_tests.emulators.earth_engine.values import (
    Band,
    Feature,
    Image,
    ImageCollection,
    Pixels,
    Projection,
    Table,
    bad_request,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from geo_assets_tests.emulators.earth_engine.service_errors import ServiceError

UPDATED = "2026-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class ImageFile:
    """One image of a collection: a raster on the disk, its no-data masked."""

    index: str
    path: Path
    time_start: dt.datetime
    bands: tuple[str, ...] | None = None
    """Names in file order; None: the file's own descriptions."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass
class Assets:
    """The catalog of a service; ids are Earth Engine's."""

    collections: dict[str, list[Image]] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    updated: dict[str, str] = field(default_factory=dict)

    def add_collection(self, asset_id: str, images: Sequence[ImageFile]) -> None:
        """Offer rasters as an image collection, in order of time."""
        ordered = sorted(images, key=lambda image: (image.time_start, image.index))
        self.collections[asset_id] = [_of_file(asset_id, image) for image in ordered]

    def add_stac(
        self, asset_id: str, catalog: Path, properties: Mapping[str, Any] | None = None
    ) -> None:
        """Offer the items of a static STAC catalog, each with one asset that is a raster."""
        images = []
        folder = catalog.parent if catalog.is_file() else catalog
        for path in sorted(folder.rglob("*.json")):
            item = json.loads(path.read_text(encoding="utf-8"))
            if item.get("type") != "Feature":
                continue
            [asset] = [a for a in item["assets"].values() if "tiff" in a.get("type", "")]
            named = asset.get("bands") or asset.get("eo:bands")
            images.append(
                ImageFile(
                    index=item["id"],
                    path=path.parent / asset["href"],
                    time_start=dt.datetime.fromisoformat(item["properties"]["datetime"]),
                    bands=tuple(band["name"] for band in named) if named else None,
                    properties=dict(properties or {}),
                )
            )
        self.add_collection(asset_id, images)

    def add_table(self, asset_id: str, table: Path | geopandas.GeoDataFrame) -> None:
        """Offer polygons as a table, in longitude and latitude as the service keeps them."""
        frame = geopandas.read_file(table) if isinstance(table, Path) else table
        frame = frame.to_crs("EPSG:4326")
        names = [name for name in frame.columns if name != frame.geometry.name]
        self.tables[asset_id] = Table(
            tuple(
                Feature(
                    geometry, {"system:index": str(number)} | {n: _plain(row[n]) for n in names}
                )
                for number, (geometry, row) in enumerate(
                    zip(frame.geometry, frame.to_dict("records"), strict=True)
                )
            )
        )
        self.updated[asset_id] = UPDATED

    def add_image_function(
        self,
        asset_id: str,
        index: str,
        *,
        grid: GeoBox,
        bands: Sequence[str],
        dtype: str,
        value: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
        time_start: dt.datetime,
        properties: Mapping[str, Any] | None = None,
    ) -> None:
        """Offer an image whose pixels are a function of (row, column, band) of its lattice."""
        projection = Projection(str(grid.crs), grid.affine)

        def native(window: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
            place = projection.window(window)
            assert place is not None
            row, col = np.mgrid[: window.shape.y, : window.shape.x]
            row, col = row + place[0], col + place[1]
            inside = (row >= 0) & (col >= 0) & (row < grid.shape.y) & (col < grid.shape.x)
            return [(value(row, col, band).astype(dtype), inside) for band in wanted]

        image = _image(asset_id, index, projection, grid.shape.yx, bands, [dtype] * len(bands))
        self.collections.setdefault(asset_id, []).append(
            _finished(image, native, projection, time_start, properties or {}, 1)
        )

    def collection(self, asset_id: str) -> ImageCollection:
        """Return a collection.

        Raises:
            ServiceError: If there is none.
        """
        if asset_id not in self.collections:
            raise _missing("ImageCollection.load: ImageCollection", asset_id)
        return ImageCollection(tuple(self.collections[asset_id]))

    def image(self, asset_id: str) -> Image:
        """Return one image of a collection by its id."""
        folder, _, index = asset_id.rpartition("/")
        for image in self.collections.get(folder, []):
            if image.properties["system:index"] == index:
                return image
        raise _missing("Image.load: Image", asset_id)

    def table(self, asset_id: str) -> Table:
        """Return a table."""
        if asset_id not in self.tables:
            raise _missing("Collection.loadTable: Collection", asset_id)
        return self.tables[asset_id]

    def describe(self, asset_id: str) -> dict[str, Any]:
        """Return what the service says of an asset by its id."""
        if asset_id in self.tables:
            kind = "TABLE"
        elif asset_id in self.collections:
            kind = "IMAGE_COLLECTION"
        else:
            self.image(asset_id)
            kind = "IMAGE"
        return {
            "type": kind,
            "name": asset_id,
            "id": asset_id,
            "updateTime": self.updated.get(asset_id, UPDATED),
        }


def _missing(what: str, asset_id: str) -> ServiceError:
    return bad_request(
        f"{what} asset '{asset_id}' not found (does not exist or caller does not have access)."
    )


_OPENED = threading.local()


def _opened(path: Path) -> rasterio.DatasetReader:
    """A raster that stays open in this thread: GDAL's handles belong to one."""
    files = _OPENED.__dict__.setdefault("files", {})
    if path not in files:
        files[path] = rasterio.open(path)
    return files[path]


def _of_file(asset_id: str, image: ImageFile) -> Image:
    with rasterio.open(image.path) as file:
        projection = Projection(str(file.crs), file.transform)
        shape_ = file.shape
        names = image.bands or tuple(
            name or f"b{number}" for number, name in enumerate(file.descriptions, start=1)
        )
        dtypes = list(file.dtypes)

    def native(window: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        place = projection.window(window)
        assert place is not None
        return _read(image.path, shape_, place, window.shape.yx, wanted)

    made = _image(asset_id, image.index, projection, shape_, names, dtypes)
    return _finished(made, native, projection, image.time_start, image.properties, image.version)


def _read(
    path: Path,
    whole: tuple[int, int],
    place: tuple[int, int],
    size: tuple[int, int],
    wanted: Sequence[int],
) -> list[Pixels]:
    """Read a window that may reach beyond the raster, where nothing is valid."""
    (row, col), (height, width) = place, size
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + height, whole[0]), min(col + width, whole[1])
    file = _opened(path)
    parts = []
    here = (slice(top - row, bottom - row), slice(left - col, right - col))
    inside = top < bottom and left < right
    window = Window(left, top, right - left, bottom - top) if inside else None
    data = file.read([band + 1 for band in wanted], window=window) if inside else None
    separate = MaskFlags.per_dataset in file.mask_flag_enums[0]
    apart = file.dataset_mask(window=window) if inside and separate else None
    for number, band in enumerate(wanted):
        values = np.zeros(size, file.dtypes[band])
        mask = np.zeros(size, bool)
        if data is not None:
            values[here] = data[number]
            missing = file.nodatavals[band]
            there = np.ones(data[number].shape, bool) if apart is None else apart > 0
            if apart is None and missing is not None:
                there = ~np.isnan(data[number]) if np.isnan(missing) else data[number] != missing
            mask[here] = there
        parts.append((values, mask))
    return parts


def _image(  # noqa: PLR0917  # one for each fact of an image
    asset_id: str,
    index: str,
    projection: Projection,
    size: tuple[int, int],
    names: Sequence[str],
    dtypes: Sequence[str],
) -> Image:
    bands = tuple(
        Band(name, dtype, projection, (int(size[0]), int(size[1])))
        for name, dtype in zip(names, dtypes, strict=True)
    )

    def nothing(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        raise NotImplementedError

    return Image(bands, nothing, {"system:index": index}, id=f"{asset_id}/{index}")


def _finished(  # noqa: PLR0917  # as above
    image: Image,
    native: Callable[[GeoBox, Sequence[int]], list[Pixels]],
    projection: Projection,
    time_start: dt.datetime,
    properties: Mapping[str, Any],
    version: int,
) -> Image:
    size = image.bands[0].shape
    assert size is not None
    outline = GeoBox(size, projection.transform, projection.crs).footprint("EPSG:4326", npoints=32)
    when = time_start if time_start.tzinfo else time_start.replace(tzinfo=dt.UTC)

    def pull(grid: GeoBox, wanted: Sequence[int]) -> list[Pixels]:
        return sampled(native, grid, projection, wanted)

    def whole(window: GeoBox, _: Sequence[int]) -> list[Pixels]:
        row, col = projection.window(window) or (0, 0)
        rows, cols = row + np.arange(window.shape.y), col + np.arange(window.shape.x)
        inside = np.outer((rows >= 0) & (rows < size[0]), (cols >= 0) & (cols < size[1]))
        return [(inside, inside)]

    return Image(
        image.bands,
        pull,
        {
            **properties,
            "system:index": image.properties["system:index"],
            "system:time_start": int(when.timestamp() * 1000),
        },
        shape_of(outline.json),
        image.id,
        version,
        lambda grid: sampled(whole, grid, projection, [0])[0][1],
    )


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
