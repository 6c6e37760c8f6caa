"""Scenes of one solar day become one observation, before any reducer sees them.

A pixel takes all its bands from one scene, so that no spectrum is mixed from two. The order of the
scenes is the caller's: by processing baseline, highest first, then by id, so that the answer
depends on no search order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class DayFusion:
    """Fuses scenes as they arrive, so that all scenes are never in memory together.

    Scenes are added in order of precedence: in every pixel the first valid scene of a day wins.
    """

    def __init__(self, days: Iterable[np.datetime64]) -> None:
        """Begin without a scene.

        Args:
            days: The day of each scene that may come.
        """
        expected = [day.astype("datetime64[D]") for day in days]
        self._days = sorted(set(expected))
        self._alone = len(expected) == 1
        self._seen: set[int] = set()
        self._stack: tuple[NDArray[Any], NDArray[np.bool_]] | None = None

    def add(self, data: NDArray[Any], valid: NDArray[np.bool_], day: np.datetime64) -> None:
        """Add one scene; its arrays are the fusion's from now on.

        Args:
            data: (band, y, x), of one shape and dtype for all scenes.
            valid: (y, x) bool, True where every band holds a datum.
            day: Solar day of the scene.

        Raises:
            GeoAssetsError: If shape or dtype differ from those of the scenes before, or the day is
                not among those expected.
        """
        from geo_assets.core.kernels.fusion import fill_rest, lay_first, lay_under

        key = day.astype("datetime64[D]")
        if key not in self._days:
            raise GeoAssetsError(f"scene of {day}: not one of the days that were expected")
        if valid.shape != data.shape[1:]:
            raise GeoAssetsError(f"scene of {day}: data {data.shape}, valid {valid.shape}")
        if self._stack is None and self._alone:
            self._stack = np.ascontiguousarray(data)[None], np.ascontiguousarray(valid)[None]
        elif self._stack is None:
            # Room for all days at once: what is fused is not copied again.
            times = len(self._days)
            self._stack = (
                np.empty((times, *data.shape), data.dtype),
                np.empty((times, *data.shape[1:]), bool),
            )
        stack, known = self._stack
        if data.shape != stack.shape[1:] or data.dtype != stack.dtype:
            msg = (
                f"scene of {day}: data {data.shape} {data.dtype}; "
                f"the scenes before it have data {stack.shape[1:]} {stack.dtype}"
            )
            raise GeoAssetsError(msg)
        number = self._days.index(key)
        scene = np.ascontiguousarray(data).reshape(len(data), -1)
        mask = np.ascontiguousarray(valid).ravel()
        fused, clear = stack[number].reshape(len(data), -1), known[number].reshape(-1)
        if number in self._seen:
            lay_under(scene, mask, fused, clear)
            return
        fill = data.dtype.type(fill_value(data.dtype))
        if self._alone:
            fill_rest(fused, clear, fill)
        else:
            lay_first(scene, mask, fill, fused, clear)
        self._seen.add(number)

    def result(self) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.datetime64]]:
        """Return data (day, band, y, x), valid (day, y, x) and the sorted days that came.

        Pixels without datum hold 0 (unsigned), the least value (signed integers) or NaN (float).

        Raises:
            GeoAssetsError: If no scene was added: the shape is unknown then.
        """
        if self._stack is None:
            msg = "no scene to fuse: at least one is needed"
            raise GeoAssetsError(msg)
        stack, known = self._stack
        self._stack = None
        days = np.array(self._days, "datetime64[D]")
        if len(self._seen) == len(days):
            return stack, known, days
        numbers = sorted(self._seen)
        return stack[numbers], known[numbers], days[numbers]
