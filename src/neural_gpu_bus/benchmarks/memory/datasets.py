"""What the places keep: ten columns of numbers that are the same in every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.benchmarks.equality import require_equal

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

NAMES = tuple(f"c{place}" for place in range(10))
_ROW_BYTES = 8 * len(NAMES)


def made_up(nbytes: int) -> Matrix:
    """About ``nbytes`` of numbers, shape (10, rows): one column a row of the matrix.

    One piece of memory, so that rivals that keep plain bytes need not put it together first.
    """
    return np.random.default_rng(7).random((len(NAMES), max(1, nbytes // _ROW_BYTES)))


def columns(matrix: Matrix) -> dict[str, Matrix]:
    """The rows of the matrix by their names, without a copy."""
    return dict(zip(NAMES, matrix, strict=True))


def from_bytes(buffer: Any) -> dict[str, Matrix]:
    """Columns over plain bytes of such a matrix, without a copy."""
    return columns(np.frombuffer(buffer).reshape(len(NAMES), -1))


def sums(found: Mapping[str, Any]) -> dict[str, list[float]]:
    """For comparing between processes: numpy adds equal columns up to equal sums."""
    return {name: [float(np.sum(column))] for name, column in found.items()}


def check(case: str, place: str, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """ResultsDifferError unless a place gives back what it was given."""
    require_equal(
        expected, found, workload=case, way=place, place="what it gives back", reference="the input"
    )
