"""Whether any row of a table was inserted, updated or deleted since, without its values.

Every row carries the transaction that wrote it (``xmin``; PostgreSQL manual, "System Columns"), and
a transaction that has ended writes no more: the same number of rows of each is the same rows. A
column dropped and added anew changes no row, so the columns' numbers and types count as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    import psycopg

    from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition

#: Looking at a table this many times larger than the file costs more than upserting the file.
TIMES_FILE_MAX = 4

#: Grouped first: one conversion of xmin for each transaction instead of one for each row.
_READ_STATE = """
SELECT md5(coalesce(string_agg(xmin::text || ':' || rows, ' ' ORDER BY xmin::text::int8), '')
           || (SELECT string_agg(concat_ws(':', attnum, atttypid, atttypmod), ',' ORDER BY attnum)
               FROM pg_attribute WHERE attrelid = {} AND attnum > 0 AND NOT attisdropped))
FROM (SELECT xmin, count(*) AS rows FROM {} GROUP BY xmin) AS written
"""


def table_state(
    connection: psycopg.Connection, table: TableDefinition, file_rows: int
) -> str | None:
    """Equal to an earlier one only if nothing changed; None for a table that is much larger than a
    file of ``file_rows`` rows.
    """
    estimate = connection.execute("SELECT reltuples FROM pg_class WHERE oid = %s", (table.oid,))
    if estimate.fetchall()[0][0] > TIMES_FILE_MAX * file_rows:
        return None
    query = sql.SQL(_READ_STATE).format(sql.Literal(table.oid), table.name.identifier)
    state: str = connection.execute(query).fetchall()[0][0]
    return state
