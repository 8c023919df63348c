"""Every workload by name: jobs are names and data, and this is all the code they can reach."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import UnknownWorkloadError
from neural_gpu_bus.workloads import (
    factor_correlation,
    portfolio_risk,
    shape_patterns,
    technical_indicators,
    vpin_bars,
    vpin_trades,
)

if TYPE_CHECKING:
    from neural_gpu_bus.workloads.workload import Workload

WORKLOADS: Mapping[str, Workload] = MappingProxyType(
    {
        module.WORKLOAD.name: module.WORKLOAD
        for module in (
            portfolio_risk,
            factor_correlation,
            technical_indicators,
            vpin_trades,
            vpin_bars,
            shape_patterns,
        )
    }
)


#: Modules with compiled loops.
COMPILED = (
    "portfolio_risk",
    "factor_correlation",
    "technical_indicators",
    "vpin",
    "shape_patterns",
    "time_bars",
)


def load_kernels() -> None:
    """Load every compiled kernel now, so that a worker's first job does not wait for it.

    About 0.5 s from numba's cache, and some 4 s the first time after an installation.
    """
    for name in COMPILED:
        importlib.import_module(f"neural_gpu_bus.workloads.{name}_compiled")


def find(name: str) -> Workload:
    """The workload of that name; UnknownWorkloadError names the nearest ones."""
    if name in WORKLOADS:
        return WORKLOADS[name]
    raise UnknownWorkloadError(
        f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}",
        hint=did_you_mean(name, WORKLOADS, "use one of these"),
        workload=name,
        known=tuple(WORKLOADS),
    )
