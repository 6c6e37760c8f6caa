from __future__ import annotations

import numpy as np
import pytest
import rasterio
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geo_assets.assets.land_cover import land_cover_labels
from geo_assets.campaign_labels import LandCoverLabels, ModelFrom
from geo_assets.core.indices import normalized_difference
from geo_assets.errors import ClusteringError, StorageError
from geo_assets.products.labels import areas
from geo_assets.storage.atomic import sha256_of
from geo_assets.storage.layout import k_report_of, model_of
from geo_assets.storage.rasters.cog import LABEL_BAND, write_cog
from geo_assets.storage.scenes import write_scenes
from geo_assets_tests.assets.label_cases import GRID, a_partition, read_json, read_labels
from geo_assets_tests.sources.scene_testing import item_of

BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
NORTH_TRAIN = ModelFrom(fold="north", split="train")
SPECTRA = np.array(
    [
        [300, 400, 350, 300, 150, 100],  # water
        [300, 600, 400, 4500, 2000, 1000],  # vegetation
        [900, 1200, 1600, 2200, 3000, 2600],  # soil
    ]
)


def a_land_cover_partition(folder, key="north|train", **rules):
    partition = a_partition(folder, key)
    given = {"n_clusters": 3} | rules
    campaign = partition.campaign.model_copy(update={"land_cover": LandCoverLabels(**given)})
    object.__setattr__(partition, "campaign", campaign)
    return partition


def an_image(seed=0, noise=60, spectra=SPECTRA):
    """Three covers in stripes, and which is which."""
    rng = np.random.default_rng(seed)
    cover = np.indices(GRID.shape.yx)[1] * 3 // GRID.shape.x
    pixels = spectra[cover].transpose(2, 0, 1) + rng.normal(0, noise, (6, *GRID.shape.yx))
    return np.clip(pixels, 1, 65_000).astype(np.uint16), cover


def write_image(partition, pixels, cluster=0, *, valid=None, labels=0, bands=BANDS):
    path = partition.layout.composite_image(partition.fold, partition.split, cluster)
    path.parent.mkdir(parents=True, exist_ok=True)
    band = np.broadcast_to(np.asarray(labels, pixels.dtype), pixels.shape[1:])
    write_cog(
        path,
        np.concatenate([pixels, band[None]]),
        GRID,
        valid=np.ones(GRID.shape.yx, bool) if valid is None else valid,
        band_names=[*bands, LABEL_BAND],
    )
    return path


def _scene_of_scale(scale):
    raster = {"raster:bands": [{"scale": scale}]}
    assets = {band: {"href": f"/scenes/{band}.tif"} | raster for band in BANDS}
    return item_of(assets, GRID, id="S", datetime="2021-06-01T10:00:00Z")


def of(partition, cluster=0):
    return partition.layout.land_cover_labels(partition.fold, partition.split, cluster)


def test_covers_are_found_from_bands_and_indices(tmp_path):
    partition = a_land_cover_partition(tmp_path, indices=("NDVI", "NDWI"))
    pixels, cover = an_image()
    valid = np.ones(GRID.shape.yx, bool)
    valid[:7] = False
    image = write_image(partition, pixels, valid=valid)

    facts = land_cover_labels.make(partition)

    with rasterio.open(of(partition)) as raster:
        labels = raster.read(1)
        assert raster.nodata == 0
        assert raster.tags()["TIFFTAG_COPYRIGHT"] == "CC0-1.0"
        assert raster.tags()["TIFFTAG_ARTIST"] == "Simulated by geo_assets"
    assert ((labels > 0) == valid).all()
    assert adjusted_rand_score(cover[valid], labels[valid]) == 1.0
    model = read_json(model_of(of(partition)))
    assert model["features"] == [*BANDS, "NDVI", "NDWI"]
    assert model["units"] == ["uint16"] * 6 + ["1", "1"]
    assert model["inputs"] == {"composite_image": f"sha256:{sha256_of(image)}"}
    assert model["seed"] == partition.campaign.seed
    ndvi = normalized_difference(pixels[3], pixels[2])
    for k in (1, 2, 3):
        mine = labels == k
        center = model["centers"][k - 1]
        np.testing.assert_allclose(center[:6], pixels[:, mine].mean(axis=1), rtol=1e-3)
        assert center[6] == pytest.approx(ndvi[mine].mean(), abs=1e-3)
    assert facts["rasters"] == 1
    assert {"preview", "masks", "rebuilt", "spectra"} <= set(facts)


def test_labels_are_as_good_as_those_of_scikit_learn(tmp_path):
    partition = a_land_cover_partition(tmp_path, n_clusters=6, scaling="standard")
    pixels, _ = an_image(noise=400)
    write_image(partition, pixels)
    land_cover_labels.make(partition)
    model = read_json(model_of(of(partition)))
    flat = pixels.reshape(6, -1).T.astype(float)
    scaled = (flat - flat.mean(axis=0)) / flat.std(axis=0)
    peer = KMeans(6, n_init=20, random_state=0).fit(scaled)
    assert model["inertia"] <= peer.inertia_ * 1.001


def test_values_beyond_127_do_not_wrap(tmp_path):
    """S2 cast its 0 to 255 to int8: what was above 127 came out as dark as what was below."""
    pixels = np.full((6, *GRID.shape.yx), 100, np.uint16)
    pixels[:, :, 40:] = 200
    wrapped = pixels.astype(np.uint8).astype(np.int8)
    assert wrapped[0, 0, 40] < wrapped[0, 0, 0]  # the fault, as it was
    partition = a_land_cover_partition(tmp_path, n_clusters=2)
    write_image(partition, pixels)

    land_cover_labels.make(partition)

    labels = read_labels(of(partition))
    assert (labels[:, :40] == 1).all()
    assert (labels[:, 40:] == 2).all()


def test_the_brightest_band_does_not_rule(tmp_path):
    """S2 stretched all bands by one minimum and maximum: here the brightest band is mere noise."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(0, 12, (6, *GRID.shape.yx)) + 300
    cover = (np.indices(GRID.shape.yx)[1] >= 40).astype(int)
    pixels[:5] += 100 * cover
    pixels[5] = rng.choice([2000, 60_000], GRID.shape.yx)
    pixels = pixels.astype(np.uint16)
    spread = np.ptp(pixels)
    stretched = ((pixels - pixels.min()) / spread * 255).reshape(6, -1).T
    theirs = KMeans(2, n_init=5, random_state=0).fit_predict(stretched)
    assert adjusted_rand_score(cover.ravel(), theirs) < 0.1  # the fault, as it was
    partition = a_land_cover_partition(tmp_path, n_clusters=2)
    write_image(partition, pixels)

    land_cover_labels.make(partition)

    assert adjusted_rand_score(cover.ravel(), read_labels(of(partition)).ravel()) == 1.0


def test_the_label_band_is_never_a_feature(tmp_path):
    pixels, _ = an_image()
    plain, labelled = a_land_cover_partition(tmp_path / "0"), a_land_cover_partition(tmp_path / "1")
    write_image(plain, pixels)
    write_image(labelled, pixels, labels=np.indices(GRID.shape.yx)[0] % 200)
    for partition in (plain, labelled):
        land_cover_labels.make(partition)
    np.testing.assert_array_equal(read_labels(of(plain)), read_labels(of(labelled)))


def test_a_pixel_whose_index_means_nothing_has_no_label(tmp_path):
    partition = a_land_cover_partition(tmp_path, indices=("NDVI",))
    pixels, _ = an_image()
    pixels[2:4, :3, :3] = 0
    write_image(partition, pixels)
    land_cover_labels.make(partition)
    labels = read_labels(of(partition))
    assert (labels[:3, :3] == 0).all()
    assert (labels > 0).sum() == labels.size - 9


def test_a_composite_of_other_bands_is_refused(tmp_path):
    partition = a_land_cover_partition(tmp_path)
    write_image(partition, an_image()[0], bands=("B01", *BANDS[1:]))
    with pytest.raises(ClusteringError, match=r"its bands are .*'B01'.* materialize composite_im"):
        land_cover_labels.make(partition)


def test_the_model_of_train_labels_test(tmp_path):
    train = a_land_cover_partition(tmp_path, model_from=NORTH_TRAIN, fit="partition")
    test = a_land_cover_partition(tmp_path, "south|test", model_from=NORTH_TRAIN, fit="partition")
    write_image(train, an_image(0)[0], 0)
    write_image(train, an_image(1)[0], 1)
    pixels, cover = an_image(2)
    write_image(test, pixels)

    land_cover_labels.make(train)
    land_cover_labels.make(test)

    models = [read_json(model_of(path)) for path in (of(train), of(train, 1), of(test))]
    assert models[0]["centers"] == models[1]["centers"] == models[2]["centers"]
    assert adjusted_rand_score(cover.ravel(), read_labels(of(test)).ravel()) == 1.0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"indices": ("NDVI",)}, "features differ: .*'B12'], .*'NDVI'"),
        ({"scaling": "standard"}, "scaling differ: .* robust, .* standard"),
        ({"n_clusters": 4}, "n_clusters differ: .* 3, .* 4"),
    ],
)
def test_a_model_of_other_features_is_refused_by_field(tmp_path, change, field):
    train = a_land_cover_partition(tmp_path, model_from=NORTH_TRAIN)
    write_image(train, an_image()[0])
    land_cover_labels.make(train)
    test = a_land_cover_partition(tmp_path, "south|test", model_from=NORTH_TRAIN, **change)
    write_image(test, an_image()[0])
    with pytest.raises(ClusteringError, match=field):
        land_cover_labels.make(test)


def test_a_model_of_one_scale_does_not_label_another(tmp_path):
    train = a_land_cover_partition(tmp_path, model_from=NORTH_TRAIN)
    test = a_land_cover_partition(tmp_path, "south|test", model_from=NORTH_TRAIN)
    for partition, scale in ((train, 0.0001), (test, 0.001)):
        write_image(partition, an_image()[0])
        path = partition.layout.scenes(partition.fold, partition.split)
        write_scenes(path, [_scene_of_scale(scale)], [0])
    land_cover_labels.make(train)
    with pytest.raises(ClusteringError, match=r"band_scales differ: .*'0\.0001'.*'0\.001'"):
        land_cover_labels.make(test)


def test_a_model_of_integers_does_not_label_floats(tmp_path):
    train = a_land_cover_partition(tmp_path, model_from=NORTH_TRAIN)
    write_image(train, an_image()[0])
    land_cover_labels.make(train)
    test = a_land_cover_partition(tmp_path, "south|test", model_from=NORTH_TRAIN)
    write_image(test, (an_image()[0] / 10_000).astype(np.float32))
    with pytest.raises(ClusteringError, match=r"units differ: .*'uint16'.*'float32'"):
        land_cover_labels.make(test)


def test_a_composite_without_pixels_does_not_keep_others_from_one_model(tmp_path):
    """Nothing could be read of it, so that its dtype is a guess."""
    partition = a_land_cover_partition(tmp_path, fit="partition")
    pixels = an_image()[0]
    write_image(partition, pixels, valid=np.zeros(GRID.shape.yx, bool))
    write_image(partition, (pixels / 10_000).astype(np.float32), 1)
    facts = land_cover_labels.make(partition)
    assert facts["rasters"] == 1
    notes = {row.data["area"]: row.data["note"] for row in facts["table"].records}
    assert notes == {"cluster-0": "no pixel has all features", "cluster-1": ""}


def test_an_area_without_pixels_keeps_no_other_from_a_borrowed_model(tmp_path):
    train = a_land_cover_partition(tmp_path, model_from=NORTH_TRAIN)
    test = a_land_cover_partition(tmp_path, "south|test", model_from=NORTH_TRAIN)
    write_image(train, an_image(0)[0])
    write_image(test, an_image(1)[0])
    guessed = (an_image(2)[0] / 10_000).astype(np.float32)
    write_image(test, guessed, 1, valid=np.zeros(GRID.shape.yx, bool))
    land_cover_labels.make(train)
    facts = land_cover_labels.make(test)
    notes = {row.data["area"]: row.data["note"] for row in facts["table"].records}
    assert notes == {"cluster-0": "", "cluster-1": "no pixel has all features"}


def test_clusters_that_are_not_chosen_keep_the_scales_of_their_scenes(tmp_path):
    partition = a_land_cover_partition(tmp_path, fit="partition")
    path = partition.layout.scenes(partition.fold, partition.split)
    items = [_scene_of_scale(0.0001)] * 2
    for cluster in (0, 1):
        write_image(partition, an_image(cluster)[0], cluster)
    write_scenes(path, items, [0, 1])
    land_cover_labels.make(partition)
    before = [read_json(model_of(of(partition, cluster)))["band_scales"] for cluster in (0, 1)]
    assert before[1] == {band: ["0.0001"] for band in BANDS}

    chosen = partition.campaign.clusters.model_copy(update={"only": [0]})
    campaign = partition.campaign.model_copy(update={"clusters": chosen})
    object.__setattr__(partition, "campaign", campaign)
    write_scenes(path, items[:1], [0])
    land_cover_labels.make(partition)
    after = [read_json(model_of(of(partition, cluster)))["band_scales"] for cluster in (0, 1)]
    assert after == before


def test_integers_and_floats_are_not_pooled(tmp_path):
    partition = a_land_cover_partition(tmp_path, fit="partition")
    pixels = an_image()[0]
    write_image(partition, pixels)
    write_image(partition, (pixels / 10_000).astype(np.float32), 1)
    with pytest.raises(ClusteringError, match=r"units differ: cluster-0 .*'uint16'.* cluster-1 "):
        land_cover_labels.make(partition)


def test_a_composite_that_is_replaced_meanwhile_is_not_labelled_half(tmp_path, monkeypatch):
    partition = a_land_cover_partition(tmp_path)
    write_image(partition, an_image()[0])
    label = areas.label_area

    def label_another(*arguments):
        write_image(partition, an_image(seed=5)[0])
        return label(*arguments)

    monkeypatch.setattr(areas, "label_area", label_another)
    with pytest.raises(StorageError, match=r"cluster-0\.tif: changed while its labels were made"):
        land_cover_labels.make(partition)
    assert not of(partition).exists()


def test_auto_reports_on_each_k(tmp_path):
    partition = a_land_cover_partition(tmp_path, n_clusters="auto", k_range=(2, 5))
    write_image(partition, an_image()[0])
    land_cover_labels.make(partition)
    report = read_json(k_report_of(of(partition)))
    assert report["chosen"] == 3
    assert [row["k"] for row in report["rows"]] == [2, 3, 4, 5]


def test_more_clusters_than_distinct_pixels_fail_by_name(tmp_path):
    partition = a_land_cover_partition(tmp_path)
    write_image(partition, np.full((6, *GRID.shape.yx), 500, np.uint16))
    with pytest.raises(
        ClusteringError,
        match=r"land_cover_labels north\|train: no raster .* 3 clusters asked of 1 distinct",
    ):
        land_cover_labels.make(partition)


def test_a_composite_without_a_pixel_fails_by_name(tmp_path):
    partition = a_land_cover_partition(tmp_path)
    write_image(partition, an_image()[0], valid=np.zeros(GRID.shape.yx, bool))
    with pytest.raises(ClusteringError, match="cluster-0: no pixel has all features"):
        land_cover_labels.make(partition)


@pytest.mark.parametrize("fit", ["cluster", "partition"])
def test_a_partition_without_composites_is_an_empty_success(tmp_path, fit):
    facts = land_cover_labels.make(a_land_cover_partition(tmp_path, fit=fit))
    assert facts["empty"]
    assert facts["rasters"] == 0
