"""What one workload is made of: the one implementation of ``ports.Workload``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import msgspec
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import ArrayBackend, Columns

    Array = npt.NDArray[Any]
    Arrays = Mapping[str, Array]

#: Input name -> column name -> ``float``, ``time``, ``text`` or ``text, optional``; no column at
#: all stands for every float column.
Inputs = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class NeuralModel:
    """How a workload runs as a network: the model's file and the way in and out."""

    #: File in ``engines/models``.
    model: str
    #: Arrays to batches of named tensors, each small enough to run at once.
    tensors: Callable[[Arrays], Iterator[dict[str, Array]]]
    #: One mapping of output tensors a batch, back to what the other kernels return.
    outputs: Callable[[Arrays, Sequence[Mapping[str, Array]]], dict[str, Array]]


@dataclass(frozen=True, slots=True)
class Kernels:
    """One workload's implementations; None where an engine has none.

    All take what ``prepare`` returned and give the same outputs. A float64 kernel agrees with the
    others to a relative 1e-10; a float32 device to what ``docs/explanation/workloads.md`` states.
    """

    cpu: Callable[[Arrays, Any], dict[str, Array]]
    array: Callable[[ArrayBackend, Arrays, Any], dict[str, Any]] | None = None
    neural: NeuralModel | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """One registered workload: pure maths with a typed face."""

    #: ``area.name``, e.g. ``risk.portfolio``.
    name: str
    #: One sentence.
    summary: str
    #: msgspec struct of the parameters with defaults and limits.
    params_type: type[msgspec.Struct]
    inputs: Inputs
    #: Columns to the plain arrays that every kernel takes; bad columns are BadParameterErrors.
    prepare: Callable[[Mapping[str, Columns], Any], dict[str, Array]]
    kernels: Kernels
    #: What a kernel returned, as the result's columns.
    table: Callable[[Mapping[str, Array], Any], pa.Table]
    #: Rough number of floating-point operations, for the planner.
    cost: Callable[[Arrays, Any], float]


def numeric_table(outputs: Mapping[str, Array], names: Sequence[str]) -> pa.Table:
    """Outputs of those names as an Arrow table, in that order; object arrays become text.

    NaN stays NaN: an Arrow NULL would mean "not known", and these are "not defined yet".
    """
    import pyarrow as pa

    zone = str(outputs["ts_zone"][0]) if "ts_zone" in outputs else ""
    return pa.table({name: _arrow(outputs[name], zone) for name in names})


def _arrow(values: Array, zone: str) -> pa.Array[Any]:
    import pyarrow as pa

    kind: Any = pa.large_string() if values.dtype == object else None
    converted: pa.Array[Any] = pa.array(values, type=kind, from_pandas=False)
    if zone and pa.types.is_timestamp(converted.type):
        # numpy's timestamps have no zone; these are UTC, and shown in the zone of the input.
        return converted.view(pa.timestamp(converted.type.unit, zone))
    return converted


def stamps_of(arrays: Arrays) -> dict[str, Array]:
    """The times that a kernel hands on as they are."""
    return {"ts": arrays["ts"], "ts_zone": arrays["ts_zone"]}


def labels(texts: Sequence[str]) -> npt.NDArray[np.object_]:
    """Texts as an object array, so that they travel beside the numbers."""
    import numpy as np

    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
