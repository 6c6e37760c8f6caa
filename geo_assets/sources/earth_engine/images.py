"""What the server says of an image, as a STAC item: the scenes of an Earth Engine collection.

Grids and dtypes lie in the item's one asset, band by band, as STAC 1.1 has it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely import make_valid
from shapely.geometry import mapping, shape

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.protocol import LeftOut, SceneSelection
from geo_assets.sources.scenes.processing import BASELINE, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import Item

ASSET = "image"
_ADDRESS = "https://earthengine.googleapis.com/v1"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PROPERTIES = {
    "CLOUDY_PIXEL_PERCENTAGE": "eo:cloud_cover",
    "CLOUD_COVER": "eo:cloud_cover",
    "PROCESSING_BASELINE": BASELINE,
}
"""Properties of images that STAC has a name for."""
_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def item_of(info: Mapping[str, Any], collection: str) -> Item:
    """Return the STAC item of an image, from what ``getInfo`` gives of it.

    Raises:
        SourceError: If it states no time or no bands.
    """
    properties = info.get("properties") or {}
    ee_id = str(info.get("id") or "")
    name = str(properties.get("system:index") or ee_id.rsplit("/", 1)[-1])
    start = properties.get("system:time_start")
    bands = info.get("bands") or []
    if not ee_id or not bands or start is None:
        raise SourceError(
            f"{collection}: image {name or 'without a name'} states no id, no bands or no "
            "system:time_start, and cannot be used as a scene"
        )
    footprint = _footprint(properties.get("system:footprint"), bands[0])
    known = {
        ours: properties[theirs] for theirs, ours in _PROPERTIES.items() if theirs in properties
    }
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "id": name,
        "collection": collection,
        "geometry": mapping(footprint),
        "bbox": list(footprint.bounds),
        "properties": {
            "datetime": _time(start),
            **known,
            "ee:id": ee_id,
            VERSION: str(info.get("version") or ""),
        },
        "links": [],
        "assets": {ASSET: {"href": _address(ee_id), "bands": [_band(band) for band in bands]}},
    }


def band_names(item: Item) -> list[str]:
    """Return the names of an image's bands, in its order."""
    return [str(band["name"]) for band in item["assets"][ASSET]["bands"]]


def has_band(item: Item, name: str) -> bool:
    """Whether an image has a band of exactly this name."""
    return name in band_names(item)


def with_bands(found: SceneSelection, bands: Sequence[str], collection: str) -> SceneSelection:
    """Leave out images without a band of exactly a wanted name.

    The names of one sensor are not those of another (band 8 of Landsat is not near infrared), and
    the service knows a band by its own name alone.

    Raises:
        SourceError: If that leaves none: the bands are the campaign's mistake.
    """
    items = []
    left_out = list(found.left_out)
    for item in found.items:
        missing = [band for band in bands if not has_band(item, band)]
        if missing:
            detail = f"no band {', '.join(missing)}; it has {', '.join(band_names(item))}"
            left_out.append(LeftOut(item["id"], "missing_band", detail))
        else:
            items.append(item)
    if found.items and not items:
        first = found.items[0]
        missing = [band for band in bands if not has_band(first, band)]
        raise SourceError(
            f"none of the {len(found.items)} images of {collection!r} has all of the bands "
            f"{', '.join(bands)}: {first['id']} has no {', '.join(missing)}; "
            f"it has {', '.join(band_names(first))}"
        )
    left_out.sort(key=lambda out: (out.scene_id, out.reason, out.detail))
    return SceneSelection(items, left_out)


def dtype_of_band(item: Item, name: str) -> str:
    """Return numpy's name of a band's dtype.

    Raises:
        ReadError: (``permanent``) If the image has no such band.
    """
    return str(_band_of(item, name)["data_type"])


def geobox_of_band(item: Item, name: str) -> GeoBox:
    """Return a band's pixel grid; of an image without edges one pixel of its lattice.

    Raises:
        ReadError: (``permanent``) If the image has no such band, or its CRS has no code.
    """
    band = _band_of(item, name)
    if not band["proj:code"]:
        raise ReadError(
            f"image {item['id']}: band {name} lies in a CRS without a code; state grid.crs and "
            "grid.resolution",
            kind="permanent",
            scene_id=str(item["id"]),
        )
    return GeoBox(tuple(band["proj:shape"]), Affine(*band["proj:transform"]), band["proj:code"])


def _band_of(item: Item, name: str) -> dict[str, Any]:
    bands: list[dict[str, Any]] = item["assets"][ASSET]["bands"]
    for band in bands:
        if band["name"] == name:
            return band
    raise ReadError(
        f"image {item['id']} has no band {name!r}; it has {', '.join(band_names(item))}",
        kind="permanent",
        scene_id=str(item["id"]),
    )


def _band(info: Mapping[str, Any]) -> dict[str, Any]:
    width, height = info.get("dimensions") or (1, 1)
    col, row = info.get("origin") or (0, 0)
    transform = Affine(*info.get("crs_transform", (1, 0, 0, 0, 1, 0))) @ Affine.translation(
        col, row
    )
    return {
        "name": str(info["id"]),
        "data_type": _dtype(info.get("data_type") or {}),
        "proj:code": _code(str(info.get("crs") or "")),
        "proj:transform": list(transform)[:6],
        "proj:shape": [int(height), int(width)],
    }


def _dtype(data_type: Mapping[str, Any]) -> str:
    """The smallest dtype that holds a band's values; what states none is floating point."""
    precision = data_type.get("precision")
    low, high = data_type.get("min"), data_type.get("max")
    if precision == "int" and low is not None and high is not None:
        for name in _INTEGERS:
            if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
                return name
        return "float64"
    return {"int": "int32", "float": "float32"}.get(str(precision), "float64")


def _code(crs: str) -> str:
    """``EPSG:…`` of what the server calls a CRS; empty if it has none."""
    try:
        authority = CRS.from_user_input(crs).to_authority()
    except CRSError:
        return ""
    return "" if authority is None else ":".join(authority)


def _footprint(stated: Mapping[str, Any] | None, band: Mapping[str, Any]) -> BaseGeometry:
    """Where an image has pixels, in longitude and latitude; without edges the whole world."""
    if stated and stated.get("coordinates"):
        polygon = dict(stated)
        if stated["type"] == "LinearRing":
            polygon = {"type": "Polygon", "coordinates": [stated["coordinates"]]}
        found = shape(polygon)
        if np.isfinite(found.bounds).all() and not found.is_empty:
            return found if found.is_valid else make_valid(found)
    grid = _band(band)
    if band.get("dimensions") and grid["proj:code"]:
        geobox = GeoBox(
            tuple(grid["proj:shape"]), Affine(*grid["proj:transform"]), grid["proj:code"]
        )
        return geobox.footprint("EPSG:4326").geom
    return shape(
        {
            "type": "Polygon",
            "coordinates": [[[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]],
        }
    )


def _time(milliseconds: float) -> str:
    when = _EPOCH + dt.timedelta(milliseconds=float(milliseconds))
    return when.isoformat().replace("+00:00", "Z")


def _address(ee_id: str) -> str:
    """Where the service itself keeps an image: what an item links to, whoever was asked."""
    return f"{_ADDRESS}/{asset_name(ee_id)}"


def asset_name(ee_id: str) -> str:
    """Return the name of an asset in the service's addresses, as the client makes it.

    Ids of the public catalog, of users' folders and of projects' folders differ.
    """
    if ee_id.startswith("projects/"):
        project, _, rest = ee_id.removeprefix("projects/").partition("/")
        if rest.startswith("assets/"):
            return ee_id
        return f"projects/earthengine-legacy/assets/projects/{project}/{rest}"
    if ee_id.startswith("users/"):
        return f"projects/earthengine-legacy/assets/{ee_id}"
    return f"projects/earthengine-public/assets/{ee_id}"
