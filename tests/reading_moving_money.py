"""Accounts whose money moves all the time: sums that no read of one moment ever sees changed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

#: Accounts of each table, and money of each at first.
ACCOUNTS = 20_000
MONEY = 1000
#: Money in one table stays there; that of two goes back and forth.
TABLES = ("inside", "left_side", "right_side")
#: Wide rows, so that a table has some hundreds of pages.
FILLER = 120


def make_accounts(connection: psycopg.Connection, schema: str) -> None:
    """The tables, in a schema that is there."""
    for table in TABLES:
        connection.execute(
            sql.SQL(
                "CREATE TABLE {} AS SELECT i AS id, {}::int8 AS money, repeat('x', {}) AS filler "
                "FROM generate_series(1, {}) i"
            ).format(sql.Identifier(schema, table), MONEY, FILLER, ACCOUNTS)
        )
        name = sql.Identifier(schema, table)
        connection.execute(sql.SQL("CREATE INDEX ON {} (id)").format(name))
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(name))


@contextmanager
def money_moves(dsn: str, schema: str, writers: int = 2) -> Iterator[None]:
    """Every update writes a row anew, somewhere else in its table; VACUUM makes room in front."""
    over = threading.Event()
    threads = [
        threading.Thread(target=_move, args=(dsn, schema, (number, writers), over))
        for number in range(writers)
    ]
    threads.append(threading.Thread(target=_vacuum, args=(dsn, schema, over)))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _move(dsn: str, schema: str, place: tuple[int, int], over: threading.Event) -> None:
    """From some accounts to others far off, in one transaction; ``place``: which of how many
    writers. Each has accounts of its own, so that none waits for another.
    """
    number, writers = place
    chosen = random.Random(number)
    own = ACCOUNTS // 2 // writers
    update = sql.SQL("UPDATE {} SET money = money + %s WHERE id BETWEEN %s AND %s")
    pairs = [("inside", "inside"), ("left_side", "right_side"), ("right_side", "left_side")]
    statements = {table: update.format(sql.Identifier(schema, table)) for table in TABLES}
    with psycopg.connect(dsn) as connection:
        while not over.is_set():
            giver, taker = chosen.choice(pairs)
            first = 1 + number * own + chosen.randrange(own - 20)
            other = first + ACCOUNTS // 2
            connection.execute(statements[giver], (-7, first, first + 20))
            connection.execute(statements[taker], (7, other, other + 20))
            connection.commit()


def _vacuum(dsn: str, schema: str, over: threading.Event) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not over.wait(0.2):
            for table in TABLES:
                connection.execute(
                    sql.SQL("VACUUM (TRUNCATE false) {}").format(sql.Identifier(schema, table))
                )
