from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import odc.stac
import pystac
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from geo_assets.errors import ReadError
from geo_assets.sources.scenes.reader import SceneReader
from geo_assets_tests.emulators.file_server import serve_files
from geo_assets_tests.sources.scene_testing import GRID, item_of, noise, write_raster

if TYPE_CHECKING:
    from pathlib import Path

GRID_20 = GeoBox((60, 65), GRID.affine @ Affine.scale(2), GRID.crs)
GRID_60 = GeoBox((20, 22), GRID.affine @ Affine.scale(6), GRID.crs)
SENTINEL_2 = {"constellation": "sentinel-2"}


def asset(path: Path, **more: Any) -> dict[str, Any]:
    return {"href": str(path), "type": "image/tiff; application=geotiff", **more}


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Any]:
    """A Sentinel-2 scene of baseline 05.00 with bands of 10, 20 and 60 m and a classification."""
    grids = {"B04": GRID, "B08": GRID, "B11": GRID_20, "B01": GRID_60}
    for seed, (band, grid) in enumerate(grids.items()):
        data = noise(grid, seed, low=0)
        data[0, :5] = 0
        write_raster(tmp_path / f"{band}.tif", data, grid)
    write_raster(tmp_path / "SCL.tif", noise(GRID_20, 9, "uint8", 0, 12), GRID_20)
    assets = {name: asset(tmp_path / f"{name}.tif") for name in [*grids, "SCL"]}
    return item_of(assets, **SENTINEL_2, **{"s2:processing_baseline": "05.00"})


def pixels(item: dict[str, Any], band: str) -> Any:
    with rasterio.open(item["assets"][band]["href"]) as file:
        return file.read(1)


def test_bands_of_three_resolutions_come_on_one_grid(scene: dict[str, Any]) -> None:
    read = SceneReader().read(scene, ["B01", "B11", "B04"], GRID[:, :130], "SCL")
    stack = [
        np.kron(pixels(scene, band), np.ones((factor, factor), np.uint16))[:120, :130]
        for band, factor in [("B01", 6), ("B11", 2), ("B04", 1)]
    ]
    assert np.array_equal(read.valid, np.all([band != 0 for band in stack], axis=0))
    for band, expected in zip(read.data, stack, strict=True):
        moved = np.clip(expected.astype(int) - 1000, 1, 65535)
        assert np.array_equal(band[read.valid], moved[read.valid])
    classes = np.kron(pixels(scene, "SCL"), np.ones((2, 2), np.uint8))[:120, :130]
    assert read.scl is not None
    assert read.scl.dtype == np.uint8
    assert np.array_equal(read.scl, classes)


def test_pixels_are_those_of_odc_stac_on_the_scenes_lattice(scene: dict[str, Any]) -> None:
    window = GRID[13:77, 30:101]
    read = SceneReader().read(scene, ["B04", "B08"], window)
    loaded = odc.stac.load(
        [pystac.Item.from_dict(scene)], bands=["B04", "B08"], geobox=window, groupby="id"
    )
    for band, name in zip(read.data, ["B04", "B08"], strict=True):
        theirs = loaded[name].values[0].astype(int) - 1000
        assert np.array_equal(band[read.valid], np.maximum(theirs, 1)[read.valid])


def test_classes_are_never_interpolated(scene: dict[str, Any]) -> None:
    grid = GeoBox((50, 50), GRID.affine @ Affine.translation(20.3, 10.7), GRID.crs)
    read = SceneReader(resampling="cubic").read(scene, ["B04"], grid, "SCL")
    nearest = SceneReader().read(scene, ["B04"], grid, "SCL")
    assert np.array_equal(read.scl, nearest.scl)
    assert not np.array_equal(read.data, nearest.data)


def test_a_classification_that_is_not_offered_is_none(scene: dict[str, Any]) -> None:
    del scene["assets"]["SCL"]
    assert SceneReader().read(scene, ["B04"], GRID, "SCL").scl is None


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint16", 264), ("uint16", 22280), ("int16", -1), ("float32", 4.5)]
)
def test_a_class_that_is_no_number_of_8_bits_is_a_permanent_failure(
    scene: dict[str, Any], tmp_path: Path, dtype: str, value: float
) -> None:
    classes = noise(GRID_20, 9, dtype, 0, 12)
    classes[0, 20, 20] = value
    write_raster(tmp_path / "SCL.tif", classes, GRID_20)
    said = rf"scene scene-1, asset SCL: {value} \({dtype}\) is no class; clouds.band .* 0 to 255"
    with pytest.raises(ReadError, match=said) as raised:
        SceneReader().read(scene, ["B04"], GRID, "SCL")
    assert (raised.value.kind, raised.value.scene_id) == ("permanent", "scene-1")


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("float32", float("nan"))])
def test_classes_may_be_whole_numbers_of_any_dtype_with_no_data_beside_them(
    scene: dict[str, Any], tmp_path: Path, dtype: str, nodata: float
) -> None:
    classes = noise(GRID_20, 9, dtype, 0, 12)
    expected = classes.astype(np.uint8)
    classes[0, 20, 20], expected[0, 20, 20] = nodata, 0
    write_raster(tmp_path / "SCL.tif", classes, GRID_20, nodata=nodata)
    read = SceneReader().read(scene, ["B04"], GRID_20, "SCL")
    assert read.scl is not None
    assert read.scl.dtype == np.uint8
    assert np.array_equal(read.scl, expected[0])


def test_an_ambiguous_classification_is_a_permanent_failure(scene: dict[str, Any]) -> None:
    classes = scene["assets"].pop("SCL") | {"bands": [{"name": "SCL"}]}
    scene["assets"] |= {"SCL_20m": classes, "SCL_60m": classes}
    with pytest.raises(ReadError, match=r"'SCL' is ambiguous.*SCL_20m .*Name one") as raised:
        SceneReader().read(scene, ["B04"], GRID, "SCL")
    assert (raised.value.kind, raised.value.scene_id) == ("permanent", "scene-1")
    assert SceneReader().read(scene, ["B04"], GRID, "SCL_20m").scl is not None


def test_bands_of_one_file_come_in_the_order_asked_for(tmp_path: Path) -> None:
    stack = np.concatenate([noise(GRID, seed) for seed in range(3)])
    write_raster(tmp_path / "stack.tif", stack, GRID)
    bands = [{"name": name} for name in ("red", "green", "nir")]
    item = item_of({"image": asset(tmp_path / "stack.tif", **{"eo:bands": bands})})
    read = SceneReader().read(item, ["nir", "red", "nir"], GRID)
    assert np.array_equal(read.data, stack[[2, 0, 2]])


@pytest.mark.parametrize(
    ("stated", "in_file", "parameter", "meant"),
    [
        (7, 8, 9, 7),
        (None, 8, 9, 8),
        (None, 8, None, 8),
        (None, None, 9, 9),
        ("nan", 8, 9, None),
    ],
)
def test_no_data_is_what_the_item_says_else_the_file_else_the_parameter(
    tmp_path: Path, stated: Any, in_file: int | None, parameter: int | None, meant: int | None
) -> None:
    data = write_raster(tmp_path / "x.tif", noise(GRID, 1, low=5, high=12), GRID, nodata=in_file)
    said = {} if stated is None else {"raster:bands": [{"nodata": stated}]}
    item = item_of({"x": asset(tmp_path / "x.tif", **said)})
    read = SceneReader(nodata=parameter).read(item, ["x"], GRID)
    assert np.array_equal(read.valid, data[0] != meant)


def test_sentinel_2_means_no_data_by_0_only_where_its_file_says_nothing_else(
    tmp_path: Path,
) -> None:
    data = noise(GRID, 1, "int16", low=-3, high=5)
    data[0, :50] = -9999
    item = item_of({"B04": asset(tmp_path / "B04.tif")}, platform="sentinel-2a")
    reader = SceneReader(offsets={"tests": -9998})
    for in_file, meant in ((-9999, -9999), (None, 0)):
        write_raster(tmp_path / "B04.tif", data, GRID, nodata=in_file)
        read = reader.read(item, ["B04"], GRID)
        assert np.array_equal(read.valid, data[0] != meant)
        # Nor does an offset make no-data of a datum.
        assert not (read.data[0][read.valid] == meant).any()


def test_bands_of_different_dtypes_come_in_one_that_holds_both(tmp_path: Path) -> None:
    for name, dtype in (("a", "uint8"), ("b", "uint16")):
        write_raster(tmp_path / f"{name}.tif", noise(GRID, 1, dtype), GRID)
    item = item_of({name: asset(tmp_path / f"{name}.tif") for name in "ab"})
    assert SceneReader().read(item, ["a", "b"], GRID).data.dtype == np.uint16


@pytest.mark.parametrize(
    "stated",
    [
        {"proj:epsg": 32633},
        {"proj:code": "EPSG:32633"},
        {"proj:epsg": 32633, "proj:transform": [*GRID.affine[:6], 0, 0, 1]},
        {"proj:epsg": 99999999},
        {},
    ],
)
def test_the_native_grid_is_stated_or_read(tmp_path: Path, stated: dict[str, Any]) -> None:
    write_raster(tmp_path / "x.tif", noise(GRID, 1), GRID)
    where = {"proj:shape": list(GRID.shape), "proj:transform": list(GRID.affine)[:6]}
    item = item_of({"x": asset(tmp_path / "x.tif")}, **(where | stated))
    assert SceneReader().native_geobox(item, "x") == GRID


def test_a_stated_grid_opens_no_file() -> None:
    item = item_of({"x": {"href": "/nowhere.tif"}}, **{"proj:epsg": 32633})
    item["assets"]["x"] |= {"proj:shape": [9, 9], "proj:transform": list(GRID.affine)[:6]}
    assert SceneReader().native_geobox(item, "x").shape == (9, 9)


def test_a_band_that_is_not_offered_is_a_permanent_failure(scene: dict[str, Any]) -> None:
    for ask in (
        lambda: SceneReader().read(scene, ["B99"], GRID),
        lambda: SceneReader().native_geobox(scene, "B99"),
    ):
        with pytest.raises(ReadError, match="no band 'B99'; it offers B04, B08") as raised:
            ask()
        assert (raised.value.kind, raised.value.scene_id) == ("permanent", "scene-1")


def test_a_failure_names_scene_and_asset_and_no_folder(scene: dict[str, Any]) -> None:
    from pathlib import Path

    Path(scene["assets"]["B08"]["href"]).unlink()
    with pytest.raises(ReadError) as raised:
        SceneReader().read(scene, ["B04", "B08"], GRID)
    assert str(raised.value) == "scene scene-1, asset B08 (B08.tif): the file is missing"
    assert (raised.value.kind, raised.value.scene_id) == ("permanent", "scene-1")


@pytest.mark.parametrize("grid", [GRID, GRID.to_crs("EPSG:32632")], ids=["own", "other zone"])
def test_a_mutated_file_ends_in_pixels_or_in_a_read_error(tmp_path: Path, grid: GeoBox) -> None:
    path = tmp_path / "x.tif"
    write_raster(path, noise(GRID, 1), GRID, nodata=0)
    sound = path.read_bytes()
    item = item_of({"B04": asset(path)})
    random = np.random.default_rng(3)
    failures = []
    for case in range(300):
        content = bytearray(sound)
        for _ in range(random.integers(1, 6)):
            content[random.integers(0, 700)] = random.integers(0, 256)
        path.write_bytes(content if case % 5 else content[: random.integers(0, len(content))])
        try:
            assert SceneReader().read(item, ["B04"], grid).data.shape == (1, *grid.shape)
        except ReadError as error:
            failures.append(error)
    assert len(failures) > 100
    assert {error.kind for error in failures} == {"invalid_payload", "permanent"}
    assert not any(str(tmp_path) in str(error) for error in failures)


def test_a_remote_scene_gives_the_pixels_of_a_local_one(
    scene: dict[str, Any], tmp_path: Path
) -> None:
    bands = ["B04", "B08", "B11", "B01"]
    local = SceneReader().read(scene, bands, GRID, "SCL")
    with serve_files(tmp_path) as server:
        for name, remote in scene["assets"].items():
            remote["href"] = f"{server.url}/{name}.tif"
        read = SceneReader().read(scene, bands, GRID, "SCL")
    assert np.array_equal(read.data, local.data)
    assert np.array_equal(read.valid, local.valid)
    assert np.array_equal(read.scl, local.scl)
