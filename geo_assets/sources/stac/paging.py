"""All pages of a search of a STAC API, or an error: a part of them is never taken for the whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from pystac import Link

from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pystac_client import ItemSearch
    from pystac_client.stac_api_io import StacApiIO

_SHOWN = 200
"""Characters shown of an answer that is no page."""


def found_features(io: StacApiIO, search: ItemSearch, name: str) -> list[Any]:
    """Return the features of all pages as the server sent them: JSON values, not checked.

    Args:
        io: Asks the server.
        search: What is asked.
        name: Names the search in messages, such as ``https://host: the search of tests``.

    Raises:
        SourceError: If a page is no page, if pages repeat themselves, or if fewer distinct items
            came than the server said.
    """
    features: list[Any] = []
    said: int | None = None
    for page in _pages(io, search, name):
        came = page.get("features") if isinstance(page, dict) else None
        if not isinstance(came, list):
            raise SourceError(
                f"{name} ended early: after {len(features)} items of {_number(said)} came an "
                f"answer without features: {json.dumps(page)[:_SHOWN]}"
            )
        features += came
        # An answer that goes wrong may say 0; the others were right.
        said = max((n for n in (said, _matched(page)) if n is not None), default=None)
    distinct = len({_fingerprint(feature) for feature in features})
    if said is not None and distinct < said:
        raise SourceError(
            f"{name} ended early: {distinct} distinct items came, the server said {said}"
        )
    return features


def _pages(io: StacApiIO, search: ItemSearch, name: str) -> Iterator[Any]:
    """Give the answers in turn; the last is the first that has no features or no next link."""
    parameters = search.get_parameters()
    page = io.read_json(search.url, method=search.method, parameters=parameters)
    yield page
    had: set[int] = set()
    # Some servers have a next link on every page: there, an empty one is the last.
    while page["features"] and (link := _next_link(page)):
        link["href"] = urljoin(search.url, link["href"])
        # The page too, as a server may count its links on and give the same for each.
        now = {_fingerprint(link), _fingerprint(page["features"])}
        if not had.isdisjoint(now):
            raise SourceError(f"{name} does not end, its pages repeat; the next link is {link}")
        had |= now
        page = io.read_json(Link.from_dict(link), parameters=parameters)
        yield page


def _fingerprint(value: object) -> int:
    """Return what tells JSON values apart, without keeping them."""
    return hash(json.dumps(value, sort_keys=True))


def _next_link(page: Mapping[str, Any]) -> dict[str, Any] | None:
    links = page.get("links") or []
    return next((dict(link) for link in links if link.get("rel") == "next"), None)


def _matched(page: Mapping[str, Any]) -> int | None:
    """Return how many items the server says the whole search has, by its new or old name."""
    context = page.get("context")
    old = context.get("matched") if isinstance(context, dict) else None
    return next((said for said in (page.get("numberMatched"), old) if isinstance(said, int)), None)


def _number(said: int | None) -> str:
    return "an unknown number" if said is None else str(said)
