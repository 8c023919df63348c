"""Which Arrow types a block holds, and how each looks in memory and in numpy. One table.

Keys are Arrow's own spelling of a type, so that a reader needs no pyarrow to understand a block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from neural_gpu_bus.errors import UnsupportedTypeError

#: ``fixed``: values of equal width. ``bits``: one bit a value. ``text``: 64-bit offsets and bytes.
Form = Literal["fixed", "bits", "text"]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How one Arrow type lies in memory."""

    form: Form
    #: numpy dtype of the raw values: of the bitmap's bytes for ``bits``, of the data for ``text``.
    raw: str
    #: numpy dtype a reader sees; of another width than ``raw`` only where numpy has no such type.
    shown: str
    #: What a reader sees in place of NULL: ``nan`` (the filler below NULL), ``nat``, ``none``
    #: (Python's None in an object array), or ``refused`` where numpy has no such value.
    null: Literal["nan", "nat", "none", "refused"]

    @property
    def item_bytes(self) -> int:
        """Width of one raw value."""
        return int(re.sub(r"\D", "", self.raw))

    @property
    def adopted(self) -> bool:
        """Whether numpy shows the very bytes; if not, it is given a copy in a type it has."""
        narrow_moment = self.shown[1:2] in ("M", "m") and self.item_bytes != 8
        return self.form == "fixed" and not narrow_moment


def _number(raw: str) -> ColumnType:
    return ColumnType("fixed", raw, raw, "nan" if raw[1] == "f" else "refused")


def _moment(raw: str, shown: str) -> ColumnType:
    return ColumnType("fixed", raw, shown, "nat")


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
    "large_string": ColumnType("text", "<u1", "O", "none"),
    "large_binary": ColumnType("text", "<u1", "O", "none"),
}

_ZONE = re.compile(r"(timestamp\[\w+), tz=[^\]]+\]")
_FIXED_BINARY = re.compile(r"fixed_size_binary\[([1-9]\d*)\]")


def column_type(spelling: str, column: str) -> ColumnType:
    """Layout of an Arrow type; UnsupportedTypeError names the column and the type."""
    if found := _find(spelling):
        return found
    raise UnsupportedTypeError(
        f"column {column!r} has type {spelling}, which a block cannot hold",
        hint="cast it to a number, bool, date, time, timestamp, large_string or large_binary",
        column=column,
        type=spelling,
    )


@lru_cache(maxsize=256)
def _find(spelling: str) -> ColumnType | None:
    if found := TYPES.get(_ZONE.sub(r"\1]", spelling)):
        return found
    if binary := _FIXED_BINARY.fullmatch(spelling):
        return ColumnType("fixed", f"|V{binary[1]}", f"|V{binary[1]}", "refused")
    return None
