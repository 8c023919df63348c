"""Where each buffer of a block lies, and the Arrow IPC file metadata that says so. Pure.

A block is an Arrow IPC *file* with one record batch, so that any Arrow reader opens it by path.
Arrow's own writer packs buffers at multiples of 8 or 64 bytes and wants the data first; here every
buffer starts on a page, and the data is written later, in place. Values of dictionaries alone lie
where Arrow's writer puts them, in the head.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from neural_gpu_bus.errors import BadParameterError
from neural_gpu_bus.memory.layout.column_tree import Column, column_tree, depth_first
from neural_gpu_bus.memory.layout.column_types import ColumnType
from neural_gpu_bus.memory.layout.ipc_template import UUID_PLACE, Template, make_template

if TYPE_CHECKING:
    import pyarrow as pa

#: Apple's page size: Metal adopts memory without a copy only from such a boundary. Also a multiple
#: of every cache line and of the 4 KiB pages of x86.
ALIGNMENT_BYTES = 16_384

#: Key of the block's uuid in the schema metadata.
UUID_KEY = b"neural_gpu_bus.block"

#: Schemas whose template is kept: the same few are published again and again.
TEMPLATES_KEPT_MAX = 64

#: A packed column: its NULLs, then offset and bytes of validity, values and data.
_PACKED = struct.Struct("<7q")

#: What the offsets of a column can reach.
_REACH = {"<i4": 2**31 - 1, "<i8": 2**63 - 1}

_NOTHING: Mapping[str, Any] = MappingProxyType({})


# Named tuples: attaching makes three a column, and they are three times as quick to make as frozen
# dataclasses (ten columns: 20 us of 60).


class Span(NamedTuple):
    """Bytes of one buffer in the file; an absent buffer has no bytes."""

    offset: int
    nbytes: int


class ColumnSpans(NamedTuple):
    """Where the buffers of one column lie; those of its children are columns of their own."""

    #: Of a child: its path, see ``column_tree``.
    name: str
    #: Arrow's spelling.
    type: str
    nulls: int
    #: Bitmap, 1 = not NULL; empty without NULLs.
    validity: Span
    #: Values, indices into a dictionary, or rows + 1 offsets of texts and lists.
    values: Span
    #: Bytes of a text column; empty for all others.
    data: Span


class PlannedColumn(NamedTuple):
    """A column or a child of one, as it is to be filled."""

    spans: ColumnSpans
    kind: ColumnType
    rows: int
    #: What its offsets or indices may reach: bytes of a text, values of a list, values of a
    #: dictionary; 0 for all others.
    limit: int


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """Everything about a block's file but the values."""

    rows: int
    #: Size of the whole file.
    nbytes: int
    #: Bytes at the start of the file, up to the first buffer.
    head: bytes
    #: Bytes at the end of the file, behind the last buffer.
    tail: bytes
    columns: tuple[ColumnSpans, ...]
    #: Where in the file the block's uuid stands, in the schema's metadata.
    uuid_at: int
    #: The columns and all their children, depth first.
    planned: tuple[PlannedColumn, ...]


class _Sizes(NamedTuple):
    """What ``ports.Reserve`` is told of columns, by path."""

    text_bytes: Mapping[str, int]
    null_counts: Mapping[str, int]
    list_values: Mapping[str, int]
    dictionaries: Mapping[str, Any]


def plan_block(
    schema: pa.Schema,
    rows: int,
    *,
    uuid: str,
    text_bytes: Mapping[str, int] = _NOTHING,
    null_counts: Mapping[str, int] = _NOTHING,
    list_values: Mapping[str, int] = _NOTHING,
    dictionaries: Mapping[str, pa.Array[Any]] = _NOTHING,
) -> BlockLayout:
    """Lay out a block; the mappings are those of ``ports.Reserve``.

    Raises UnsupportedTypeError and BadParameterError with the column's path.
    """
    if rows < 0:
        raise BadParameterError(f"rows is {rows}", hint="give 0 or more", parameter="rows")
    tree, marked, template = _known(schema.serialize().to_pybytes())
    sizes = _Sizes(text_bytes, null_counts, list_values, dictionaries)
    _check_paths(tree, sizes)
    if template is None:
        _check_dictionaries(tree, dictionaries)
        template = make_template(marked, dictionaries)
    body_at = _aligned(len(template.head))
    placing = _Placing(body_at, sizes)
    for column in tree:
        placing.place(column, rows)
    planned, end = tuple(placing.planned), placing.at
    nodes = [(column.rows, column.spans.nulls) for column in planned]
    buffers = [(at - body_at, nbytes) for at, nbytes in _buffers(planned)]
    head, tail = template.filled(uuid, nodes, buffers, body_at=body_at, body_bytes=end - body_at)
    columns = tuple(planned[place].spans for place in placing.tops)
    return BlockLayout(rows, end + len(tail), head, tail, columns, template.uuid_at, planned)


def pack_spans(columns: Sequence[ColumnSpans]) -> bytes:
    """Positions of all columns for a descriptor, so that attaching need not look for them."""
    return b"".join(
        _PACKED.pack(column.nulls, *column.validity, *column.values, *column.data)
        for column in columns
    )


def column_spans(spans: bytes, place: int, name: str, kind: str) -> ColumnSpans:
    """One of the columns that were packed, counted from 0; struct.error where there is none."""
    nulls, validity, validity_bytes, values, values_bytes, data, data_bytes = _PACKED.unpack_from(
        spans, place * _PACKED.size
    )
    return ColumnSpans(
        name,
        kind,
        nulls,
        Span(validity, validity_bytes),
        Span(values, values_bytes),
        Span(data, data_bytes),
    )


@lru_cache(TEMPLATES_KEPT_MAX)
def _known(serialised: bytes) -> tuple[tuple[Column, ...], pa.Schema, Template | None]:
    """A schema's columns, the schema as a block's file has it, and its template; none where there
    are dictionaries, whose values differ from block to block.
    """
    import pyarrow as pa

    schema = pa.ipc.read_schema(pa.py_buffer(serialised))
    tree, marked = column_tree(schema), _marked(schema)
    if any(column.kind.form == "indices" for column in depth_first(tree)):
        return tree, marked, None
    return tree, marked, make_template(marked, {})


def known_columns(schema: pa.Schema) -> tuple[Column, ...]:
    """``column_tree``, kept for the schemas of late."""
    return _known(schema.serialize().to_pybytes())[0]


def _marked(schema: pa.Schema) -> pa.Schema:
    """With a place for the block's uuid; every column may be NULL."""
    import pyarrow as pa

    metadata = {**(schema.metadata or {}), UUID_KEY: UUID_PLACE}
    return pa.schema([field.with_nullable(True) for field in schema]).with_metadata(metadata)


def _check_paths(tree: Sequence[Column], sizes: _Sizes) -> None:
    paths = {column.path for column in depth_first(tree)}
    for parameter, given in sizes._asdict().items():
        for path in given.keys() - paths:
            raise BadParameterError(
                f"{parameter} says {given[path]} for column {path!r}, which is not there",
                hint=f"columns are {sorted(paths)}",
                parameter=parameter,
            )


def _check_dictionaries(tree: Sequence[Column], dictionaries: Mapping[str, Any]) -> None:
    for column in depth_first(tree):
        wrong = column.kind.form == "indices" and _wrong(column, dictionaries.get(column.path))
        if wrong:
            raise BadParameterError(
                f"values of dictionary column {column.path!r} ({column.type}) {wrong}",
                hint="give its values in dictionaries, each once and none of them NULL",
                parameter="dictionaries",
            )


def _wrong(column: Column, values: Any) -> str:
    """What is wrong with the values given for a dictionary; empty where nothing is."""
    if values is None:
        return "are missing"
    if values.type != column.values_type:
        return f"are {values.type}, not {column.values_type}"
    if values.null_count:
        return f"hold {values.null_count} NULLs"
    most = 2 ** (8 * column.kind.item_bytes - (column.kind.raw[1] == "i"))
    return f"are {len(values)}, more than {most}" if len(values) > most else ""


class _Placing:
    """Buffers one after the other, each on its boundary."""

    def __init__(self, at: int, sizes: _Sizes) -> None:
        #: Where the next buffer goes.
        self.at = at
        self.planned: list[PlannedColumn] = []
        #: Places of the outermost columns in ``planned``.
        self.tops: list[int] = []
        self._sizes = sizes

    def place(self, column: Column, rows: int) -> None:
        """Place an outermost column and all below it."""
        self.tops.append(len(self.planned))
        self._place(column, rows)

    def _place(self, column: Column, rows: int) -> None:
        kind, path = column.kind, column.path
        nulls, limit = self._nulls(column, rows), self._limit(column)
        bitmap = (rows + 7) // 8 if nulls else 0
        sizes = (bitmap, _values_bytes(kind, rows), limit)[: kind.buffers]
        placed = [self._span(nbytes) for nbytes in sizes] + [Span(0, 0)] * (3 - kind.buffers)
        spans = ColumnSpans(path, column.type, nulls, *placed)
        self.planned.append(PlannedColumn(spans, kind, rows, limit))
        for child in column.children:
            self._place(child, rows * column.each if not kind.offsets else limit)

    def _span(self, nbytes: int) -> Span:
        span = Span(self.at, nbytes)
        self.at = _aligned(self.at + nbytes)
        return span

    def _nulls(self, column: Column, rows: int) -> int:
        if column.kind.form == "null":
            return rows
        nulls = self._sizes.null_counts.get(column.path, 0)
        if not 0 <= nulls <= rows:
            raise _bad_count("null_counts", column, nulls, f"of {rows} rows", rows)
        return nulls

    def _limit(self, column: Column) -> int:
        kind, path = column.kind, column.path
        if kind.form == "indices":
            return len(self._sizes.dictionaries[path])
        if not kind.offsets:
            return 0
        parameter = "text_bytes" if kind.form == "text" else "list_values"
        count = int(getattr(self._sizes, parameter).get(path, 0))
        most = _REACH[kind.offsets]
        if not 0 <= count <= most:
            raise _bad_count(parameter, column, count, f"({column.type})", most)
        return count


def _bad_count(parameter: str, column: Column, count: int, of: str, most: int) -> BadParameterError:
    wider = "; its large_ type takes more" if most == _REACH["<i4"] else ""
    return BadParameterError(
        f"{parameter} says {count} for column {column.path!r} {of}",
        hint=f"counts run from 0 to {most}{wider}",
        parameter=parameter,
    )


def _values_bytes(kind: ColumnType, rows: int) -> int:
    if kind.offsets:
        return (rows + 1) * int(kind.offsets[-1])
    return (rows + 7) // 8 if kind.form == "bits" else rows * kind.item_bytes


def _buffers(planned: Sequence[PlannedColumn]) -> Iterator[Span]:
    """The buffers Arrow expects, in its order."""
    for spans, kind, _, _ in planned:
        yield from (spans.validity, spans.values, spans.data)[: kind.buffers]


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
