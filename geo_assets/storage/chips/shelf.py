"""Where the payloads of chips lie: the one thing that ``ChipStore`` knows of files.

Two kinds of shelf: one file a chip (``folder.py``), or one Zarr store of them all
(``zarr_store.py``). Whatever shelf it is: once ``put`` returns, its chips outlive a kill and a
power cut, each whole; and a chip is found again, or known to be gone or another, by its ``href``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from geo_assets.core.chips import ChipSpec
    from geo_assets.core.convergence import FileStamp
    from geo_assets.storage.chips.catalog_table import CatalogRow


class Shelf(Protocol):
    """The payloads of one partition's chips, for one run at a time under the partition's lock."""

    def sweep(self) -> None:
        """Remove what killed runs left under temporary names."""

    def stamps(self, hrefs: Iterable[str]) -> dict[str, FileStamp]:
        """Return what tells that a payload has not changed, by href, without reading it.

        Hrefs of which nothing lies here, or of another kind of shelf, are left out.
        """

    def read(self, href: str) -> bytes | None:
        """Return a chip's payload as it lies here, damaged or not; None where it is gone."""

    def prepare(
        self, wanted: Sequence[ChipSpec], places: Sequence[tuple[str, str]], *, keeps: bool
    ) -> None:
        """Give every wanted chip its place.

        Args:
            wanted: The chips of the grid, and others that stay.
            places: Ids and hrefs of chips that are known, wanted or not; of several claims to one
                place the first counts.
            keeps: Whether a payload that lies here is of the present form and stays.
        """

    def in_order(self, ask: Sequence[ChipSpec]) -> Sequence[ChipSpec]:
        """Return the chips in the order in which to ask them; called once, before ``put``."""

    def batch(self, landed: Collection[str], *, must: bool) -> Collection[str]:
        """Choose the chips to put next.

        Args:
            landed: Ids of the chips that have been answered and wait.
            must: Some must be chosen: no more will come, or too many wait.
        """

    def put(
        self, payloads: Mapping[str, bytes], is_kept: Callable[[str], bool]
    ) -> tuple[dict[str, str], dict[str, FileStamp]]:
        """Put chips where they stay.

        Args:
            payloads: By chip id; chips of the batch without payload are left out.
            is_kept: Whether the payload of an href is what its row or journal says.

        Returns:
            Hrefs of the chips by id, and the stamps of all hrefs that this changed, of other
            chips too.
        """

    def settle(self, rows: Sequence[CatalogRow]) -> bool:
        """Remove what is not in the published rows; return whether stamps of theirs changed."""
