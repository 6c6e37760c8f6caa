"""The API's description and its list of algorithms, as the installed client ships them.

Both lie among the client's own tests, an undocumented place: a client without them gives an
error that says so. Signatures therefore always agree with the client that asks.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from pathlib import Path


class DiscoveryMissingError(RuntimeError):
    """The installed client does not ship its discovery documents."""


def _packaged(name: str) -> bytes:
    # Located without importing the package, which takes a second and 50 MB.
    spec = importlib.util.find_spec("ee")
    if spec is None or not spec.submodule_search_locations:
        raise DiscoveryMissingError("package 'earthengine-api' is not installed")
    path = Path(spec.submodule_search_locations[0]) / "tests" / name
    if not path.is_file():
        raise DiscoveryMissingError(f"the installed earthengine-api has no file tests/{name}")
    return path.read_bytes()


def discovery_document(url: str) -> bytes:
    """Return the description of API v1 as a server at ``url`` gives it."""
    text = _packaged("cloud_api_discovery_document.json").replace(b"v1alpha", b"v1")
    document = json.loads(text)
    root = url.rstrip("/") + "/"
    document.update(rootUrl=root, baseUrl=root)
    return json.dumps(document, separators=(",", ":")).encode()


@functools.cache
def algorithms() -> bytes:
    """Return the list of algorithms, in the shape of ListAlgorithms."""
    return _packaged("algorithms.json")
