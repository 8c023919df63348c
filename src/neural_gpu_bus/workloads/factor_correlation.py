"""Correlation matrix of factors: Pearson's, over the rows in which every factor has a value.

Input: one column a factor, shape (n_rows,), any unit. Rows with a NULL or NaN in any factor are
left out whole, so that the matrix is positive semi-definite. A factor that never changes has no
correlation: its row and column are NaN, as numpy.corrcoef means it (there, rounding of the mean
can hide it). Infinite values are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.columns import (
    FLOAT_TYPES,
    INTEGER_TYPES,
    NUMBER,
    Input,
    finite_hint,
)
from neural_gpu_bus.workloads.workload import Kernels, Workload, labels, numeric_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from neural_gpu_bus.ports import ArrayBackend, Columns
    from neural_gpu_bus.workloads.workload import Array, Arrays

    Floats = npt.NDArray[np.float64]

#: A matrix of 4,096 factors is 134 MB; more is another kind of problem.
FACTORS_MAX = 4096

#: The result's column of labels, so that no factor can have that name.
LABELS = "factor"


class FactorCorrelationParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of ``factor.correlation``."""

    #: Factors in the order wanted; None for every float column.
    columns: Annotated[tuple[str, ...], Meta(min_length=1, max_length=FACTORS_MAX)] | None = None


def prepare(inputs: Mapping[str, Columns], params: FactorCorrelationParams) -> dict[str, Array]:
    """``values`` (factors, complete rows), each factor's values side by side."""
    frame = Input(inputs, "factors", rows_min=2)
    names = _names(frame, params)
    values = np.empty((len(names), frame.rows))
    for index, name in enumerate(names):
        values[index] = _column(frame, name)
    return {"values": _complete(names, values), "factor": labels(names)}


def _names(frame: Input, params: FactorCorrelationParams) -> list[str]:
    present = list(frame.columns.keys())
    if params.columns is None:
        names = [item.name for item in frame.columns.descriptor.columns if item.type in FLOAT_TYPES]
    else:
        names = list(params.columns)
    twice = {name for name in names if names.count(name) > 1}
    unknown = [name for name in names if name not in present]
    if unknown:
        raise BadParameterError(
            f"parameter 'columns' names {unknown[0]!r}, which input 'factors' does not have",
            hint=did_you_mean(unknown[0], present, f"it has {', '.join(present)}"),
            parameter="columns",
        )
    if not names or twice or len(names) > FACTORS_MAX:
        what = f"names {min(twice)!r} twice" if twice else f"gives {len(names)} factors"
        raise BadParameterError(
            f"parameter 'columns' of factor.correlation {what}",
            hint=f"name 1 to {FACTORS_MAX} different float columns",
            parameter="columns",
        )
    if LABELS in names:
        raise BadParameterError(
            f"a factor is named {LABELS!r}, the name of the result's column of labels",
            hint=f"rename it in the query: SELECT {LABELS} AS ..., or name others by columns=[...]",
            parameter="columns",
        )
    return names


def _column(frame: Input, name: str) -> npt.NDArray[Any]:
    if frame.type_of(name) not in FLOAT_TYPES | INTEGER_TYPES:
        raise frame.wrong_type(name, NUMBER, frame.type_of(name))
    values, valid = frame.columns.values(name), frame.columns.valid(name)
    if values.dtype.kind == "f" and np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise frame.fault(name, row + 1, f"is {values[row]}", finite_hint(name))
    return values if valid is None else np.where(valid, values, np.nan)


def _complete(names: list[str], values: Floats) -> Floats:
    """The rows in which no factor is missing."""
    # The sum over factors is NaN exactly where one of them is: infinities were refused.
    with np.errstate(over="ignore"):
        gap = np.isnan(values.sum(axis=0))
    if not gap.any():
        return values
    whole = np.ascontiguousarray(values[:, ~gap])
    if whole.shape[1] < 2:
        emptiest = names[int(np.isnan(values).sum(axis=1).argmax())]
        raise BadParameterError(
            f"input 'factors' has {whole.shape[1]} rows in which all {len(names)} factors have a "
            f"value, and needs at least 2; {emptiest!r} is missing most often",
            hint="name fewer columns, or choose rows in which they all have values",
            parameter=f"factors.{emptiest}",
        )
    return whole


def cpu(arrays: Arrays, params: FactorCorrelationParams) -> dict[str, Array]:  # noqa: ARG001
    """Centre, then one symmetric matrix product (BLAS syrk), scaled where it is small."""
    from neural_gpu_bus.workloads import factor_correlation_compiled as compiled

    values = arrays["values"]
    centred, length = np.empty_like(values), np.empty(len(values))
    compiled.centre(values, centred, length)
    product = centred @ centred.T
    product /= np.outer(length, length)
    return _outputs(arrays, np.clip(product, -1.0, 1.0, out=product))


def array(backend: ArrayBackend, arrays: Arrays, params: FactorCorrelationParams) -> dict[str, Any]:  # noqa: ARG001
    """The same; a constant factor's length is 0 and makes its row NaN."""
    xp = backend.xp
    values = backend.from_numpy(arrays["values"])
    first = values[:, :1]
    shifted = values - first
    centred = shifted - xp.mean(shifted, axis=1, keepdims=True)
    length = xp.sqrt(xp.sum(centred * centred, axis=1, keepdims=True))
    scaled = centred / xp.where(length > 0, length, xp.full_like(length, float("nan")))
    return _outputs(arrays, xp.clip(xp.matmul(scaled, scaled.T), -1.0, 1.0))


def _outputs(arrays: Arrays, correlation: Any) -> dict[str, Any]:
    return {"factor": arrays["factor"], "correlation": correlation}


def table(outputs: Mapping[str, Array], params: FactorCorrelationParams) -> pa.Table:  # noqa: ARG001
    """One row and one column a factor; the diagonal is exactly 1."""
    factor, correlation = outputs["factor"], outputs["correlation"].copy()
    diagonal = np.diagonal(correlation)
    np.fill_diagonal(correlation, np.where(np.isnan(diagonal), np.nan, 1.0))
    columns = {name: correlation[:, index] for index, name in enumerate(factor)}
    return numeric_table({LABELS: factor, **columns}, [LABELS, *columns])


def cost(arrays: Arrays, params: FactorCorrelationParams) -> float:  # noqa: ARG001
    """Half of a full product, and the scaling."""
    factors, rows = arrays["values"].shape
    return float(rows * factors * (factors + 5))


WORKLOAD = Workload(
    name="factor.correlation",
    summary="Correlation matrix of factors over the rows in which all of them have a value.",
    params_type=FactorCorrelationParams,
    inputs={"factors": {}},
    prepare=prepare,
    kernels=Kernels(cpu=cpu, array=array),
    table=table,
    cost=cost,
)
