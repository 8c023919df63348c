"""What is to be written, as batches: a table, or a stream of batches that is never held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa

from neural_gpu_bus.as_arrow import as_table
from neural_gpu_bus.errors import BadParameterError


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns to be written, as batches."""

    schema: pa.Schema
    #: From the first batch on, each time it is called where ``repeatable``.
    batches: Callable[[], Iterator[pa.RecordBatch]]
    #: None where only the end of the stream says it.
    rows: int | None = None
    repeatable: bool = True
    #: What the first row is called in messages.
    first_row: int = 1
    #: Rows from a position on, 0 = first, and that many; None where the end is not known.
    part: Callable[[int, int], Rows] | None = None


def rows_of(columns: Any) -> Rows:
    """``columns`` as ``as_arrow.as_table`` takes them; or a ``pyarrow.RecordBatchReader``, or an
    iterator of record batches or tables of one schema, of which one at a time is held.

    Raises what ``as_table`` raises, and BadParameterError for an iterator of anything else.
    """
    if isinstance(columns, pa.RecordBatchReader):
        return Rows(columns.schema, lambda: iter(columns), repeatable=False)
    if isinstance(columns, Iterator):
        return _stream(columns)
    return table_rows(as_table(columns))


def table_rows(table: pa.Table, first_row: int = 1) -> Rows:
    """All rows of a table, without a copy."""
    return Rows(
        table.schema,
        lambda: iter(table.to_batches()),
        table.num_rows,
        first_row=first_row,
        part=lambda start, rows: table_rows(table.slice(start, rows), first_row + start),
    )


def _stream(parts: Iterator[Any]) -> Rows:
    first = next(parts, None)
    if not isinstance(first, pa.RecordBatch | pa.Table):
        held = "nothing" if first is None else f"a {type(first).__name__}"
        raise BadParameterError(
            f"an iterator of record batches is wanted, and its first item is {held}",
            hint="yield pyarrow.RecordBatch or pyarrow.Table, all of one schema",
            parameter="columns",
        )
    schema = first.schema
    return Rows(schema, lambda: _batches(chain([first], parts), schema), repeatable=False)


def _batches(parts: Iterator[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for number, part in enumerate(parts, 1):
        if not isinstance(part, pa.RecordBatch | pa.Table) or part.schema != schema:
            raise BadParameterError(
                f"batch {number} has another schema than the first: "
                f"{getattr(part, 'schema', type(part).__name__)}",
                hint="give all batches the same columns and types",
                parameter="columns",
            )
        yield from part.to_batches() if isinstance(part, pa.Table) else [part]
