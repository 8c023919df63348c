"""Columns of numbers into a matrix: which can go, and the conversion that loses nothing unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.did_you_mean import did_you_mean
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ColumnNotFoundError,
    UnsupportedTypeError,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from neural_gpu_bus.memory.frames.frame import Frame

    Array = npt.NDArray[Any]

#: Bytes of a tensor that are filled at a time, so that they stay in the cache (L2 is 0.5 to 2 MiB)
#: while each column writes its own places among them. Eight columns of a million float64 to float32
#: took 20 ms by parts of 256 KiB, 15 by 1 MiB, 23 at once.
_PART_BYTES = 1 << 20


def number_columns(frame: Frame, columns: Sequence[str] | None, dtype: str) -> tuple[str, ...]:
    """The columns that go into a tensor of that type, in order; checked by name and type.

    None for all of numbers. Raises BadParameterError, ColumnNotFoundError, UnsupportedTypeError.
    """
    types = frame.types
    held = list(types)
    fits = _is_integer if dtype == "int64" else _is_number
    chosen = [name for name in held if fits(types[name])] if columns is None else list(columns)
    what = "integer" if dtype == "int64" else "number"
    if not chosen or isinstance(columns, str):
        raise BadParameterError(
            f"there are no columns for a tensor: columns is {columns!r}",
            hint=f"name columns of {what}s, e.g. columns={held[:2]!r}",
            parameter="columns",
        )
    for name in chosen:
        if name not in held:
            raise ColumnNotFoundError(
                f"no column {name!r} in {frame.source.title}",
                hint=did_you_mean(str(name), held, f"it has {held}"),
                column=name,
            )
        if not fits(types[name]) and not (types[name] == "bool" and columns is not None):
            raise UnsupportedTypeError(
                f"column {name!r} is {types[name]}, no {what}: it cannot go into a {dtype} tensor",
                hint="leave it out, or cast it in the query",
                column=name,
                type=types[name],
            )
    return tuple(chosen)


def _is_integer(spelling: str) -> bool:
    return spelling.removeprefix("u") in ("int8", "int16", "int32", "int64")


def _is_number(spelling: str) -> bool:
    return spelling in ("halffloat", "float", "double") or _is_integer(spelling)


def fill(matrix: Array, frame: Frame, chosen: Sequence[str]) -> None:
    """Write the columns' values into ``matrix`` (rows, columns), which may be a transposed view.

    Part by part: nothing in between is held whole. Raises BadValueError naming column and row.
    """
    sources = [_numbers(frame, name, matrix.dtype) for name in chosen]
    step = max(1, _PART_BYTES // (matrix.itemsize * len(chosen)))
    for start in range(0, frame.rows, step):
        for place, (name, (values, valid)) in enumerate(zip(chosen, sources, strict=True)):
            part = slice(start, start + step)
            _convert(
                matrix[part, place], values[part], None if valid is None else valid[part],
                name, start,
            )  # fmt: skip


def _numbers(
    frame: Frame, name: str, dtype: np.dtype[Any]
) -> tuple[Array, npt.NDArray[np.bool_] | None]:
    """Values without a copy, and where they are not NULL if NaN does not say so already."""
    import numpy as np

    raw = frame.values(name)
    if raw.dtype.kind == "f":
        return raw, None  # NaN lies under NULL
    valid = frame.valid(name)
    is_bool = frame.types[name] == "bool"
    values = np.unpackbits(raw, count=frame.rows, bitorder="little") if is_bool else raw
    if valid is not None and valid.all():
        valid = None
    if valid is not None and dtype.kind != "f":
        raise BadValueError(
            f"column {name!r} is NULL in row {int(np.argmin(valid)) + 1:,}: {dtype} has no NULL",
            hint="use a float dtype, where NULL is NaN, or leave such rows out",
            column=name,
            row=int(np.argmin(valid)) + 1,
        )
    return values, valid


def _convert(
    target: Array, values: Array, valid: npt.NDArray[np.bool_] | None, name: str, start: int
) -> None:
    """Write one part of one column; refuse what became infinite, or wrapped round."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        target[:] = values
    if target.dtype.kind == "f":
        if valid is not None:
            target[~valid] = np.nan
        lost = np.isinf(target) if _may_overflow(values.dtype, target.dtype) else None
        if lost is not None and lost.any():
            lost &= np.isfinite(values)
    else:
        lost = values > np.iinfo(np.int64).max if values.dtype == np.uint64 else None
    if lost is not None and lost.any():
        at = int(np.argmax(lost))
        raise BadValueError(
            f"column {name!r} is {values[at]} in row {start + at + 1:,}, which {target.dtype} "
            "does not reach",
            hint="scale the column, or use a wider dtype",
            column=name,
            row=start + at + 1,
        )


def _may_overflow(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """float32 reaches beyond every integer; float16 ends at 65,504."""
    return target.itemsize < source.itemsize if source.kind == "f" else target.itemsize == 2
