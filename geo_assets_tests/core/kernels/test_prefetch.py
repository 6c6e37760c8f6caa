import numba
import numpy as np
import pytest

from geo_assets.core.kernels.prefetch import prefetch


@numba.njit  # not kept on the disk: what it was compiled to is looked at
def ask(array, place):
    prefetch(array, place)


@pytest.mark.parametrize("place", [0, 5, 6, -1, 10**9])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_nothing_changes_wherever_memory_is_asked_for(place, dtype):
    array = np.arange(6).astype(dtype).reshape(2, 3)
    ask(array, place)
    np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3))


def test_the_processor_is_asked():
    ask(np.zeros(4), 1)
    assert any("prefetch" in code for code in ask.inspect_llvm().values())
