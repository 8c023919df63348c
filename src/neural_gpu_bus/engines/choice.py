"""An engine asked for by name: refused at once where the name or the workload does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.ports import EngineName

if TYPE_CHECKING:
    from neural_gpu_bus.ports import Workload

#: Every engine, in the order in which people read them.
ENGINE_NAMES: tuple[str, ...] = get_args(EngineName)


def check_engine(workload: Workload, engine: str | None) -> None:
    """BadParameterError when there is no such engine, or it has no kernel of that workload.

    Whether its library and device are there is for the worker to say: it may run elsewhere.
    """
    if engine is None:
        return
    kernels = workload.kernels
    if engine not in ENGINE_NAMES:
        raise BadParameterError(
            f"there is no engine {engine!r}; there are {', '.join(ENGINE_NAMES)}",
            hint=did_you_mean(engine, ENGINE_NAMES, "leave it out: the planner chooses"),
            parameter="engine",
        )
    kernel_of = {"cpu": kernels.cpu, "gpu": kernels.array, "neural": kernels.neural}
    if kernel_of[engine] is None:
        able = [name for name, kernel in kernel_of.items() if kernel is not None]
        raise BadParameterError(
            f"{workload.name} has no kernel for engine {engine!r}; it runs on {', '.join(able)}",
            hint="leave engine out: the planner chooses",
            parameter="engine",
        )
