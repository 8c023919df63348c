"""What the server says about a bad row, as an error that names the row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from neural_gpu_bus.errors import BadValueError
from neural_gpu_bus.stores.postgres.tables.table_definition import identifiers

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition
    from neural_gpu_bus.stores.postgres.writing.sources import Rows

#: The server's context of a row that COPY could not take: ``COPY t_2024, line 5, column k``. It is
#: translated (lc_messages); the table's name, which may end in digits, comes first.
_CONTEXT = re.compile(
    r"COPY [^\n]*?(?:, |、)[^\d\n,]*?(\d+)"
    r"(?:(?:, |、)[^\n,]*? (\"?)(?P<column>[^\n:\"]+)\2)?(?:$|\n|:)"
)

#: Data exceptions and broken constraints (PostgreSQL manual, appendix A); 22P03 and 22P04 say
#: that what was sent is no COPY data at all, which no row explains.
_ABOUT_A_ROW = ("22", "23")
_NOT_ABOUT_A_ROW = ("22P03", "22P04")


@contextmanager
def explained(first_row: int = 1) -> Iterator[None]:
    """Turn the server's refusal of one row into BadValueError, except a key that is there already
    (psycopg's UniqueViolation goes through).
    """
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise
    except psycopg.Error as error:
        row = row_of(error, first_row)
        state = error.sqlstate or ""
        if row is None or state in _NOT_ABOUT_A_ROW or not state.startswith(_ABOUT_A_ROW):
            raise
        column = error.diag.column_name or _column_of(error)
        where = f"row {row}, column {column!r}" if column else f"row {row}"
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise BadValueError(
            f"{where}: PostgreSQL refused it: {error.diag.message_primary}{detail}",
            hint="mend the value, or the table's type or constraint",
            column=column,
            row=row,
            sqlstate=state,
        ) from None


def row_of(error: psycopg.Error, first_row: int = 1) -> int | None:
    """Row that the server's context names, counted from ``first_row``; None when it names none."""
    found = _CONTEXT.search(error.diag.context or "")
    return int(found[1]) + first_row - 1 if found else None


def _column_of(error: psycopg.Error) -> str | None:
    found = _CONTEXT.search(error.diag.context or "")
    return found["column"] if found else None


def repeated_key(
    connection: psycopg.Connection,
    table: sql.Identifier,
    key: Sequence[str],
    *,
    values: sql.Composed | None = None,
    first_row: int = 1,
) -> BadValueError | None:
    """The first key that stands twice in a table which this transaction filled by one COPY: its
    rows lie in the order they were sent. ``values``: what its columns stand for, where they are
    not the table's types. None where no key stands twice.
    """
    query = sql.SQL(
        "SELECT (array_agg(row ORDER BY row))[1], (array_agg(row ORDER BY row))[2] AS again, "
        "{} FROM (SELECT row_number() OVER (ORDER BY ctid) AS row, {} FROM {}) AS numbered "
        "WHERE ROW({}) IS NOT NULL GROUP BY {} HAVING count(*) > 1 ORDER BY again LIMIT 1"
    ).format(
        sql.SQL(", ").join(
            sql.SQL("(array_agg({}::text ORDER BY row))[1]").format(sql.Identifier(name))
            for name in key
        ),
        identifiers(key),
        table,
        identifiers(key),
        values or identifiers(key),
    )
    found = connection.execute(query).fetchone()
    if found is None:
        return None
    first, again, *shown = found
    return _repeated(first + first_row - 1, again + first_row - 1, key, ", ".join(shown))


def _repeated(first: int, again: int, key: Sequence[str], values: str) -> BadValueError:
    return BadValueError(
        f"rows {first} and {again} have the same key ({', '.join(key)}) = ({values})",
        hint="leave one of them out, or give a key that tells them apart",
        column=key[0],
        row=again,
    )


def key_there_already(
    error: psycopg.errors.UniqueViolation, table: TableDefinition, rows: Rows
) -> BadValueError:
    """The row that COPY stumbled over, and the one it repeats: an earlier one, or the table's."""
    row = row_of(error)
    keys = table.unique_keys if row is not None and rows.repeatable else ()
    for key in keys:
        earlier = _earlier_row(rows, key, row or 0)
        if earlier is not None:
            shown = (error.diag.message_detail or "").partition("=")[2].partition(")")[0]
            before = rows.first_row - 1
            return _repeated(before + earlier, before + (row or 0), key, shown.lstrip("("))
    detail = error.diag.message_detail or error.diag.message_primary or ""
    number = None if row is None else row + rows.first_row - 1
    where = "a row" if number is None else f"row {number}"
    earlier_too = "" if rows.repeatable else "an earlier row, or in "
    return BadValueError(
        f"{where}: its key is in {earlier_too}table {str(table.name)!r} already: {detail}",
        hint='leave the row out, or use mode="upsert" to write over rows of the same key',
        column=table.unique_keys[0][0] if table.unique_keys else "",
        row=number,
    )


def _earlier_row(rows: Rows, key: Sequence[str], row: int) -> int | None:
    """First row before ``row`` with the same key, where the batches hold the key's columns and
    Arrow can compare them; both counted from 1.
    """
    if not set(key) <= set(rows.schema.names):
        return None
    wanted = _key_at(rows, key, row)
    first_row = 1
    for batch in rows.batches():
        same: Any = True
        try:
            for name, value in zip(key, wanted, strict=True):
                same = pc.and_(same, pc.equal(batch.column(name), value))
        except pa.ArrowNotImplementedError:
            return None
        found = pc.index(same, True).as_py()
        if found >= 0:
            return first_row + found if first_row + found < row else None
        first_row += batch.num_rows
    return None


def _key_at(rows: Rows, key: Sequence[str], row: int) -> list[Any]:
    first_row = 1
    for batch in rows.batches():
        if row < first_row + batch.num_rows:
            return [batch.column(name)[row - first_row] for name in key]
        first_row += batch.num_rows
    raise AssertionError(f"COPY stumbled over row {row}, and there are {first_row - 1}")
