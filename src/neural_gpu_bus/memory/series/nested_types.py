"""Types with parts, as series hold them: which flat columns one is made of. Pure.

Where each row has one value (level of rows: the column itself, fields of structs) it is a column as
any other. What lists hold has many values a row (level of items): all of one row are the bytes of
one value of large_binary. Nothing that writes, moves or finds rows knows of parts, and one row's
equal values have equal bytes.

    struct          VALID: bool; then its fields, as fields of their number
    list, map       COUNT: how many items, NULL for no list; then its items, as field 0
    fixed-size list the same
    an item         VALID: a byte each, none at all in rows without NULL; then, by its type:
      fixed width   VALUES: its bytes, zeros for NULL; bool takes a byte
      text          COUNT: its length, 8 bytes; VALUES
      struct        its fields
      list, map     COUNT: 8 bytes (none of a fixed-size list); then its items, as field 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import UnsupportedTypeError
from neural_gpu_bus.memory.layout.column_types import column_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

#: No name of a column of PostgreSQL has it, and none of a file that people make.
MARK = "\x1f"
VALID, COUNT, VALUES = f"{MARK}?", f"{MARK}#", f"{MARK}="
#: PostgreSQL has arrays of six dimensions; composites may hold each other without end.
DEPTH_MAX = 32

_TEXTS = {
    "string": "large_string",
    "string_view": "large_string",
    "binary": "large_binary",
    "binary_view": "large_binary",
}


class Part(NamedTuple):
    """One flat column."""

    name: str
    type: pa.DataType
    nullable: bool


def is_list(kind: Any) -> bool:
    """Whether it has items: a list of whatever offsets, or a map."""
    from pyarrow import types

    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_map(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def has_parts(kind: Any) -> bool:
    """Whether it is more than one flat column."""
    from pyarrow import types

    return is_list(kind) or bool(types.is_struct(kind))


def items_of(kind: Any) -> Any:
    """The type of a list's items; of a map, a struct of key and value."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        key = pa.field("key", kind.key_type, nullable=False)
        return pa.struct([key, pa.field("value", kind.item_type)])
    return kind.value_type


def series_type(kind: Any, column: str, depth: int = 0) -> Any:
    """The same without dictionaries, and with offsets of 64 bits. UnsupportedTypeError."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if pa.types.is_dictionary(kind):
        return series_type(kind.value_type, column, depth)
    if str(kind) in _TEXTS:
        return getattr(pa, _TEXTS[str(kind)])()
    if has_parts(kind) and depth < DEPTH_MAX:
        return _with_parts(kind, column, depth + 1)
    found = column_type(str(kind), column)
    if found.form not in ("bits", "text") and not found.fixed_width:
        raise UnsupportedTypeError(
            f"column {column!r} has type {kind}, which a series cannot hold",
            hint="give numbers, bool, dates, times, decimals, text or binary, or lists, structs "
            "and maps of them",
            column=column,
            type=str(kind),
        )
    return kind


def _with_parts(kind: Any, column: str, depth: int) -> Any:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return pa.struct(
            [
                (field.name, series_type(field.type, f"{column}.{field.name}", depth))
                for field in kind
            ]
        )
    if pa.types.is_map(kind):
        key, value = (
            series_type(one, f"{column}.{name}", depth)
            for one, name in ((kind.key_type, "key"), (kind.item_type, "value"))
        )
        return pa.map_(key, value, kind.keys_sorted)
    item = series_type(kind.value_type, f"{column}.item", depth)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.large_list(item)


def row_parts(kind: Any, path: str, *, nullable: bool = True) -> Iterator[Part]:
    """Flat columns of one whose rows have a value each; ``kind``: as ``series_type`` gives it."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        yield Part(path + VALID, pa.bool_(), nullable=False)
        for number, field in enumerate(kind):
            yield from row_parts(field.type, f"{path}{MARK}{number}")
    elif is_list(kind):
        yield Part(path + COUNT, pa.int64(), nullable=nullable)
        yield from item_parts(items_of(kind), f"{path}{MARK}0")
    else:
        yield Part(path, kind, nullable)


def item_parts(kind: Any, path: str) -> Iterator[Part]:
    """Flat columns of one whose rows have any number of values."""
    import pyarrow as pa

    flat = pa.large_binary()
    yield Part(path + VALID, flat, nullable=False)
    if pa.types.is_struct(kind):
        for number, field in enumerate(kind):
            yield from item_parts(field.type, f"{path}{MARK}{number}")
    elif is_list(kind):
        if not pa.types.is_fixed_size_list(kind):
            yield Part(path + COUNT, flat, nullable=False)
        yield from item_parts(items_of(kind), f"{path}{MARK}0")
    else:
        if is_text(kind):
            yield Part(path + COUNT, flat, nullable=False)
        yield Part(path + VALUES, flat, nullable=False)


def is_text(kind: Any) -> bool:
    """Whether its values have lengths of their own."""
    import pyarrow as pa

    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))
