"""What a series is made of: its columns, its key, its order, and how an extent holds rows. Pure.

An extent is one piece of an arena that holds up to ``capacity`` rows of one partition:

    header      64 bytes (the first word: size of the extent), then for each text column two words:
                where its data begins in the extent, and how many bytes it may take
    columns     for each: a validity bitmap where the column may be NULL, then its values
                (texts: capacity + 1 offsets of 64 bits); each on a boundary of 64 bytes
    text data   for each text column

Columns of the key are no part of it: within a partition they hold one value. Columns with parts
(lists, structs, maps) lie as several flat ones, see ``nested_types``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from neural_gpu_bus.errors import BadParameterError, UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_types import ColumnType, column_type
from neural_gpu_bus.memory.series.nested_types import has_parts, row_parts, series_type

if TYPE_CHECKING:
    import pyarrow as pa

#: Arrow's own recommendation for buffers, and a cache line.
ALIGNMENT_BYTES = 64
HEADER_BYTES = 64
#: Of an extent's header for one text column: where its data begins, how many bytes fit.
TEXT_HEADER_BYTES = 16
#: Capacities whose places are kept; most extents have one of a few.
PLACES_KEPT_MAX = 1024
#: Bits of the mask of columns with NULLs; columns beyond share the last one.
NULL_BITS = 63

_KEY_TYPES = re.compile(r"u?int\d+|large_string|bool|date32\[day\]")


def aligned(nbytes: int) -> int:
    """The next boundary."""
    return -(-nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One column that lies in extents."""

    name: str
    #: Arrow's spelling.
    type: str
    kind: ColumnType
    arrow: pa.DataType
    nullable: bool
    #: Number among the columns that lie in extents: its bit in masks of columns with NULLs.
    place: int
    #: Number among the text columns; -1 for all others.
    text: int

    @property
    def null_bit(self) -> int:
        """Its bit in a mask of columns with NULLs."""
        return 1 << min(self.place, NULL_BITS - 1)

    def value_bytes(self, capacity: int) -> int:
        """Of its values buffer, or its offsets, for that many rows."""
        if self.kind.form == "bits":
            return -(-capacity // 8)
        if self.kind.form == "text":
            return 8 * (capacity + 1)
        return capacity * self.kind.item_bytes


class Shape:
    """Columns of a series, in the order of its schema, and where extents hold them."""

    def __init__(self, schema: pa.Schema, key: Sequence[str], order_by: str | None) -> None:
        _check_given(schema, key)
        self.schema = _normal(schema)
        self.key = tuple(key)
        self.order_by = order_by
        self._check()
        #: Names of flat columns of each column that is not of the key; its own where it is flat.
        self.flat_names: dict[str, tuple[str, ...]] = {}
        self.stored = tuple(self._stored())
        self.by_name = {column.name: column for column in self.stored}
        #: Types of the columns that have parts.
        self.nested = {f.name: f.type for f in self.schema if has_parts(f.type)}
        self.order = None if order_by is None else self.by_name[order_by]
        self.texts = sum(column.text >= 0 for column in self.stored)
        self._places: dict[int, tuple[list[tuple[int, int]], int]] = {}
        self.head_bytes = aligned(HEADER_BYTES + TEXT_HEADER_BYTES * self.texts)

    @cached_property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Names and types as frames show them: a key that is text is a dictionary of one value."""
        return tuple((field.name, self._shown_type(field)) for field in self.schema)

    def _shown_type(self, field: pa.Field[Any]) -> str:
        kind = str(field.type)
        if field.name in self.key and column_type(kind, field.name).form == "text":
            return f"dictionary<values={kind}, indices=int32, ordered=0>"
        return kind

    def places(self, capacity: int) -> tuple[list[tuple[int, int]], int]:
        """Of each stored column: where validity (-1 for none) and values begin; the end of all."""
        found = self._places.get(capacity)
        if found is None:
            if len(self._places) >= PLACES_KEPT_MAX:
                self._places.clear()
            found = self._places[capacity] = self._placed(capacity)
        return found

    def _placed(self, capacity: int) -> tuple[list[tuple[int, int]], int]:
        at = self.head_bytes
        found = []
        for column in self.stored:
            validity = -1
            if column.nullable:
                validity = at
                at += aligned(-(-capacity // 8))
            found.append((validity, at))
            at += aligned(column.value_bytes(capacity))
        return found, at

    def row_bytes(self) -> int:
        """Of one row without its texts, rounded up."""
        return sum(max(1, column.value_bytes(1)) + column.nullable for column in self.stored)

    def _stored(self) -> list[StoredColumn]:
        found: list[StoredColumn] = []
        texts = 0
        for field in self.schema:
            if field.name in self.key:
                continue
            nullable = field.nullable and field.name != self.order_by
            parts = list(row_parts(field.type, field.name, nullable=nullable))
            self.flat_names[field.name] = tuple(part.name for part in parts)
            for part in parts:
                kind = column_type(str(part.type), part.name)
                text = texts if kind.form == "text" else -1
                place = len(found)
                found.append(
                    StoredColumn(
                        *(part.name, str(part.type), kind, part.type, part.nullable, place, text)
                    )
                )
                texts += text >= 0
        return found

    def flat(self, names: Sequence[str]) -> list[str]:
        """Names of the flat columns of these; columns of the key are their own."""
        return [flat for name in names for flat in self.flat_names.get(name, (name,))]

    def _check(self) -> None:
        names = self.schema.names
        wanted = [*self.key, *([] if self.order_by is None else [self.order_by])]
        missing = [name for name in wanted if name not in names]
        if missing or len(set(wanted)) < len(wanted) or len(set(names)) < len(names):
            raise BadParameterError(
                f"key {list(self.key)} and order_by {self.order_by!r} do not fit columns {names}",
                hint="name columns of the schema, each once",
                parameter="key",
            )
        if len(names) == len(self.key):
            raise BadParameterError(
                f"all columns {names} are key", hint="leave one out of the key", parameter="key"
            )
        self._check_types()

    def _check_types(self) -> None:
        for name in self.key:
            kind = str(self.schema.field(name).type)
            if not _KEY_TYPES.fullmatch(kind):
                raise UnsupportedTypeError(
                    f"column {name!r} ({kind}) cannot be part of a key",
                    hint="split by whole numbers, text, true/false or days",
                    column=name,
                    type=kind,
                )
        if self.order_by is not None:
            found = column_type(str(self.schema.field(self.order_by).type), self.order_by)
            if found.form != "fixed" or found.raw[1] not in "iu" or found.raw == "<u8":
                raise UnsupportedTypeError(
                    f"rows cannot be ordered by {self.order_by!r} "
                    f"({self.schema.field(self.order_by).type})",
                    hint="order by a whole number, a date or a time",
                    column=self.order_by,
                    type=str(self.schema.field(self.order_by).type),
                )


def _check_given(schema: Any, key: Any) -> None:
    import pyarrow as pa

    if not isinstance(schema, pa.Schema):
        raise BadParameterError(
            f"schema is a {type(schema).__name__}: expected a schema of Arrow",
            hint="pyarrow.schema(...) makes one, also of a dict of names and types",
            parameter="schema",
        )
    if not isinstance(key, (list, tuple)) or not all(isinstance(name, str) for name in key):
        example = key if isinstance(key, str) else "instrument_id"  # a text is no list of letters
        raise BadParameterError(
            f"key is {key!r}: expected names of columns",
            hint=f"e.g. key=[{example!r}]",
            parameter="key",
        )


def _normal(schema: pa.Schema) -> pa.Schema:
    """The same without dictionaries and with offsets of 64 bits; UnsupportedTypeError."""
    import pyarrow as pa

    fields = [
        pa.field(field.name, series_type(field.type, field.name), field.nullable)
        for field in schema
    ]
    return pa.schema(fields)
