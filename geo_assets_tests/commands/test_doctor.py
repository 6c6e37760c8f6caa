from __future__ import annotations

import json
import os

import pytest
import rasterio

from geo_assets.commands.home import HOME_VARIABLE
from geo_assets.compute import COMPUTE_VARIABLE, WORKERS_VARIABLE
from geo_assets.resources import DATA_VARIABLE
from geo_assets.sources.earth_engine.credentials import (
    KEY_VARIABLE,
    PROJECT_VARIABLE,
    URL_VARIABLE,
)
from geo_assets_tests.campaign_testing import ABSENT
from geo_assets_tests.dask_processes import dask_processes
from geo_assets_tests.small_world import write_world


@pytest.fixture
def examined(tmp_path, command, monkeypatch):
    """Examine the small world with changes; return exit code and lines by (grade, what)."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(home))

    def run(changes=None, before=lambda: None):
        write_world(tmp_path, changes)
        before()
        done = command("doctor", "--campaign", tmp_path / "tiny.yaml")
        assert "Traceback" not in done.output
        *lines, end = [line for line in done.output.splitlines() if line]
        return done.exit_code, [line[:8].strip() + " " + line[8:] for line in lines], end

    return run


def _errors(lines):
    return [line.removeprefix("error ") for line in lines if line.startswith("error ")]


def test_a_sound_campaign_is_ready(tmp_path, examined):
    code, lines, end = examined()
    assert (code, end) == (0, "Ready.")
    assert lines[0] == "ok campaign: tiny: Two folds and two splits of nearly nothing"
    assert lines[1].startswith("ok areas: 5 polygons: north|test 1, north|train 1, ")
    assert lines[2] == "ok classes: 1 oat, 2 rye"
    assert lines[3] == "ok imagery: image.tif: 2 bands, 64 × 96, EPSG:32633"
    assert lines[4].startswith(f"ok results: {tmp_path / 'data/tiny'}, ")
    assert lines[5] == "ok compute: threads of one process"
    assert lines[6] == f"ok Dagster home: {tmp_path / 'home'}"
    assert not (tmp_path / "data").exists()


def test_a_missing_file_of_areas_is_named(tmp_path, examined):
    code, lines, end = examined({"areas.file": "fields.geojson"})
    assert (code, end) == (1, "1 error")
    assert _errors(lines) == [
        f"areas: no file {tmp_path / 'fields.geojson'}; paths are relative to the campaign"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"areas.split_column": "part"}, ("'part' is not one of its columns", "'split'")),
        ({"areas.class_column": "kind"}, ("'kind' is not one of its columns", "'crop'")),
        ({"splits": ["train", "test"]}, ("'validation'", "'train'")),
        ({"folds": ["north", "west"]}, ("'south'", "'west'")),
        ({"areas.classes": {"oat": 1}}, ("'rye'", "allowed are ['oat']")),
    ],
    ids=["split column", "class column", "unknown split", "unknown fold", "unknown class"],
)
def test_what_the_areas_lack_is_named(examined, changes, words, tmp_path):
    def every_polygon():
        write_world(tmp_path)
        write_campaign(tmp_path, CHANGES | changes)

    from geo_assets_tests.campaign_testing import write_campaign
    from geo_assets_tests.small_world import CHANGES

    code, lines, _ = examined(before=every_polygon)
    assert code == 1
    (error,) = _errors(lines)
    assert error.startswith("areas: areas.geojson: ")
    for word in words:
        assert word in error


def test_a_missing_raster_is_named(examined):
    code, lines, _ = examined({"imagery.file": "other.tif"})
    assert code == 1
    (error,) = _errors(lines)
    assert error.startswith("imagery: other.tif: ")


def test_a_band_that_the_raster_lacks_is_named(examined):
    code, lines, _ = examined({"composite.bands": ["B04", "B11"]})
    assert code == 1
    (error,) = _errors(lines)
    assert "'B11'" in error


def test_a_raster_without_crs_is_refused(tmp_path, examined):
    def without_crs():
        with rasterio.open(tmp_path / "image.tif") as raster:
            profile, data = raster.profile | {"crs": None}, raster.read()
        with rasterio.open(tmp_path / "image.tif", "w", **profile) as raster:
            raster.write(data)
            raster.descriptions = ("B04", "B08")

    code, lines, _ = examined(before=without_crs)
    assert code == 1
    (error,) = _errors(lines)
    assert "CRS" in error


def test_a_crs_that_is_none_is_refused(examined):
    code, lines, _ = examined({"grid.crs": "EPSG:99999"})
    assert (code, _errors(lines)) == (1, ["grid: grid.crs: no such CRS: EPSG:99999"])


def test_a_static_catalog_that_is_not_there_is_named(tmp_path, examined):
    changes = {"imagery": {"kind": "stac", "catalog": "stac/catalog.json"}}
    code, lines, _ = examined(changes)
    assert code == 1
    assert _errors(lines) == [f"imagery: no STAC catalog {tmp_path / 'stac/catalog.json'}"]


def test_signing_without_a_key_is_a_warning(examined, monkeypatch):
    monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
    url = "https://planetarycomputer.microsoft.com/api/stac/v1"
    changes = {"imagery": {"kind": "stac", "catalog": url, "signing": "planetary-computer"}}
    code, lines, _ = examined(changes)
    assert code == 0
    assert any(
        line.startswith("warning credentials: PC_SDK_SUBSCRIPTION_KEY is not") for line in lines
    )
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "hunter2")
    _, lines, _ = examined(changes)
    assert not any("credentials" in line or "hunter2" in line for line in lines)


NICFI = "projects/planet-nicfi/assets/basemaps/africa"
EARTH_ENGINE = {
    "imagery": {"kind": "earth-engine", "collection": NICFI, "cadence": "monthly"},
    "cube": None,
    "spatial_labels.n_clusters": 5,
    "temporal_labels": {},
}
CANARY = "canary-4f1d"


@pytest.fixture
def no_account(tmp_path, monkeypatch):
    """A person's home folder without any credentials, far from any cloud."""
    for variable in (PROJECT_VARIABLE, URL_VARIABLE, KEY_VARIABLE, "CLOUDSDK_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return tmp_path / "person"


def _token(path, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    token = {"client_id": "x", "client_secret": CANARY, "refresh_token": CANARY} | more
    path.write_text(json.dumps(token))
    return path


@pytest.mark.usefixtures("no_account")
def test_what_earth_engine_lacks_is_told_with_the_way_to_get_it(examined):
    code, lines, _ = examined(EARTH_ENGINE)
    assert code == 1
    project, credentials = _errors(lines)
    assert project.startswith(f"project: {PROJECT_VARIABLE} is not set: ")
    assert "https://code.earthengine.google.com/register" in project
    assert credentials.startswith("credentials: no Earth Engine credentials found. Run `earthen")
    assert KEY_VARIABLE in credentials
    assert f"ok imagery: Earth Engine, {NICFI}, cadence monthly" in lines
    assert "ok service: https://earthengine-highvolume.googleapis.com" in lines


def test_credentials_are_named_by_their_kind_and_never_shown(examined, no_account, monkeypatch):
    monkeypatch.setenv(PROJECT_VARIABLE, "my-project")
    _token(no_account / ".config/earthengine/credentials")
    code, lines, end = examined(EARTH_ENGINE | {"imagery.endpoint": "standard"})
    assert (code, end) == (0, "Ready.")
    assert "ok project: my-project" in lines
    assert "ok service: https://earthengine.googleapis.com" in lines
    assert "ok credentials: token of `earthengine authenticate`" in lines
    assert (
        "ok requests: up to 38 in flight and 90 a second, for all runs on this machine together"
    ) in lines
    assert not any(CANARY in line for line in lines)


def test_a_stated_file_of_credentials_comes_first(examined, no_account, monkeypatch):
    monkeypatch.setenv(PROJECT_VARIABLE, "my-project")
    _token(no_account / ".config/earthengine/credentials")
    monkeypatch.setenv(
        KEY_VARIABLE, str(_token(no_account / "stated.json", type="authorized_user"))
    )
    _, lines, _ = examined(EARTH_ENGINE)
    assert f"ok credentials: authorized user of {KEY_VARIABLE}" in lines


@pytest.mark.parametrize("content", [None, CANARY, f'{{"type": "{CANARY}"}}'])
def test_a_stated_file_that_is_no_key_is_an_error(examined, no_account, monkeypatch, content):
    no_account.mkdir()
    if content is not None:
        (no_account / "key.json").write_text(content)
    monkeypatch.setenv(PROJECT_VARIABLE, "my-project")
    monkeypatch.setenv(KEY_VARIABLE, str(no_account / "key.json"))
    code, lines, _ = examined(EARTH_ENGINE)
    assert code == 1
    (error,) = _errors(lines)
    assert error.startswith(f"credentials: {KEY_VARIABLE} names the file key.json, which ")
    assert CANARY not in error


@pytest.mark.usefixtures("no_account")
def test_a_service_on_loopback_needs_no_credentials(examined, monkeypatch):
    monkeypatch.setenv(PROJECT_VARIABLE, "try-it")
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:8765/")
    code, lines, _ = examined(EARTH_ENGINE)
    assert code == 0
    assert "ok service: http://127.0.0.1:8765" in lines
    assert "ok credentials: none, as on loopback" in lines


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"imagery.cadence": ABSENT}, "imagery: imagery.cadence is not set: monthly and biannual"),
        ({"imagery.concurrency": 39}, "requests: imagery.concurrency: 39 may exceed the service"),
        ({"cube": {}}, "cube: has no effect: Earth Engine gives chips, no cubes"),
        ({"land_cover": {}}, "land_cover: has no effect: Earth Engine gives chips, no composites"),
        ({"chips.size": 2500}, "chips: chips.size: of pixels of 4 bytes, a request of 2500 x 2500"),
    ],
    ids=["cadence", "concurrency", "cube", "land cover", "size"],
)
@pytest.mark.usefixtures("no_account")
def test_what_is_allowed_but_unwise_is_a_warning(examined, monkeypatch, changes, words):
    monkeypatch.setenv(PROJECT_VARIABLE, "try-it")
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:8765")
    code, lines, _ = examined(EARTH_ENGINE | changes)
    assert code == 0
    (warning,) = [line for line in lines if line.startswith("warning ")]
    assert warning.startswith(f"warning {words}")
    _, lines, _ = examined(EARTH_ENGINE)
    assert not any(line.startswith("warning ") for line in lines)


@pytest.mark.parametrize(
    "changes",
    [
        {"chips.size": 4096, "composite.bands": ["B", "G", "R"]},
        {"chips.size": 2500, "composite.dtype": "float32"},
    ],
)
@pytest.mark.usefixtures("no_account")
def test_a_chip_that_no_request_may_ask_for_is_an_error(examined, changes):
    code, lines, _ = examined(EARTH_ENGINE | changes)
    assert code == 1
    assert any("chips: chips.size: a request of" in line for line in _errors(lines))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cube": None}, "temporal_labels makes nothing without a section 'cube'"),
        (
            {
                "clusters.count": 2,
                "temporal_labels.model_from": {"fold": "north", "split": "train"},
            },
            "temporal_labels.model_from names no cluster; if north|train has several, each with",
        ),
    ],
)
def test_label_rules_that_will_not_do_as_they_stand_are_a_warning(examined, changes, told):
    code, lines, _ = examined(changes)
    assert code == 0
    assert any(line.startswith(f"warning labels: {told}") for line in lines)


def test_results_that_cannot_be_written_are_an_error(tmp_path, examined, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "file"))
    code, lines, _ = examined()
    assert (code, _errors(lines)) == (
        1,
        [f"results: GEO_ASSETS_DATA: cannot write below {tmp_path / 'file'}: Not a directory"],
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_without_permission_are_an_error(tmp_path, examined, monkeypatch):
    (tmp_path / "closed").mkdir(mode=0o500)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "closed/data"))
    code, lines, _ = examined()
    assert (code, _errors(lines)) == (
        1,
        [f"results: GEO_ASSETS_DATA: cannot write below {tmp_path / 'closed'}: Permission denied"],
    )


@pytest.mark.parametrize(
    ("home", "code", "line"),
    [
        (None, 0, "warning Dagster home: DAGSTER_HOME is not set, runs will be forgotten: export "),
        (".dagster_home", 1, "error Dagster home: DAGSTER_HOME='.dagster_home' must be absolute"),
        (
            "/nowhere",
            0,
            "warning Dagster home: /nowhere holds no dagster.yaml; run geo-assets home",
        ),
    ],
)
def test_a_home_that_is_not_ready_is_told(examined, monkeypatch, home, code, line):
    if home is None:
        monkeypatch.delenv(HOME_VARIABLE)
    else:
        monkeypatch.setenv(HOME_VARIABLE, home)
    found, lines, _ = examined()
    assert found == code
    assert lines[-1].startswith(line)


def test_brackets_are_shown_as_they_are(examined):
    """Rich once took [green] of a title for a colour."""
    _, lines, _ = examined({"title": "fields [green] of [north]"})
    assert lines[0] == "ok campaign: tiny: fields [green] of [north]"


@pytest.mark.parametrize("name", ["demo"])
def test_the_demo_is_ready_before_its_archive_is_written(command, name, tmp_path, monkeypatch):
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    done = command("doctor", "-c", name)
    assert done.exit_code == 0
    assert "areas: come with the simulated archive, written at first use" in done.output
    assert not (tmp_path / "data").exists()


def test_a_campaign_without_its_files_is_not_ready(command):
    done = command("doctor", "-c", "cashew")
    assert done.exit_code == 1
    assert done.output.count("no file ") == 3


RETIRED = {
    "imagery": {
        "kind": "stac",
        "catalog": "https://earth-search.aws.element84.com/v0",
        "collections": ["sentinel-s2-l2a-cogs"],
    }
}


def test_retired_names_are_told_with_those_of_today(examined, monkeypatch):
    monkeypatch.delenv("STAC_API_URL", raising=False)
    code, lines, _ = examined(RETIRED)
    assert code == 0
    today = "https://earth-search.aws.element84.com/v1"
    for line in (
        f"warning imagery: https://earth-search.aws.element84.com/v0 has retired: {today} is asked",
        "warning imagery: collection sentinel-s2-l2a-cogs has retired: sentinel-2-l2a is searched",
        f"ok imagery: STAC at {today}, asked when a run starts",
    ):
        assert line in lines


def test_another_api_of_the_environment_is_told(examined, monkeypatch):
    monkeypatch.setenv("STAC_API_URL", "http://127.0.0.1:9")
    _, lines, _ = examined(RETIRED)
    assert "ok imagery: STAC at http://127.0.0.1:9, asked when a run starts" in lines
    assert any(line.startswith("warning imagery: STAC_API_URL is set: ") for line in lines)
    monkeypatch.setenv("STAC_API_URL", "https://me:hunter2@example.org")
    code, lines, _ = examined(RETIRED)
    assert code == 1
    (error,) = _errors(lines)
    assert error.startswith("imagery: STAC_API_URL: must be")
    assert "hunter2" not in "".join(lines)


def test_what_env_sets_is_told_by_name_alone(tmp_path, examined, monkeypatch):
    monkeypatch.setenv("STAC_API_URL", "")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")

    def write_env():
        (tmp_path / ".env").write_text("AWS_SECRET_ACCESS_KEY=hunter2\nSTAC_API_URL=http://a\n")

    _, lines, _ = examined(before=write_env)
    assert "ok environment: .env sets AWS_SECRET_ACCESS_KEY, STAC_API_URL" in lines
    assert "".join(lines).count("environment") == 1
    assert "hunter2" not in "".join(lines)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    _, lines, _ = examined()
    path = tmp_path / ".env"
    assert f"ok environment: {path} sets AWS_SECRET_ACCESS_KEY, STAC_API_URL" in lines


@pytest.mark.parametrize(("name", "polygons"), [("timberlea", 1), ("doeberitz", 2)])
def test_the_packaged_campaigns_bring_their_areas(command, monkeypatch, name, polygons):
    monkeypatch.delenv("STAC_API_URL", raising=False)
    done = command("doctor", "--campaign", name)
    assert done.exit_code == 0
    assert f"areas: {polygons} polygons: all|all {polygons}" in done.output
    assert "STAC at https://" in done.output


def _compute(lines):
    (line,) = [line for line in lines if " compute: " in line]
    return line


def test_a_local_cluster_is_told_but_not_started(examined, monkeypatch):
    monkeypatch.setenv(COMPUTE_VARIABLE, "local")
    monkeypatch.setenv(WORKERS_VARIABLE, "3")
    assert _compute(examined()[1]) == (
        "ok compute: 3 local Dask worker processes, started for each asset"
    )


def test_a_cluster_says_who_is_there(tmp_path, examined, monkeypatch):
    with dask_processes(tmp_path / "dask") as cluster:
        monkeypatch.setenv(COMPUTE_VARIABLE, cluster.address)
        code, lines, _ = examined()
    assert code == 0
    assert _compute(lines).startswith(
        f"ok compute: Dask scheduler {cluster.address}: 2 workers with 2 threads, least memory of "
        "a worker 2.0 GiB, same versions (distributed "
    )


def test_a_scheduler_that_is_not_there_is_an_error(examined, monkeypatch):
    monkeypatch.setattr("geo_assets.dask_cluster.CONNECT_S", 1.0)
    monkeypatch.setenv(COMPUTE_VARIABLE, "tcp://127.0.0.1:9")
    code, lines, _ = examined()
    assert code == 1
    assert _errors(lines) == [
        "compute: GEO_ASSETS_COMPUTE=tcp://127.0.0.1:9: no Dask scheduler answers there within 1 s"
    ]


def test_a_wrong_word_for_compute_is_an_error(examined, monkeypatch):
    monkeypatch.setenv(COMPUTE_VARIABLE, "dask")
    assert _errors(examined()[1])[0].startswith("compute: GEO_ASSETS_COMPUTE='dask': allowed are")


def test_dask_that_is_not_installed_is_an_error_with_its_remedy(examined, monkeypatch):
    monkeypatch.setattr("geo_assets.compute.find_spec", lambda _: None)
    monkeypatch.setenv(COMPUTE_VARIABLE, "local")
    assert "".join(_errors(examined()[1])) == (
        "compute: GEO_ASSETS_COMPUTE asks for Dask, and dask and distributed cannot be imported: "
        "pip install 'geo-assets[dask]'"
    )
