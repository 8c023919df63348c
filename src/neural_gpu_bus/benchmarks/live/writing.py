"""In a process of its own: transactions at a steady rate, and when each commit returned."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection
from typing import NamedTuple

import psycopg

from neural_gpu_bus.benchmarks.live.processes import say_ready
from neural_gpu_bus.benchmarks.live.tables import STEP


class Pace(NamedTuple):
    """How much is written, and how fast."""

    commits: int
    commits_per_s: int
    #: Of one transaction.
    rows: int

    @property
    def rows_per_s(self) -> int:
        """Asked for."""
        return self.commits_per_s * self.rows


def write_paced(pipe: Connection, dsn: str, table: str, pace: Pace, channel: str) -> None:
    """Answers with a moment a transaction, by ``time.monotonic_ns``, which all processes share.

    ``channel``: where a NOTIFY goes with each transaction; empty for none.
    """
    insert = (
        f"INSERT INTO {table} (instrument_id, ts, price, size, side) "  # noqa: S608
        f"SELECT 'I' || g %% 100, %s::bigint * {STEP} + g, g * 0.5, g, 1 "
        f"FROM generate_series(1, {pace.rows}) g"
    )
    if channel:
        insert = (
            f"WITH told AS (SELECT pg_notify('{channel}', '')), "  # noqa: S608
            f"made AS ({insert} RETURNING 1) SELECT count(*) FROM made, told"
        )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.prepare_threshold = 1
        say_ready(pipe)
        pipe.recv()
        pipe.send(_written(connection, insert, pace))


def _written(connection: psycopg.Connection, insert: str, pace: Pace) -> list[int]:
    statement, returned = insert.encode(), []
    every_ns = 1_000_000_000 // pace.commits_per_s
    started_ns = time.monotonic_ns()
    for step in range(pace.commits):
        early_ns = started_ns + step * every_ns - time.monotonic_ns()
        if early_ns > 0:
            time.sleep(early_ns / 1e9)
        connection.execute(statement, (step,))
        returned.append(time.monotonic_ns())
    return returned
