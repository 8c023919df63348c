"""MLX as array backend: Metal on Apple's machines, and its CPU device everywhere.

On Metal there is no float64: arrays become float32 there. The CPU device keeps float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.engines.capability import Capability, find_library

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from neural_gpu_bus.ports import Array, ArrayBackend

LIBRARY = "mlx"


class MlxBackend:
    """Arrays of ``mlx.core`` on one of its devices."""

    name = LIBRARY
    #: Metal computes in the host's memory: what is copied for a kernel goes with it.
    unified = True

    def __init__(self, *, accelerated: bool) -> None:
        import mlx.core as mx

        self.xp: Any = mx
        self.accelerated = accelerated
        self._device = mx.gpu if accelerated else mx.cpu
        self.device = "gpu" if accelerated else "cpu"
        self.float_type = "float32" if accelerated else "float64"

    def from_numpy(self, array: Array) -> Any:
        """A copy in the device's widest float; integers keep their type."""
        wide = array.dtype == np.float64
        return self.xp.array(array, dtype=getattr(self.xp, self.float_type) if wide else None)

    def to_numpy(self, array: Any) -> Array:
        """The values, computed if they were not yet; numpy arrays pass through."""
        return np.array(array) if isinstance(array, self.xp.array) else np.asarray(array)

    def sort(self, array: Any, axis: int) -> Any:
        """Ascending along an axis."""
        return self.xp.sort(array, axis=axis)

    def active(self) -> AbstractContextManager[Any]:
        """MLX places an operation on the current stream's device."""
        stream: AbstractContextManager[Any] = self.xp.stream(self._device)
        return stream

    def wait_ready(self, *arrays: Any) -> None:
        """Compute what is still a promise."""
        self.xp.eval(*(array for array in arrays if isinstance(array, self.xp.array)))


def open_backend(*, accelerated: bool) -> ArrayBackend | None:
    """MLX on Metal, or on the CPU; None where the library or the device is missing."""
    if find_library("mlx") is None:
        return None
    return MlxBackend(accelerated=accelerated) if not accelerated or _has_metal() else None


def capability() -> Capability:
    """What ``ngb doctor`` says of it."""
    version = find_library("mlx")
    name = f"gpu: {LIBRARY}"
    if version is None:
        return Capability(name, False, "mlx is not installed", "pip install 'neural-gpu-bus[mlx]'")
    if _has_metal():
        return Capability(name, True, f"mlx {version} on Metal, float32", "")
    advice = "it runs the array kernels on the CPU when asked: NGB_GPU_BACKEND=mlx"
    return Capability(name, False, f"mlx {version} finds no Metal device", advice)


def _has_metal() -> bool:
    import mlx.core as mx

    return bool(mx.metal.is_available())
