"""PyTorch as array backend: CUDA, Apple's MPS, and the CPU. Not run on an accelerator so far.

On MPS there is no float64: arrays become float32 there. CUDA and the CPU keep float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.engines.capability import Capability, find_library

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from neural_gpu_bus.ports import Array, ArrayBackend

LIBRARY = "torch"


class TorchBackend:
    """Tensors on one device: ``cuda``, ``mps`` or ``cpu``."""

    name = LIBRARY

    def __init__(self, device: str) -> None:
        import torch

        self.xp: Any = torch
        self.device = device
        self.accelerated = device != "cpu"
        #: CUDA cards have a memory of their own, see ``device_copies``; MPS has the host's.
        self.unified = device != "cuda"
        self.float_type = "float32" if device == "mps" else "float64"

    def from_numpy(self, array: Array) -> Any:
        """A copy in the device's widest float; integers keep their type."""
        wide = array.dtype == np.float64
        dtype = getattr(self.xp, self.float_type) if wide else None
        # torch.tensor copies: torch.from_numpy warns about the read-only arrays of shared memory.
        return self.xp.tensor(array, dtype=dtype, device=self.device)

    def to_numpy(self, array: Any) -> Array:
        """The values on the host; numpy arrays pass through."""
        values = array.cpu().numpy() if isinstance(array, self.xp.Tensor) else array
        return np.asarray(values)

    def sort(self, array: Any, axis: int) -> Any:
        """Ascending along an axis; torch also returns the order, which nobody needs here."""
        return self.xp.sort(array, dim=axis).values

    def active(self) -> AbstractContextManager[Any]:
        """No gradients are kept."""
        context: AbstractContextManager[Any] = self.xp.inference_mode()
        return context

    def wait_ready(self, *arrays: Any) -> None:  # noqa: ARG002
        """Wait for everything queued on the device."""
        if self.device == "cuda":
            self.xp.cuda.synchronize()
        elif self.device == "mps":
            self.xp.mps.synchronize()


def open_backend(*, accelerated: bool) -> ArrayBackend | None:
    """torch on CUDA or MPS, or on the CPU; None where the library or the device is missing."""
    if find_library("torch") is None:
        return None
    device = _accelerator() if accelerated else "cpu"
    return TorchBackend(device) if device else None


def capability() -> Capability:
    """What ``ngb doctor`` says of it."""
    version = find_library("torch")
    name = f"gpu: {LIBRARY}"
    if version is None:
        advice = "pip install 'neural-gpu-bus[torch]'"
        return Capability(name, False, "torch is not installed", advice)
    device = _accelerator()
    if device:
        return Capability(name, True, f"torch {version} on {device}", "")
    advice = "it runs the array kernels on the CPU when asked: NGB_GPU_BACKEND=torch"
    return Capability(name, False, f"torch {version} finds neither CUDA nor MPS", advice)


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else ""
