"""A schema as a tree: each column with the columns that it is made of, named by their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.layout.column_types import ColumnType, column_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa


class Column(NamedTuple):
    """A column, or a child of one."""

    #: Name, with those of its parents before it: ``prices.item``, ``point.x``, ``m.entries.key``.
    path: str
    #: Arrow's spelling; of an extension type, that of its storage.
    type: str
    kind: ColumnType
    #: Rows of its children for each row of its own: 1 for a struct, the size of a fixed-size list,
    #: 0 where offsets say it.
    each: int
    children: tuple[Column, ...]
    #: Arrow's type of the values of a dictionary; None for all others.
    values_type: Any = None


def column_tree(schema: pa.Schema) -> tuple[Column, ...]:
    """All columns of a schema.

    Raises UnsupportedTypeError with the path of a column that a block cannot hold,
    BadParameterError where two have the same path or there are none.
    """
    tree = tuple(_column(field.name, field.type) for field in schema)
    paths = [column.path for column in depth_first(tree)]
    if not paths or len(set(paths)) < len(paths):
        twice = sorted({path for path in paths if paths.count(path) > 1})
        raise BadParameterError(
            f"a block needs columns of different names, got {paths or 'none'}",
            hint=f"rename {twice}" if twice else "give at least one column",
            parameter="schema",
        )
    return tree


def depth_first(tree: Sequence[Column]) -> Iterator[Column]:
    """Every column and then its children, which is the order of Arrow's buffers."""
    for column in tree:
        yield column
        yield from depth_first(column.children)


def storage_type(kind: Any) -> Any:
    """What an extension type lies in memory as; any other type itself."""
    import pyarrow as pa

    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def one_row(kind: Any, path: str, dictionaries: Mapping[str, Any], rows: int = 1) -> Any:
    """An array of NULLs, or of empty lists, with its dictionaries already in it."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        stored = one_row(kind.storage_type, path, dictionaries, rows)
        return pa.ExtensionArray.from_storage(kind, stored)
    if pa.types.is_dictionary(kind):
        indices = pa.nulls(rows, kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, dictionaries[path], ordered=kind.ordered)
    if not kind.num_fields:
        return pa.nulls(rows, kind)
    layout = _column(path, kind)
    children = [
        one_row(kind.field(place).type, child.path, dictionaries, rows * layout.each)
        for place, child in enumerate(layout.children)
    ]
    offsets = [pa.py_buffer(bytes(8 * (rows + 1)))] if layout.kind.offsets else []
    return pa.Array.from_buffers(kind, rows, [None, *offsets], 0, children=children)


def _column(path: str, given: Any) -> Column:
    import pyarrow as pa

    kind = storage_type(given)
    layout = column_type(str(kind), path)
    values_type = kind.value_type if layout.form == "indices" else None
    if layout.form != "nested":
        return Column(path, str(kind), layout, 0, (), values_type)
    if pa.types.is_map(kind):  # files forget other names than entries, key and value
        kind = pa.map_(kind.key_type, kind.item_type, kind.keys_sorted)
    fields = [kind.field(place) for place in range(kind.num_fields)]
    children = tuple(_column(f"{path}.{field.name}", field.type) for field in fields)
    each = kind.list_size if pa.types.is_fixed_size_list(kind) else int(pa.types.is_struct(kind))
    return Column(path, str(kind), layout, each, children)
