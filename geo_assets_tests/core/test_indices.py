from fractions import Fraction

import numpy as np
import pytest
import spyndex
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.index_catalogue import OPTICAL_BANDS, find_index, index_names
from geo_assets.core.indices import (
    MISSING,
    NDVI_SCALE,
    compute_index,
    dequantise_index,
    normalized_difference,
    quantise_in_range,
    quantise_index,
)
from geo_assets.errors import GeoAssetsError


@given(st.integers(0, 65535), st.integers(0, 65535))
@settings(deadline=None)
def test_unsigned_bands_do_not_wrap(a, b):
    index = normalized_difference(np.array([a], np.uint16), np.array([b], np.uint16))
    if a + b == 0:
        assert np.isnan(index[0])
    else:
        assert index[0] == float(Fraction(a - b, a + b))


@pytest.mark.parametrize(
    ("nir", "red", "missing"),
    [
        (0, 0, True),  # no light at all
        (-10, 5, True),  # sum below zero
        (-5, 5, True),  # sum of zero
        (50, -10, True),  # above 1
        (-10, 50, True),  # below -1
        (50, 0, False),  # exactly 1
        (0, 50, False),  # exactly -1
    ],
)
def test_an_index_that_means_nothing_is_missing(nir, red, missing):
    for dtype in (np.int16, np.float32):
        index = normalized_difference(np.array([nir], dtype), np.array([red], dtype))
        assert np.isnan(index[0]) == missing


def test_pixels_without_datum_are_missing():
    nir = np.array([3.0, np.nan, 3.0, np.inf], np.float32)
    red = np.array([1.0, 1.0, 1.0, 1.0], np.float32)
    valid = np.array([True, True, False, True])
    index = normalized_difference(nir, red, valid, np.float32)
    assert index.dtype == np.float32
    np.testing.assert_array_equal(index, np.array([0.5, np.nan, np.nan, np.nan], np.float32))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20))
@settings(deadline=None)
def test_quantisation_is_within_half_a_step(values):
    index = np.array(values)
    steps = quantise_index(index)
    assert steps.dtype == np.int16
    np.testing.assert_allclose(
        dequantise_index(steps, np.float64), index, rtol=0, atol=0.5000001e-4
    )


def test_every_step_survives_the_way_to_float_and_back():
    steps = np.arange(-32768, 32768).astype(np.int16)
    for dtype in (np.float32, np.float64):
        index = dequantise_index(steps, dtype)
        assert index.dtype == dtype
        np.testing.assert_array_equal(quantise_index(index), steps)
    assert np.isnan(dequantise_index(steps)[0])
    np.testing.assert_array_equal(
        dequantise_index(steps)[1:], (steps[1:] / 10_000.0).astype(np.float32)
    )


def test_half_a_step_is_rounded_to_even_and_nan_is_missing():
    # Binary fractions whose 10 000-fold is a half, without rounding: 312.5, 937.5 and so on.
    index = np.array([0.03125, 0.09375, -0.03125, -0.09375, np.nan])
    assert quantise_index(index).tolist() == [312, 938, -312, -938, MISSING]


def test_a_value_beyond_int16_is_refused():
    with pytest.raises(GeoAssetsError, match=r"3\.5 cannot be quantised; allowed: -3\.2767"):
        quantise_index(np.array([0.1, 3.5, np.nan]))


def test_dequantise_reads_arrays_that_are_not_contiguous():
    steps = np.arange(24, dtype=np.int16).reshape(4, 6)[::2, ::3]
    np.testing.assert_allclose(dequantise_index(steps, np.float64), steps * NDVI_SCALE)


DIFFERENCES = {
    "ndvi": ("nir", "red"),
    "gndvi": ("nir", "green"),
    "ndwi": ("green", "nir"),
    "mndwi": ("green", "swir16"),
    "ndmi": ("nir", "swir16"),
    "ndbi": ("swir16", "nir"),
    "nbr": ("nir", "swir22"),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_named_index_takes_its_bands_by_common_name(name):
    bands = {
        "green": np.array([800], np.uint16),
        "red": np.array([600], np.uint16),
        "nir": np.array([3000], np.uint16),
        "swir16": np.array([1800], np.uint16),
        "swir22": np.array([1100], np.uint16),
    }
    first, second = (float(bands[band][0]) for band in DIFFERENCES[name])
    expected = (first - second) / (first + second)
    assert set(find_index(name).bands.values()) == set(DIFFERENCES[name])
    assert compute_index(name, bands)[0] == expected


def test_every_index_of_optical_bands_is_what_its_library_computes():
    rng = np.random.default_rng(1)
    reflectance = {letter: rng.uniform(0.01, 0.6, 40) for letter in OPTICAL_BANDS}
    constants = {name: float(c.default) for name, c in spyndex.constants.items() if c.default}
    constants |= {"k": 0.0, "slb": 0.0}
    by_common_name = {OPTICAL_BANDS[letter]: values for letter, values in reflectance.items()}
    names = index_names()
    assert len(names) > 200
    for name in names:
        with np.errstate(all="ignore"):
            theirs = spyndex.computeIndex(name, constants | reflectance)
        theirs = np.where(np.isfinite(theirs), theirs, np.nan)
        ours = compute_index(name, {c: by_common_name[c] for c in find_index(name).bands.values()})
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize(("name", "free"), [("NDVI", True), ("EVI", False), ("SAVI", False)])
def test_constants_in_a_formula_ask_for_reflectance_in_units(name, free):
    rng = np.random.default_rng(2)
    units = {band: rng.uniform(0.01, 0.6, 40) for band in find_index(name).bands.values()}
    numbers = {band: values * 10_000 for band, values in units.items()}
    assert find_index(name).scale_free is free
    agree = np.allclose(compute_index(name, units), compute_index(name, numbers), rtol=1e-12)
    assert agree is free


def test_an_index_is_missing_where_it_is_not_finite_or_a_band_is():
    bands = {"nir": np.array([0.4, 0.4, 0.4]), "green": np.array([0.0, 0.2, 0.2])}
    valid = np.array([True, True, False])
    np.testing.assert_array_equal(compute_index("CIG", bands, valid), [np.nan, 1.0, np.nan])
    with pytest.raises(GeoAssetsError, match=r"'CIG': shapes .* differ"):
        compute_index("CIG", bands, valid[:2])


def test_values_beyond_int16_are_missing_and_counted():
    steps, outside = quantise_in_range(np.array([3.2767, 3.28, -9.0, np.nan, -3.2767, np.inf]))
    assert steps.tolist() == [32767, MISSING, MISSING, MISSING, -32767, MISSING]
    assert outside == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("evi9", r"'evi9': is unknown to the catalogue; near are EVI, "),
        ("qqqqqq", r"'qqqqqq': is unknown to the catalogue$"),
        ("bai", r"'bai': could be BAI or BaI; write it exactly so"),
        ("kNDVI", r"'kNDVI': its formula .* needs 'kNN', which is neither an optical band"),
        ("NDVIT", r"needs 'T', which is neither an optical band nor a constant with a value"),
        ("DpRVIHH", r"neither an optical band"),
    ],
)
def test_what_the_catalogue_cannot_give_is_named(name, message):
    with pytest.raises(GeoAssetsError, match=message):
        compute_index(name, {})


def test_variables_of_a_cube_have_small_letters_but_where_two_would_meet():
    assert find_index("nDvI").variable == "ndvi"
    assert {find_index(name).variable for name in ("BAI", "BaI")} == {"BAI", "BaI"}


def test_an_absent_band_is_named():
    with pytest.raises(GeoAssetsError, match=r"'ndvi': needs the bands \['nir'\]; there are"):
        compute_index("ndvi", {"red": np.ones(1)})


def test_shapes_that_differ_are_refused():
    with pytest.raises(GeoAssetsError, match="differ"):
        normalized_difference(np.ones(2), np.ones(3))


@pytest.mark.real_data
def test_the_rufiji_dates_have_the_medians_of_their_table(real_data):
    import rasterio

    for day, median in (("20160312", 0.863), ("20170829", 0.892), ("20200101", 0.801)):
        (red,) = (real_data / "s2_rufiji").glob(f"**/*{day}*/B04.tif")
        (nir,) = (real_data / "s2_rufiji").glob(f"**/*{day}*/B08.tif")
        with rasterio.open(nir) as first, rasterio.open(red) as second:
            a, b = first.read(1), second.read(1)
        steps = quantise_index(normalized_difference(a, b, (a != 0) & (b != 0)))
        assert abs(np.nanmedian(dequantise_index(steps, np.float64)) - median) < 0.003
