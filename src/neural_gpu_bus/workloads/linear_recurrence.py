"""First-order linear recurrences over an array backend: matrix products instead of a loop.

``y[t] = decay * y[t - 1] + x[t]``, ``y[-1] = 0``. Values are cut into blocks; inside a block y is a
triangular matrix of powers of the decay times x; the blocks' ends obey the same recurrence with
``decay ** BLOCK``, which is solved the same way (Blelloch 1990, section 1.4, in blocks).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from neural_gpu_bus.ports import ArrayBackend

#: Values in a block: 64 keeps the matrix small enough for a device's fast memory, and two levels
#: cover 4,096 values, four 16 million.
BLOCK = 64


def linear_recurrence(backend: ArrayBackend, values: Any, decay: float) -> Any:
    """``y`` of one-dimensional ``values`` on the backend's device; 0 <= decay < 1."""
    xp = backend.xp
    count = values.shape[0]
    blocks = -(-count // BLOCK)
    missing = blocks * BLOCK - count
    padded = xp.concatenate([values, backend.from_numpy(np.zeros(missing))]) if missing else values
    powers = np.arange(BLOCK)
    distance = powers[:, None] - powers[None, :]
    triangle = np.where(distance >= 0, decay ** np.maximum(distance, 0), 0.0)
    inside = xp.matmul(xp.reshape(padded, (blocks, BLOCK)), backend.from_numpy(triangle.T.copy()))
    if blocks == 1:
        return xp.reshape(inside, (-1,))[:count]
    ends = linear_recurrence(backend, inside[:, BLOCK - 1], decay**BLOCK)
    carried = xp.concatenate([backend.from_numpy(np.zeros(1)), ends[:-1]])
    reach = backend.from_numpy(decay ** (powers + 1.0))
    whole = inside + xp.matmul(xp.reshape(carried, (-1, 1)), xp.reshape(reach, (1, -1)))
    return xp.reshape(whole, (-1,))[:count]
