from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from geo_assets.commands.home import HOME_VARIABLE, prepare_home
from geo_assets.errors import GeoAssetsError

SETTINGS = "telemetry:\n  enabled: false\n"


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "dagster.yaml"
    path.write_text(SETTINGS)
    return path


@pytest.mark.usefixtures("settings")
def test_a_fresh_home_is_safe_with_six_processes_at_once(tmp_path):
    """Three of six died in a migration of the same new database."""
    home = tmp_path / "home"
    environment = os.environ | {HOME_VARIABLE: str(home)}
    script = "from geo_assets.commands.home import prepare_home; print(prepare_home())"
    command = [sys.executable, "-c", script]
    processes = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, outputs
    assert {output for output, _ in outputs} == {f"{home}\n"}
    assert (home / "dagster.yaml").read_text() == SETTINGS
    for database in (home / "history/runs.db", home / "schedules/schedules.db"):
        with sqlite3.connect(database) as connection:
            assert connection.execute("select count(*) from alembic_version").fetchone() == (1,)


def test_a_home_that_exists_stays_as_it_is(tmp_path, settings):
    home = prepare_home(tmp_path / "home", settings)
    database = home / "history/runs.db"
    with sqlite3.connect(database) as connection:
        tables = connection.execute("select name from sqlite_master order by name").fetchall()
    assert prepare_home(home, settings) == home
    with sqlite3.connect(database) as connection:
        again = connection.execute("select name from sqlite_master order by name").fetchall()
    assert again == tables


def test_new_settings_take_the_place_of_the_old_ones(tmp_path, settings):
    home = prepare_home(tmp_path / "home", settings)
    settings.write_text(SETTINGS + "# newer\n")
    prepare_home(home, settings)
    assert (home / "dagster.yaml").read_text() == SETTINGS + "# newer\n"


def test_settings_that_somebody_edited_are_kept(tmp_path, settings):
    home = prepare_home(tmp_path / "home", settings)
    mine = SETTINGS + "# mine\n"
    (home / "dagster.yaml").write_text(mine)
    settings.write_text(SETTINGS + "# newer\n")
    prepare_home(home, settings)
    assert (home / "dagster.yaml").read_text() == mine


def test_settings_that_were_there_before_are_kept(tmp_path, settings):
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("# mine\n")
    prepare_home(home, settings)
    assert (home / "dagster.yaml").read_text() == "# mine\n"


def test_a_home_may_be_the_folder_of_the_settings(tmp_path, settings):
    prepare_home(tmp_path, settings)
    assert settings.read_text() == SETTINGS


def test_without_settings_a_home_has_dagsters_own(tmp_path):
    home = prepare_home(tmp_path / "home", tmp_path / "absent.yaml")
    assert not (home / "dagster.yaml").exists()
    assert (home / "history/runs.db").is_file()


def test_a_home_that_is_not_absolute_is_refused(monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, ".dagster_home")
    with pytest.raises(GeoAssetsError, match=r"DAGSTER_HOME='\.dagster_home': Dagster wants an"):
        prepare_home()


@pytest.mark.parametrize("name", ["home", "demo"])
def test_without_a_name_the_command_says_how_to_give_one(command, monkeypatch, name):
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    done = command(name)
    assert done.exit_code == 1
    assert done.stderr == (
        'Error: DAGSTER_HOME is not set; for example: export DAGSTER_HOME="$PWD/.dagster_home"\n'
    )


def test_a_home_where_no_folder_can_be_is_refused(tmp_path, command, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "file/home"))
    done = command("home")
    assert done.exit_code == 1
    assert done.stderr == f"Error: DAGSTER_HOME='{tmp_path / 'file/home'}': Not a directory\n"


@pytest.mark.parametrize(
    ("settings", "told"),
    [("a: [", "while parsing"), ("- 1", "dictionary"), ("nonsense: 3", '"nonsense" at the root')],
)
def test_settings_that_dagster_refuses_are_told_in_a_line(
    tmp_path, command, monkeypatch, settings, told
):
    (tmp_path / "dagster.yaml").write_text(settings)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    done = command("home")
    assert done.exit_code == 1
    where = f"Error: DAGSTER_HOME='{tmp_path}': Dagster cannot open it; look at "
    assert done.stderr.startswith(where + str(tmp_path / "dagster.yaml"))
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_says_where_the_home_is(tmp_path, settings, command, monkeypatch):
    monkeypatch.chdir(settings.parent)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    assert command("home").output == f"Dagster home: {tmp_path / 'home'}\n"


def test_where_no_settings_lie_the_command_says_that_none_were_copied_and_what_to_do(
    tmp_path, command, monkeypatch
):
    home = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, str(home))
    done = command("home")
    assert (done.exit_code, done.stdout) == (0, f"Dagster home: {home}\n")
    assert done.stderr.startswith(
        f"Warning: no dagster.yaml lies in {tmp_path}, so none was copied"
    )
    assert f"or write {home / 'dagster.yaml'} yourself" in done.stderr
    (home / "dagster.yaml").write_text(SETTINGS)
    assert command("home").stderr == ""
