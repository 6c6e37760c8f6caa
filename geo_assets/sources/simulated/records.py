"""The archive's STAC records: catalog, collection and items as plain dictionaries.

STAC 1.0.0 with the eo, projection, raster, grid, view and sat extensions, hrefs relative: the form
that real archives of Sentinel-2 COGs have today. No files are written here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from odc.geo.geom import Geometry

from geo_assets.sources.simulated.scene import SCALE, SCL_RESOLUTION
from geo_assets.sources.simulated.spectra import BANDS
from geo_assets.sources.simulated.swaths import swath_polygon
from geo_assets.sources.simulated.weather import sun_elevation

if TYPE_CHECKING:
    from geo_assets.sources.simulated.acquisitions import Acquisition
    from geo_assets.sources.simulated.spec import ArchiveSpec
    from geo_assets.sources.simulated.tiles import Tile

STAC_VERSION = "1.0.0"
COLLECTION = "simulated-sentinel-2-l2a"
LICENCE = "CC0-1.0"
ATTRIBUTION = "Simulated by geo_assets"
SCL = "SCL"
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.0.0/schema.json",
    "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
]
_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_PLACES = 7
"""Decimal places of longitude and latitude: about a centimetre."""

Record = dict[str, Any]


def catalog_record() -> Record:
    """Return ``catalog.json``, the root of the archive."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "simulated-archive",
        "title": "A simulated Sentinel-2 archive",
        "description": "A seeded landscape seen for a year by a simulated Sentinel-2. Not real.",
        "links": [
            _link("root", "./catalog.json"),
            _link("child", "./collection.json"),
        ],
    }


def collection_record(spec: ArchiveSpec, items: list[Record]) -> Record:
    """Return ``collection.json`` with a link to every item."""
    boxes = [item["bbox"] for item in items]
    times = sorted(item["properties"]["datetime"] for item in items)
    bbox = [
        *(min(box[side] for box in boxes) for side in (0, 1)),
        *(max(box[side] for box in boxes) for side in (2, 3)),
    ]
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "id": COLLECTION,
        "title": f"Simulated Sentinel-2 Level-2A, {spec.year}",
        "description": (
            "Surface reflectance of a simulated landscape around 12° E, 49.45° N in the bands of "
            f"Sentinel-2 (seed {spec.seed}). Not real: made by a program, with true land cover "
            "beside it in the folder truth."
        ),
        "license": LICENCE,
        "keywords": ["simulated", "sentinel-2", "land cover"],
        "providers": [{"name": ATTRIBUTION, "roles": ["producer", "licensor", "processor"]}],
        "extent": {
            "spatial": {"bbox": [bbox]},
            "temporal": {"interval": [[times[0], times[-1]]]},
        },
        "links": [
            _link("root", "./catalog.json"),
            _link("parent", "./catalog.json"),
            *(_link("item", f"./items/{item['id']}/{item['id']}.json") for item in items),
        ],
    }


def item_record(
    acquisition: Acquisition, tile: Tile, shares: dict[int, float], no_data_share: float
) -> Record:
    """Return the record of one acquisition.

    Args:
        acquisition: What was acquired.
        tile: The tile it was acquired of.
        shares: Share of each SCL class among the pixels that were seen, in percent.
        no_data_share: Share of the tile that was not seen, in percent.
    """
    outline = shapely.orient_polygons(swath_polygon(tile, acquisition.swath))
    geometry = Geometry(outline, f"EPSG:{tile.epsg}").to_crs("EPSG:4326").geom
    bbox = [round(bound, _PLACES) for bound in geometry.bounds]
    ring = np.round(shapely.get_coordinates(geometry), _PLACES).tolist()
    properties = {
        "datetime": f"{acquisition.when:%Y-%m-%dT%H:%M:%S}Z",
        "platform": acquisition.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": round(shares[8] + shares[9] + shares[10], 2),
        "proj:code": f"EPSG:{tile.epsg}",
        "grid:code": f"MGRS-{tile.name}",
        "view:sun_elevation": round(sun_elevation(acquisition.date), 2),
        "sat:relative_orbit": acquisition.orbit,
        "s2:mgrs_tile": tile.name,
        "s2:processing_baseline": acquisition.baseline,
        "s2:product_type": "S2MSI2A",
        "s2:nodata_pixel_percentage": round(no_data_share, 2),
        "s2:cloud_shadow_percentage": round(shares[3], 2),
        "s2:snow_ice_percentage": round(shares[11], 2),
    }
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": acquisition.item_id,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": bbox,
        "properties": properties,
        "links": [
            _link("root", "../../catalog.json"),
            _link("parent", "../../collection.json"),
            _link("collection", "../../collection.json"),
        ],
        "assets": _assets(acquisition, tile),
    }


def _assets(acquisition: Acquisition, tile: Tile) -> Record:
    assets: Record = {}
    for band in BANDS:
        if band.name in acquisition.absent_bands:
            continue
        assets[band.name] = {
            **_asset(band.name, tile, band.resolution),
            "roles": ["data", "reflectance"],
            "eo:bands": [
                {
                    "name": band.name,
                    "common_name": band.common_name,
                    "center_wavelength": band.centre_um,
                    "full_width_half_max": band.width_um,
                }
            ],
            "raster:bands": [
                {
                    "nodata": 0,
                    "data_type": "uint16",
                    "spatial_resolution": band.resolution,
                    "scale": 1 / SCALE,
                    "offset": -acquisition.offset / SCALE if acquisition.offset else 0,
                }
            ],
        }
    assets[SCL] = {
        **_asset(SCL, tile, SCL_RESOLUTION),
        "title": "Scene classification",
        "roles": ["data", "classification"],
        "raster:bands": [{"nodata": 0, "data_type": "uint8", "spatial_resolution": SCL_RESOLUTION}],
    }
    return assets


def _asset(name: str, tile: Tile, resolution: int) -> Record:
    lattice = tile.lattice(resolution)
    return {
        "href": f"./{name}.tif",
        "type": _COG,
        "title": name,
        "gsd": resolution,
        "proj:shape": list(lattice.shape),
        "proj:transform": list(lattice.affine)[:6],
    }


def _link(rel: str, href: str) -> Record:
    kind = "application/geo+json" if rel == "item" else "application/json"
    return {"rel": rel, "href": href, "type": kind}
