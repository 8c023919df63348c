"""Who computes: ``cpu`` (numba), ``gpu`` (array libraries), ``neural`` (ONNX Runtime); a planner.

Nothing here imports a heavy library until an engine is asked to run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from neural_gpu_bus.engines.capability import Capability
from neural_gpu_bus.engines.choice import check_engine
from neural_gpu_bus.engines.cpu import CpuEngine
from neural_gpu_bus.engines.device_copies import DeviceCopies, DeviceCopiesStatistics
from neural_gpu_bus.engines.gpu import GpuEngine
from neural_gpu_bus.engines.neural import NeuralEngine
from neural_gpu_bus.engines.planner import MeasuringPlanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from neural_gpu_bus.ports import Engine

__all__ = [
    "Capability",
    "CpuEngine",
    "DeviceCopies",
    "DeviceCopiesStatistics",
    "GpuEngine",
    "MeasuringPlanner",
    "NeuralEngine",
    "build_planner",
    "capabilities",
    "check_engine",
]


def build_planner(
    gpu_backend: str | None = None,
    neural_provider: str | None = None,
    clock_s: Callable[[], float] = time.perf_counter,
    *,
    copies: DeviceCopies | None = None,
) -> MeasuringPlanner:
    """A planner over all three engines; libraries are looked for when a job needs them."""
    gpu = GpuEngine(gpu_backend, copies)
    engines: list[Engine] = [CpuEngine(), gpu, NeuralEngine(neural_provider)]
    return MeasuringPlanner(engines, clock_s)


def capabilities() -> list[Capability]:
    """Each engine's libraries: found or not, why, and what to do. Loads them: takes seconds."""
    from neural_gpu_bus.engines import cpu, gpu, neural

    return [cpu.capability(), *gpu.capabilities(), *neural.capabilities()]
