"""What is wrong with the chips of a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geo_assets.assets.problems import Problems
    from geo_assets.storage.layout import Layout


def failed(layout: Layout, fold: str, split: str) -> Problems:
    """Return the chips that ended failed."""
    from geo_assets.storage.chips.catalog import read_rows

    path = layout.chip_catalog(fold, split)
    return [
        {
            "chip_id": row.spec.chip_id,
            "error_kind": str(row.outcome.error_kind),
            "attempts": row.outcome.attempts,
            "error": str(row.outcome.error),
        }
        for row in (read_rows(path) if path.is_file() else [])
        if row.outcome.status == "failed"
    ]


def without_file(layout: Layout, fold: str, split: str) -> Problems:
    """Return the chips that are ok but whose payload is gone or of another size."""
    from geo_assets.storage.chips.catalog import read_rows
    from geo_assets.storage.chips.opening import Payloads

    path = layout.chip_catalog(fold, split)
    payloads = Payloads(path)
    problems: Problems = []
    for row in read_rows(path) if path.is_file() else []:
        if row.href is None:
            continue
        found = payloads.size(row.href)
        if found != row.outcome.size:
            problems.append(
                {
                    "chip_id": row.spec.chip_id,
                    "found": "no file" if found is None else f"{found} bytes",
                    "recorded": f"{row.outcome.size} bytes",
                }
            )
    return problems
