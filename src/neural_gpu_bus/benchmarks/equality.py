"""Whether two results are the same, row by row. Pure.

Text, counts, times and NULL must be identical; NaN equals NaN. Floats may differ by
``RELATIVE_TOLERANCE`` of the value plus as much of the column's largest magnitude, which matters
near zero: the ways add up in different orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.errors import ResultsDifferError

RELATIVE_TOLERANCE = 1e-9

Rows = Mapping[str, Sequence[Any] | npt.NDArray[Any]]


def require_equal(
    expected: Rows,
    found: Rows,
    *,
    workload: str,
    way: str,
    place: str,
    reference: str,
    tolerances: Mapping[str, float] = MappingProxyType({}),
) -> int:
    """Compare the columns of ``found`` with ``expected``; returns the rows compared.

    ``reference`` names the way that ``expected`` comes from, for messages; ``tolerances`` holds
    those of single columns. Rows are compared in the order given: sort both by their key first.

    Raises ResultsDifferError naming the first differing row, its column and both values.
    """
    facts = {"workload": workload, "way": way, "place": place}
    if list(expected) != list(found):
        raise ResultsDifferError(
            f"{workload}: {way} stored columns {list(found)} in {place}, not {list(expected)}",
            hint="the ways do not compute the same thing; no times were taken",
            row=0,
            column="",
            **facts,
        )
    rows = len(next(iter(expected.values()), ()))
    first = min(
        (
            (position, name)
            for name in expected
            if (
                position := first_difference(
                    expected[name], found[name], tolerances.get(name, RELATIVE_TOLERANCE)
                )
            )
            is not None
        ),
        default=None,
    )
    if first is None:
        return rows
    position, name = first
    raise ResultsDifferError(
        f"{workload}: {way} differs from {reference} in {place} at row {position + 1}, "
        f"column {name!r}: {_value(found[name], position)} "
        f"instead of {_value(expected[name], position)}",
        hint="the ways do not compute the same thing; no times were taken",
        row=position + 1,
        column=name,
        **facts,
    )


def first_difference(
    expected: Sequence[Any] | npt.NDArray[Any],
    found: Sequence[Any] | npt.NDArray[Any],
    tolerance: float = RELATIVE_TOLERANCE,
) -> int | None:
    """Index of the first value that differs, a missing row being one; None when all are equal."""
    common = min(len(expected), len(found))
    left, right = np.asarray(expected[:common]), np.asarray(found[:common])
    if left.dtype.kind == "f" and right.dtype.kind == "f":
        equal = _close(left, right, tolerance)
    else:
        equal = np.array([a == b for a, b in zip(left.tolist(), right.tolist(), strict=True)], bool)
    if not equal.all():
        return int(np.argmin(equal))
    return common if len(expected) != len(found) else None


def _close(
    left: npt.NDArray[Any], right: npt.NDArray[Any], tolerance: float
) -> npt.NDArray[np.bool_]:
    finite = np.abs(left[np.isfinite(left)])
    scale = float(finite.max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        near = np.isclose(right, left, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
    return np.asarray(near, bool)


def _value(column: Sequence[Any] | npt.NDArray[Any], position: int) -> str:
    return repr(column[position]) if position < len(column) else "no row"
