"""Which type a given column keeps in a block: its own, but where that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neural_gpu_bus.as_arrow import as_table

if TYPE_CHECKING:
    import pyarrow as pa

#: What 32-bit offsets reach.
OFFSET_MAX = 2**31 - 1


def kept_table(columns: Any) -> pa.Table:
    """``columns`` (see ``as_arrow.as_table``) as a table of the types that a block keeps.

    Viewed texts, which lie in many buffers, become large ones; so do texts and lists whose chunks
    together are more than 32-bit offsets reach. Indices get 32 bits where the values of all chunks
    together are more than theirs count. All others stay what they are.
    """
    import pyarrow as pa

    table = as_table(columns)
    if all(_stays(field.type) for field in table.schema) and _chunks(table) < 2:
        return table
    fields = [
        field.with_type(_reaching(_without_views(field.type), column))
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    arrays = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(table.columns, fields, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields).with_metadata(table.schema.metadata))


def _stays(kind: Any) -> bool:
    """Whether it is certain at once that a type stays what it is: most are numbers and times."""
    import pyarrow as pa

    return not kind.num_fields and kind.id not in (
        pa.lib.Type_STRING_VIEW,
        pa.lib.Type_BINARY_VIEW,
        pa.lib.Type_DICTIONARY,
    )


def _chunks(table: pa.Table) -> int:
    return max(column.num_chunks for column in table.columns)


def _reaching(kind: Any, column: pa.ChunkedArray[Any]) -> Any:
    """The same with wider offsets or indices where its own do not reach; for one chunk they do."""
    import pyarrow as pa

    if column.num_chunks < 2 or kind.num_fields > 1:
        return kind
    if pa.types.is_dictionary(kind):
        counted = 2 ** (kind.index_type.bit_width - pa.types.is_signed_integer(kind.index_type))
        chunks: list[Any] = list(column.chunks)
        values = sum(len(chunk.dictionary) for chunk in chunks)
        few = values <= counted or _unified(column)
        return kind if few else pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
    if column.type != kind or not _has_short_offsets(kind):
        return kind
    if sum(_reached(chunk) for chunk in column.chunks) <= OFFSET_MAX:
        return kind
    if pa.types.is_list(kind):
        return pa.large_list(kind.value_field)
    return pa.large_string() if pa.types.is_string(kind) else pa.large_binary()


def _unified(column: pa.ChunkedArray[Any]) -> bool:
    """Whether its indices count the different values of all chunks."""
    import pyarrow as pa

    try:
        return bool(column.unify_dictionaries())
    except pa.ArrowInvalid:
        return False


def _has_short_offsets(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_list(kind)


def _reached(chunk: Any) -> int:
    """Bytes or values that the 32-bit offsets of a chunk span."""
    import numpy as np

    if not len(chunk):
        return 0
    offsets = np.frombuffer(chunk.buffers()[1], "<i4", len(chunk) + 1, chunk.offset * 4)
    return int(offsets[-1]) - int(offsets[0])


def _without_views(kind: Any) -> Any:
    """The same type with every view in it replaced."""
    import pyarrow as pa

    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
    fields = [kind.field(place) for place in range(kind.num_fields)]
    return _made_of([field.with_type(_without_views(field.type)) for field in fields], kind)


def _made_of(fields: list[Any], kind: Any) -> Any:
    """A nested type like ``kind`` with other children; any other type as it is."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_map(kind):
        key, item = fields[0].type
        return pa.map_(key, item, kind.keys_sorted)
    if pa.types.is_list(kind):
        return pa.list_(fields[0])
    if pa.types.is_large_list(kind):
        return pa.large_list(fields[0])
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size)
    return kind
