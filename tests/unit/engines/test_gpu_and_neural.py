"""The gpu and neural engines: what they take by default, and what they do when it is not there."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from neural_gpu_bus.engines import GpuEngine, NeuralEngine, capabilities, neural
from neural_gpu_bus.engines.neural import CPU, largest_difference
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads import find

CLOSE = {"close": np.sin(np.arange(100.0)), "ts": np.arange(69), "ts_zone": np.array([""])}


def accelerated(name: str, device: str) -> Any:
    def open_backend(*, accelerated: bool) -> Any:
        if device == "none" or (device == "cpu" and accelerated):
            return None
        return SimpleNamespace(name=name, device=device, float_type="float64")

    return SimpleNamespace(LIBRARY=name, open_backend=open_backend)


@pytest.mark.parametrize(
    ("devices", "backend"),
    [
        ({"cupy": "cuda:0", "mlx": "gpu"}, "cupy:cuda:0:float64"),
        ({"cupy": "none", "mlx": "gpu", "torch": "mps"}, "mlx:gpu:float64"),
        ({"cupy": "none", "mlx": "cpu", "torch": "cuda"}, "torch:cuda:float64"),
    ],
)
def test_the_first_accelerator_is_taken(
    monkeypatch: pytest.MonkeyPatch, devices: dict[str, str], backend: str
) -> None:
    modules = tuple(accelerated(name, device) for name, device in devices.items())
    monkeypatch.setattr("neural_gpu_bus.engines.gpu.BACKENDS", modules)

    assert GpuEngine().available() == (True, f"{backend} is here")


def test_the_cpu_of_a_library_is_taken_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = (accelerated("mlx", "cpu"), accelerated("cupy", "none"))
    monkeypatch.setattr("neural_gpu_bus.engines.gpu.BACKENDS", modules)

    assert GpuEngine().available() == (False, "no accelerator was found by mlx, cupy")
    assert GpuEngine("mlx").backend() == "mlx:cpu:float64"


def test_unknown_names_are_refused() -> None:
    with pytest.raises(BadParameterError, match="there is no array backend 'jax'; there are cupy"):
        GpuEngine("jax")
    with pytest.raises(BadParameterError, match="there is no provider 'CoreML'; there are CoreMLE"):
        NeuralEngine("CoreML")


def test_a_missing_library_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural, "find_library", lambda name: None)
    [line] = neural.capabilities()

    assert NeuralEngine().available() == (False, "onnxruntime is not installed")
    assert (line.available, line.advice) == (False, "pip install 'neural-gpu-bus[neural]'")


def test_every_library_has_a_line_and_a_way_out() -> None:
    lines = capabilities()
    names = [line.name for line in lines]

    assert names == [
        "cpu: numba", "gpu: cupy", "gpu: mlx", "gpu: torch", "gpu: numpy", "neural: onnxruntime",
    ]  # fmt: skip
    assert all(line.detail for line in lines)
    assert all(line.advice for line in lines if not line.available)


def test_a_provider_that_differs_from_the_cpu_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core ML has answered wrongly before: the first batch is compared, and the CPU goes on."""
    engine, asked = NeuralEngine(), []
    monkeypatch.setattr(neural, "_providers", lambda: ["CoreMLExecutionProvider", CPU])
    scores = {"scores": np.zeros((69, 8), dtype=np.float32), "best": np.zeros(69, dtype=np.int64)}

    def run_batch(model: str, provider: str, tensors: Any) -> Any:
        asked.append(provider)
        return scores if provider == CPU else {**scores, "scores": scores["scores"] + 0.5}

    monkeypatch.setattr(engine, "_run_batch", run_batch)
    assert engine.backend() == "onnxruntime:CoreMLExecutionProvider"
    outputs = engine.run(find("patterns.shape"), CLOSE, None)

    assert outputs["scores"].sum() == 0
    assert asked == ["CoreMLExecutionProvider", CPU, CPU]
    assert engine.backend() == f"onnxruntime:{CPU} (CoreMLExecutionProvider differed by 0.5)"


def test_a_provider_that_agrees_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = NeuralEngine(), []
    monkeypatch.setattr(neural, "_providers", lambda: ["CUDAExecutionProvider", CPU])
    scores = {"scores": np.zeros((69, 8), dtype=np.float32), "best": np.zeros(69, dtype=np.int64)}

    def run_batch(model: str, provider: str, tensors: Any) -> Any:
        asked.append(provider)
        return scores

    monkeypatch.setattr(engine, "_run_batch", run_batch)
    for _ in range(2):
        engine.run(find("patterns.shape"), CLOSE, None)

    assert asked.count(CPU) == 1
    assert engine.backend() == "onnxruntime:CUDAExecutionProvider"


def test_difference_looks_at_floats_and_at_gaps() -> None:
    here, there = {"a": np.array([1.0, np.nan]), "b": np.array([1])}, {"a": np.array([1.5, np.nan])}

    assert largest_difference(here, {**there, "b": np.array([2])}) == 0.5
    assert largest_difference(here, {"a": np.ones(2), "b": np.array([1])}) == float("inf")


def test_building_engines_loads_nothing() -> None:
    for name in ("torch", "cupy"):
        GpuEngine(name)

        assert name not in sys.modules
