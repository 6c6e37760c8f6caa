"""Which STAC service a campaign asks: its own catalog, ``STAC_API_URL``, and names that retired.

Only addresses and names live here; nothing is asked. What differs from the campaign's file is
told in words, for logs, ``geo-assets doctor`` and ``geo-assets plan``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from geo_assets.campaign_imagery import StacImagery
from geo_assets.campaign_values import CatalogAddress
from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from geo_assets.campaign import Campaign

API_VARIABLE = "STAC_API_URL"
"""Names the STAC API to ask in place of the campaign's, as sat-search's users know it."""

EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
EARTH_SEARCH_HOST = "earth-search.aws.element84.com"
RETIRED_PATH = "/v0"

RETIRED_COLLECTIONS = {
    "sentinel-s2-l2a-cogs": "sentinel-2-l2a",
    "sentinel-s2-l2a": "sentinel-2-l2a",
    "sentinel-s2-l1c": "sentinel-2-l1c",
}
"""Names of Earth Search v0, which was switched off, and today's.
https://github.com/Element84/earth-search"""


@dataclass(frozen=True)
class StacService:
    """Where imagery is searched, under names of today."""

    catalog: str
    """URL or path of the catalog."""
    collections: tuple[str, ...]
    """Ids of the collections searched; empty: all."""
    offsets: Mapping[str, int]
    """Digital-number offset by collection."""
    notices: tuple[str, ...]
    """One sentence for each difference from the campaign's file."""


def stac_service(imagery: StacImagery, environment: Mapping[str, str] = os.environ) -> StacService:
    """Return the service that a campaign's imagery comes from.

    ``STAC_API_URL`` takes the place of a catalog given by URL; a catalog given by path stays, for
    a folder is no API. Retired names are understood where the catalog is given by URL.

    Raises:
        SourceError: If ``STAC_API_URL`` is no http or https URL, or carries a secret.
    """
    if "://" not in imagery.catalog:
        return StacService(imagery.catalog, imagery.collections, imagery.offsets, ())
    notices: list[str] = []
    catalog = imagery.catalog
    if given := environment.get(API_VARIABLE, "").strip():
        catalog = _checked(given)
        if catalog != imagery.catalog:
            notices.append(f"{API_VARIABLE} is set: {catalog} is asked, not {imagery.catalog}")
    if _is_retired(catalog):
        notices.append(f"{catalog} has retired: {EARTH_SEARCH} is asked")
        catalog = EARTH_SEARCH
    retired = [name for name in imagery.collections if name in RETIRED_COLLECTIONS]
    notices += [
        f"collection {name} has retired: {RETIRED_COLLECTIONS[name]} is searched"
        for name in retired
    ]
    offsets = {RETIRED_COLLECTIONS.get(name, name): add for name, add in imagery.offsets.items()}
    return StacService(catalog, _of_today(imagery.collections), offsets, tuple(notices))


def imagery_notices(campaign: Campaign) -> tuple[str, ...]:
    """Return in what the imagery asked differs from the campaign's file, a sentence each.

    Raises:
        SourceError: As ``stac_service``.
    """
    if not isinstance(campaign.imagery, StacImagery):
        return ()
    return stac_service(campaign.imagery).notices


def _of_today(collections: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(RETIRED_COLLECTIONS.get(name, name) for name in collections))


def _is_retired(catalog: str) -> bool:
    url = urlsplit(catalog)
    path = f"{url.path}/"
    return url.hostname == EARTH_SEARCH_HOST and path.startswith(f"{RETIRED_PATH}/")


def _checked(address: str) -> str:
    """Return an address from the environment; it is not shown, for it may hold a secret."""
    problem = f"{API_VARIABLE}: must be the http or https URL of a STAC API, without a secret in it"
    try:
        url = urlsplit(address)
        TypeAdapter(CatalogAddress).validate_python(address)
    except (ValueError, ValidationError):
        raise SourceError(problem) from None
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise SourceError(problem)
    return address
