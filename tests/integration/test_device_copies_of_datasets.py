"""Device copies over real datasets: sent once a version, and never one for the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from neural_gpu_bus.engines import DeviceCopies, array_numpy
from neural_gpu_bus.memory import UnifiedMemory
from neural_gpu_bus.memory.frames.origin import origin


def test_a_new_version_is_never_served_an_old_copy(memory: UnifiedMemory) -> None:
    card: Any = array_numpy.NumpyBackend()
    card.unified = False
    card.sent = []
    card.from_numpy = lambda array: card.sent.append(array) or array.copy()
    backend = DeviceCopies(1 << 20, origin).behind(card)
    for step in range(5):
        memory.put("bars", {"close": np.full(100, float(step))})
        for _ in range(2):
            sent = backend.from_numpy(memory.get("bars")["close"])
            np.testing.assert_array_equal(sent, np.full(100, float(step)))

    assert len(card.sent) == 5
