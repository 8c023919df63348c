"""A table is added and copied while others write: nothing is lost, nothing comes twice."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack

import psycopg
import pytest

from fix_replication import dsn_of
from neural_gpu_bus.stores.postgres.replication.publications import (
    add_table,
    drop_table,
    ensure_publications,
    publication_names,
)
from neural_gpu_bus.stores.postgres.replication.snapshot_moment import (
    SnapshotMoment,
    snapshot_moment,
)
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from stream_by_sql import Seen, slot_by_sql

NAMES = publication_names("handover")
#: Transactions are longer than the way from the publication to the snapshot: some span it.
PAUSE_S_MAX = 0.15
ROUNDS, WRITERS = 5, 4


class Writer(threading.Thread):
    """Inserts and deletes rows of its own, in transactions of all lengths, some rolled back."""

    def __init__(self, dsn: str, seed: int, number: int) -> None:
        super().__init__()
        self._dsn = dsn
        self._random = random.Random(seed * 100 + number)
        self._number = number
        self._next = 0
        self.stop = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            with psycopg.connect(self._dsn) as connection:
                while not self.stop.is_set():
                    self._transaction(connection)
        except BaseException as error:  # noqa: BLE001  the test raises it
            self.failed = error

    def _transaction(self, connection: psycopg.Connection) -> None:
        pick = self._random
        for _ in range(pick.randint(1, 4)):
            with ExitStack() as savepoint:
                if pick.random() < 0.3:
                    savepoint.enter_context(
                        connection.transaction(force_rollback=pick.random() < 0.3)
                    )
                self._statement(connection)
            if pick.random() < 0.3:
                time.sleep(pick.random() * PAUSE_S_MAX)
        if pick.random() < 0.2:
            connection.rollback()
        else:
            connection.commit()

    def _statement(self, connection: psycopg.Connection) -> None:
        if self._random.random() < 0.7 or not self._next:
            row = self._number * 1_000_000 + self._next
            self._next += 1
            connection.execute("INSERT INTO bars VALUES (%s)", (row,))
        else:
            row = self._number * 1_000_000 + self._random.randrange(self._next)
            connection.execute("DELETE FROM bars WHERE id = %s", (row,))


def applied(copied: set[int], moment: SnapshotMoment, stream: list[Seen]) -> set[int]:
    """Rows of the copy, brought to the stream's end; a row that comes twice or is not there to be
    deleted fails.
    """
    rows, skips = set(copied), False
    for one in stream:
        if one.kind == "B":
            skips = moment.visible.sees(one.of)
        elif one.kind in "ID" and not skips:
            row = int.from_bytes((one.new or one.old)[0], "big")
            assert (row in rows) == (one.kind == "D"), (one, row)
            rows ^= {row}
    return rows


@pytest.mark.slow
def test_nothing_is_lost_or_comes_twice(database: psycopg.Connection) -> None:
    """The stream's slot is older than the table in the publication, as it is for all tables but
    the first.
    """
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    connection, dsn = database, dsn_of(database)
    connection.execute("CREATE TABLE bars (id int PRIMARY KEY)")
    ensure_publications(connection, NAMES)
    shape = read_shape(connection, "bars")
    writers = [Writer(dsn, seed, number) for number in range(WRITERS)]
    with ExitStack() as stopping:
        for writer in writers:
            writer.start()
            stopping.callback(writer.join)
            stopping.callback(writer.stop.set)
        for _ in range(ROUNDS):
            check_handover(connection, dsn, shape.oid)

    assert [writer.failed for writer in writers] == [None] * WRITERS


def check_handover(connection: psycopg.Connection, dsn: str, oid: int) -> None:
    with slot_by_sql(connection, NAMES.both) as slot:
        add_table(connection, NAMES, read_shape(connection, oid))
        with snapshot_moment(dsn, "bars", NAMES) as moment:
            copied = rows_at(dsn, moment.snapshot_id)
        time.sleep(0.05)
        # A second moment tells where the stream has to be compared.
        with snapshot_moment(dsn, "bars", NAMES) as later:
            expected = rows_at(dsn, later.snapshot_id)
        stream = slot.take()
    drop_table(connection, NAMES, oid)
    seen_by_later = until(stream, later)
    assert applied(copied, moment, seen_by_later) == expected


def until(stream: list[Seen], later: SnapshotMoment) -> list[Seen]:
    """Transactions that the later snapshot sees."""
    found, takes = [], False
    for one in stream:
        if one.kind == "B":
            takes = later.visible.sees(one.of)
        if takes:
            found.append(one)
    return found


def rows_at(dsn: str, snapshot: str) -> set[int]:
    with psycopg.connect(dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
        return {row for (row,) in reader.execute("SELECT id FROM bars")}
