"""Seeded smooth noise, the material of landscape and weather."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray


def smooth_noise(
    generator: np.random.Generator, shape: tuple[int, int], scale: float
) -> NDArray[np.float32]:
    """Return Gaussian noise (y, x) of mean 0 and deviation 1, smooth over ``scale`` pixels.

    Long scales are drawn on a coarser lattice and interpolated: the same look, far less work.
    """
    step = max(1, int(scale // 4))
    coarse = tuple(-(-side // step) + 2 for side in shape)
    field = generator.standard_normal(coarse, np.float32)
    field = ndimage.gaussian_filter(field, scale / step, mode="wrap")
    field -= field.mean()
    field /= field.std()
    return enlarge(field, step, shape)


def enlarge(field: NDArray[np.float32], step: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Interpolate a lattice ``step`` times coarser (y, x), bilinearly, to ``shape``."""
    if step == 1:
        return field[: shape[0], : shape[1]]
    wide = _interpolate(field, step, shape[0])
    return np.ascontiguousarray(_interpolate(wide.T, step, shape[1]).T)


def _interpolate(field: NDArray[np.float32], step: int, length: int) -> NDArray[np.float32]:
    """Interpolate linearly along the first axis."""
    position = np.arange(length, dtype=np.float32) / np.float32(step)
    index = position.astype(np.intp)
    share = (position - index)[:, None]
    return field[index] * (1 - share) + field[index + 1] * share
