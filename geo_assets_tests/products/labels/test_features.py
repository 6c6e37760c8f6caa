from __future__ import annotations

import pickle

import numpy as np
import pytest

from geo_assets.core.histogram_kmeans import fit_values, histogram_of, labels_of
from geo_assets.core.pixel_kmeans import fit_pixels, label_raster
from geo_assets.core.temporal_features import temporal_features
from geo_assets.core.workers import Threads
from geo_assets.errors import ClusteringError, StorageError
from geo_assets.products.labels import features as label_features
from geo_assets.products.labels.areas import label_area, pooled_sample, sample_area
from geo_assets.products.labels.days import day_histograms, day_labels
from geo_assets.products.labels.features import NdviDays, NdviSeries, Placed
from geo_assets.storage.cubes.days import CHECKSUM_ATTRIBUTE
from geo_assets.storage.cubes.opening import MISSING
from geo_assets_tests.acceptance.cube_writing import DAYS as DAYS_OF_CUBE
from geo_assets_tests.acceptance.cube_writing import builder
from geo_assets_tests.assets.label_cases import DAYS, GRID, two_kinds
from geo_assets_tests.storage.cubes.written_cube import write_cube

PERIOD = (np.datetime64("2021-01-01"), np.datetime64("2021-12-31"))


@pytest.fixture(params=[1024, 32], ids=["one block", "many blocks"])
def cube(tmp_path, request, monkeypatch):
    monkeypatch.setattr(label_features, "_EDGE", request.param)
    values, _ = two_kinds()
    path = tmp_path / "cluster-0.zarr"
    write_cube(path, {"ndvi": values}, DAYS.astype("datetime64[ms]"), GRID)
    return NdviDays.of(path), values


def a_series(cube, missing="fill"):
    return NdviSeries(cube, "date", 200, missing, tuple(str(end) for end in PERIOD))


def test_a_cube_is_known_without_a_pixel(cube):
    days, values = cube
    assert days.days == tuple(str(day) for day in DAYS)
    assert days.geobox == GRID
    np.testing.assert_array_equal(days.read(1, days.windows()[0]),
                                  values[1][days.windows()[0].slices])  # fmt: skip
    assert days.clearest() in (0, 1, 3)
    thin = days.thinned(0, 3)
    np.testing.assert_allclose(
        thin, np.where(values[0] == MISSING, np.nan, values[0] * 1e-4)[::3, ::3], rtol=1e-6
    )


def test_blocks_fill_the_area_and_hold_its_features(cube):
    days, values = cube
    whole = temporal_features(values, DAYS, "date", 200, period=PERIOD)
    for missing in ("fill", "ignore"):
        series = a_series(days, missing)
        seen = np.zeros(GRID.shape.yx, int)
        filled = 0
        for window in series.windows():
            block = series.read(window)
            seen[window.slices] += 1
            filled += block.filled
            if missing == "fill":
                expected = whole.values[:, *window.slices]
                np.testing.assert_array_equal(block.values, expected)
                np.testing.assert_array_equal(block.valid, whole.complete[window.slices])
            else:
                known = (values != MISSING).any(axis=0)
                np.testing.assert_array_equal(block.valid, known[window.slices])
        assert (seen == 1).all()
        assert (filled > 0) is (missing == "fill")


def test_an_area_is_sampled_and_labelled_alike_whatever_its_blocks(cube):
    days, _ = cube
    series = a_series(days)
    sampled = sample_area(series, Threads(2), size=300, seed=1)
    values, folds = pooled_sample({"a": series}, {"a": sampled}, 300)
    whole = series.read(label_features.Window(0, 0, *GRID.shape.yx))
    rows, cols = sampled.sample.rows, sampled.sample.cols
    np.testing.assert_array_equal(values, whole.values[:, rows, cols].T)
    assert 0.3 < folds.mean() < 0.7
    assert sampled.valid == whole.valid.sum()
    model = fit_pixels(values, 3, scaling="common-robust", seed=0)
    labelled = label_area(series, model, Threads(2))
    labels, inertia = label_raster(model, whole.values, whole.valid)
    np.testing.assert_array_equal(labelled.raster, labels)
    assert labelled.inertia == pytest.approx(inertia, rel=1e-6)
    assert labelled.filled_share == pytest.approx(0.25)


def test_areas_give_to_a_pooled_sample_by_their_valid_pixels(cube):
    days, _ = cube
    series = a_series(days)
    drawn = sample_area(series, Threads(1), size=400, seed=1)
    values, _ = pooled_sample({"a": series, "b": series}, {"a": drawn, "b": drawn}, 400)
    np.testing.assert_array_equal(values[:200], values[200:])


def test_days_are_counted_and_labelled_alike_whatever_their_blocks(cube):
    days, values = cube
    plain = list(day_histograms(days, Threads(2), folds=False))
    folded = list(day_histograms(days, Threads(2), folds=True))
    for number, (one, two) in enumerate(zip(plain, folded, strict=True)):
        np.testing.assert_array_equal(one[0], histogram_of(values[number]))
        np.testing.assert_array_equal(two.sum(axis=0), one[0])
    models = [fit_values(values[0], 3), None, None, fit_values(values[3], 4)]
    labels = list(day_labels(days, models, Threads(2)))
    assert labels[1] is labels[2] is None
    for number in (0, 3):
        np.testing.assert_array_equal(labels[number], labels_of(values[number], models[number]))


@pytest.mark.parametrize(
    ("every", "last"), [("month", "12"), ("10d", "12-3"), ("date", "2021-10-06")]
)
def test_steps_have_a_place_in_the_calendar(cube, every, last):
    series = NdviSeries(cube[0], every, 0, "fill", ("2021-01-01", "2021-12-31"))
    assert series.calendar[-1] == last
    assert len(series.calendar) == len(series.names) == len(series.units)


def test_blocks_of_few_days_on_a_long_axis_are_small(tmp_path):
    days = NdviDays(tmp_path, GRID.pad(2048), ("2021-02-03",))
    series = NdviSeries(days, "10d", 62, "fill", ("2011-01-01", "2021-12-31"))
    largest = max(window.height * window.width for window in series.windows())
    assert largest * len(series.names) <= label_features._BLOCK_VALUES


def test_a_cube_of_other_dates_is_named(tmp_path):
    days = NdviDays(tmp_path / "cluster-0.zarr", GRID, ("2021-02-03", "2022-01-01"))
    with pytest.raises(ClusteringError, match=r"cluster-0\.zarr: holds 2022-01-01.*2021-12-31"):
        NdviSeries(days, "month", 62, "fill", ("2021-01-01", "2021-12-31"))


def test_place_is_in_metres_from_the_corner_of_the_area(cube):
    placed = Placed(a_series(cube[0]))
    assert placed.names[-2:] == ("easting", "northing")
    for window in placed.windows():
        east, north = placed.read(window).values[-2:]
        rows, cols = np.mgrid[window.slices]
        np.testing.assert_array_equal(east, (cols + 0.5) * 10)
        np.testing.assert_array_equal(north, (rows + 0.5) * -10)


@pytest.mark.parametrize("kept", [4, 2], ids=["as many days", "fewer days"])
def test_a_cube_that_has_changed_since_its_days_were_read_is_refused(tmp_path, kept):
    """Another cube takes its place: the same numbers of days would be other dates."""
    values, _ = two_kinds()
    path = tmp_path / "cluster-0.zarr"
    times = DAYS.astype("datetime64[ms]")
    write_cube(path, {"ndvi": values}, times, GRID, {CHECKSUM_ATTRIBUTE: "of the first"})
    days = NdviDays.of(path)
    window = days.windows()[0]
    np.testing.assert_array_equal(days.read(3, window), values[3][window.slices])
    later = times[:kept] + np.timedelta64(3, "D")
    write_cube(path, {"ndvi": values[:kept]}, later, GRID, {CHECKSUM_ATTRIBUTE: "of the second"})
    for read in (lambda: days.read(3, window), lambda: days.thinned(3, 2), days.clearest):
        with pytest.raises(StorageError, match=r"cluster-0\.zarr: changed while its labels were"):
            read()


def test_a_cube_with_a_damaged_day_is_not_labelled(tmp_path):
    path = tmp_path / "cluster-0.zarr"
    builder(DAYS_OF_CUBE[:3]).build(path)
    NdviDays.of(path)
    chunk = path / "ndvi/c/1/0/0"
    chunk.write_bytes((path / "ndvi/c/2/0/0").read_bytes())
    with pytest.raises(StorageError, match="day 2021-01-06 is damaged; materialize ndvi_cube"):
        NdviDays.of(path)


def test_what_is_read_travels_as_names(cube):
    for features in (a_series(cube[0]), Placed(a_series(cube[0]))):
        packed = pickle.dumps(features)
        assert len(packed) < 3000
        again = pickle.loads(packed)  # noqa: S301  # our own bytes
        window = features.windows()[0]
        np.testing.assert_array_equal(again.read(window).values, features.read(window).values)
