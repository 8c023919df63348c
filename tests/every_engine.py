"""Every engine and backend that can run here, and a workload's whole way on one of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pyarrow as pa
import pytest

from neural_gpu_bus.engines import CpuEngine, GpuEngine, NeuralEngine
from neural_gpu_bus.ports import Engine
from neural_gpu_bus.workloads import check_params, find

#: Name in test ids to the engine; array libraries on whatever device they have.
ENGINES = {
    "cpu": CpuEngine,
    "gpu-numpy": lambda: GpuEngine("numpy"),
    "gpu-mlx": lambda: GpuEngine("mlx"),
    "gpu-torch": lambda: GpuEngine("torch"),
    "gpu-cupy": lambda: GpuEngine("cupy"),
    "neural": NeuralEngine,
}

KERNEL_OF = {"cpu": "cpu", "gpu": "array", "neural": "neural"}


def every_engine_of(workload_name: str) -> pytest.MarkDecorator:
    """Parametrises ``engine_name`` over the engines that have a kernel of that workload."""
    kernels = find(workload_name).kernels
    able = [name for name in ENGINES if getattr(kernels, KERNEL_OF[name.split("-")[0]])]
    return pytest.mark.parametrize("engine_name", able)


@cache
def _open(name: str) -> Engine:
    engine: Engine = ENGINES[name]()
    return engine


def engine_for(engine_name: str) -> Engine:
    """That engine, or a skip that says why it cannot run here."""
    engine = _open(engine_name)
    can, reason = engine.available()
    if not can:
        pytest.skip(reason)
    return engine


def relative_tolerance(engine: Engine) -> float:
    """float64 devices agree to 1e-10; float32 ones to what the docs state."""
    return 1e-3 if "float32" in engine.backend() else 1e-10


def compute(engine: Engine, workload_name: str, inputs: Any, **params: Any) -> pa.Table:
    """Check, prepare, run and name the results, as a worker does."""
    workload = find(workload_name)
    checked = check_params(workload, params, inputs)
    arrays = workload.prepare(inputs, checked)
    return workload.table(engine.run(workload, arrays, checked), checked)
