"""Errors come back from other processes as they were raised there."""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil

import pytest

import geo_assets
from geo_assets.errors import GeoAssetsError, ReadError
from geo_assets.sources.scenes.failures import RemoteReadError


def sent(error):
    """An error as another process gets it."""
    return pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes


def every_kind():
    for module in pkgutil.walk_packages(geo_assets.__path__, "geo_assets."):
        if not module.name.startswith("geo_assets.definitions"):
            importlib.import_module(module.name)
    found, new = {GeoAssetsError}, {GeoAssetsError}
    while new:
        new = {kind for known in new for kind in known.__subclasses__()} - found
        found |= new
    return sorted(
        (kind for kind in found if kind.__module__.startswith("geo_assets.")),
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_between_processes(kind):
    parameters = inspect.signature(kind.__init__).parameters.values()
    required = {
        parameter.name: "transient"
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    }
    error = kind("what happened", **required)
    back = sent(error)
    assert type(back) is kind
    assert str(back) == str(error)
    assert back.args == error.args
    assert vars(back) == vars(error)


def test_what_a_failed_read_knows_comes_along():
    error = RemoteReadError("gone", kind="permanent", scene_id="S2A", status=404, retry_after_s=3.0)
    error.add_note("said on the way")
    back = sent(error)
    assert (back.kind, back.scene_id) == ("permanent", "S2A")
    assert (back.status, back.retry_after_s) == (404, 3.0)
    assert back.__notes__ == ["said on the way"]
    assert isinstance(back, ReadError)
