"""Resources: what a deployment may swap under the same graph.

Where results go is one; how imagery is opened is another, so that tests and other services can
put their own source in place of the campaign's; who does the work is the third. No data is
touched here.
https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from geo_assets.compute import compute_choice
from geo_assets.storage.layout import Layout

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from geo_assets.campaign import Campaign
    from geo_assets.core.workers import Workers
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


class Compute(dg.ConfigurableResource):  # type: ignore[type-arg]  # as above
    """Who does the work: threads of the run's own process, or a Dask cluster.

    The same assets, the same bytes. What is empty or 0 is what the environment says.

    Attributes:
        where: ``threads``, ``local`` (a cluster of processes for each asset), or the address of a
            Dask scheduler, ``tcp://host:port`` (``GEO_ASSETS_COMPUTE``; default ``threads``).
        workers: Threads, or processes of a local cluster (``GEO_ASSETS_WORKERS``; default one for
            each processor).
        memory: What each process of a local cluster may hold (``GEO_ASSETS_WORKER_MEMORY``, as
            ``2GiB``; default its share of the machine).
    """

    where: str = ""
    workers: int = 0
    memory: str = ""

    def open(self, folder: Path) -> AbstractContextManager[Workers]:
        """Return the workers, at work within the context, for results below a folder.

        Raises:
            ComputeError: If a value is wrong, or there is nobody to do the work.
        """
        return compute_choice(self.where, self.workers, self.memory).open(folder)
