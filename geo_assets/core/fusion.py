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

    from numpy.typing import DTypeLike, NDArray


class DtypesDifferError(GeoAssetsError):
    """Scenes are of two dtypes, and nobody says which one holds both.

    Attributes:
        one: That of the scenes before.
        other: That of a scene after them.
    """

    def __init__(self, message: str, *, one: np.dtype[Any], other: np.dtype[Any]) -> None:
        super().__init__(message)
        self.one = one
        self.other = other


class DayFusion:
    """Fuses scenes as they arrive, so that all scenes are never in memory together.

    Scenes are added in order of precedence: in every pixel the first valid scene of a day wins.
    """

    def __init__(self, days: Iterable[np.datetime64], dtype: DTypeLike | None = None) -> None:
        """Begin without a scene.

        Args:
            days: The day of each scene that may come.
            dtype: What scenes of several dtypes become; None: they are refused.
        """
        self._dtype = None if dtype is None else np.dtype(dtype)
        expected = [day.astype("datetime64[D]") for day in days]
        self._days = sorted(set(expected))
        self._alone = len(expected) == 1
        self._seen: set[int] = set()
        self._stack: tuple[NDArray[Any], NDArray[np.bool_]] | None = None

    def add(self, data: NDArray[Any], valid: NDArray[np.bool_], day: np.datetime64) -> None:
        """Add one scene; its arrays are the fusion's from now on.

        Args:
            data: (band, y, x), of one shape for all scenes.
            valid: (y, x) bool, True where every band holds a datum.
            day: Solar day of the scene.

        Raises:
            GeoAssetsError: If the shape differs from that of the scenes before, or the day is not
                among those expected.
            DtypesDifferError: If the dtype does, and nobody says what both become.
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
        if data.shape != stack.shape[1:]:
            msg = f"scene of {day}: data {data.shape}; the scenes before it have {stack.shape[1:]}"
            raise GeoAssetsError(msg)
        if data.dtype != stack.dtype:
            if self._dtype is None:
                raise DtypesDifferError(
                    f"scene of {day}: data are {data.dtype}; those of the scenes before it "
                    f"{stack.dtype}",
                    one=stack.dtype,
                    other=data.dtype,
                )
            data, stack = data.astype(self._dtype), self._converted(stack, known, self._dtype)
            self._stack = stack, known
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

    def _converted(
        self, stack: NDArray[Any], known: NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Return the days that came in a dtype, with its fill."""
        if stack.dtype == dtype:
            return stack
        converted = np.empty(stack.shape, dtype)
        for number in self._seen:
            converted[number] = np.where(known[number], stack[number], fill_value(dtype))
        return converted

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
