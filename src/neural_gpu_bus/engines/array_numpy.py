"""numpy as array backend: no accelerator, but the plainest proof of the array kernels."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.engines.capability import Capability

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from neural_gpu_bus.ports import Array, ArrayBackend

LIBRARY = "numpy"


class NumpyBackend:
    """Arrays stay where they are."""

    name = LIBRARY
    device = "cpu"
    accelerated = False
    #: Whether the device computes in the host's memory; if not, ``device_copies`` keeps copies.
    unified = True
    float_type = "float64"
    xp: Any = np

    def from_numpy(self, array: Array) -> Any:
        """The array itself."""
        return array

    def to_numpy(self, array: Any) -> Array:
        """The array itself."""
        return np.asarray(array)

    def sort(self, array: Any, axis: int) -> Any:
        """Ascending along an axis."""
        return np.sort(array, axis=axis)

    def active(self) -> AbstractContextManager[Any]:
        """Nothing to do."""
        return nullcontext()

    def wait_ready(self, *arrays: Any) -> None:
        """Nothing to wait for."""


def open_backend(*, accelerated: bool) -> ArrayBackend | None:
    """numpy on the CPU; None where an accelerator is asked for."""
    return None if accelerated else NumpyBackend()


def capability() -> Capability:
    """What ``ngb doctor`` says of it."""
    advice = "it runs the array kernels on the CPU when asked: NGB_GPU_BACKEND=numpy"
    detail = f"numpy {np.__version__} has no accelerator"
    return Capability(f"gpu: {LIBRARY}", available=False, detail=detail, advice=advice)
