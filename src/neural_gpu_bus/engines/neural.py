"""The ``neural`` engine: networks through ONNX Runtime, on the best provider that proves itself.

A provider other than the CPU's is compared with it on the first batch before it is trusted: Core ML
has returned wrong numbers for right graphs (onnxruntime issue 32569).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.engines.capability import Capability, find_library
from neural_gpu_bus.errors import BadParameterError, EngineUnavailableError

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Array, EngineName, Workload

#: Providers in the order of preference. Only Core ML can reach Apple's neural engine.
PROVIDERS = ("CoreMLExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
CPU = PROVIDERS[-1]

#: Largest difference from the CPU's floats that still counts as the same: half precision has 11
#: bits, and scores lie between -1 and 1.
DIFFERENCE_MAX = 2e-3

#: onnxruntime's levels: 3 shows errors only.
LOG_LEVEL = 3


class NeuralEngine:
    """Runs workloads that have a network."""

    name: EngineName = "neural"

    def __init__(self, provider: str | None = None) -> None:
        """``provider``: one of ``PROVIDERS``; None for the first that is here and agrees."""
        if provider is not None and provider not in PROVIDERS:
            raise BadParameterError(
                f"there is no provider {provider!r}; there are {', '.join(PROVIDERS)}",
                hint="leave it out to use the best one found",
                parameter="neural_provider",
            )
        self._asked = provider
        self._provider: str | None = None
        self._note = ""
        self._sessions: dict[tuple[str, str], Any] = {}
        self._proven: set[str] = set()

    def available(self) -> tuple[bool, str]:
        """Whether onnxruntime is here, and the provider asked for."""
        if find_library("onnxruntime") is None and find_library("onnxruntime-gpu") is None:
            return False, "onnxruntime is not installed"
        here = _providers()
        if self._asked is not None and self._asked not in here:
            return False, f"onnxruntime here has no {self._asked}, only {', '.join(here)}"
        return True, f"{self.backend()} is here"

    def supports(self, workload: Workload) -> bool:
        """Whether the workload has a network."""
        return workload.kernels.neural is not None

    def backend(self) -> str:
        """Provider in use, e.g. ``onnxruntime:CPUExecutionProvider``."""
        return f"onnxruntime:{self._chosen()}{self._note}"

    def float_type(self) -> str:
        """Networks compute in float32, whatever runs them."""
        return "float32"

    def run(self, workload: Workload, arrays: Mapping[str, Array], params: Any) -> dict[str, Array]:  # noqa: ARG002
        """Outputs of the workload's network, batch by batch."""
        can, reason = self.available()
        if not can:
            raise EngineUnavailableError(
                f"engine 'neural' cannot run here: {reason}",
                hint="pip install 'neural-gpu-bus[neural]'; see `ngb doctor`",
                engine="neural",
            )
        network = workload.kernels.neural
        assert network is not None, f"{workload.name} has no network: ask supports() first"  # noqa: S101
        batches = []
        for tensors in network.tensors(arrays):
            self._prove(network.model, tensors)
            batches.append(self._run_batch(network.model, self._chosen(), tensors))
        return network.outputs(arrays, batches)

    def _chosen(self) -> str:
        if self._provider is None:
            here = _providers()
            self._provider = self._asked or next(name for name in PROVIDERS if name in here)
        return self._provider

    def _prove(self, model: str, tensors: Mapping[str, Array]) -> None:
        """Compare the provider with the CPU's once a model; leave it when they differ."""
        chosen = self._chosen()
        if chosen == CPU or model in self._proven:
            return
        mine = self._run_batch(model, chosen, tensors)
        difference = largest_difference(mine, self._run_batch(model, CPU, tensors))
        if difference <= DIFFERENCE_MAX:
            self._proven.add(model)
        else:
            self._provider = CPU
            self._note = f" ({chosen} differed by {difference:.2g})"

    def _run_batch(
        self, model: str, provider: str, tensors: Mapping[str, Array]
    ) -> dict[str, Array]:
        session = self._session(model, provider)
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(tensors)), strict=True))

    def _session(self, model: str, provider: str) -> Any:
        if (model, provider) not in self._sessions:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.log_severity_level = LOG_LEVEL
            path = resources.files("neural_gpu_bus.engines") / "models" / model
            self._sessions[model, provider] = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=list(dict.fromkeys([provider, CPU]))
            )
        return self._sessions[model, provider]


def largest_difference(mine: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """Over all float outputs; infinite where only one of them is NaN.

    Integers are left out: a tie may be broken either way.
    """
    differences = [0.0]
    for name, values in mine.items():
        if values.dtype.kind == "f" and values.size:
            apart = np.abs(values.astype(np.float64) - other[name].astype(np.float64))
            gap = np.isnan(values) != np.isnan(other[name])
            differences.append(float("inf") if gap.any() else float(np.nanmax(apart, initial=0.0)))
    return max(differences)


def _providers() -> Sequence[str]:
    import onnxruntime

    names: Sequence[str] = onnxruntime.get_available_providers()
    return names


def capabilities() -> list[Capability]:
    """What ``ngb doctor`` says of it."""
    version = find_library("onnxruntime") or find_library("onnxruntime-gpu")
    if version is None:
        advice = "pip install 'neural-gpu-bus[neural]'"
        return [Capability("neural: onnxruntime", False, "onnxruntime is not installed", advice)]
    here = [name.removesuffix("ExecutionProvider") for name in PROVIDERS if name in _providers()]
    detail = f"onnxruntime {version} with {', '.join(here)}"
    return [Capability("neural: onnxruntime", True, detail, "")]
