"""The recurrence as matrix products equals the loop: one block, its edges, several levels."""

from __future__ import annotations

import numpy as np
import pytest

from neural_gpu_bus.engines import array_numpy
from neural_gpu_bus.workloads.linear_recurrence import BLOCK, linear_recurrence


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK**2, BLOCK**2 + 5])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99995])
def test_equals_the_loop(count: int, decay: float) -> None:
    backend = array_numpy.NumpyBackend()
    values = np.random.default_rng(count).normal(size=count)
    expected, carried = [], 0.0
    for value in values:
        carried = decay * carried + value
        expected.append(carried)

    np.testing.assert_allclose(linear_recurrence(backend, values, decay), expected, atol=1e-11)
