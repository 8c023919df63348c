"""One transaction of very many rows, among those of other writers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from live_oracle_tables import RandomColumn, RandomTable

#: Ids of its rows begin here; those that are updated are moved further.
FIRST_ID, FURTHER = 1_000_000, 10_000_000
_owing = itertools.count(100 * FIRST_ID)
_VALUES = {
    "text": "(ARRAY['a', 'b', 'Ca d', ''])[1 + g % 4]",
    "bool": "g % 2 = 0",
    "int4": "g % 3",
    "int8": "g * 7919 % 1000",
    "timestamptz": "'2026-01-01 00:00+00'::timestamptz + interval '1 us' * (g * 7919 % 1000)",
}


def write_many(dsn: str, table: RandomTable, other: RandomTable, rows: int) -> None:
    """``rows`` of one each come, in any order of ``order_by`` and with equal values of it; a fifth
    is updated, and what is deleted is rolled back. ``other`` owes the money.

    Raises what the server says: the transaction is rolled back then.
    """
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        gone = _remove(connection, table)
        _insert(connection, table, FIRST_ID, 1, rows)
        if not table.append_only:
            text = "UPDATE {} SET id = id + %s WHERE id >= %s AND id %% 5 = 0"
            _run(connection, text, table, FURTHER, FIRST_ID)
            with connection.transaction(force_rollback=True):
                _run(connection, "DELETE FROM {} WHERE id >= %s AND id %% 3 = 0", table, FIRST_ID)
        _insert(connection, other, next(_owing), gone - rows, 1)


def remove_many(dsn: str, tables: Sequence[RandomTable], other: RandomTable) -> None:
    """Those rows go again, and ``other`` gets the money."""
    with psycopg.connect(dsn, connect_timeout=5) as connection:
        connection.execute("SET LOCAL lock_timeout = '5s'")
        money = sum(_remove(connection, table) for table in tables)
        _insert(connection, other, next(_owing), money, 1)


def _remove(connection: psycopg.Connection[Any], table: RandomTable) -> int:
    """Money of the rows that went."""
    if table.append_only:
        return 0
    text = (
        "WITH gone AS (DELETE FROM {} WHERE id >= %s RETURNING money) "
        "SELECT coalesce(sum(money), 0)::int8 FROM gone"
    )
    row = _run(connection, text, table, FIRST_ID).fetchone()
    assert row is not None
    return int(row[0])


def _insert(
    connection: psycopg.Connection[Any], table: RandomTable, first: int, money: int, rows: int
) -> None:
    given = [one for one in table.columns if not one.nullable or one.name == "wide"]
    names = ", ".join(["id", "money", *("{}" for _ in given)])
    values = ", ".join(["%s + g", "%s", *(_value(one) for one in given)])
    text = f"INSERT INTO {{}} ({names}) SELECT {values} FROM generate_series(1, %s) g"
    statement: Any = sql.SQL(text)  # type: ignore[arg-type]  made of our own constants
    identifiers = [sql.Identifier(one.name) for one in given]
    connection.execute(statement.format(table.identifier, *identifiers), [first, money, rows])


def _value(column: RandomColumn) -> str:
    found = "repeat(md5(g::text), 4)" if column.name == "wide" else _VALUES[column.type]
    return found.replace("%", "%%")


def _run(
    connection: psycopg.Connection[Any], text: str, table: RandomTable, *values: int
) -> psycopg.Cursor[Any]:
    statement: Any = sql.SQL(text)  # type: ignore[arg-type]  made of our own constants
    return connection.execute(statement.format(table.identifier), values)
