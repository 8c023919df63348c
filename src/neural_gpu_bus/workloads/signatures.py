"""Types of the compiled kernels' arguments: one specialisation each, compiled once and cached.

Read-only arrays are what shared memory hands out; numba takes a writable array for a read-only
argument, but not the other way round.
"""

from __future__ import annotations

from typing import Any

from numba import types

from neural_gpu_bus import numba_start

numba_start.start()

BYTES: Any = types.Array(types.int8, 1, "C", readonly=True)
INTS32: Any = types.Array(types.int32, 1, "C", readonly=True)
INTS: Any = types.Array(types.int64, 1, "C", readonly=True)
FLOATS: Any = types.Array(types.float64, 1, "C", readonly=True)
MATRIX: Any = types.Array(types.float64, 2, "C", readonly=True)

OUT_INTS32: Any = types.int32[::1]
OUT_INTS: Any = types.int64[::1]
OUT_FLOATS: Any = types.float64[::1]
OUT_MATRIX: Any = types.float64[:, ::1]

INT: Any = types.int64
FLOAT: Any = types.float64
INT_PAIR: Any = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]
VOID: Any = types.void
