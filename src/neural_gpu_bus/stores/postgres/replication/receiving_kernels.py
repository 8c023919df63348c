# Intrinsics have numba's own signature; compiled loops take plain arrays.
# ruff: noqa: ARG001, PLR0917
"""Waiting for a transaction: bytes are received and walked without a word of Python in between.

The server sends each message by itself, so whoever waits is woken for each: three times for a
transaction of one row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from neural_gpu_bus.stores.postgres.reading.exchange.receive_buffer import RECEIVE_BYTES
from neural_gpu_bus.stores.postgres.replication.stream_kernels import (
    MORE,
    WHOLE_MARKS,
    WHOLE_POSITION,
    walk_stream,
)

#: Of the files whose functions are compiled into this loop; a test says it.
COMPILED_WITH = "44b1af5c5f3e508c"

#: Waits for more of a transaction that has begun, and how many of them: then others have a turn.
_WAIT_MS_WITHIN, _WAITS_MAX = 1, 32
_POLLIN = 1


def _recv(typing_context: Any, socket: Any, address: Any, count: Any) -> Any:
    """The C library's ``recv`` without flags."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number, wide = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
        kind = ir.FunctionType(wide, [number, byte, wide, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "recv")  # type: ignore[no-untyped-call]
        socket, address, count = arguments
        to = builder.inttoptr(address, byte)
        return builder.call(function, [builder.trunc(socket, number), to, count, number(0)])

    return types.int64(types.int64, types.int64, types.int64), generate


def _poll(typing_context: Any, asked: Any, wait_ms: Any) -> Any:
    """The C library's ``poll`` of one descriptor; ``asked``: address of its ``pollfd``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number, wide = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
        kind = ir.FunctionType(number, [byte, wide, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "poll")  # type: ignore[no-untyped-call]
        at = builder.inttoptr(arguments[0], byte)
        found = builder.call(function, [at, wide(1), builder.trunc(arguments[1], number)])
        return builder.sext(found, wide)

    return types.int64(types.int64, types.int64), generate


recv: Any = intrinsic(_recv)
poll: Any = intrinsic(_poll)


@njit(
    "int64(int64, int64, int64, uint8[::1], int64, int64, int64[::1], uint8[::1], uint8[::1], "
    "int64[::1], int64[::1], int64[::1], int64[:, ::1])",
    nogil=True,
    cache=True,
)
def receive_whole(  # type: ignore[no-untyped-def]
    socket, wait_ms, open_bytes_max, buffer, stop, limit, state, kinds, old_kinds, oids, new_at,
    old_at, marks,
):  # fmt: skip
    """Receive from a socket that does not block, and walk what came, until something is whole, or
    the walk stops for another reason, or a transaction has more than ``open_bytes_max``, or nothing
    came in time. Where the bytes end then; a socket that is broken looks like no bytes.
    """
    base, waits, ready = np.int64(buffer.ctypes.data), 0, False
    asked = np.array([socket | np.int64(_POLLIN) << np.int64(32)])
    while stop < limit:
        count = recv(socket, base + stop, min(limit - stop, np.int64(RECEIVE_BYTES)))
        if count > 0:
            stop, ready = stop + count, False
            why = walk_stream(buffer, stop, state, kinds, old_kinds, oids, new_at, old_at, marks)
            if why != MORE or state[WHOLE_MARKS] or stop - state[WHOLE_POSITION] > open_bytes_max:
                break
            continue
        if ready or waits == _WAITS_MAX:
            break
        ready = poll(np.int64(asked.ctypes.data), _WAIT_MS_WITHIN if waits else wait_ms) > 0
        waits += 1
        if not ready:
            break
    return stop
