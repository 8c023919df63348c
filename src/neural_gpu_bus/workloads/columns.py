"""Columns of an input, taken and checked: each error names input, column and row, and what to do.

Rows are counted from 1 in messages. Nothing is copied unless the type has to change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neural_gpu_bus.did_you_mean import nearest
from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.workloads.workload import labels

if TYPE_CHECKING:
    import numpy.typing as npt

    from neural_gpu_bus.ports import Columns

    Floats = npt.NDArray[np.float64]
    Integers = npt.NDArray[np.int64]


NUMBER, TIME = "a number", "a date, a timestamp or an integer"
TEXT = "a text or an integer"
#: What PostgreSQL is asked for where a column is not that.
_CASTS = {NUMBER: "float8", TIME: "timestamptz", TEXT: "text"}

INTEGER_TYPES = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
FLOAT_TYPES = frozenset({"double", "float", "halffloat"})
TEXT_TYPES = frozenset({"string", "large_string"})
#: A dictionary, which is what pandas and Polars have categories as, and the type of its values.
_DICTIONARY = re.compile(r"dictionary<values=(\w+), indices=\w+, ordered=\d>")


def _is_text(type_name: str) -> bool:
    found = _DICTIONARY.fullmatch(type_name)
    return (found[1] if found else type_name) in INTEGER_TYPES | TEXT_TYPES


#: Kind of a workload's column: the words for it, and which of Arrow's types fit.
_KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "float": (NUMBER, (INTEGER_TYPES | FLOAT_TYPES).__contains__),
    "time": (TIME, lambda name: name in INTEGER_TYPES or name.startswith(("date", "timestamp"))),
    "text": (TEXT, _is_text),
}


def finite_hint(column: str) -> str:
    """The way out of NaN and infinities: in PostgreSQL NaN is not NULL, equals itself, and is
    above Infinity.
    """
    return f"leave such rows out: WHERE abs({column}) < 'Infinity'"


class Input:
    """One named input of a workload, with at least ``rows_min`` rows."""

    def __init__(self, inputs: Mapping[str, Columns], name: str, rows_min: int = 1) -> None:
        if name not in inputs:
            raise BadParameterError(
                f"input {name!r} is missing; given: {', '.join(sorted(inputs)) or 'none'}",
                hint=f"hand in {name}=<frame, dataset name or mapping of columns>",
                parameter=name,
            )
        self.name = name
        self.columns = inputs[name]
        self.rows = self.columns.rows
        if self.rows < rows_min:
            raise BadParameterError(
                f"input {name!r} has {self.rows} rows and needs at least {rows_min}",
                hint="check the query's conditions",
                parameter=name,
            )

    def has(self, column: str) -> bool:
        """Whether the input has that column."""
        # A mapping's own test for a key may build the whole column; its names never do.
        return column in list(self.columns.keys())

    def type_of(self, column: str) -> str:
        """Its type in Arrow's spelling."""
        return next(item.type for item in self.columns.descriptor.columns if item.name == column)

    def check_type(self, column: str, kind: str) -> None:
        """Whether its type can be a ``float``, ``time`` or ``text``; no value is looked at."""
        item = next(item for item in self.columns.descriptor.columns if item.name == column)
        words, fits = _KINDS[kind.removesuffix(", optional")]
        if item.nulls < self.rows and not fits(item.type):
            raise self.wrong_type(column, words, item.type)

    def raw(self, column: str) -> npt.NDArray[Any]:
        """The column as it is, without NULLs."""
        if not self.has(column):
            raise self.missing(column)
        valid = self.columns.valid(column)
        if valid is not None and not valid.all():
            row = int(np.argmin(valid)) + 1
            raise self.fault(column, row, "is NULL", f"add WHERE {column} IS NOT NULL")
        return self.columns[column]

    def floats(self, column: str, *, positive: bool = False, negative: bool = True) -> Floats:
        """Finite float64 values; ``positive``: all above 0, ``negative=False``: none below."""
        values = self.raw(column)
        if values.dtype.kind not in "fiu":
            raise self.wrong_type(column, NUMBER, self.type_of(column))
        array = np.ascontiguousarray(values, dtype=np.float64)
        self._check_finite(column, array)
        if positive and array.min() <= 0:
            row = int(np.argmax(array <= 0))
            raise self.fault(column, row + 1, f"is {array[row]:g}", "it has to be above 0")
        if not negative and array.min() < 0:
            row = int(np.argmax(array < 0))
            raise self.fault(column, row + 1, f"is {array[row]:g}", "it cannot be below 0")
        return array

    def _check_finite(self, column: str, array: Floats) -> None:
        with np.errstate(all="ignore"):
            # One bad value makes the sum bad: 0.1 ns a value instead of a mask's 0.4 ns.
            if np.isfinite(array.sum()):
                return
        finite = np.isfinite(array)
        if not finite.all():
            row = int(np.argmin(finite))
            raise self.fault(column, row + 1, f"is {array[row]}", finite_hint(column))

    def times(self, column: str) -> npt.NDArray[Any]:
        """Dates, timestamps or integers, none of them missing."""
        values = self.raw(column)
        if values.dtype.kind not in "Miu":
            raise self.wrong_type(column, TIME, self.type_of(column))
        if values.dtype.kind == "M" and np.isnat(values).any():
            row = int(np.argmax(np.isnat(values))) + 1
            raise self.fault(column, row, "is NULL", f"add WHERE {column} IS NOT NULL")
        return np.ascontiguousarray(values)

    def ordered_times(self, column: str, *, strictly: bool) -> npt.NDArray[Any]:
        """Times that never fall; ``strictly``: that always rise."""
        values = self.times(column)
        ticks = integers(values)
        good = ticks[1:] > ticks[:-1] if strictly else ticks[1:] >= ticks[:-1]
        if not good.all():
            row = int(np.argmin(good)) + 2
            what = "is not later than" if strictly else "is earlier than"
            hint = f"read one instrument and one bar type, with ORDER BY {column}"
            if not strictly:
                hint = f"read one instrument in feed order, or ORDER BY {column}"
            raise self.fault(column, row, f"{what} the row before", hint)
        return values

    def is_null(self, column: str) -> bool:
        """Whether every row of that column is NULL."""
        valid = self.columns.valid(column)
        return valid is not None and not valid.any()

    def texts(self, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Codes and their texts; a NULL is code -1. Integers count as texts: desk 7 is ``"7"``.

        Every text appears, and none is there twice.
        """
        if not self.has(column):
            raise self.missing(column)
        type_name = self.type_of(column)
        if type_name == "null":
            return np.full(self.rows, -1, np.int32), []
        if type_name in INTEGER_TYPES:
            return self._integer_texts(column)
        codes, texts = self.columns.codes(column)
        if _DICTIONARY.fullmatch(type_name):
            return _renumbered(codes, texts)
        return np.ascontiguousarray(codes, dtype=np.int32), list(texts)

    def _integer_texts(self, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        values, valid = self.columns.values(column), self.columns.valid(column)
        known = np.unique(values if valid is None else values[valid])
        codes = np.searchsorted(known, values).astype(np.int32)
        if valid is not None:
            codes[~valid] = -1
        return codes, known.astype(str).tolist()

    def complete_texts(self, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """As ``texts``, without NULLs."""
        codes, texts = self.texts(column)
        if codes.size and codes.min() < 0:
            row = int(np.argmax(codes < 0)) + 1
            raise self.fault(column, row, "is NULL", f"add WHERE {column} IS NOT NULL")
        return codes, texts

    def missing(self, column: str) -> BadParameterError:
        """The error for a column that is not there."""
        known = list(self.columns.keys())
        near = nearest(column, known)
        hint = f"did you mean {near!r}? Name it so: SELECT {near} AS {column}" if near else ""
        return BadParameterError(
            f"input {self.name!r} has no column {column!r}; it has {', '.join(known) or 'none'}",
            hint=hint or f"select it, or name one of these so: SELECT ... AS {column}",
            parameter=f"{self.name}.{column}",
        )

    def wrong_type(self, column: str, right: str, type_name: str) -> BadParameterError:
        """The error for a column of the wrong type; ``right``: the words for what it should be."""
        return BadParameterError(
            f"column {column!r} of input {self.name!r} is {type_name}, not {right}",
            hint=f"cast it in the query, e.g. {column}::{_CASTS[right]}",
            parameter=f"{self.name}.{column}",
        )

    def fault(self, column: str, row: int, what: str, hint: str) -> BadParameterError:
        """The error for one bad value."""
        return BadParameterError(
            f"column {column!r} of input {self.name!r} {what} in row {row:,}",
            hint=hint,
            parameter=f"{self.name}.{column}",
            row=row,
        )

    def stamps(self, column: str, *, strictly: bool) -> dict[str, npt.NDArray[Any]]:
        """Ordered times as ``ts``, and their time zone as ``ts_zone`` (one text, "" for none)."""
        times = self.ordered_times(column, strictly=strictly)
        zone = re.search(r"tz=(.+)]", self.type_of(column))
        return {"ts": times, "ts_zone": labels([zone.group(1) if zone else ""])}


def integers(times: npt.NDArray[Any]) -> Integers:
    """Times as int64 in their own unit; no copy for datetime64."""
    return times.view(np.int64) if times.dtype.kind == "M" else times.astype(np.int64, copy=False)


def day_ticks(times: npt.NDArray[Any]) -> int:
    """Ticks of one day in that array's unit; integers count as nanoseconds."""
    if times.dtype.kind != "M":
        return 86_400_000_000_000
    unit = np.datetime_data(times.dtype)[0]
    return max(1, int(np.timedelta64(1, "D") // np.timedelta64(1, unit)))  # type: ignore[call-overload]


def _renumbered(
    codes: npt.NDArray[np.int32], values: Sequence[Any]
) -> tuple[npt.NDArray[np.int32], list[str]]:
    """Codes in order of first appearance: a dictionary may hold values that no row has, and the
    same one twice.
    """
    first = np.full(len(values) + 1, len(codes))  # the last one for NULL, whose code is -1
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    number = np.full(len(values) + 1, -1, np.int32)
    places: dict[str, int] = {}
    for code in np.argsort(first[:-1], kind="stable"):
        if first[code] < len(codes):
            number[code] = places.setdefault(str(values[code]), len(places))
    return number[codes], list(places)
