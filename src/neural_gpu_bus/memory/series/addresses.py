# Intrinsics have numba's own signature.
# ruff: noqa: ARG001
"""Numbers at addresses for the compiled loops of series, and fences between processes.

Nothing here tests an address; whoever calls it has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def _store(bits: int, value_type: Any) -> Any:
    def typed(typing_context: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            builder.store(arguments[1], pointer).align = 1
            return context.get_dummy_value()

        return types.void(types.int64, value_type), generate

    return intrinsic(typed)


def _load(bits: int, value_type: Any) -> Any:
    def typed(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer()))
            value.align = 1
            return value

        return value_type(types.int64), generate

    return intrinsic(typed)


def _memcpy(typing_context: Any, target: Any, source: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(argument, byte) for argument in arguments[:2])
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)  # type: ignore[no-untyped-call]
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _fence(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


store_8 = _store(8, types.uint8)
store_16 = _store(16, types.uint16)
store_32 = _store(32, types.uint32)
store_64 = _store(64, types.int64)
load_8 = _load(8, types.uint8)
load_16 = _load(16, types.uint16)
load_32 = _load(32, types.uint32)
load_64 = _load(64, types.int64)
copy_bytes: Any = intrinsic(_memcpy)
#: No load or store moves over it, by the compiler or by the processor.
fence: Any = intrinsic(_fence)
