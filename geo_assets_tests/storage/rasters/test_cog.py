"""Rasters are strict COGs whose pixels, masks, names and colours rasterio reads as given."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window
from rio_cogeo import cog_validate

from geo_assets.errors import StorageError
from geo_assets.storage.rasters.class_table import class_names_path
from geo_assets.storage.rasters.cog import (
    highest_values,
    open_raster,
    read_cog,
    read_geobox,
    read_thinned,
    read_window,
    write_cog,
)
from geo_assets_tests.storage.rasters.raster_testing import composite, grid, overviews_of

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.storage.rasters.class_table import ClassTable

CLASSES: ClassTable = {1: ("forest", "#006400"), 3: ("Äcker & Wiesen <nass>", "#FFD700")}


def labels(height: int, width: int) -> np.ndarray:
    return composite(height, width)[0][2:].astype(np.uint8)


@pytest.mark.parametrize(
    "shape", [(1, 1), (3, 700), (100, 101), (512, 512), (513, 513), (2048, 2048)]
)
def test_composites_and_labels_pass_the_strict_validation(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    data, valid = composite(*shape)
    write_cog(tmp_path / "a.tif", data, grid(*shape), valid=valid, band_names=["a", "b", "label"])
    write_cog(
        tmp_path / "b.tif",
        data[2:].astype(np.uint8),
        grid(*shape),
        nodata=0,
        class_table=CLASSES,
        overviews="mode",
    )
    for name in ("a.tif", "b.tif"):
        assert cog_validate(tmp_path / name, strict=True) == (True, [], [])


def test_rasterio_reads_pixels_mask_grid_names_and_tags(tmp_path: Path) -> None:
    data, valid = composite(120, 90)
    path = tmp_path / "a.tif"
    write_cog(
        path,
        data,
        grid(120, 90),
        valid=valid,
        band_names=["red", "nir", "label"],
        band_descriptions=["reflectance × 10000", "reflectance × 10000", "class"],
        tags={"TIFFTAG_COPYRIGHT": "contains modified Copernicus data", "licence": "CC-BY-4.0"},
    )
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(), data)
        np.testing.assert_array_equal(dataset.dataset_mask() > 0, valid)
        assert dataset.mask_flag_enums == ([MaskFlags.per_dataset],) * 3
        assert dataset.nodata is None
        assert dataset.crs.to_epsg() == 32737
        assert dataset.transform == grid(120, 90).transform
        assert dataset.descriptions == ("red", "nir", "label")
        assert dataset.tags()["TIFFTAG_COPYRIGHT"] == "contains modified Copernicus data"
        assert dataset.tags()["licence"] == "CC-BY-4.0"
        assert dataset.tags(3)["description"] == "class"
        assert dataset.profile["compress"] == "zstd"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "2"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tif"]


def test_the_mask_lies_inside_of_the_file(tmp_path: Path) -> None:
    data, valid = composite(600, 600)
    write_cog(tmp_path / "a.tif", data, grid(600, 600), valid=valid)
    moved = tmp_path / "elsewhere" / "b.tif"
    moved.parent.mkdir()
    (tmp_path / "a.tif").rename(moved)
    np.testing.assert_array_equal(read_cog(moved).valid, valid)


def test_overviews_average_bands_and_never_mix_classes(tmp_path: Path) -> None:
    data, valid = composite(1100, 1024)
    path = tmp_path / "a.tif"
    write_cog(path, data, grid(1100, 1024), valid=valid, band_names=["red", "nir", "label"])
    pixels, mask = overviews_of(path, 0)
    assert pixels.shape == (3, 550, 512)
    assert set(np.unique(pixels[2])) == {0, 1, 3}
    # Independent average of the valid pixels of each 2 × 2 block.
    blocks = data[0].reshape(550, 2, 512, 2).astype(np.float64)
    counts = valid.reshape(550, 2, 512, 2).sum(axis=(1, 3))
    sums = (blocks * valid.reshape(550, 2, 512, 2)).sum(axis=(1, 3))
    inside = mask & (counts > 0)
    np.testing.assert_allclose(pixels[0][inside], (sums[inside] / counts[inside]), atol=0.5001)
    np.testing.assert_array_equal(overviews_of(path, 1)[0].shape, (3, 275, 256))


def test_overviews_of_labels_are_by_mode(tmp_path: Path) -> None:
    data = np.full((1, 1024, 1024), 3, np.uint8)
    data[:, ::2, ::2] = 1  # one pixel of four
    write_cog(tmp_path / "a.tif", data, grid(1024, 1024), nodata=0, overviews="mode")
    assert np.unique(overviews_of(tmp_path / "a.tif", 0)[0]).tolist() == [3]


def test_label_rasters_carry_colours_and_names(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    write_cog(
        path, labels(700, 600), grid(700, 600), nodata=0, class_table=CLASSES, overviews="mode"
    )
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp == (ColorInterp.palette,)
        colours = dataset.colormap(1)
        assert colours[1] == (0, 100, 0, 255)
        assert colours[3] == (255, 215, 0, 255)
        assert colours[0] == (0, 0, 0, 0)
        assert dataset.nodata == 0
        assert dataset.tags(1)["CLASS_1"] == "forest"
        # GDAL hands on to a VRT what it read from the file and its side file, as QGIS reads it.
        rasterio.shutil.copy(dataset, tmp_path / "labels.vrt", driver="VRT")
    vrt = ET.parse(tmp_path / "labels.vrt")  # noqa: S314 -- written by the line above
    names = [category.text for category in vrt.findall(".//Category")]
    assert names == [None, "forest", None, "Äcker & Wiesen <nass>"]
    columns = [column.text for column in vrt.findall(".//GDALRasterAttributeTable/FieldDefn/Name")]
    assert columns == ["Value", "Class", "Red", "Green", "Blue"]
    rows = [[cell.text for cell in row] for row in vrt.findall(".//GDALRasterAttributeTable/Row")]
    assert rows == [
        ["1", "forest", "0", "100", "0"],
        ["3", "Äcker & Wiesen <nass>", "255", "215", "0"],
    ]


def test_a_raster_without_classes_loses_the_names_of_its_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    write_cog(path, labels(20, 20), grid(20, 20), nodata=0, class_table=CLASSES)
    assert class_names_path(path).is_file()
    write_cog(path, labels(20, 20), grid(20, 20), nodata=0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.tif"]


def test_equal_rasters_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        data, valid = composite(700, 700)
        write_cog(
            tmp_path / name / "a.tif",
            data,
            grid(700, 700),
            valid=valid,
            band_names=["a", "b", "label"],
            tags={"TIFFTAG_ARTIST": "x"},
        )
        write_cog(
            tmp_path / name / "l.tif",
            labels(700, 700),
            grid(700, 700),
            nodata=0,
            class_table=CLASSES,
            overviews="mode",
        )
    for file in ("a.tif", "l.tif", "l.tif.aux.xml"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bands=st.integers(1, 4),
    dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64"]),
    masked=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
# The last of four bands of uint8 is no transparency.
@example(shape=(1, 6), bands=4, dtype="uint8", masked=False, seed=0)
def test_whatever_is_written_is_read_back(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    bands: int,
    dtype: str,
    masked: bool,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    data = random.integers(0, 200, (bands, *shape)).astype(dtype)
    valid = random.random(shape) > 0.5 if masked else None
    path = tmp_path_factory.mktemp("cog") / "a.tif"
    write_cog(path, data, grid(*shape), valid=valid)
    raster = read_cog(path)
    np.testing.assert_array_equal(raster.data, data)
    assert raster.data.dtype == dtype
    np.testing.assert_array_equal(raster.valid, np.ones(shape, bool) if valid is None else valid)
    assert raster.geobox == grid(*shape) == read_geobox(path)
    assert raster.band_names == ("",) * bands


@settings(max_examples=25, deadline=None)
@given(
    row=st.integers(-70, 70),
    column=st.integers(-70, 70),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
)
def test_a_window_is_rasterios_boundless_window(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: int, height: int, width: int
) -> None:
    data, valid = composite(60, 50)
    path = tmp_path_factory.getbasetemp() / "window.tif"
    if not path.exists():
        write_cog(path, data, grid(60, 50), valid=valid)
    transform = grid(60, 50).transform @ Affine.translation(column, row)
    raster = read_window(path, GeoBox((height, width), transform, "EPSG:32737"))
    with rasterio.open(path) as dataset:
        window = Window(column, row, width, height)
        expected = dataset.read(window=window, boundless=True, fill_value=0)
        padded = np.pad(dataset.dataset_mask(), 200)
        mask = padded[row + 200 : row + 200 + height, column + 200 : column + 200 + width]
    np.testing.assert_array_equal(raster.data, expected)
    np.testing.assert_array_equal(raster.valid, mask > 0)


def test_many_windows_of_one_open_raster_tile_it(tmp_path: Path) -> None:
    data, valid = composite(60, 50)
    write_cog(tmp_path / "a.tif", data, grid(60, 50), valid=valid)
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.geobox == grid(60, 50)
        rows = [
            [raster.window(grid(60, 50)[y : y + 20, x : x + 25]) for x in (0, 25)]
            for y in (0, 20, 40)
        ]
    np.testing.assert_array_equal(np.block([[tile.data for tile in row] for row in rows]), data)
    np.testing.assert_array_equal(np.block([[tile.valid for tile in row] for row in rows]), valid)


def test_outside_of_a_label_raster_lies_its_no_data(tmp_path: Path) -> None:
    write_cog(tmp_path / "a.tif", np.ones((1, 4, 4), np.int16), grid(4, 4), nodata=-32768)
    raster = read_window(tmp_path / "a.tif", grid(4, 4).pad(1))
    assert raster.data[0, 0].tolist() == [-32768] * 6
    assert raster.valid.sum() == 16


@pytest.mark.parametrize(
    "window",
    [
        GeoBox((4, 4), Affine(10, 0, 500_005, 0, -10, 9_100_000), "EPSG:32737"),
        GeoBox((4, 4), Affine(20, 0, 500_000, 0, -20, 9_100_000), "EPSG:32737"),
        GeoBox((4, 4), Affine(10, 0, 500_000, 0, -10, 9_100_000), "EPSG:32736"),
    ],
    ids=["half a pixel off", "other pixel size", "other CRS"],
)
def test_a_window_off_the_lattice_is_refused(tmp_path: Path, window: GeoBox) -> None:
    write_cog(tmp_path / "a.tif", np.ones((1, 9, 9), np.uint8), grid(9, 9))
    with pytest.raises(StorageError, match="does not lie on the pixels"):
        read_window(tmp_path / "a.tif", window)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": np.ones((4, 4), np.uint8)}, "wanted .band, y, x."),
        ({"data": np.ones((1, 4, 5), np.uint8)}, "wanted .band, y, x."),
        ({"valid": np.ones((4, 4), np.uint8)}, "wanted bool"),
        ({"valid": np.ones((4, 4), bool), "nodata": 0}, "not both"),
        ({"band_names": ["a", "b"]}, "1 bands want as many texts"),
        ({"band_descriptions": []}, "1 bands want as many texts"),
        ({"class_table": {1: ("a", "green")}}, "'green'; allowed"),
        ({"class_table": {300: ("a", "#00ff00")}}, "class 300"),
        ({"class_table": CLASSES, "data": np.ones((1, 4, 4), np.uint16)}, "one band of uint8"),
        ({"geobox": GeoBox((4, 4), Affine(1, 0, 0, 0, -1, 0), None)}, "no CRS"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    given_arguments = {"data": np.ones((1, 4, 4), np.uint8), "geobox": grid(4, 4), **arguments}
    with pytest.raises(StorageError, match=message):
        write_cog(tmp_path / "a.tif", **given_arguments)
    assert list(tmp_path.iterdir()) == []


def test_absent_and_damaged_rasters_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(StorageError, match="materialize demo/composite_image first"):
        read_cog(path, asset="demo/composite_image")
    data, valid = composite(100, 100)
    write_cog(path, data, grid(100, 100), valid=valid)
    path.write_bytes(path.read_bytes()[:-30_000])
    for read in (read_cog, lambda raster: read_window(raster, grid(100, 100))):
        with pytest.raises(StorageError, match=r"a\.tif: cannot be read as GeoTIFF"):
            read(path)


def test_a_full_disk_leaves_no_raster_table_or_cube(tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
import geopandas, numpy as np, shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from geo_assets.errors import StorageError
from geo_assets.storage.rasters.cog import write_cog
from geo_assets_tests.storage.cubes.written_cube import write_cube
from geo_assets.storage.geoparquet import write_table
folder = Path(sys.argv[1])
grid = GeoBox((300, 300), Affine(10, 0, 5e5, 0, -10, 9e6), "EPSG:32737")
noise = np.random.default_rng(0).integers(-9000, 9000, (20, 300, 300), dtype=np.int16)
times = np.arange(20).astype("datetime64[D]")
points = geopandas.GeoDataFrame(
    {"x": noise[0].ravel()}, geometry=shapely.points(noise[0].ravel(), noise[1].ravel()), crs=32737
)
writes = [
    lambda: write_cog(folder / "a.tif", noise, grid),
    lambda: write_table(points, folder / "a.parquet"),
    lambda: write_cube(folder / "a.zarr", {"ndvi": noise}, times, grid),
]
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
# Cubes often: what other threads still write must not come to lie beside what was removed.
for write in writes + writes[2:] * 9:
    try:
        write()
    except StorageError as error:
        print(str(error).replace(str(folder), ""))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    told = done.stdout.splitlines()
    assert len(told) == 12
    for line, name in zip(told, ["a.tif", "a.parquet", *["a.zarr"] * 10], strict=True):
        assert re.match(rf"/\.?{name}\S*: cannot be written: .*File too large", line), line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real_data
def test_a_real_scene_keeps_its_odd_grid(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "slovenia_eopatch" / "lulc.tif"
    original = read_cog(source)
    write_cog(tmp_path / "a.tif", original.data, original.geobox, valid=original.valid)
    copy = read_cog(tmp_path / "a.tif")
    assert copy.geobox == original.geobox
    np.testing.assert_array_equal(copy.data, original.data)
    window = original.geobox[10:30, 40:70]
    np.testing.assert_array_equal(read_window(source, window).data, original.data[:, 10:30, 40:70])


def test_a_raster_for_a_picture_is_thinned_off_its_overviews(tmp_path: Path) -> None:
    """A picture of a whole scene must not cost the memory of the scene."""
    path = tmp_path / "c.tif"
    data, valid = composite(1100, 1537)
    write_cog(path, data, grid(1100, 1537), valid=valid)
    thin = read_thinned(path, 800)
    pixels, mask = overviews_of(path, 0)
    assert thin.data.shape == (3, 550, 769)
    np.testing.assert_array_equal(thin.data, pixels)
    np.testing.assert_array_equal(thin.valid, mask)
    assert thin.geobox.shape == (550, 769)
    assert thin.geobox.crs == grid(1, 1).crs

    whole = read_thinned(path, 1537)
    np.testing.assert_array_equal(whole.data, data)
    np.testing.assert_array_equal(whole.valid, valid)
    assert whole.geobox == grid(1100, 1537)


def test_the_highest_values_are_those_of_the_whole(tmp_path: Path) -> None:
    data, valid = composite(1100, 300)
    data[0, 1099, 7] = 60_000
    write_cog(tmp_path / "image.tif", data, grid(1100, 300), valid=valid)
    assert highest_values(tmp_path / "image.tif") == data.max(axis=(1, 2)).tolist()
