"""The unmodified official client against the loopback server, end to end."""

from __future__ import annotations

import datetime as dt
import io
import zipfile

import ee
import ee.deprecation
import geopandas
import numpy as np
import pytest
import rasterio
import requests
from google.auth.credentials import AnonymousCredentials
from odc.geo.geobox import GeoBox
from PIL import Image
from shapely.geometry import box

from geo_assets_tests.emulators.earth_engine.assets import Assets
from geo_assets_tests.emulators.earth_engine.canned import StaticPixels
from geo_assets_tests.emulators.earth_engine.faults import FaultKind, FaultPlan
from geo_assets_tests.emulators.earth_engine.server import EarthEngineEmulator

COLLECTION = "projects/test-project/assets/imagery"
TABLE = "projects/test-project/assets/fields"
LATTICE = GeoBox((64, 64), rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000), "EPSG:32614")


def value(row, col, band):
    return 1_000 * (band + 1) + 64 * row + col


def offered():
    assets = Assets()
    for number in range(3):
        assets.add_image_function(
            COLLECTION,
            f"image-{number}",
            grid=LATTICE,
            bands=("B2", "B3"),
            dtype="uint16",
            value=value,
            time_start=dt.datetime(2024, 5, 1 + number, tzinfo=dt.UTC),
        )
    frame = geopandas.GeoDataFrame(
        {"class": range(5)}, geometry=[box(x, 36, x + 0.1, 36.1) for x in range(-99, -94)], crs=4326
    )
    assets.add_table(TABLE, frame)
    return assets


@pytest.fixture
def emulator(monkeypatch):
    with EarthEngineEmulator(offered()) as emulator:
        address = f"{emulator.url}/catalog_deprecated.json"
        # Initialize would fetch this list from the network.
        monkeypatch.setattr(ee.deprecation, "_DEPRECATED_ASSETS_URL", address)
        ee.Reset()
        ee.data.setMaxRetries(0)
        ee.Initialize(credentials=None, project=emulator.project, url=emulator.url)
        yield emulator
        ee.Reset()


def image():
    return ee.ImageCollection(COLLECTION).first()


def request_grid(row, col, side):
    return {
        "dimensions": {"width": side, "height": side},
        "affineTransform": {
            "scaleX": 10,
            "shearX": 0,
            "translateX": 500_000 + 10 * col,
            "shearY": 0,
            "scaleY": -10,
            "translateY": 4_000_000 - 10 * row,
        },
        "crsCode": "EPSG:32614",
    }


def expected(row, col, side, band):
    rows, cols = np.mgrid[row : row + side, col : col + side]
    return value(rows, cols, band)


def test_it_initialises_with_anonymous_credentials_too(emulator):
    ee.Reset()
    ee.Initialize(credentials=AnonymousCredentials(), project=emulator.project, url=emulator.url)
    assert ee.ImageCollection(COLLECTION).size().getInfo() == 3


def test_an_image_is_described(emulator):
    info = image().getInfo()
    assert info["id"] == f"{COLLECTION}/image-0"
    assert [band["id"] for band in info["bands"]] == ["B2", "B3"]
    assert info["bands"][0]["crs_transform"] == [10, 0, 500_000, 0, -10, 4_000_000]
    assert emulator.ledger.entries == []


def test_computed_pixels_are_the_lattice_s_own(emulator):
    request = {"fileFormat": "NUMPY_NDARRAY", "bandIds": ["B3"], "grid": request_grid(8, 16, 24)}
    got = ee.data.computePixels({"expression": image(), **request})
    np.testing.assert_array_equal(got["B3"], expected(8, 16, 24, 1))
    [entry] = emulator.ledger.entries
    assert entry.key == "-399992_50016_24x24"
    assert (entry.status, entry.in_flight) == (200, 1)


def test_pixels_of_an_asset_come_without_an_expression(emulator):
    request = {"fileFormat": "NPY", "grid": request_grid(0, 0, 8)}
    got = ee.data.getPixels({"assetId": f"{COLLECTION}/image-1", **request})
    np.testing.assert_array_equal(np.load(io.BytesIO(got))["B2"], expected(0, 0, 8, 0))
    assert len(emulator.ledger.entries) == 1


def region():
    corners = [500_080, 4_000_000 - 400, 500_400, 4_000_000 - 80]
    return ee.Geometry.Rectangle(corners, "EPSG:32614", False)


@pytest.mark.parametrize("file_format", ["GEO_TIFF", "NPY", "ZIPPED_GEO_TIFF"])
def test_a_download_url_gives_the_pixels_of_its_region(emulator, file_format):
    url = image().getDownloadURL(
        {"region": region(), "dimensions": "32x32", "crs": "EPSG:32614", "format": file_format}
    )
    assert url.startswith(emulator.url)
    body = requests.get(url, timeout=20).content
    if file_format == "ZIPPED_GEO_TIFF":
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            body = archive.read(archive.namelist()[0])
    if file_format == "NPY":
        got = np.load(io.BytesIO(body))["B2"]
    else:
        with rasterio.MemoryFile(body) as memory, memory.open() as file:
            got = file.read(1)
    np.testing.assert_array_equal(got, expected(8, 8, 32, 0))


@pytest.mark.parametrize(("file_format", "kind"), [("png", "PNG"), ("jpg", "JPEG")])
def test_a_thumbnail_is_a_picture_of_its_size(emulator, file_format, kind):
    url = image().getThumbURL(
        {
            "region": region(),
            "dimensions": "32x32",
            "format": file_format,
            "bands": ["B2", "B3", "B2"],
            "min": 0,
            "max": 8_000,
        }
    )
    reply = requests.get(url, timeout=20)
    assert reply.status_code == 200, reply.text
    with Image.open(io.BytesIO(reply.content)) as picture:
        assert (picture.format, picture.size) == (kind, (32, 32))
    assert [entry.method for entry in emulator.ledger.entries] == ["GET"]


def test_a_canned_payload_answers_download_urls_and_computed_pixels_alike(emulator):
    emulator.service.canned = StaticPixels(8, 8, ("B2", "valid"))
    asked = {"region": region(), "dimensions": "8x8", "crs": "EPSG:32614", "format": "NPY"}
    body = requests.get(image().getDownloadURL(asked), timeout=20).content
    request = {"expression": image(), "fileFormat": "NPY", "grid": request_grid(0, 0, 8)}
    assert body == ee.data.computePixels(request) == emulator.service.canned.payload


def test_features_come_page_by_page(emulator):
    features, token = [], None
    while token != "":
        request = {"expression": ee.FeatureCollection(TABLE), "pageSize": 2}
        page = ee.data.computeFeatures(request | ({"pageToken": token} if token else {}))
        features += page["features"]
        token = page.get("nextPageToken", "")
    assert [feature["properties"]["class"] for feature in features] == list(range(5))
    assert emulator.ledger.calls["features"] == 3


def test_assets_are_described_and_listed(emulator):
    assert ee.data.getAsset(TABLE)["type"] == "TABLE"
    assert ee.data.getAsset(COLLECTION)["updateTime"]
    first = ee.data.listAssets({"parent": COLLECTION, "pageSize": 2})
    rest = ee.data.listAssets({"parent": COLLECTION, "pageToken": first["nextPageToken"]})
    assert [asset["id"] for asset in first["assets"] + rest["assets"]] == [
        f"{COLLECTION}/image-{number}" for number in range(3)
    ]
    with pytest.raises(ee.EEException, match="not found"):
        ee.data.getAsset("projects/test-project/assets/none")
    assert emulator.ledger.entries == []


@pytest.mark.parametrize("kind", [FaultKind.PERMISSION, FaultKind.TIMED_OUT, FaultKind.INTERNAL])
def test_the_client_raises_the_service_s_own_words(emulator, kind):
    emulator.faults = FaultPlan(share=1, kinds=(kind,), tries="all", scope="all")
    with pytest.raises(ee.EEException) as raised:
        ee.ImageCollection(COLLECTION).size().getInfo()
    assert str(raised.value) == emulator.faults.error(kind).message


def test_an_expression_is_evaluated_anew_once_an_asset_has_changed(emulator):
    request = {"fileFormat": "NUMPY_NDARRAY", "bandIds": ["B2"], "grid": request_grid(0, 0, 8)}
    before = ee.data.computePixels({"expression": image(), **request})["B2"]
    emulator.service.assets.collections.clear()
    emulator.service.assets.add_image_function(
        COLLECTION,
        "image-0",
        grid=LATTICE,
        bands=("B2",),
        dtype="uint16",
        value=lambda row, col, band: value(row, col, band) + 1,
        time_start=dt.datetime(2024, 5, 1, tzinfo=dt.UTC),
    )
    after = ee.data.computePixels({"expression": image(), **request})["B2"]
    np.testing.assert_array_equal(after, before + 1)
