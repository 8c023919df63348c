"""Upsert: rows into a temporary table, and from there into the table, by its key.

Two statements do it. ``INSERT ... ON CONFLICT DO UPDATE``, in key order, is right whatever others
write at the same time, and two of them never wait for each other in a circle. But it looks into the
index before it inserts, inserts every row as one that may be taken back, and locks every row before
it updates it: of 100,000 rows, half of them there, it takes the server 316 ms where MERGE takes 225
(CPU, PostgreSQL 18, 2026-11-22).

MERGE alone is not enough: a key that somebody else inserts meanwhile breaks it, and it takes its
rows in an order of its own. So it is only tried, behind a savepoint, and waits for nobody longer
than ``LOCK_WAIT_MS_MAX``; whatever stops it takes it back with its locks, and the ordered statement
does it all. Rows that are there as they are stay untouched by both. Rows that come in no order are
sorted for MERGE, too: it is quicker so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from neural_gpu_bus.stores.postgres.tables.table_definition import TableDefinition, identifiers
from neural_gpu_bus.stores.postgres.writing.key_order import in_key_order
from neural_gpu_bus.stores.postgres.writing.staging import STAGING, Staged, stage

if TYPE_CHECKING:
    from neural_gpu_bus.stores.postgres.encoding.wire_columns import ColumnPlan
    from neural_gpu_bus.stores.postgres.writing.sources import Rows

#: Fewer are written in order at once: there is nothing to win, and a try costs two exchanges more.
TRIED_ROWS_MIN = 1_000
#: A tenth of the server's deadlock_timeout: a circle is left before anybody looks for one.
LOCK_WAIT_MS_MAX = 100
_MERGE_VERSION_MIN = 150_000

#: A table that is so many times larger than what is given is looked into by its index. The server
#: would read it whole, which it thinks to be cheaper: beside 1,000,000 rows 491 ms against 248.
_LARGER_BY = 4
#: So that what is given need not be split into files.
_WORK_MEMORY_KIB = 32 << 10

#: For this transaction alone. Compiling the plan takes longer than running it (40 to 200 ms, from a
#: cost of 100,000 on).
_SETTINGS = """
SELECT current_setting('lock_timeout'), set_config('jit', 'off', true),
  set_config('lock_timeout', (SELECT least(nullif(setting::int8, 0), %(wait_ms)s)::text
    FROM pg_settings WHERE name = 'lock_timeout'), true),
  set_config('work_mem', (SELECT greatest(setting::int8, %(work_kib)s)::text
    FROM pg_settings WHERE name = 'work_mem'), true),
  CASE WHEN pg_relation_size(%(table)s::oid) >
    %(larger_by)s * pg_relation_size('pg_temp.ngb_staging')
  THEN set_config('enable_hashjoin', 'off', true) || set_config('enable_mergejoin', 'off', true)
  END
"""
_LOCK_TIMEOUT_BACK = "SELECT set_config('lock_timeout', %s, true)"

#: What the try may end with and the ordered statement goes through or says better: a key that came
#: in between or stands twice, a lock, a circle of locks, and what MERGE cannot do.
_NOT_THIS_WAY = (
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.DataError,
    psycopg.NotSupportedError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
)


def merge_rows(
    connection: psycopg.Connection,
    definition: TableDefinition,
    rows: Rows,
    plans: Sequence[ColumnPlan],
    key: Sequence[str],
) -> tuple[int, int]:
    """Rows given, and rows that were added or changed. Raises BadValueError for a key that stands
    twice among the rows, and what the server refuses.
    """
    staged = stage(connection, rows, plans)
    written: int | None = None
    if staged.rows >= TRIED_ROWS_MIN and _can_be_tried(connection, definition, plans):
        in_order = in_key_order(rows, key)
        written = _try_merge(connection, definition, staged, key, in_order=in_order)
    if written is None:
        written = _insert_in_order(connection, definition, staged, key)
    return staged.rows, written


def _can_be_tried(
    connection: psycopg.Connection, definition: TableDefinition, plans: Sequence[ColumnPlan]
) -> bool:
    return (
        connection.info.server_version >= _MERGE_VERSION_MIN
        and not definition.row_security
        and not any(plan.sent_as for plan in plans)
    )


def _try_merge(
    connection: psycopg.Connection,
    definition: TableDefinition,
    staged: Staged,
    key: Sequence[str],
    *,
    in_order: bool,
) -> int | None:
    """Rows written; None, with nothing written, where it cannot be done this way now."""
    settings = {
        "wait_ms": LOCK_WAIT_MS_MAX,
        "work_kib": _WORK_MEMORY_KIB,
        "table": definition.oid,
        "larger_by": _LARGER_BY,
    }
    try:
        with connection.transaction():
            before = connection.execute(_SETTINGS, settings).fetchall()[0][0]
            statement = _merge_statement(definition, staged, key, in_order=in_order)
            written = connection.execute(statement).rowcount
            connection.execute(_LOCK_TIMEOUT_BACK, (before,))
            return written
    except _NOT_THIS_WAY:
        return None


def _insert_in_order(
    connection: psycopg.Connection,
    definition: TableDefinition,
    staged: Staged,
    key: Sequence[str],
) -> int:
    try:
        return staged.insert(connection, _insert_statement(definition, staged, key))
    except psycopg.errors.CardinalityViolation:
        repeated = staged.repeated_key(connection, key)
        if repeated is None:
            raise
        raise repeated from None


def _merge_statement(
    definition: TableDefinition, staged: Staged, key: Sequence[str], *, in_order: bool
) -> sql.Composed:
    names = staged.names
    given: sql.Composable = STAGING
    if not in_order:
        given = sql.SQL("(SELECT * FROM {} ORDER BY {})").format(STAGING, identifiers(key))
    values = [name for name in names if name not in key]
    action: sql.Composable = sql.SQL("")
    if values:
        action = sql.SQL(" WHEN MATCHED AND {} THEN UPDATE SET {}").format(
            _is_different(values, "given"), _assignments(values, "given")
        )
    # Rows of a table's children have no part in its key; a partitioned table's rows are in parts.
    only = sql.SQL("" if definition.is_partitioned else "ONLY ")
    return sql.SQL(
        "MERGE INTO {}{} AS kept USING {} AS given ON {}{} "
        "WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})"
    ).format(
        only,
        definition.name.identifier,
        given,
        sql.SQL(" AND ").join(
            sql.SQL("kept.{0} = given.{0}").format(sql.Identifier(name)) for name in key
        ),
        action,
        identifiers(names),
        _columns_of("given", names),
    )


def _insert_statement(
    definition: TableDefinition, staged: Staged, key: Sequence[str]
) -> sql.Composed:
    values = [name for name in staged.names if name not in key]
    action: sql.Composable = sql.SQL("NOTHING")
    if values:
        action = sql.SQL("UPDATE SET {} WHERE {}").format(
            _assignments(values, "excluded"), _is_different(values, "excluded")
        )
    return sql.SQL(
        "INSERT INTO {} AS kept ({}) SELECT {} FROM {} ORDER BY {} ON CONFLICT ({}) DO {}"
    ).format(
        definition.name.identifier,
        identifiers(staged.names),
        staged.values,
        STAGING,
        staged.values_of(key),
        identifiers(key),
        action,
    )


def _is_different(values: Sequence[str], other: str) -> sql.Composed:
    """``*<>`` compares the bytes: a row that is there as it is is not written again, which spares
    WAL and dead rows where files overlap; ``=`` would take 0.0 for -0.0.
    """
    return sql.SQL("ROW({})::record *<> ROW({})::record").format(
        _columns_of("kept", values), _columns_of(other, values)
    )


def _assignments(values: Sequence[str], other: str) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier(other, name))
        for name in values
    )


def _columns_of(table: str, names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(table, name) for name in names)
