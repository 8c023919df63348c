"""numba without scipy's linear algebra until somebody needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from neural_gpu_bus import numba_start

{first}
numba_start.start()
print("scipy.linalg" in sys.modules, numba_start.LOOKED_FOR in sys.modules)

import numba

@numba.njit
def solved(matrix, vector):
    return np.linalg.solve(matrix, matrix @ vector)

print(solved(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([5.0, 7.0])).round(9).tolist())
"""


@pytest.mark.parametrize(
    ("first", "loaded"),
    [("", "False False"), ("import scipy.linalg.cython_blas", "True True")],
    ids=["at first", "after scipy"],
)
def test_a_callers_own_loop_still_finds_linear_algebra(first: str, loaded: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(first=first)]
    answer = subprocess.run(program, capture_output=True, text=True, check=True)

    assert answer.stdout.splitlines() == [loaded, "[5.0, 7.0]"]


def test_reading_loads_no_linear_algebra() -> None:
    program = (
        "import sys, neural_gpu_bus.stores.postgres.decoding.copy_kernels; "
        "print('numba' in sys.modules, 'scipy.linalg' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "True False"
