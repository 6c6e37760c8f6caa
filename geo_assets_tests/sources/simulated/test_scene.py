"""The pixels: no-data, offset, snow, clouds, datastrips and noise."""

from __future__ import annotations

import numpy as np
import pytest

from geo_assets_tests.sources.simulated import reading

TWENTY_METRES = ("B05", "B06", "B07", "B8A", "B11", "B12")
FOREST = 5


def test_no_data_is_the_same_in_all_bands_and_the_classification(small):
    partial = [i for i in reading.items(small) if i["properties"]["s2:nodata_pixel_percentage"] > 0]
    assert len(partial) == 3
    for item in partial:
        seen = reading.numbers(small, item, "SCL") > 0
        for band in TWENTY_METRES:
            np.testing.assert_array_equal(reading.numbers(small, item, band) > 0, seen)
        ten = seen.repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(reading.numbers(small, item, "B02") > 0, ten)
        sixty = reading.numbers(small, item, "B01") > 0
        whole = ten.reshape(len(sixty), 6, len(sixty), 6).all((1, 3))
        np.testing.assert_array_equal(sixty, whole)


def test_whole_scenes_have_no_zero_in_any_band(small):
    item = reading.items(small, "33UTQ")[0]
    assert all(reading.numbers(small, item, name).min() > 0 for name in item["assets"])


def test_the_offset_comes_with_the_baseline_and_leaves_reflectance_as_it_was(small):
    records = reading.items(small, "32UQV")
    (before,), (after,) = (
        reading.of_date(records, "2021-06-23"),
        reading.of_date(records, "2021-07-18"),
    )
    assert before["properties"]["s2:processing_baseline"] == "03.01"
    assert after["properties"]["s2:processing_baseline"] == "04.00"
    rules = [item["assets"]["B02"]["raster:bands"][0]["offset"] for item in (before, after)]
    assert rules == [0, -0.1]
    stable = (reading.land_cover(small, 32632) == FOREST) & np.isin(
        reading.classification(small, before), (4, 5)
    )
    for band in ("B02", "B04", "B08"):
        raw = [np.median(reading.numbers(small, item, band)[stable]) for item in (before, after)]
        true = [np.median(reading.reflectance(small, i, band)[stable]) for i in (before, after)]
        assert raw[1] - raw[0] == pytest.approx(1000, abs=250)
        assert true[1] == pytest.approx(true[0], rel=0.08, abs=0.004)


def test_offset_agrees_with_baseline_in_every_record(small):
    for item in reading.items(small):
        late = item["properties"]["s2:processing_baseline"] >= "04.00"
        assert late == (item["properties"]["datetime"] >= "2021-07-05")
        assert item["assets"]["B01"]["raster:bands"][0]["offset"] == (-0.1 if late else 0)


def test_snow_covers_one_date_alone(small):
    snowy = {}
    for item in reading.items(small, "32UQV"):
        share = (reading.numbers(small, item, "SCL") == 11).mean()
        if share > 0:
            snowy[item["properties"]["datetime"][:10]] = share
    assert set(snowy) == {"2021-01-14"}
    assert snowy["2021-01-14"] > 0.7


def test_clouds_are_bright_and_shadows_dark(small):
    for item in reading.items(small):
        classes = reading.numbers(small, item, "SCL")
        visible, nir = (reading.reflectance(small, item, band) for band in ("B05", "B8A"))
        clear = np.isin(classes, (4, 5))
        if clear.mean() < 0.2 or (classes == 9).mean() < 0.02 or (classes == 3).mean() < 0.02:
            continue
        assert np.median(visible[classes == 9]) > 2 * np.median(visible[clear])
        assert np.median(nir[classes == 3]) < 0.85 * np.median(nir[clear])


def test_an_overcast_scene_has_nothing_but_cloud(small):
    for item in reading.of_date(reading.items(small), "2021-05-19"):
        assert item["properties"]["eo:cloud_cover"] == 100


def test_two_datastrips_cover_the_tile_and_differ_by_noise_where_they_overlap(small):
    first, second = reading.of_date(reading.items(small, "32UQV"), "2021-06-03")
    one, two = (reading.reflectance(small, item, "B08") for item in (first, second))
    assert not (np.isnan(one) & np.isnan(two)).any()
    both = ~np.isnan(one) & ~np.isnan(two)
    assert 0.1 < both.mean() < 0.5
    difference = (one - two)[both]
    assert 0 < difference.std() < 0.02
    assert abs(difference.mean()) < 0.001


def test_coarse_bands_average_what_fine_bands_show(small):
    """B8A and B08 see the same green: the 20 m band follows the 10 m band's block means."""
    (item,) = reading.of_date(reading.items(small, "33UTQ"), "2021-07-18")
    fine = reading.reflectance(small, item, "B08")
    coarse = reading.reflectance(small, item, "B8A")
    means = fine.reshape(len(coarse), 2, len(coarse), 2).mean((1, 3))
    assert np.corrcoef(means.ravel(), coarse.ravel())[0, 1] > 0.97
