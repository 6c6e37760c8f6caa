"""Scenes of one solar day become one observation, before any reducer sees them.

The order of the scenes is the caller's (see ``fuse_solar_days``); reading them is not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.compositing import fill_value
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DayFusion:
    """Fuses scenes as they arrive, so that scenes and days are never in memory together.

    Scenes are added in order of precedence: in every pixel the first valid scene of a day wins.
    """

    def __init__(self) -> None:
        self._days: dict[np.datetime64, tuple[NDArray[Any], NDArray[np.bool_]]] = {}
        self._layout: tuple[tuple[int, ...], np.dtype[Any]] | None = None

    def add(self, data: NDArray[Any], valid: NDArray[np.bool_], day: np.datetime64) -> None:
        """Add one scene; its arrays are not kept.

        Args:
            data: (band, y, x), of one shape and dtype for all scenes.
            valid: (y, x) bool, True where every band holds a datum.
            day: Solar day of the scene.

        Raises:
            GeoAssetsError: If shape or dtype differ from those of the scenes before.
        """
        layout = (data.shape, data.dtype)
        self._layout = self._layout or layout
        if layout != self._layout or valid.shape != data.shape[1:]:
            msg = (
                f"scene of {day}: data {data.shape} {data.dtype}, valid {valid.shape}; "
                f"the scenes before it have data {self._layout[0]} {self._layout[1]}"
            )
            raise GeoAssetsError(msg)
        key = day.astype("datetime64[D]")
        if key not in self._days:
            fused = np.full(data.shape, fill_value(data.dtype), data.dtype)
            self._days[key] = (fused, np.zeros(valid.shape, bool))
        fused, known = self._days[key]
        new = valid & ~known
        np.copyto(fused, data, where=new)
        known |= new

    def result(self) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.datetime64]]:
        """Return data (day, band, y, x), valid (day, y, x) and the sorted unique days.

        Pixels without datum hold 0 (unsigned), the least value (signed integers) or NaN (float).

        Raises:
            GeoAssetsError: If no scene was added: the shape is unknown then.
        """
        if self._layout is None:
            msg = "no scene to fuse: at least one is needed"
            raise GeoAssetsError(msg)
        shape, dtype = self._layout
        days = sorted(self._days)
        data = np.empty((len(days), *shape), dtype)
        valid = np.empty((len(days), *shape[1:]), bool)
        for index, day in enumerate(days):
            data[index], valid[index] = self._days.pop(day)
        self._layout = None
        return data, valid, np.array(days, "datetime64[D]")


def fuse_solar_days(
    data: NDArray[Any], valid: NDArray[np.bool_], days: NDArray[np.datetime64]
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.datetime64]]:
    """Fuse the scenes of each solar day: in every pixel the first valid scene wins, whole.

    A pixel takes all its bands from one scene, so that no spectrum is mixed from two. The rule
    depends on the order of the scenes alone; callers sort them by processing baseline, highest
    first, then by id, so that the answer depends on no search order.

    Args:
        data: (scene, band, y, x), any dtype.
        valid: (scene, y, x) bool, True where every band of the scene holds a datum.
        days: (scene,) datetime64, the solar day of each scene; in any order.

    Returns:
        Data (day, band, y, x), valid (day, y, x) and days (day,) datetime64[D], sorted and unique.
        Pixels without datum hold 0 (unsigned), the least value (signed integers) or NaN (float).

    Raises:
        GeoAssetsError: If the lengths along ``scene`` differ.
    """
    if not len(data) == len(valid) == len(days):
        msg = f"scenes: {len(data)} of data, {len(valid)} of valid, {len(days)} of days must agree"
        raise GeoAssetsError(msg)
    if len(data) == 0:
        return data, valid, np.zeros(0, "datetime64[D]")
    fusion = DayFusion()
    for scene, mask, day in zip(data, valid, days, strict=True):
        fusion.add(scene, mask, day)
    return fusion.result()
