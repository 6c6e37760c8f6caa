"""Files and pictures that the loopback Earth Engine makes, and older scripts' whole expressions."""

from __future__ import annotations

import datetime as dt
import io
import zipfile

import ee
import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from PIL import Image as Picture
from rasterio.features import rasterize
from rasterio.io import MemoryFile

from geo_assets_tests.emulators.earth_engine import Assets
from geo_assets_tests.emulators.earth_engine.evaluation import EarthEngineError, evaluate, render
from geo_assets_tests.emulators.earth_engine_world import (
    CRS,
    GRID,
    SHAPE,
    asked,
    client,
    grid_of,
    scene,
    world,
)

__all__ = ["client", "world"]  # fixtures, which pytest finds by name

NAIP = "projects/p/assets/naip"
TABLE = "projects/p/assets/fields"


def tiff(content):
    with MemoryFile(content) as memory, memory.open() as file:
        return file.read(), file.transform, file.crs.to_epsg(), file.descriptions


def test_a_geotiff_has_the_grid_the_names_and_the_pixels(world):
    assets, arrays = world
    where = GRID @ Affine.translation(4, 2)
    data, transform, epsg, names = tiff(
        render(asked(scene(), assets), "GEO_TIFF", grid_of((9, 8), where))
    )
    np.testing.assert_array_equal(data, arrays[0, :, 2:11, 4:12])
    assert (transform, epsg, names) == (where, 32633, ("R", "N"))


def test_zipped_geotiffs_hold_all_bands_or_one_each(world):
    assets, arrays = world
    image = asked(scene(), assets)
    with zipfile.ZipFile(io.BytesIO(render(image, "ZIPPED_GEO_TIFF", grid_of()))) as archive:
        [name] = archive.namelist()
        np.testing.assert_array_equal(tiff(archive.read(name))[0], arrays[0])
    per_band = render(image, "ZIPPED_GEO_TIFF_PER_BAND", grid_of())
    with zipfile.ZipFile(io.BytesIO(per_band)) as archive:
        assert archive.namelist() == ["download.R.tif", "download.N.tif"]
        for number, name in enumerate(archive.namelist()):
            np.testing.assert_array_equal(tiff(archive.read(name))[0][0], arrays[0, number])


def test_bands_are_given_in_the_order_in_which_they_are_asked(world):
    assets, arrays = world
    got = np.load(io.BytesIO(render(asked(scene(), assets), "NPY", grid_of(), ["N", "R"])))
    assert got.dtype.names == ("N", "R")
    np.testing.assert_array_equal(got["N"], arrays[0, 1])


def test_without_a_grid_an_image_is_given_on_its_own_and_a_composite_is_refused(world):
    assets, arrays = world
    got = np.load(io.BytesIO(render(asked(scene(), assets), "NPY")))
    np.testing.assert_array_equal(got["R"], arrays[0, 0])
    with pytest.raises(EarthEngineError, match="no fixed footprint"):
        render(asked(ee.ImageCollection([scene()]).median(), assets), "NPY")


def drawn(assets, number=0):
    area = ee.Geometry.Rectangle([500_000, 4_999_760, 500_300, 5_000_000], CRS, False, True)
    return asked(
        scene(number).visualize(bands=["N", "R", "R"], min=[100, 0, 0], max=[900, 1000, 500])
        .reproject(CRS, list(GRID)[:6])
        .clipToBoundsAndScale(geometry=area, width=30, height=24),
        assets,
    )  # fmt: skip


def test_a_picture_is_stretched_linearly_and_transparent_where_masked(world):
    assets, arrays = world
    got = np.asarray(Picture.open(io.BytesIO(render(drawn(assets, 2), "PNG"))))
    low, high = np.array([100, 0, 0]), np.array([900, 1000, 500])
    raw = np.moveaxis(arrays[2][[1, 0, 0]].astype(float), 0, -1)
    oracle = np.clip((raw - low) / (high - low), 0, 1) * 255
    known = arrays[2, 0] > 0
    assert np.abs(got[..., :3] - oracle)[known].max() <= 0.5 + 1e-9
    np.testing.assert_array_equal(got[..., 3] > 0, known)
    whole = Picture.open(io.BytesIO(render(drawn(assets), "PNG")))
    assert whole.mode == "RGB"


def test_a_jpeg_resembles_the_png(world):
    assets, _ = world
    flat = asked(ee.Image.constant([200, 100, 50]).toUint8(), assets)
    picture = Picture.open(io.BytesIO(render(flat, "JPEG", grid_of((16, 16)))))
    assert picture.format == "JPEG"
    assert np.abs(np.asarray(picture).astype(int) - (200, 100, 50)).max() <= 3


def test_a_picture_of_two_bands_is_refused(world):
    assets, _ = world
    with pytest.raises(EarthEngineError, match="visualization"):
        render(asked(scene(), assets), "PNG", grid_of())


@pytest.fixture(scope="session")
def naip(real_data):
    assets = Assets()
    assets.add_stac(NAIP, real_data / "naip_north_dakota/catalog.json")
    return assets


def naip_stack(real_data, transform, shape):
    """Every summer's pixels on a grid, NaN where there is no datum; nearest by whole pixels."""
    layers = []
    for path in sorted((real_data / "naip_north_dakota/items").glob("*/*.tif")):
        with rasterio.open(path) as file:
            col, row = ~file.transform @ (
                transform.c + 0.5 * transform.a,
                transform.f + 0.5 * transform.e,
            )
            window = rasterio.windows.Window(int(col), int(row), shape[1], shape[0])
            layers.append(file.read(window=window).astype(float))
    stack = np.stack(layers)
    return np.where(stack == 0, np.nan, stack)


@pytest.mark.real_data
def test_the_older_scripts_whole_expression_gives_numpys_median_and_rasterios_labels(
    naip, real_data
):
    first = min((real_data / "naip_north_dakota/items").glob("*/*.tif"))
    with rasterio.open(first) as file:
        native = file.transform
    centre = native @ (300.3, 250.7)  # no vertex on the edge of a pixel
    blobs = [shapely.Point(centre[0] + 90 * n, centre[1] + 40 * n).buffer(57) for n in range(3)]
    table = geopandas.GeoDataFrame({"cashew": [1, 1, 1]}, geometry=blobs, crs="EPSG:26914")
    naip.add_table(TABLE, table)
    polygons = ee.FeatureCollection(TABLE)
    area = ee.Geometry.BBox(-99.3, 46.9, -99, 47.1)
    images = (
        ee.ImageCollection(NAIP)
        .filterDate("2009-01-01", "2021-01-01")
        .select(["Blue", "Green", "Red", "NIR"], ["B", "G", "R", "N"])
        .filterBounds(ee.Geometry.Point([-99.16, 47.01]))
    )
    images = images.map(lambda image: image.clip(area))
    labels = polygons.reduceToImage(["cashew"], ee.Reducer.max()).rename("label").unmask(0)
    composite = (
        images.median().reproject("EPSG:26914", list(native)[:6]).addBands(labels)
    )  # fmt: skip
    where = native @ Affine.translation(236, 186)
    answer = evaluate(ee.serializer.encode(composite, for_cloud_api=True), naip)
    got = np.load(io.BytesIO(render(answer, "NPY", grid_of((128, 128), where, "EPSG:26914"))))
    stack = naip_stack(real_data, where, (128, 128))
    assert len(stack) == 10
    oracle = np.nanmedian(stack, axis=0)
    for name, number in {"B": 2, "G": 1, "R": 0, "N": 3}.items():
        np.testing.assert_array_equal(got[name], np.nan_to_num(oracle[number]))
    burned = rasterize(blobs, out_shape=(128, 128), transform=where, all_touched=True)
    np.testing.assert_array_equal(got["label"], burned)
    assert burned.any()


@pytest.mark.real_data
def test_real_images_say_their_bands_and_origins(naip):
    found = asked(ee.ImageCollection(NAIP).toList(20), naip)
    # The summers' lattices differ by whole metres, less than a pixel.
    assert len({image.bands[0].projection.transform for image in found}) > 1
    assert all(image.named() == ["Red", "Green", "Blue", "NIR"] for image in found)
    assert [image.bands[0].dtype for image in found] == ["uint8"] * 10
    times = [image.properties["system:time_start"] for image in found]
    assert times == sorted(times)
    year = dt.datetime.fromtimestamp(times[0] / 1000, dt.UTC).year
    assert year == 2009


def test_a_lattice_function_gives_the_pixels_of_any_window():
    from odc.geo.geobox import GeoBox

    assets = Assets()
    assets.add_image_function(
        "projects/p/assets/made", "one", grid=GeoBox((50, 60), GRID, CRS), bands=("a", "b"),
        dtype="uint16", value=lambda row, col, band: row * 100 + col + band,
        time_start=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    image = asked(ee.Image("projects/p/assets/made/one"), assets)
    where = GRID @ Affine.translation(55, 45)
    got = np.load(io.BytesIO(render(image, "NPY", grid_of(SHAPE, where))))
    row, col = np.mgrid[45 : 45 + SHAPE[0], 55 : 55 + SHAPE[1]]
    inside = (row < 50) & (col < 60)
    np.testing.assert_array_equal(got["b"], np.where(inside, row * 100 + col + 1, 0))


def test_a_picture_that_was_cut_before_it_was_stretched_keeps_its_size(world):
    assets, _ = world
    area = ee.Geometry.Rectangle([500_000, 4_999_760, 500_300, 5_000_000], CRS, False, True)
    cut = scene().clipToBoundsAndScale(geometry=area, width=15, height=12)
    stretched = cut.visualize(bands=["R"], min=0, max=1000)
    assert Picture.open(io.BytesIO(render(asked(stretched, assets), "PNG"))).size == (15, 12)
