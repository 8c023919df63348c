# Intrinsics have numba's own signature.
# ruff: noqa: ARG001, PLR0917
"""Vectors of float64 and unaligned words at addresses, for compiled loops.

numba writes scalar code and leaves vectors to LLVM, which does not find these: a row's update of
four columns took 4.8 ns as scalars and takes 2.4 ns so (one core of an AMD EPYC, 1M rows of 50
groups). Nothing here tests an address; whoever calls it has.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from llvmlite.ir.instructions import StoreInstr
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

#: Columns folded side by side, and values of one column in one step of a run.
LANES, RUN_LANES = 4, 8
#: Places in a group's record of float64: sums, sums of squares, lows, highs, shifts; each LANES.
SUMS, SQUARES, LOWS, HIGHS, SHIFTS, RECORD = (LANES * place for place in range(6))

_DOUBLE, _WORD = ir.DoubleType(), ir.IntType(64)


def _vector(builder: Any, address: Any, lanes: int, place: int) -> Any:
    moved = builder.add(address, ir.Constant(_WORD, 8 * place))
    return builder.inttoptr(moved, ir.VectorType(_DOUBLE, lanes).as_pointer())


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 8
    return value


def _lower(builder: Any, value: Any, than: Any) -> Any:
    """The comparison is false for NaN, which therefore never becomes a low or a high."""
    return builder.select(builder.fcmp_ordered("<", value, than), value, than)


def _higher(builder: Any, value: Any, than: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", value, than), value, than)


class _WholeStore(StoreInstr):  # type: ignore[misc]
    """A store of all lanes. LLVM turns a select and its store into a masked one, and on AMD's Zen 4
    the next load of that record waits long for it: 9.4 ns a row with 20 equal keys in a row, 4.4
    without. It leaves a volatile store alone.
    """

    def descr(self, buf: list[str]) -> None:
        super().descr(buf)
        buf[-1] = buf[-1].replace("store ", "store volatile ", 1)


def _store_whole(builder: Any, value: Any, pointer: Any) -> None:
    store = _WholeStore(builder.block, value, pointer)
    store.align = 8
    builder._insert(store)  # noqa: SLF001  (llvmlite has no method for a volatile store)


def _on_stack(builder: Any, value: Any) -> Any:
    return cgutils.alloca_once_value(builder, value)  # type: ignore[no-untyped-call]


def _fold_row(typing_context: Any, record: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Add one row's four values to the record at that address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        record, *values = arguments
        row = ir.Constant(ir.VectorType(_DOUBLE, LANES), ir.Undefined)
        for lane, value in enumerate(values):
            row = builder.insert_element(row, value, ir.Constant(ir.IntType(32), lane))
        places = {
            place: _vector(builder, record, LANES, place)
            for place in (SUMS, SQUARES, LOWS, HIGHS, SHIFTS)
        }
        held = {place: _load(builder, pointer) for place, pointer in places.items()}
        distance = builder.fsub(row, held[SHIFTS])
        square = builder.fmul(distance, distance)
        changed = {
            SUMS: builder.fadd(held[SUMS], distance),
            SQUARES: builder.fadd(held[SQUARES], square),
            LOWS: _lower(builder, row, held[LOWS]),
            HIGHS: _higher(builder, row, held[HIGHS]),
        }
        for place, value in changed.items():
            _store_whole(builder, value, places[place])
        return context.get_dummy_value()

    return types.void(types.uint64, *[types.float64] * LANES), generate


def _fold_run(typing_context: Any, values: Any, steps: Any, shift: Any, lanes: Any) -> Any:
    """Add ``steps`` times eight values at an address to the 32 numbers at ``lanes``: eight sums,
    sums of squares, lows, and highs.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, steps, shift, lanes = arguments
        kind = ir.VectorType(_DOUBLE, RUN_LANES)
        first = builder.insert_element(
            ir.Constant(kind, ir.Undefined), shift, ir.Constant(ir.IntType(32), 0)
        )
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), RUN_LANES), [0] * RUN_LANES)
        shifts = builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)
        homes = [_vector(builder, lanes, RUN_LANES, RUN_LANES * place) for place in range(4)]
        # On the stack, which LLVM turns into registers.
        held = [_on_stack(builder, _load(builder, home)) for home in homes]
        with cgutils.for_range(builder, steps) as loop:
            start = builder.add(values, builder.mul(loop.index, ir.Constant(_WORD, 8 * RUN_LANES)))
            row = _load(builder, _vector(builder, start, RUN_LANES, 0))
            sums, squares, lows, highs = (builder.load(place) for place in held)
            distance = builder.fsub(row, shifts)
            square = builder.fmul(distance, distance)
            builder.store(builder.fadd(sums, distance), held[0])
            builder.store(builder.fadd(squares, square), held[1])
            builder.store(_lower(builder, row, lows), held[2])
            builder.store(_higher(builder, row, highs), held[3])
        for home, place in zip(homes, held, strict=True):
            builder.store(builder.load(place), home).align = 8
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.float64, types.uint64), generate


def _load_word(typing_context: Any, address: Any) -> Any:
    """Eight bytes at any address, in the machine's own order."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = builder.load(builder.inttoptr(arguments[0], _WORD.as_pointer()))
        value.align = 1
        return value

    return types.uint64(types.uint64), generate


def _load_byte(typing_context: Any, address: Any) -> Any:
    """The byte at that address, as a word."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        return builder.zext(builder.load(pointer), _WORD)

    return types.uint64(types.uint64), generate


def _multiply_fold(typing_context: Any, one: Any, other: Any) -> Any:
    """The 128-bit product of two words, its halves combined by exclusive or."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(word, wide) for word in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), _WORD)
        return builder.xor(high, builder.trunc(product, _WORD))

    return types.uint64(types.uint64, types.uint64), generate


multiply_fold: Any = intrinsic(_multiply_fold)
fold_row: Any = intrinsic(_fold_row)
fold_run: Any = intrinsic(_fold_run)
load_word: Any = intrinsic(_load_word)
load_byte: Any = intrinsic(_load_byte)
