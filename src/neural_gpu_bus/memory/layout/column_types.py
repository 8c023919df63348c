"""Which Arrow types a block holds, and how each looks in memory and in numpy. One table.

Keys are Arrow's own spelling of a type, so that a reader needs no pyarrow to understand a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from neural_gpu_bus.errors import UnsupportedTypeError

#: ``fixed``: values of equal width that numpy has. ``bits``: one bit a value. ``text``: offsets and
#: bytes. ``indices``: integers into the dictionary that lies in the head of the file. ``decimal``:
#: unscaled integers, two's complement, low byte first. ``interval``: months and days as int32, then
#: nanoseconds as int64. ``nested``: lists, structs and maps; what a reader needs of their children
#: it takes from Arrow. ``null``: no buffers at all, every row is NULL.
Form = Literal["fixed", "bits", "text", "indices", "decimal", "interval", "nested", "null"]

#: Forms whose values buffer holds ``item_bytes`` a row.
FIXED_WIDTH = frozenset({"fixed", "indices", "decimal", "interval"})


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How one Arrow type lies in memory."""

    form: Form
    #: numpy dtype of the raw values: of the bitmap's bytes for ``bits``, of the data for ``text``,
    #: of the indices for ``indices``; empty for ``nested`` and ``null``.
    raw: str
    #: numpy dtype a reader sees; of another width than ``raw`` only where numpy has no such type.
    #: ``O`` is a copy made of Python objects: str, bytes, Decimal, list, dict, or the dictionary's
    #: values.
    shown: str
    #: What a reader sees in place of NULL: ``nan`` (the filler below NULL), ``nat``, ``none``
    #: (Python's None in an object array), or ``refused`` where numpy has no such value.
    null: Literal["nan", "nat", "none", "refused"]
    #: numpy dtype of the rows + 1 offsets of texts, lists and maps; empty for all others.
    offsets: Literal["", "<i4", "<i8"] = ""

    @property
    def item_bytes(self) -> int:
        """Width of one raw value; 0 for ``nested`` and ``null``."""
        return _digits(self.raw)

    @property
    def fixed_width(self) -> bool:
        """Whether the values buffer holds ``item_bytes`` a row."""
        return self.form in FIXED_WIDTH

    @property
    def buffers(self) -> int:
        """How many buffers Arrow lists for such a column, without those of its children."""
        if self.form == "nested":
            return 2 if self.offsets else 1
        return {"null": 0, "text": 3}.get(self.form, 2)

    @property
    def adopted(self) -> bool:
        """Whether numpy shows the very bytes; if not, it is given a copy in a type it has."""
        narrow_moment = self.shown[1:2] in ("M", "m") and self.item_bytes != 8
        return self.form == "fixed" and not narrow_moment


@lru_cache(maxsize=256)
def _digits(dtype: str) -> int:
    return int(re.sub(r"\D", "", dtype) or 0)


def _number(raw: str) -> ColumnType:
    return ColumnType("fixed", raw, raw, "nan" if raw[1] == "f" else "refused")


def _moment(raw: str, shown: str) -> ColumnType:
    return ColumnType("fixed", raw, shown, "nat")


def _text(offsets: Literal["<i4", "<i8"]) -> ColumnType:
    return ColumnType("text", "<u1", "O", "none", offsets)


def _nested(offsets: Literal["", "<i4", "<i8"]) -> ColumnType:
    return ColumnType("nested", "", "O", "none", offsets)


TYPES: dict[str, ColumnType] = {
    "int8": _number("<i1"),
    "int16": _number("<i2"),
    "int32": _number("<i4"),
    "int64": _number("<i8"),
    "uint8": _number("<u1"),
    "uint16": _number("<u2"),
    "uint32": _number("<u4"),
    "uint64": _number("<u8"),
    "halffloat": _number("<f2"),
    "float": _number("<f4"),
    "double": _number("<f8"),
    "bool": ColumnType("bits", "<u1", "?", "refused"),
    "date32[day]": _moment("<i4", "<M8[D]"),
    "date64[ms]": _moment("<i8", "<M8[ms]"),
    "time32[s]": _moment("<i4", "<m8[s]"),
    "time32[ms]": _moment("<i4", "<m8[ms]"),
    "time64[us]": _moment("<i8", "<m8[us]"),
    "time64[ns]": _moment("<i8", "<m8[ns]"),
    **{f"timestamp[{unit}]": _moment("<i8", f"<M8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    **{f"duration[{unit}]": _moment("<i8", f"<m8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "string": _text("<i4"),
    "binary": _text("<i4"),
    "large_string": _text("<i8"),
    "large_binary": _text("<i8"),
    "month_day_nano_interval": ColumnType("interval", "|V16", "O", "none"),
    "null": ColumnType("null", "", "O", "none"),
}

#: How the names of types with children begin.
_NESTED: dict[str, ColumnType] = {
    "list": _nested("<i4"),
    "map": _nested("<i4"),
    "large_list": _nested("<i8"),
    "fixed_size_list": _nested(""),
    "struct": _nested(""),
}

#: What to do about the types that a block cannot hold, by how their names begin.
_WAYS_OUT = {
    "run_end_encoded": "decode it: pyarrow.compute.run_end_decode(column)",
    "dense_union": "give each kind of value a column of its own",
    "sparse_union": "give each kind of value a column of its own",
    "dictionary": "cast it to its value type; a block's dictionaries hold numbers, times or text",
    "string_view": "declare it as large_string",
    "binary_view": "declare it as large_binary",
    "list_view": "make it a list: pyarrow.array(column.to_pylist(), pyarrow.list_(...))",
    "large_list_view": "make it a list: pyarrow.array(column.to_pylist(), pyarrow.list_(...))",
    "fixed_size_binary": "leave the column out; its values have no bytes",
}

_ZONE = re.compile(r"(timestamp\[\w+), tz=[^\]]+\]")
_FIXED_BINARY = re.compile(r"fixed_size_binary\[([1-9]\d*)\]")
_DECIMAL = re.compile(r"decimal(32|64|128|256)\(-?\d+, -?\d+\)")
_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=(u?int\d+), ordered=[01]>", re.DOTALL)
_PARAMETERS = re.compile(r"[<\[(]")
_DECIMAL_RAW = {"32": "<i4", "64": "<i8", "128": "|V16", "256": "|V32"}


def column_type(spelling: str, column: str) -> ColumnType:
    """Layout of an Arrow type; UnsupportedTypeError names the column and the type.

    Of a nested type only the outermost is looked at, see ``column_tree``.
    """
    if found := _find(spelling):
        return found
    way_out = _WAYS_OUT.get(_family(spelling))
    raise UnsupportedTypeError(
        f"column {column!r} has type {spelling}, which a block cannot hold",
        hint=way_out or "cast it to a number, bool, date, time, timestamp, decimal, text or list",
        column=column,
        type=spelling,
    )


@lru_cache(maxsize=256)
def _find(spelling: str) -> ColumnType | None:
    if found := TYPES.get(_ZONE.sub(r"\1]", spelling)):
        return found
    if binary := _FIXED_BINARY.fullmatch(spelling):
        return ColumnType("fixed", f"|V{binary[1]}", f"|V{binary[1]}", "refused")
    if decimal := _DECIMAL.fullmatch(spelling):
        return ColumnType("decimal", _DECIMAL_RAW[decimal[1]], "O", "none")
    if dictionary := _DICTIONARY.fullmatch(spelling):
        values = _find(dictionary[1])
        flat = values is not None and values.form not in ("nested", "indices", "null")
        return ColumnType("indices", TYPES[dictionary[2]].raw, "O", "none") if flat else None
    return _NESTED.get(_family(spelling)) if spelling.endswith((">", "]")) else None


def _family(spelling: str) -> str:
    return _PARAMETERS.split(spelling, 1)[0]
