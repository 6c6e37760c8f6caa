"""How chips end that have no pixels, or lose them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from geo_assets.core.chips import ChipOutcome
from geo_assets.storage.chips.messages import publishable

if TYPE_CHECKING:
    from collections.abc import Callable


def utc_now() -> dt.datetime:
    """Return the present in UTC."""
    return dt.datetime.now(dt.UTC)


def no_imagery(reason: str, clock: Callable[[], dt.datetime]) -> ChipOutcome:
    """Return the answer that there is nothing to see."""
    return ChipOutcome(
        status="no_imagery",
        attempts=0,
        updated=clock(),
        valid_fraction=0.0,
        error=publishable(reason),
    )


def corrupt(outcome: ChipOutcome, damage: str, clock: Callable[[], dt.datetime]) -> ChipOutcome:
    """Return the outcome of a chip whose payload is no longer what it was."""
    return ChipOutcome(
        status="failed",
        attempts=outcome.attempts,
        updated=clock(),
        error_kind="corrupt",
        error=damage,
    )
