"""PostgreSQL types that are read, the Arrow type each becomes, and how its bytes are laid out.

What cannot be held exactly is refused with the cast that makes it readable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.copy_kernels import (
    ANY_WIDTH,
    BOOL,
    CHAR,
    DATE,
    FLOAT4,
    FLOAT8,
    INT2,
    INT4,
    INT8,
    JSONB,
    ONE_CHARACTER,
    ONE_OR_MORE,
    TEXT,
    TIME,
    TIMESTAMP,
    UUID,
)

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of one value on the wire, by layout.
_WIDTHS = {
    FLOAT8: 8,
    INT8: 8,
    TIMESTAMP: 8,
    FLOAT4: 4,
    INT4: 4,
    DATE: 4,
    INT2: 2,
    BOOL: 1,
    TIME: 8,
    UUID: 16,
    TEXT: ANY_WIDTH,
    JSONB: ONE_OR_MORE,
    CHAR: ONE_CHARACTER,
}

#: OID (pg_type.dat) -> name, layout, Arrow type in pyarrow's spelling.
_BUILT_IN: dict[int, tuple[str, int, str]] = {
    16: ("boolean", BOOL, "bool"),
    17: ("bytea", TEXT, "large_binary"),
    18: ('"char"', CHAR, "large_string"),
    19: ("name", TEXT, "large_string"),
    20: ("bigint", INT8, "int64"),
    21: ("smallint", INT2, "int16"),
    23: ("integer", INT4, "int32"),
    25: ("text", TEXT, "large_string"),
    26: ("oid", INT4, "uint32"),
    114: ("json", TEXT, "large_string"),
    142: ("xml", TEXT, "large_string"),
    700: ("real", FLOAT4, "float32"),
    701: ("double precision", FLOAT8, "float64"),
    705: ("unknown", TEXT, "large_string"),
    1042: ("character", TEXT, "large_string"),
    1043: ("character varying", TEXT, "large_string"),
    1082: ("date", DATE, "date32"),
    1083: ("time", TIME, "time64[us]"),
    1114: ("timestamp", TIMESTAMP, "timestamp[us]"),
    1184: ("timestamp with time zone", TIMESTAMP, "timestamp[us, UTC]"),
    2950: ("uuid", UUID, "uuid"),
    3802: ("jsonb", JSONB, "large_string"),
}


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """One column as the server describes it, with the layout its values have."""

    name: str
    #: Type's name as PostgreSQL spells it, for messages.
    type_name: str
    #: One of the layouts in ``copy_kernels``.
    layout: int
    #: Arrow type; see ``arrow_type``.
    arrow: str

    @property
    def width(self) -> int:
        """Bytes of one value on the wire; negative where they vary, see ``copy_kernels``."""
        return _WIDTHS[self.layout]

    @property
    def is_variable(self) -> bool:
        """Whether it becomes offsets and bytes."""
        return self.width < 0

    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the column that is read."""
        import pyarrow as pa

        types: dict[str, pa.DataType] = {
            "bool": pa.bool_(),
            "int16": pa.int16(),
            "int32": pa.int32(),
            "int64": pa.int64(),
            "uint32": pa.uint32(),
            "float32": pa.float32(),
            "float64": pa.float64(),
            "date32": pa.date32(),
            "time64[us]": pa.time64("us"),
            "timestamp[us]": pa.timestamp("us"),
            "timestamp[us, UTC]": pa.timestamp("us", tz="UTC"),
            "large_string": pa.large_string(),
            "large_binary": pa.large_binary(),
            "uuid": pa.binary(16),
        }
        return types[self.arrow]


def is_built_in(oid: int) -> bool:
    """Whether a type is readable without asking the server about it."""
    return oid in _BUILT_IN


def source_column(name: str, oid: int, text_types: dict[int, str]) -> SourceColumn:
    """The column for a described field.

    ``text_types``: OIDs of types of this database that are sent as plain text (enums, citext), with
    their names.
    """
    if oid in _BUILT_IN:
        return SourceColumn(name, *_BUILT_IN[oid])
    return SourceColumn(name, text_types[oid], TEXT, "large_string")


def unsupported(column: str, type_name: str) -> UnsupportedTypeError:
    """The refusal of a column, with the cast that makes it readable."""
    quoted = '"' + column.replace('"', '""') + '"' if not column.isidentifier() else column
    if type_name.startswith("numeric"):
        way = f"cast it: {quoted}::float8 (nearest double) or {quoted}::text (exact)"
    elif type_name.endswith("[]"):
        way = f"cast it: unnest({quoted}) for one row an element, or {quoted}::text"
    elif type_name.startswith("interval"):
        way = f"cast it: extract(epoch FROM {quoted})::float8 (seconds) or {quoted}::text"
    else:
        way = f"cast it: {quoted}::text"
    return UnsupportedTypeError(
        f"column {column!r} is of type {type_name}, which is not read as it is",
        hint=way,
        column=column,
        type=type_name,
    )
