"""The one tree of errors: everything this package raises on purpose is a GeoAssetsError.

A message names the file, the field, the value and what is allowed, so that it can be acted on
without reading the code.
"""

from __future__ import annotations

import copyreg
from typing import Any, Literal

ErrorKind = Literal["transient", "permanent", "invalid_payload", "corrupt"]
"""Why a read failed: ``transient`` and ``invalid_payload`` (bytes that are not what was asked for)
and ``corrupt`` (a stored file that changed) are worth asking again; ``permanent`` (missing file,
no permission, band that does not exist) waits for a person or for a new recipe."""

RETRYABLE: frozenset[str] = frozenset({"transient", "invalid_payload", "corrupt"})


class GeoAssetsError(Exception):
    """Base of all errors raised by geo_assets.

    An error comes back from another process as it was raised there: it is put together again
    from its parts, not by calling its class, whose arguments are its own affair.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # typeshed leaves it out


class CampaignError(GeoAssetsError):
    """The campaign file asks for something that is unknown, impossible or out of bounds."""


class AreaError(GeoAssetsError):
    """A vector file of areas or labels cannot be used as it is."""


class SourceError(GeoAssetsError):
    """An imagery source cannot answer: bad catalog, unknown band, undecided scale."""


class ReadError(SourceError):
    """Pixels of one scene could not be read.

    Attributes:
        kind: Whether asking again can help, see ``ErrorKind``.
        scene_id: The scene that could not be read, where known.
        whole: Whether this holds of the whole file, and not of the pixels alone that were asked
            for: none of its windows needs to be tried now.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        scene_id: str | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.scene_id = scene_id
        self.whole = whole


class ClusteringError(GeoAssetsError):
    """The data cannot be clustered as asked: fewer distinct values than clusters, no pixel, ..."""


class StorageError(GeoAssetsError):
    """A result cannot be published or a published result cannot be read."""


class LockedError(StorageError):
    """Another run works on the same partition."""


class ComputeError(GeoAssetsError):
    """Whoever is to do the work is not there, or would do it in another way than this process."""
