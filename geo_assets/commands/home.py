"""``geo-assets home``: a Dagster home that is ready before the first run needs it.

A fresh home that several processes open at once ends with a broken schema, so it is initialised
here, by one process, under a lock.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from geo_assets.errors import GeoAssetsError

HOME_VARIABLE = "DAGSTER_HOME"


def prepare_home(home: Path | None = None, settings: Path = Path("dagster.yaml")) -> Path:
    """Create and initialise a Dagster home; harmless where it exists.

    Args:
        home: The folder; by default what ``DAGSTER_HOME`` says.
        settings: The ``dagster.yaml`` to put there; without that file Dagster's defaults hold.

    Returns:
        The absolute path of the home.

    Raises:
        GeoAssetsError: If no home is named or it is not absolute.
    """
    from filelock import FileLock

    if home is None:
        named = os.environ.get(HOME_VARIABLE)
        if not named:
            raise GeoAssetsError(
                f"{HOME_VARIABLE} is not set; for example: "
                f'export {HOME_VARIABLE}="$PWD/.dagster_home"'
            )
        home = Path(named)
    if not home.is_absolute():
        raise GeoAssetsError(f"{HOME_VARIABLE}={str(home)!r}: Dagster wants an absolute path")
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".initialising.lock"):
        if settings.is_file():
            shutil.copyfile(settings, home / "dagster.yaml")
        _open_instance(home)
    return home


def _open_instance(home: Path) -> None:
    """Open the instance and each of its storages once: that creates and migrates their schemas."""
    from dagster import DagsterInstance

    with DagsterInstance.from_config(str(home)) as instance:
        instance.get_runs_count()
        instance.all_asset_keys()
        if instance.schedule_storage is not None:
            instance.schedule_storage.all_instigator_state()
