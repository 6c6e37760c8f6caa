"""The algorithms by their names in the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Algorithm:
    """A function of the service; arguments come by their names there."""

    function: Callable[..., Any]
    needs_assets: bool


ALGORITHMS: dict[str, Algorithm] = {}


def algorithm(
    *names: str, assets: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under its names in the service."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            ALGORITHMS[name] = Algorithm(function, assets)
        return function

    return register
