from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.warp import transform
from rasterio.windows import Window

from geo_assets.errors import ReadError
from geo_assets.sources.scenes.resampling import _warp, on_grid
from geo_assets.sources.scenes.window import NativeWindow, NoData, read_native
from geo_assets_tests.sources.scene_testing import GRID, noise, write_raster

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

OTHER_ZONE = "EPSG:32632"


@pytest.fixture(scope="module")
def raster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raster") / "noise.tif"
    data = noise(GRID, 1)
    data[0, 20:30, 40:60] = 0
    write_raster(path, data, GRID, nodata=0)
    return path


def read(
    path: Path, grid: GeoBox, resampling: str = "nearest", nodata: float | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    with rasterio.open(path) as file:
        indexes = list(range(1, file.count + 1))
        nearest = resampling == "nearest"
        window = read_native(file, indexes, [NoData(nodata)] * file.count, grid, nearest=nearest)
        return on_grid(window, grid, resampling)


def in_other_zone(rows: int, cols: int, pixel: float = 10) -> GeoBox:
    """A grid of another UTM zone that reaches beyond the raster on all sides."""
    box = GRID.to_crs(OTHER_ZONE).boundingbox
    left, top = round(box.left, -1) - 10 * pixel, round(box.top, -1) + 10 * pixel
    return GeoBox((rows, cols), Affine(pixel, 0, left, 0, -pixel, top), OTHER_ZONE)


@settings(max_examples=40, deadline=None)
@given(
    row=st.integers(-30, 140),
    col=st.integers(-30, 150),
    rows=st.integers(1, 60),
    cols=st.integers(1, 60),
)
def test_on_its_own_lattice_pixels_are_those_of_rasterios_window(
    raster: Path, row: int, col: int, rows: int, cols: int
) -> None:
    grid = GeoBox((rows, cols), GRID.affine @ Affine.translation(col, row), GRID.crs)
    data, valid = read(raster, grid)
    with rasterio.open(raster) as file:
        window = Window(col, row, cols, rows)
        expected = file.read(1, window=window, boundless=True, fill_value=0)
    assert np.array_equal(data[0], expected)
    assert np.array_equal(valid, expected != 0)


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize("pixel", [10, 30])
def test_a_window_has_the_pixels_that_the_whole_has(
    raster: Path, resampling: str, pixel: float
) -> None:
    whole = in_other_zone(1600 // pixel, 1700 // pixel, pixel)
    data, valid = read(raster, whole, resampling)
    assert 0.3 < valid.mean() < 0.99
    for rows, cols in [(slice(9, 30), slice(3, 40)), (slice(0, 50), slice(20, 47))]:
        part, known = read(raster, whole[rows, cols], resampling)
        assert np.array_equal(part, data[:, rows, cols])
        assert np.array_equal(known, valid[rows, cols])


def test_nearest_pixels_of_another_zone_are_those_that_pyproj_points_at(raster: Path) -> None:
    grid = in_other_zone(140, 150)
    data, valid = read(raster, grid)
    cols, rows = np.meshgrid(np.arange(150) + 0.5, np.arange(140) + 0.5)
    x, y = grid.affine @ (cols.ravel(), rows.ravel())
    there = transform(OTHER_ZONE, str(GRID.crs), x, y)
    col, row = ~GRID.affine @ np.array(there)
    col, row = np.floor(col).astype(int), np.floor(row).astype(int)
    inside = (row >= 0) & (row < GRID.shape.y) & (col >= 0) & (col < GRID.shape.x)
    expected = np.zeros(len(x), np.uint16)
    with rasterio.open(raster) as file:
        expected[inside] = file.read(1)[row[inside], col[inside]]
    assert np.array_equal(data[0], expected.reshape(data[0].shape))
    assert np.array_equal(valid, expected.reshape(data[0].shape) != 0)


@pytest.mark.parametrize("shift", [0.2, 0.49, 0.51, 0.8])
def test_nearest_pixels_off_the_lattice_are_the_nearest(raster: Path, shift: float) -> None:
    grid = GeoBox((40, 40), GRID.affine @ Affine.translation(50 + shift, 50 + shift), GRID.crs)
    data, _ = read(raster, grid)
    first = 50 + int(shift + 0.5)
    with rasterio.open(raster) as file:
        assert np.array_equal(data[0], file.read(1, window=Window(first, first, 40, 40)))


def test_coarse_pixels_on_a_fine_lattice_are_repeated(tmp_path: Path) -> None:
    coarse = GeoBox((20, 20), GRID.affine @ Affine.scale(6), GRID.crs)
    data = write_raster(tmp_path / "coarse.tif", noise(coarse, 2), coarse, nodata=0)
    fine, valid = read(tmp_path / "coarse.tif", GRID[:120, :120])
    assert np.array_equal(fine[0], np.kron(data[0], np.ones((6, 6), np.uint16)))
    assert valid.all()


def test_averages_are_those_of_the_valid_pixels(tmp_path: Path) -> None:
    data = noise(GRID, 3, "float32")[:, :120, :120]
    data[0, ::7, ::3] = -9
    write_raster(tmp_path / "fine.tif", data, GRID[:120, :120], nodata=-9)
    coarse = GeoBox((12, 12), GRID.affine @ Affine.scale(10), GRID.crs)
    mean, valid = read(tmp_path / "fine.tif", coarse, "average")
    blocks = np.where(data[0] == -9, np.nan, data[0].astype(float)).reshape(12, 10, 12, 10)
    np.testing.assert_allclose(mean[0], np.nanmean(blocks, axis=(1, 3)), rtol=1e-5)
    assert valid.all()


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_no_data_takes_no_part_in_resampling(tmp_path: Path, resampling: str) -> None:
    data = np.full((1, *GRID.shape), 1000, np.uint16)
    data[0, 40:60, 40:60] = 65535
    write_raster(tmp_path / "flat.tif", data, GRID)
    grid = in_other_zone(140, 150)
    pixels, valid = read(tmp_path / "flat.tif", grid, resampling, nodata=65535)
    assert set(np.unique(pixels[0][valid])) == {1000}
    assert not valid.all()


def test_a_mask_inside_the_file_is_no_data(tmp_path: Path) -> None:
    data = write_raster(tmp_path / "masked.tif", noise(GRID, 4, low=0), GRID)
    mask = np.random.default_rng(5).random(GRID.shape) > 0.3
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(tmp_path / "masked.tif", "r+") as file,
    ):
        file.write_mask(mask)
    pixels, valid = read(tmp_path / "masked.tif", GRID)
    assert np.array_equal(valid, mask)
    assert np.array_equal(pixels[:, mask], data[:, mask])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_no_data_in_floating_data(tmp_path: Path, value: float) -> None:
    data = noise(GRID, 6, "float32")
    data[0, 43, 54] = value
    write_raster(tmp_path / "float.tif", data, GRID)
    _, valid = read(tmp_path / "float.tif", GRID)
    assert np.argwhere(~valid).tolist() == [[43, 54]]
    for resampling in ("average", "cubic"):
        pixels, valid = read(tmp_path / "float.tif", in_other_zone(140, 150), resampling)
        assert valid.any()
        assert np.isfinite(pixels[0, valid]).all()


def test_zero_is_a_datum_where_nothing_says_otherwise(tmp_path: Path) -> None:
    write_raster(tmp_path / "bytes.tif", noise(GRID, 7, "uint8", low=0, high=3), GRID)
    grid = GeoBox((130, 140), GRID.affine @ Affine.translation(-5, -5), GRID.crs)
    _, valid = read(tmp_path / "bytes.tif", grid)
    inside = np.zeros(grid.shape, bool)
    inside[5:125, 5:135] = True
    assert np.array_equal(valid, inside)
    warped = in_other_zone(140, 150)
    _, valid = read(tmp_path / "bytes.tif", warped)
    from odc.geo.xr import rasterize

    outline = GRID.extent.segmented(10).to_crs(OTHER_ZONE)
    assert (valid != (rasterize(outline, warped).values > 0)).mean() < 0.005


@pytest.mark.parametrize(
    "grid", [GRID.translate_pix(500, 0), GeoBox.from_bbox((0, 0, 1, 1), shape=9)]
)
def test_a_grid_beside_the_raster_gets_no_valid_pixel(raster: Path, grid: GeoBox) -> None:
    data, valid = read(raster, grid)
    assert data.shape == (1, *grid.shape)
    assert not valid.any()
    assert not data.any()


def test_a_raster_without_a_crs_is_refused(tmp_path: Path) -> None:
    bare = GeoBox(GRID.shape, GRID.affine, None)
    write_raster(tmp_path / "bare.tif", noise(GRID, 8), bare)
    with pytest.raises(ReadError, match="no CRS") as raised:
        read(tmp_path / "bare.tif", GRID)
    assert raised.value.kind == "permanent"


def test_a_band_beyond_the_file_is_refused(raster: Path) -> None:
    with (
        rasterio.open(raster) as file,
        pytest.raises(ReadError, match="band 3 is wanted and the file has 1"),
    ):
        read_native(file, [3], [NoData()], GRID)


@settings(max_examples=40, deadline=None)
@given(
    times=st.integers(2, 6),
    row=st.integers(-40, 140),
    col=st.integers(-40, 140),
    shift=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
)
def test_pixels_that_lie_whole_within_those_of_the_file_are_what_gdal_finds(
    times: int, row: int, col: int, shift: tuple[int, int], shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(1)
    fine = GeoBox((200, 200), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")
    coarse = GeoBox(
        (30, 25),
        fine.affine @ Affine.translation(*shift) @ Affine.scale(times),
        fine.crs,
    )
    wanted = fine[0:1, 0:1].translate_pix(col, row).expand(shape)
    data = rng.integers(1, 200, (1, 30, 25)).astype(np.uint8)
    valid = rng.random((1, 30, 25)) < 0.8
    window = NativeWindow(data, valid, coarse, coarse, (None,))
    pixels, known = on_grid(window, wanted, "nearest")
    warped = _warp(window, valid[0], wanted, "nearest")
    np.testing.assert_array_equal(known, warped[1] > 0)
    np.testing.assert_array_equal(pixels[0, known], warped[0, known])


def test_no_pixel_beside_the_grid_is_read_where_pixels_are_but_repeated(raster: Path) -> None:
    fine = GRID.zoom_to(resolution=GRID.resolution.x / 2)[20:41, 31:50]
    with rasterio.open(raster) as file:
        assert read_native(file, [1], [NoData()], fine, nearest=True).data.shape == (1, 11, 10)
        assert read_native(file, [1], [NoData()], fine).data.shape > (1, 11, 10)
