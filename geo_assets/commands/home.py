"""``geo-assets home``: a Dagster home that is ready before the first run needs it.

A fresh home that several processes open at once ends with a broken schema, so it is initialised
here, by one process, under a lock.
"""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from geo_assets.errors import GeoAssetsError
from geo_assets.storage.atomic import publish_bytes, sha256_of

HOME_VARIABLE = "DAGSTER_HOME"
SETTINGS = "dagster.yaml"

_TOLD = 400
"""Letters of an error of Dagster that are shown: it may list every setting there is."""

_STAMP = ".dagster.yaml.sha256"
"""Says which settings were put there, so that a user's own are told apart and left alone."""


def prepare_home(home: Path | None = None, settings: Path = Path(SETTINGS)) -> Path:
    """Create and initialise a Dagster home; harmless where it exists.

    Args:
        home: The folder; by default what ``DAGSTER_HOME`` says.
        settings: The ``dagster.yaml`` to put there; without that file Dagster's defaults hold.
            Settings that somebody edited in the home stay as they are.

    Returns:
        The absolute path of the home.

    Raises:
        GeoAssetsError: If no home is named, it is not absolute, no folder can be made there, or
            Dagster cannot open it.
    """
    from filelock import FileLock

    home = named_home() if home is None else home
    if not home.is_absolute():
        raise GeoAssetsError(f"{HOME_VARIABLE}={str(home)!r}: Dagster wants an absolute path")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / ".initialising.lock")
        with lock:
            if settings.is_file():
                _put_settings(settings, home)
            _open_instance(home)
    except OSError as error:
        raise GeoAssetsError(f"{HOME_VARIABLE}={str(home)!r}: {error.strerror or error}") from error
    return home


def missing_settings(home: Path) -> str | None:
    """Return what to do about a home that holds no settings, None if it holds some."""
    if (home / SETTINGS).is_file():
        return None
    return (
        f"no {SETTINGS} lies in {Path.cwd()}, so none was copied and Dagster's own settings hold, "
        "telemetry among them; run geo-assets home where one lies, as in a clone, or write "
        f"{home / SETTINGS} yourself"
    )


def named_home() -> Path:
    """Return the folder that ``DAGSTER_HOME`` names.

    Raises:
        GeoAssetsError: If it names none.
    """
    named = os.environ.get(HOME_VARIABLE)
    if not named:
        raise GeoAssetsError(
            f'{HOME_VARIABLE} is not set; for example: export {HOME_VARIABLE}="$PWD/.dagster_home"'
        )
    return Path(named)


def _put_settings(settings: Path, home: Path) -> None:
    """Copy the settings, unless those in the home are no longer the ones put there before."""
    target, stamp = home / SETTINGS, home / _STAMP
    if target.exists() and target.samefile(settings):
        return
    ours = stamp.read_text(encoding="utf-8") if stamp.is_file() else ""
    if target.exists() and sha256_of(target) not in {ours, sha256_of(settings)}:
        return
    publish_bytes(target, settings.read_bytes())
    publish_bytes(stamp, sha256_of(target).encode())


def _open_instance(home: Path) -> None:
    """Open the instance and each of its storages once: that creates and migrates their schemas."""
    from dagster import DagsterInstance

    try:
        with DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs_count()
            instance.all_asset_keys()
            if instance.schedule_storage is not None:
                instance.schedule_storage.all_instigator_state()
    except OSError:
        raise
    except Exception as error:  # of YAML, of Dagster's configuration, of databases
        told = textwrap.shorten(str(error), _TOLD)
        raise GeoAssetsError(
            f"{HOME_VARIABLE}={str(home)!r}: Dagster cannot open it; look at {home / SETTINGS}: "
            f"{told}"
        ) from error
