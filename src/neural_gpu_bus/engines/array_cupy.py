"""CuPy as array backend: CUDA, float64. Not run on hardware so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.engines.capability import Capability, find_library

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from neural_gpu_bus.ports import Array, ArrayBackend

LIBRARY = "cupy"

#: Distributions that bring the module ``cupy``: one for each CUDA version.
DISTRIBUTIONS = ("cupy-cuda13x", "cupy-cuda12x", "cupy")


class CupyBackend:
    """Arrays on the first CUDA device."""

    name = LIBRARY
    device = "cuda:0"
    accelerated = True
    #: The card has a memory of its own, see ``device_copies``.
    unified = False
    float_type = "float64"

    def __init__(self) -> None:
        import cupy

        self.xp: Any = cupy

    def from_numpy(self, array: Array) -> Any:
        """A copy on the device."""
        return self.xp.asarray(array)

    def to_numpy(self, array: Any) -> Array:
        """A copy on the host; numpy arrays pass through."""
        values = self.xp.asnumpy(array) if isinstance(array, self.xp.ndarray) else array
        return np.asarray(values)

    def sort(self, array: Any, axis: int) -> Any:
        """Ascending along an axis."""
        return self.xp.sort(array, axis=axis)

    def active(self) -> AbstractContextManager[Any]:
        """The first device."""
        device: AbstractContextManager[Any] = self.xp.cuda.Device(0)
        return device

    def wait_ready(self, *arrays: Any) -> None:  # noqa: ARG002
        """Wait for everything queued on the device."""
        self.xp.cuda.get_current_stream().synchronize()


def open_backend(*, accelerated: bool) -> ArrayBackend | None:
    """CuPy on CUDA; None where library or device is missing, or the CPU is asked for."""
    if not accelerated or _version() is None or not _devices():
        return None
    return CupyBackend()


def capability() -> Capability:
    """What ``ngb doctor`` says of it."""
    version = _version()
    name = f"gpu: {LIBRARY}"
    if version is None:
        advice = "with an NVIDIA card: pip install 'neural-gpu-bus[cupy]'"
        return Capability(name, False, "cupy is not installed", advice)
    if _devices():
        return Capability(name, True, f"cupy {version} on CUDA", "")
    advice = "see `nvidia-smi`: the driver has to be at least as new as cupy's CUDA"
    return Capability(name, False, f"cupy {version} finds no CUDA device", advice)


def _version() -> str | None:
    return next((found for name in DISTRIBUTIONS if (found := find_library(name))), None)


def _devices() -> int:
    import cupy

    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0
