"""Resources: what a deployment may swap under the same graph.

Where results go is one; how imagery is opened is another, so that tests and other services can
put their own source in place of the campaign's. No data is touched here.
https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.storage.layout import Layout

if TYPE_CHECKING:
    from geo_assets.campaign import Campaign
    from geo_assets.sources.protocol import RasterSource, ServerSource

DATA_VARIABLE = "GEO_ASSETS_DATA"
DEFAULT_DATA = "data"


def data_folder() -> Path:
    """Return where results go: ``GEO_ASSETS_DATA``, else ``data`` below the working directory."""
    return Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA).expanduser().resolve()


class Results(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only in its setup value
    """The folder of results.

    ``data`` is a path; empty means what the environment says.
    """

    data: str = ""

    def layout(self, campaign: str) -> Layout:
        """Return where each asset of one campaign lies."""
        root = Path(self.data).expanduser().resolve() if self.data else data_folder()
        return Layout(root, campaign)


class ImagerySource(dg.ConfigurableResource):  # type: ignore[type-arg]  # as above
    """Opens the imagery that the campaign names."""

    def open(self, campaign: Campaign, layout: Layout) -> RasterSource | ServerSource:
        """Return the campaign's source, ready to be searched and read."""
        from geo_assets.sources.opening import open_source

        return open_source(campaign, layout)
