from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from sklearn.metrics import (
    adjusted_rand_score,
    confusion_matrix,
    normalized_mutual_info_score,
)

from geo_assets.assets.label_changes import ndvi_label_changes
from geo_assets.assets.label_models import MODEL_TAG, model_of_labels
from geo_assets.assets.spatial_labels import ndvi_spatial_labels
from geo_assets.assets.temporal_labels import ndvi_temporal_labels
from geo_assets.campaign_labels import ModelFrom
from geo_assets.checks import QUESTIONS
from geo_assets.errors import StorageError
from geo_assets.storage.cubes.opening import MISSING
from geo_assets.storage.layout import model_of
from geo_assets_tests.assets.label_cases import (
    GRID,
    a_partition,
    read_json,
    read_labels,
    write_ndvi,
)

MONTHS = np.array([f"2021-{month:02}-15" for month in range(1, 13)], "datetime64[D]")
CUT = (slice(20, 30), slice(10, 22))
FELLED = 6
"""Number of the first month after the cut, from 0."""


def a_felled_wood():
    """Wood at the left, of which a part is felled in June; fields at the right; a few clouds."""
    rng = np.random.default_rng(0)
    values = np.full((12, *GRID.shape.yx), 8000.0)
    values[:, :, 40:] = (4000 - 3000 * np.cos(np.linspace(0, 2 * np.pi, 12)))[:, None, None]
    values[FELLED:, *CUT] = 1000
    values += rng.normal(0, 200, values.shape)
    values = values.astype(np.int16)
    values[rng.random(values.shape) < 0.1] = MISSING
    return values


def made(folder, values=None, days=MONTHS, grid=GRID, **spatial):
    rules = {"fit": "cluster", "n_clusters": 4} | spatial
    partition = a_partition(
        folder, spatial_labels=rules, temporal_labels={"n_clusters": 3, "every": "month"}
    )
    write_ndvi(partition, a_felled_wood() if values is None else values, days=days, grid=grid)
    ndvi_spatial_labels.make(partition)
    return partition


@pytest.fixture(scope="module")
def wood(tmp_path_factory):
    partition = made(tmp_path_factory.mktemp("wood"))
    ndvi_temporal_labels.make(partition)
    facts = ndvi_label_changes.make(partition)
    path = partition.layout.ndvi_label_changes("north", "train", 0)
    labels = np.stack(
        [
            read_labels(partition.layout.ndvi_spatial_labels("north", "train", 0, str(day)))
            for day in MONTHS
        ]
    )
    series = read_labels(partition.layout.ndvi_temporal_labels("north", "train", 0))
    return facts, path, read_json(model_of(path)), labels, series


def test_the_felled_wood_drops_once_and_for_good(wood):
    _, path, _, _, _ = wood
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("changes", "drop_date", "from_label", "to_label")
        _, drop, before, after = raster.read()
        assert raster.dataset_mask().all()
        assert raster.tags()["TIFFTAG_COPYRIGHT"] == "CC0-1.0"
    assert np.isin(drop[CUT], FELLED + np.arange(1, 5)).all()  # clouds may hide a month
    assert (drop[CUT] == FELLED + 1).mean() > 0.85
    assert (before[CUT] == 4).all()
    assert (after[CUT] == 1).all()
    standing = np.ones((60, 40), bool)
    standing[CUT] = False
    assert not drop[:, :40][standing].any()


def test_tables_are_those_of_scikit_learn(wood):
    _, _, tables, labels, series = wood
    for number, date in enumerate(tables["dates"]):
        assert date["day"] == str(MONTHS[number])
        both = (labels[number] > 0) & (series > 0)
        assert date["adjusted_rand"] == pytest.approx(
            adjusted_rand_score(labels[number][both], series[both])
        )
        assert date["normalized_mutual_information"] == pytest.approx(
            normalized_mutual_info_score(labels[number][both], series[both])
        )
        pixels = [(labels[number] == k).sum() for k in range(1, 5)]
        assert date["pixels"] == pixels
        assert date["square_metres"] == [100.0 * count for count in pixels]
        assert sum(date["shares"]) == pytest.approx(1)
    for number, step in enumerate(tables["between_dates"]):
        one, other = labels[number], labels[number + 1]
        both = (one > 0) & (other > 0)
        peer = confusion_matrix(one[both], other[both], labels=range(1, 5))
        assert step["pixels"] == peer.tolist()
    assert np.sum(tables["first_to_last"]) == labels[0].size


def test_what_was_felled_is_seen_in_the_transitions(wood):
    _, _, tables, _, _ = wood
    cut = (CUT[0].stop - CUT[0].start) * (CUT[1].stop - CUT[1].start)
    assert np.array(tables["first_to_last"])[3, 0] == cut


def test_people_see_maps_matrices_and_areas(wood):
    facts, path = wood[:2]
    assert {"drops", "transitions", "first_to_last", "areas", "table"} <= set(facts)
    with rasterio.open(path) as raster:
        assert facts["dropped_share"] == pytest.approx((raster.read(2) > 0).mean(), abs=1e-4)


def test_without_temporal_labels_there_is_no_agreement_but_all_else(tmp_path, caplog):
    partition = made(tmp_path)
    ndvi_label_changes.make(partition)
    tables = read_json(model_of(partition.layout.ndvi_label_changes("north", "train", 0)))
    assert {date["adjusted_rand"] for date in tables["dates"]} == {None}
    assert "no temporal labels to compare with" in caplog.text


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:2263"])
def test_where_pixels_are_not_of_one_size_in_metres_no_area_is_stated(tmp_path, crs):
    grid = GeoBox(GRID.shape, Affine(0.01, 0, 10, 0, -0.01, 60), crs)
    partition = made(tmp_path, grid=grid)
    ndvi_label_changes.make(partition)
    path = partition.layout.ndvi_label_changes("north", "train", 0)
    told = read_json(model_of(path))
    assert told["pixel_square_metres"] is None
    assert {date["square_metres"] for date in told["dates"]} == {None}


def test_clusters_come_by_number_and_what_dropped_is_counted_over_all(tmp_path):
    partition = made(tmp_path)
    write_ndvi(partition, a_felled_wood(), 10, MONTHS)
    write_ndvi(partition, np.full((12, *GRID.shape.yx), 5000, np.int16), 2, MONTHS)
    partition = a_partition(tmp_path, spatial_labels={"fit": "partition", "n_clusters": 4})
    ndvi_spatial_labels.make(partition)
    facts = ndvi_label_changes.make(partition)
    rows = [row.data["area"] for row in facts["table"].records]
    assert list(dict.fromkeys(rows)) == ["cluster-0", "cluster-2", "cluster-10"]
    dropped = followed = 0
    for cluster in (0, 2, 10):
        path = partition.layout.ndvi_label_changes("north", "train", cluster)
        with rasterio.open(path) as raster:
            dropped += (raster.read(2) > 0).sum()
            followed += (raster.dataset_mask() > 0).sum()
    assert facts["dropped_share"] == pytest.approx(dropped / followed, abs=1e-4)


def test_labels_of_a_model_each_cannot_be_followed(tmp_path):
    partition = made(tmp_path, fit="date")
    with pytest.raises(
        StorageError, match=r"no model for all dates; materialize demo/ndvi_spatial_labels of north"
    ):
        ndvi_label_changes.make(partition)


@pytest.mark.parametrize("lost", [[3], [0, 11], range(12)])
def test_a_date_whose_raster_was_lost_is_refused_by_name(tmp_path, lost):
    partition = made(tmp_path)
    paths = [
        partition.layout.ndvi_spatial_labels("north", "train", 0, str(MONTHS[month]))
        for month in lost
    ]
    for path in paths:
        path.unlink()
    with pytest.raises(
        StorageError,
        match=rf"{paths[0]}: does not exist.*materialize demo/ndvi_spatial_labels of .* again",
    ):
        ndvi_label_changes.make(partition)
    ndvi_spatial_labels.make(partition)
    assert not ndvi_label_changes.make(partition)["empty"]


def test_that_one_date_cannot_be_followed_is_an_answer(tmp_path):
    facts = ndvi_label_changes.make(made(tmp_path, a_felled_wood()[:1], MONTHS[:1]))
    assert facts["empty"]
    assert facts["not_followed"] == ("cluster-0: labels of 1 date; two are needed to follow them")


def test_a_partition_without_labels_is_an_empty_success(tmp_path):
    assert ndvi_label_changes.make(a_partition(tmp_path))["empty"]


def test_labels_of_two_states_of_a_cube_are_not_followed_as_one_series(tmp_path):
    """Of a borrowed model all centres agree, whatever cube was labelled."""
    rules = {"fit": "cluster", "n_clusters": 4}
    lender = a_partition(tmp_path, "south|train", spatial_labels=rules)
    write_ndvi(lender, a_felled_wood(), days=MONTHS)
    ndvi_spatial_labels.make(lender)
    rules |= {"model_from": ModelFrom(fold="south", split="train")}
    borrower = a_partition(tmp_path, spatial_labels=rules)
    write_ndvi(borrower, a_felled_wood(), days=MONTHS, checksum="before")
    ndvi_spatial_labels.make(borrower)
    june = borrower.layout.ndvi_spatial_labels("north", "train", 0, str(MONTHS[5]))
    before = {path: path.read_bytes() for path in (june, model_of(june))}
    write_ndvi(borrower, a_felled_wood(), days=MONTHS, checksum="now")
    ndvi_spatial_labels.make(borrower)
    assert not ndvi_label_changes.make(borrower)["empty"]

    for path, content in before.items():  # a kill came before June
        path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"{june}: is of another state of .*mater"):
        ndvi_label_changes.make(borrower)


def test_temporal_labels_of_a_cube_of_before_are_found_beside_the_model_of_now(tmp_path):
    """A borrowed model is the same for both; a kill came after it and before the raster."""
    rules = {"n_clusters": 3}
    lender = a_partition(tmp_path, "south|train", temporal_labels=rules)
    write_ndvi(lender, a_felled_wood(), days=MONTHS)
    ndvi_temporal_labels.make(lender)
    rules |= {"model_from": ModelFrom(fold="south", split="train")}
    borrower = a_partition(tmp_path, temporal_labels=rules)
    write_ndvi(borrower, a_felled_wood(), days=MONTHS, checksum="before")
    ndvi_temporal_labels.make(borrower)
    raster = borrower.layout.ndvi_temporal_labels("north", "train", 0)
    before = raster.read_bytes()
    write_ndvi(borrower, a_felled_wood(), days=MONTHS, checksum="now")
    ndvi_temporal_labels.make(borrower)
    assert model_of_labels(raster)["inputs"] == {"ndvi_cube": "now"}
    raster.write_bytes(before)
    with pytest.raises(StorageError, match="was labelled by another model than the one beside it"):
        model_of_labels(raster)


def test_labels_smoothed_otherwise_are_not_followed_as_one_series(tmp_path):
    rules = {"fit": "cluster", "n_clusters": 4}
    plain, smooth = (
        a_partition(tmp_path, spatial_labels=rules | {"smooth_px": px}) for px in (0, 2)
    )
    write_ndvi(plain, a_felled_wood(), days=MONTHS)
    ndvi_spatial_labels.make(plain)
    june = plain.layout.ndvi_spatial_labels("north", "train", 0, str(MONTHS[5]))
    before = {path: path.read_bytes() for path in (june, model_of(june))}
    ndvi_spatial_labels.make(smooth)
    assert not ndvi_label_changes.make(smooth)["empty"]

    for path, content in before.items():  # a kill came before June
        path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"{june}: is of another smooth_px than .*mater"):
        ndvi_label_changes.make(smooth)


def test_temporal_labels_of_another_state_of_the_cube_are_not_compared_with(tmp_path, caplog):
    partition = made(tmp_path)
    ndvi_temporal_labels.make(partition)
    write_ndvi(partition, a_felled_wood(), days=MONTHS, checksum="now")
    ndvi_spatial_labels.make(partition)
    ndvi_label_changes.make(partition)
    tables = read_json(model_of(partition.layout.ndvi_label_changes("north", "train", 0)))
    assert {date["adjusted_rand"] for date in tables["dates"]} == {None}
    assert "those that lie there are of another state of the cube" in caplog.text


class Killed(BaseException):
    """What ends a run between two files."""


def killed_between_model_and_raster(step, partition, monkeypatch):
    """Make labels of an area, but for the raster."""

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("geo_assets.storage.rasters.cog.write_cog", kill)
        with pytest.raises(Killed):
            step.make(partition)


@pytest.mark.parametrize(
    ("step", "rules", "raster"),
    [
        (ndvi_temporal_labels, {"temporal_labels": {"n_clusters": 2}}, "cluster-0.tif"),
        (
            ndvi_spatial_labels,
            {"spatial_labels": {"fit": "cluster", "n_clusters": 5}},
            "cluster-0/2021-01-15.tif",
        ),
    ],
    ids=["series", "dates"],
)
def test_labels_that_a_kill_left_beside_a_new_model_are_refused_and_reported(
    tmp_path, monkeypatch, step, rules, raster
):
    partition = made(tmp_path)
    ndvi_temporal_labels.make(partition)
    questions = {(each.asset, each.name): each.problems for each in QUESTIONS}
    problems = questions[step.name, "labels_are_of_their_model"]
    assert problems(partition.layout, "north", "train") == []

    again = a_partition(tmp_path, **rules)
    killed_between_model_and_raster(step, again, monkeypatch)

    with pytest.raises(
        StorageError, match=rf"{raster}: was labelled by another model than .*mater"
    ):
        ndvi_label_changes.make(partition)
    (row,) = problems(partition.layout, "north", "train")
    assert (row["raster"], row["clusters"]) == (raster, "another model")
    step.make(again)
    assert problems(partition.layout, "north", "train") == []
    ndvi_label_changes.make(partition)


def test_labels_from_before_they_said_their_model_are_made_again_first(tmp_path):
    partition = made(tmp_path)
    path = partition.layout.ndvi_spatial_labels("north", "train", 0, str(MONTHS[0]))
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as labels:
        assert len(labels.tags()[MODEL_TAG]) == 64
        labels.update_tags(**{MODEL_TAG: ""})
    with pytest.raises(StorageError, match="materialize its labels again"):
        ndvi_label_changes.make(partition)
