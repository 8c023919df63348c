"""Whole numbers and decimals to numeric, exactly, a column at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from neural_gpu_bus.stores.postgres.encoding import numeric_kernels as kernels
from neural_gpu_bus.stores.postgres.encoding.scalar_conversions import wire
from neural_gpu_bus.stores.postgres.encoding.wire_source import Source, WireColumn

#: No numeric has so many digits before or behind its point.
_ANY = 1 << 20

_ALL_VALID = np.empty(0, np.bool_)


def whole_number(source: Source) -> WireColumn:
    """Integers of any width."""
    values = source.fixed(source.array.type.to_pandas_dtype())
    if values.dtype.itemsize < 8:
        values = values.astype(np.int64)
    words = np.ascontiguousarray(values).view("<u4").reshape(-1, 2)
    if values.dtype.kind == "u":  # a limb above says that the sign bit is none
        words = np.concatenate([words, np.zeros((len(words), 1), np.uint32)], axis=1)
    return _numeric(source, words, 0)


def decimal(source: Source) -> WireColumn:
    """Decimals of any width."""
    type_ = source.array.type
    limbs = type_.bit_width // 32
    words = source.fixed(np.dtype(("<u4", (limbs,))))
    return _numeric(source, words, type_.scale)


def cents(source: Source) -> WireColumn:
    """Decimals of two digits behind the point to money, which is 64 bits of cents (cash.c)."""
    words = source.fixed(np.dtype(("<i8", (source.array.type.bit_width // 64,))))
    source.refuse_where(
        (words[:, 1:] != words[:, :1] >> 63).any(axis=1),
        "does not fit into money",
        "let the column be numeric",
    )
    return wire(np.ascontiguousarray(words[:, 0]), source.valid)


def _numeric(source: Source, words: npt.NDArray[np.uint32], scale: int) -> WireColumn:
    rows, limbs = words.shape
    valid = source.valid
    limits = _limits(source)
    # A limb has 9.7 decimal digits; a scale that is no multiple of 4 begins one more group.
    groups_max = -(-limbs * 10 // 4) + 2
    out = np.empty(rows * (8 + 2 * groups_max), np.uint8)
    offsets = np.zeros(rows + 1, np.int64)
    verdicts = np.zeros(rows, np.uint8)
    known = _ALL_VALID if valid is None else valid
    words = np.ascontiguousarray(words)
    kernels.put_numerics(words, known, scale, limits, out, offsets, verdicts)
    if verdicts.any():
        _refuse(source, verdicts)
    return WireColumn(0, out, valid, offsets)


def _limits(source: Source) -> npt.NDArray[np.int64]:
    digits = source.target.type.numeric_digits
    if digits is None:
        return np.array([_ANY, _ANY])
    precision, scale = digits
    return np.array([precision - scale, scale])


def _refuse(source: Source, verdicts: npt.NDArray[np.uint8]) -> None:
    """The first bad row, whatever is wrong with it."""
    first = int(np.argmax(verdicts != kernels.FITS))
    text = source.target.type.text
    if verdicts[first] == kernels.TOO_LARGE:
        why, hint = f"does not fit into {text}", "let the column have more digits, or be numeric"
    else:
        why = f"has more digits behind the point than {text} holds"
        hint = "round the values first, or let the column be numeric"
    raise source.refusal(first, why, hint)
