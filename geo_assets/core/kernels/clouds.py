"""Classes of pixels looked up in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def keep_classes(
    classes: NDArray[np.uint8], kept: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> None:
    """Clear ``valid`` where a class is not kept.

    Args:
        classes: (pixel,).
        kept: (256,), by class.
        valid: (pixel,), changed.
    """
    for pixel in range(len(classes)):
        valid[pixel] &= kept[classes[pixel]]
