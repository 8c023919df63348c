"""Random definitions that change, and partitions that come and go, under live tables."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import sql

from live_oracle_tables import SCHEMA, TYPES, RandomColumn, RandomTable, range_of
from live_oracle_writers import EXPECTED


def change_definition(dsn: str, table: RandomTable, chance: random.Random) -> str:
    """One random DDL statement, committed; which, or empty where it lost against others."""
    columns = list(table.columns)
    text, after = _definition(table, columns, chance)
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            connection.execute("SET LOCAL lock_timeout = '3s'")
            connection.execute(text)
    except (*EXPECTED, psycopg.OperationalError):
        return ""
    table.columns = after
    return text.as_string(None)


def _definition(
    table: RandomTable, columns: list[RandomColumn], chance: random.Random
) -> tuple[sql.Composed, list[RandomColumn]]:
    free = [one for one in table.free_columns() if one.name != "wide"]
    head = sql.SQL("ALTER TABLE {} ").format(table.identifier)
    chosen = chance.choice(("add", "add", "drop", "again", "rename", "type", "rewrite"))
    if chosen in {"drop", "again", "rename", "type"} and not free:
        chosen = "add"
    if chosen == "add":
        table.given += 1
        made = RandomColumn(f"added {table.given}", chance.choice(TYPES))
        default = sql.SQL(" DEFAULT {}").format(sql.Literal(made.value(chance)))
        added = head + sql.SQL("ADD COLUMN {} {}").format(_name(made), _type(made)) + default
        return added, [*columns, made]
    if chosen == "rewrite":
        return head + sql.SQL("ALTER money TYPE int8, ALTER money SET STATISTICS 10"), columns
    one = chance.choice(free)
    rest = [other for other in columns if other is not one]
    if chosen == "drop" and len(rest) > 1:
        return head + sql.SQL("DROP COLUMN {}").format(_name(one)), rest
    if chosen == "again":
        again = RandomColumn(one.name, chance.choice((one.type, chance.choice(TYPES))))
        default = sql.SQL(" DEFAULT {}").format(sql.Literal(again.value(chance)))
        text = sql.SQL("DROP COLUMN {0}, ADD COLUMN {0} {1}").format(_name(one), _type(again))
        return head + text + default, [*rest, again]
    if chosen == "type":
        text = sql.SQL("ALTER COLUMN {0} TYPE text USING {0}::text").format(_name(one))
        return head + text, [*rest, RandomColumn(one.name, "text", one.nullable)]
    table.given += 1
    renamed = RandomColumn(f"Renamed {table.given}", one.type, one.nullable)
    text = sql.SQL("RENAME COLUMN {} TO {}").format(_name(one), _name(renamed))
    return head + text, [*rest, renamed]


def _name(column: RandomColumn) -> sql.Identifier:
    return sql.Identifier(column.name)


def _type(column: RandomColumn) -> sql.SQL:
    return sql.SQL(column.type)  # type: ignore[arg-type]


# ---- partitions


def change_partitions(dsn: str, table: RandomTable, chance: random.Random) -> str:
    """One of three partitions goes, comes or is another; what was done, or empty where it lost
    against others.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            connection.execute("SET LOCAL lock_timeout = '3s'")
            missing = [one for one in range(3) if one not in _attached(connection, table)]
            if missing:
                change: Callable[..., object] = _come
                number = missing[0]
            else:
                change, number = chance.choice(_CHANGES), chance.randrange(3)
            change(connection, table, number)
    except (*EXPECTED, psycopg.OperationalError):
        return ""
    return f"{change.__name__} {number} {table.name}"


def _attached(connection: psycopg.Connection[Any], table: RandomTable) -> set[int]:
    found = connection.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid "
        "WHERE inhparent = %s::regclass AND relkind = 'r'",
        [table.identifier.as_string(connection)],
    ).fetchall()
    return {int(name.rpartition("_")[2]) for (name,) in found}


def _run(connection: psycopg.Connection[Any], text: str, table: RandomTable, number: int) -> None:
    statement: Any = sql.SQL(text)  # type: ignore[arg-type]  made of our own constants
    connection.execute(statement.format(t=table.identifier, p=table.partition(number)))


def _come(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    """It was detached, or dropped."""
    found = connection.execute(
        "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s",
        [SCHEMA, f"{table.name}_{number}"],
    ).fetchone()
    if found is None:
        table.add_partition(connection, number)
    else:
        _attach(connection, table, number)


def _attach(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    _run(connection, f"ALTER TABLE {{t}} ATTACH PARTITION {{p}} {range_of(number)}", table, number)


def _detach(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    _run(connection, "ALTER TABLE {t} DETACH PARTITION {p}", table, number)


def _drop(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    _run(connection, "DROP TABLE {p}", table, number)


def _there_and_back(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    """With other rows, in one transaction."""
    _detach(connection, table, number)
    _run(connection, "DELETE FROM {p} WHERE id % 2 = 0", table, number)
    _attach(connection, table, number)


def _made_again(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    _drop(connection, table, number)
    table.add_partition(connection, number)


def _emptied(connection: psycopg.Connection[Any], table: RandomTable, number: int) -> None:
    _run(connection, "TRUNCATE {p}", table, number)


_CHANGES: Sequence[Callable[..., None]] = (
    _detach,
    _drop,
    _there_and_back,
    _made_again,
    _emptied,
)
