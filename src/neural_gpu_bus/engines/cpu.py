"""The ``cpu`` engine: kernels compiled by numba, and the BLAS below numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.engines.capability import Capability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neural_gpu_bus.ports import Array, EngineName, Workload


class CpuEngine:
    """Runs every workload, on the calling thread; kernels release the GIL, so threads add up."""

    name: EngineName = "cpu"

    def available(self) -> tuple[bool, str]:
        """Always: numba and numpy are part of the package."""
        return True, "numba and numpy are part of the package"

    def supports(self, workload: Workload) -> bool:
        """Whether the workload has a compiled kernel."""
        return workload.kernels.cpu is not None

    def backend(self) -> str:
        """Library below this engine."""
        return "numba"

    def float_type(self) -> str:
        """Every kernel computes in float64."""
        return "float64"

    def run(self, workload: Workload, arrays: Mapping[str, Array], params: Any) -> dict[str, Array]:
        """Outputs of the workload's compiled kernel."""
        kernel = workload.kernels.cpu
        assert kernel is not None, f"{workload.name} has no cpu kernel: ask supports() first"  # noqa: S101
        return kernel(arrays, params)


def capability() -> Capability:
    """What ``ngb doctor`` says of this engine."""
    import llvmlite
    import numba

    detail = f"numba {numba.__version__}, llvmlite {llvmlite.__version__}"
    return Capability("cpu: numba", available=True, detail=detail, advice="")
