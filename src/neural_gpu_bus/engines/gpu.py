"""The ``gpu`` engine: array kernels on the first accelerator found, or on the library asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.engines import array_cupy, array_mlx, array_numpy, array_torch
from neural_gpu_bus.errors import BadParameterError, EngineUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from neural_gpu_bus.engines.capability import Capability
    from neural_gpu_bus.engines.device_copies import DeviceCopies
    from neural_gpu_bus.ports import Array, ArrayBackend, EngineName, Workload

#: Backends in the order in which an accelerator is looked for. torch stands behind mlx for MPS and
#: before it for CUDA; CUDA and Metal never meet in one machine, so that one place serves both.
BACKENDS: tuple[ModuleType, ...] = (array_cupy, array_mlx, array_torch, array_numpy)


class GpuEngine:
    """Runs workloads that have an array kernel."""

    name: EngineName = "gpu"

    def __init__(self, backend: str | None = None, copies: DeviceCopies | None = None) -> None:
        """``backend``: numpy, mlx, torch or cupy, on any device; None: an accelerator alone.

        ``copies``: what the device keeps of blocks where its memory is its own; None for nothing.
        """
        known = {module.LIBRARY: module for module in BACKENDS}
        if backend is not None and backend not in known:
            raise BadParameterError(
                f"there is no array backend {backend!r}; there are {', '.join(known)}",
                hint="leave NGB_GPU_BACKEND out to use the accelerator found",
                parameter="gpu_backend",
            )
        self._asked = backend
        self._modules = BACKENDS if backend is None else (known[backend],)
        self._copies = copies
        self._backend: ArrayBackend | None = None
        self._looked = False

    def available(self) -> tuple[bool, str]:
        """Whether a backend can be used; looked up once, as the libraries take seconds to load."""
        if not self._looked:
            self._backend = self._open()
            self._looked = True
        if self._backend is not None:
            return True, f"{_words(self._backend)} is here"
        if self._asked is not None:
            return False, f"array backend {self._asked} cannot be used here"
        return False, "no accelerator was found by " + ", ".join(
            module.LIBRARY for module in self._modules if module is not array_numpy
        )

    def _open(self) -> ArrayBackend | None:
        for accelerated in (True, False) if self._asked is not None else (True,):
            for module in self._modules:
                backend: ArrayBackend | None = module.open_backend(accelerated=accelerated)
                if backend is not None:
                    return self._copies.behind(backend) if self._copies else backend
        return None

    def supports(self, workload: Workload) -> bool:
        """Whether the workload has an array kernel."""
        return workload.kernels.array is not None

    def backend(self) -> str:
        """Library, device and float type, e.g. ``mlx:gpu:float32``."""
        return _words(self._opened())

    def float_type(self) -> str:
        """Widest float of the device."""
        return self._opened().float_type

    def run(self, workload: Workload, arrays: Mapping[str, Array], params: Any) -> dict[str, Array]:
        """Outputs of the workload's array kernel, back on the host."""
        backend, kernel = self._opened(), workload.kernels.array
        assert kernel is not None, f"{workload.name} has no array kernel: ask supports() first"  # noqa: S101
        with backend.active():
            outputs = kernel(backend, arrays, params)
            backend.wait_ready(*outputs.values())
            return {name: backend.to_numpy(values) for name, values in outputs.items()}

    def _opened(self) -> ArrayBackend:
        can, reason = self.available()
        if not can or self._backend is None:
            raise EngineUnavailableError(
                f"engine 'gpu' cannot run here: {reason}",
                hint="see `ngb doctor`; NGB_GPU_BACKEND=numpy runs its kernels on the CPU",
                engine="gpu",
            )
        return self._backend


def _words(backend: ArrayBackend) -> str:
    return f"{backend.name}:{backend.device}:{backend.float_type}"


def capabilities() -> list[Capability]:
    """One line a library."""
    return [module.capability() for module in BACKENDS]
