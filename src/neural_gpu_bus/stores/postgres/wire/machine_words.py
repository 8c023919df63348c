# Intrinsics have numba's own signature.
# ruff: noqa: ARG001
"""Numbers at addresses, for compiled loops: loads in network order, stores in the machine's.

Nothing here tests an address; whoever calls it has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


def _store(bits: int, value_type: Any) -> Any:
    """A store of one number, in the machine's own order."""

    def typed(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            builder.store(arguments[1], pointer).align = 1
            return context.get_dummy_value()

        return types.void(types.uint64, value_type), generate

    return intrinsic(typed)


def _load(bits: int, value_type: Any, *, swapped: bool = True) -> Any:
    """A load of one number: ``swapped`` from network order, else in the machine's own."""

    def typed(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))
            value.align = 1
            return builder.bswap(value) if swapped and bits > 8 else value

        return value_type(types.uint64), generate

    return intrinsic(typed)


def _multiply_add(typing_context: Any, factor: Any, other: Any, addend: Any) -> Any:
    """``factor * other + addend`` in 128 bits: the high 64, the low 64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, narrow = ir.IntType(128), ir.IntType(64)
        factor, other, addend = (builder.zext(argument, wide) for argument in arguments)
        result = builder.add(builder.mul(factor, other), addend)
        high = builder.trunc(builder.lshr(result, ir.Constant(wide, 64)), narrow)
        return context.make_tuple(
            builder, signature.return_type, (high, builder.trunc(result, narrow))
        )

    pair = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]
    return pair(types.uint64, types.uint64, types.uint64), generate


def _strtod(typing_context: Any, address: Any) -> Any:
    """The C library's ``strtod`` of the text at an address, which ends with a zero byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.DoubleType(), [byte, byte.as_pointer()])
        function = cgutils.get_or_insert_function(builder.module, kind, "strtod")  # type: ignore[no-untyped-call]
        text = builder.inttoptr(arguments[0], byte)
        return builder.call(function, [text, ir.Constant(byte.as_pointer(), None)])

    return types.float64(types.uint64), generate


def _bits_of(typing_context: Any, value: Any) -> Any:
    """The bits of a double."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.uint64(types.float64), generate


def _atomic_8(operation: str) -> Any:
    """Change one byte that another thread may change at the same time."""

    def typed(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
            builder.atomic_rmw(operation, pointer, arguments[1], "monotonic")
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint8), generate

    return intrinsic(typed)


def _memcpy(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    """memcpy between two addresses."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(argument, byte) for argument in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


store_8 = _store(8, types.uint8)
store_16 = _store(16, types.uint16)
store_32 = _store(32, types.uint32)
store_64 = _store(64, types.uint64)
load_8 = _load(8, types.uint8)
load_16 = _load(16, types.uint16)
load_32 = _load(32, types.uint32)
load_64 = _load(64, types.uint64)
load_own_64 = _load(64, types.uint64, swapped=False)
load_own_32 = _load(32, types.uint32, swapped=False)
multiply_add: Any = intrinsic(_multiply_add)
strtod: Any = intrinsic(_strtod)
bits_of: Any = intrinsic(_bits_of)
atomic_and_8 = _atomic_8("and")
atomic_or_8 = _atomic_8("or")
copy_bytes: Any = intrinsic(_memcpy)


@njit(forceinline=True)
def i16(address):  # type: ignore[no-untyped-def]
    """Signed 16 bits in network order, as int64."""
    return np.int64(np.int16(load_16(np.uint64(address))))


@njit(forceinline=True)
def i32(address):  # type: ignore[no-untyped-def]
    """Signed 32 bits in network order, as int64."""
    return np.int64(np.int32(load_32(np.uint64(address))))


@njit(forceinline=True)
def i64(address):  # type: ignore[no-untyped-def]
    """Signed 64 bits in network order."""
    return np.int64(load_64(np.uint64(address)))


@njit(forceinline=True)
def byte(address):  # type: ignore[no-untyped-def]
    """One byte at a signed address."""
    return load_8(np.uint64(address))
