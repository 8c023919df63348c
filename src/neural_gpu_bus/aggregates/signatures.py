"""Types of the compiled loops' arguments: one specialisation each, compiled once and cached.

Read-only arrays are what shared memory hands out; numba takes a writable one in their place.
"""

from __future__ import annotations

from typing import Any

from numba import types

from neural_gpu_bus import numba_start

numba_start.start()


def _read_only(kind: Any) -> Any:
    return types.Array(kind, 1, "C", readonly=True)


CODES: Any = _read_only(types.uint32)
FLOATS: Any = _read_only(types.float64)
INTS: Any = _read_only(types.int64)
INTS32: Any = _read_only(types.int32)

OUT_CODES: Any = types.uint32[::1]
OUT_INTS: Any = types.int64[::1]
OUT_FLOAT_ROWS: Any = types.float64[:, ::1]
OUT_INT_ROWS: Any = types.int64[:, ::1]

INT: Any = types.int64
WORD: Any = types.uint64
VOID: Any = types.void
