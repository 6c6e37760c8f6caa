from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.windows import Window
from shapely.geometry import shape

from geo_assets.core.areas import ClusterBox
from geo_assets.errors import GeoAssetsError, ReadError, SourceError
from geo_assets.products.observations import items_meeting
from geo_assets.sources.local_raster import LocalRasterSource, RasterRules
from geo_assets.sources.scenes.order import solar_day
from geo_assets_tests.sources.scene_testing import GRID, noise, query, write_raster

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.date(2021, 5, 27)
BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")


def source(file: Path, **rules: Any) -> LocalRasterSource:
    return LocalRasterSource(RasterRules(file, rules.pop("date", DAY), **rules))


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    stack = np.concatenate([noise(GRID, seed, low=0, high=9) for seed in range(2)])
    write_raster(tmp_path / "town.tif", stack, GRID)
    return tmp_path / "town.tif"


@pytest.mark.real_data
def test_windows_of_aberystwyth_are_those_of_rasterio(real_data: Path) -> None:
    file = real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif"
    aberystwyth = source(file)
    item = aberystwyth.item
    assert item["id"] == "s2_aber_20210527_10band"
    native = aberystwyth.native_geobox(item, "B04")
    assert native.crs == "EPSG:27700"
    everything = aberystwyth.read(item, BANDS, native)
    with rasterio.open(file) as dataset:
        assert np.array_equal(everything.data, dataset.read())
        assert np.array_equal(everything.valid, (dataset.read() != 0).all(axis=0))
        for row, col, size in [(0, 0, 256), (700, 800, 256), (-20, -30, 64)]:
            window = GeoBox(
                (size, size), native.affine @ native.affine.translation(col, row), native.crs
            )
            read = aberystwyth.read(item, ["red", "B8A"], window)
            expected = dataset.read(
                [3, 8], window=Window(col, row, size, size), boundless=True, fill_value=0
            )
            assert np.array_equal(read.data, expected)


@pytest.mark.real_data
def test_aberystwyth_is_selected_for_its_day_and_area_alone(real_data: Path) -> None:
    aberystwyth = source(real_data / "s2_aberystwyth/s2_aber_20210527_10band.tif")
    here = ClusterBox(0, "EPSG:27700", (260_000, 280_000, 261_000, 281_000), 1)
    there = ClusterBox(0, "EPSG:27700", (400_000, 280_000, 401_000, 281_000), 1)
    assert len(aberystwyth.select(query(BANDS, box=here)).items) == 1
    for asked, reason in [
        (query(BANDS, box=there), "no_overlap"),
        (query(BANDS, box=here, end="2021-05-26"), "outside_dates"),
        (query(("B10",), box=here), "missing_band"),
    ]:
        selection = aberystwyth.select(asked)
        assert selection.items == []
        assert [out.reason for out in selection.left_out] == [reason]


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["rgb_drone_brighton/dji_0033_rgb_nocrs.tif"])
def test_a_raster_without_a_crs_is_refused_by_name(real_data: Path, name: str) -> None:
    with pytest.raises(ReadError, match=r"dji_0033_rgb_nocrs\.tif\): it has no CRS") as raised:
        source(real_data / name, band_names=("R", "G", "B")).select(query())
    assert raised.value.kind == "permanent"


def test_names_of_the_campaign_name_the_bands(raster: Path) -> None:
    read = source(raster, band_names=("a", "b")).read(
        source(raster, band_names=("a", "b")).item, ["b", "a"], GRID
    )
    with rasterio.open(raster) as file:
        assert np.array_equal(read.data, file.read([2, 1]))
    assert read.valid.all()


def test_a_no_data_value_of_the_campaign_is_kept_and_not_valid(raster: Path) -> None:
    town = source(raster, band_names=("a", "b"), nodata=0)
    read = town.read(town.item, ["a", "b"], GRID)
    with rasterio.open(raster) as file:
        assert np.array_equal(read.data, file.read())
        assert np.array_equal(read.valid, (file.read() != 0).all(axis=0))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a",), r"town\.tif: imagery\.band_names has 1 names \['a'\], and the file has 2 bands"),
        (("a", "a"), "must be given and differ"),
        (None, r"got \['', ''\]; give 2 as imagery\.band_names"),
    ],
)
def test_band_names_that_do_not_fit_are_refused(
    raster: Path, names: tuple[str, ...] | None, words: str
) -> None:
    with pytest.raises(SourceError, match=words):
        source(raster, band_names=names).select(query())


def test_a_mask_beside_the_file_is_refused_by_name(raster: Path) -> None:
    """Its pixels would pass for data."""
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(raster, "r+") as file:
        file.write_mask(np.zeros(file.shape, bool))
    assert (raster.parent / "town.tif.msk").is_file()
    with pytest.raises(ReadError, match=r"town\.tif.*: its mask lies in town\.tif\.msk") as raised:
        source(raster, band_names=("a", "b")).select(query())
    assert raised.value.kind == "permanent"


def test_a_raster_whose_edges_lie_off_the_earth_is_refused_by_name(tmp_path: Path) -> None:
    disk = "+proj=geos +h=35785831 +lon_0=0 +ellps=GRS80 +units=m"
    transform = Affine.translation(-5_570_000, 5_570_000) @ Affine.scale(55_700, -55_700)
    grid = GeoBox((200, 200), transform, disk)
    write_raster(tmp_path / "disk.tif", noise(grid, 1), grid)
    with pytest.raises(ReadError, match=r"disk\.tif.*: the edges of its grid lie off the earth"):
        source(tmp_path / "disk.tif", band_names=("a",)).select(query())


def test_a_missing_raster_is_refused_by_name(tmp_path: Path) -> None:
    gone = source(tmp_path / "gone.tif")
    for ask in (lambda: gone.select(query()), gone.describe):
        with pytest.raises(GeoAssetsError, match=r"gone"):
            ask()


@pytest.mark.parametrize("lon_origin", [-17_900_000, 0, 17_900_000])
def test_the_solar_day_is_the_campaigns_day_at_any_longitude(
    tmp_path: Path, lon_origin: float
) -> None:
    grid = GeoBox((9, 9), Affine.translation(lon_origin, 0) @ Affine.scale(10), 3857)
    write_raster(tmp_path / "x.tif", noise(grid, 1), grid)
    item = source(tmp_path / "x.tif", band_names=("a",)).item
    assert solar_day(item).item() == DAY


def test_the_description_follows_the_pixels_and_not_the_place(raster: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy.tif"
    copy.parent.mkdir()
    copy.write_bytes(raster.read_bytes())
    assert source(copy).describe() == source(raster).describe()
    with rasterio.open(copy, "r+") as file:
        file.write(noise(GRID, 9)[0], 1)
    assert source(copy).describe() != source(raster).describe()


@pytest.mark.parametrize(
    "grid",
    [
        GeoBox((110, 110), Affine(1000, 0, 99_960, 0, -1000, 8_200_000), "EPSG:32701"),
        GeoBox((110, 120), Affine(1000, 0, 699_960, 0, -1000, 8_200_000), "EPSG:32760"),  # a sliver
        GeoBox((80, 80), Affine(50_000, 0, -2_000_000, 0, -50_000, 2_000_000), "EPSG:3413"),
        GeoBox((40, 60), Affine(5000, 0, -10_000, 0, -5000, 150_000), "EPSG:3031"),
        GeoBox((80, 80), Affine(5000, 0, 1_000_000, 0, -5000, 6_500_000), "EPSG:2193"),
        GeoBox((60, 90), Affine(1, 0, 10, 0, -1, 50), "EPSG:4326"),
    ],
    ids=lambda grid: str(grid.crs),
)
def test_a_footprint_holds_what_the_raster_holds_across_180_degrees_and_a_pole(
    tmp_path: Path, grid: GeoBox
) -> None:
    write_raster(tmp_path / "far.tif", noise(grid, 1), grid)
    footprint = shape(source(tmp_path / "far.tif", band_names=("a",)).item["geometry"])
    west, south, east, north = grid.boundingbox.bbox
    x, y = (
        np.random.default_rng(0)
        .uniform(
            (2 * west - east, 2 * south - north), (2 * east - west, 2 * north - south), (2000, 2)
        )
        .T
    )
    lon, lat = Transformer.from_crs(str(grid.crs), "EPSG:4326", always_xy=True).transform(x, y)
    inside = (west < x) & (x < east) & (south < y) & (y < north)
    assert 100 < inside.sum() < 1900
    known = np.abs(lat) <= 90
    wrong = shapely.contains_xy(footprint, lon, lat) != inside
    assert wrong[known].mean() < 0.005  # its edges are straight between their points


def test_a_raster_across_180_degrees_is_read_on_both_sides(tmp_path: Path) -> None:
    grid = GeoBox((110, 110), Affine(1000, 0, 99_960, 0, -1000, 8_200_000), "EPSG:32701")
    pixels = write_raster(tmp_path / "fiji.tif", noise(grid, 1), grid)
    fiji = source(tmp_path / "fiji.tif", band_names=("a",))
    for left in (120_000, 195_000):  # west and east of 180°, which lies at 178 km
        box = ClusterBox(0, "EPSG:32701", (left, 8_150_000, left + 5000, 8_155_000), 1)
        selection = fiji.select(query(("a",), box=box))
        (item,) = selection.items
        assert str(solar_day(item)) == str(DAY)
        here = GeoBox((5, 5), Affine(1000, 0, left - 40, 0, -1000, 8_155_000), "EPSG:32701")
        assert items_meeting([item], here) == [item]
        row, col = 45, (left - 40 - 99_960) // 1000
        read = fiji.read(item, ["a"], here)
        assert np.array_equal(read.data, pixels[:, row : row + 5, col : col + 5])
