"""What a real server streams, applied, against SELECT: random statements of random transactions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg.conninfo import make_conninfo

from neural_gpu_bus.live.applying.applied_table import AppliedTable
from neural_gpu_bus.live.applying.few_changes import FewChanges
from neural_gpu_bus.live.applying.wire_tuples import WireTuples
from neural_gpu_bus.memory.series import SeriesGroup
from neural_gpu_bus.memory.series.series import Series
from neural_gpu_bus.memory.series.writer import SeriesWriter
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.decoding.read_options import ReadOptions
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.table_catalog import read_shape
from neural_gpu_bus.stores.postgres.replication.transactions import RowChanges, Truncated
from plain_live_changes import plain_definition

#: How rows are told apart, and whether that says where they lie.
IDENTITIES = {
    "by the key and the order": "ALTER TABLE t ADD PRIMARY KEY (instrument, ts, id)",
    "by another column": "ALTER TABLE t ADD PRIMARY KEY (id)",
    "by long texts": "ALTER TABLE t ADD PRIMARY KEY (note, id)",
    "by whole rows": "ALTER TABLE t REPLICA IDENTITY FULL",
}
TABLE = """CREATE TABLE t (id int8 NOT NULL, instrument text NOT NULL, ts timestamptz NOT NULL,
    price float8, size numeric(12, 3), note text NOT NULL, more text, is_open bool)"""
#: Stored as they are and out of line: values of the new row that the server leaves out.
OUT_OF_LINE = "ALTER TABLE t ALTER note SET STORAGE EXTERNAL, ALTER more SET STORAGE EXTERNAL"
NEW = """SELECT i, 'instrument ' || i % 3, timestamptz '2024-01-01' + i % 17 * interval '1 second',
    nullif(i % 5, 0), i / 8.0, 'note ' || i, repeat('more ' || i, 600 * (i % 4 % 3)), i % 2 = 0
    FROM generate_series({first}, {last}) i"""
#: A database with a slot cannot be dropped; the server notices later that its session has ended.
UNTIL_SLOT_IS_GONE = """DO $$ BEGIN FOR i IN 1..1000 LOOP
    EXIT WHEN NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'ngb_test_applying');
    PERFORM pg_sleep(0.01); END LOOP; END $$"""
CHANGES = [
    "UPDATE t SET price = price + 1 WHERE id % 7 = {some}",
    "UPDATE t SET price = {any} WHERE id = (SELECT max(id) FROM t)",
    "UPDATE t SET ts = ts - interval '3 seconds' WHERE id % 11 = {some}",
    "UPDATE t SET instrument = 'instrument ' || {some} WHERE id % 13 = {some}",
    "UPDATE t SET id = id + 1000000 WHERE id % 17 = {some} AND id < 1000000",
    "UPDATE t SET more = repeat('other', 900), size = NULL WHERE id % 5 = {some}",
    "UPDATE t SET note = 'n' || repeat(id::text, 300), is_open = NOT is_open WHERE id % 9 = {some}",
    "DELETE FROM t WHERE id % 6 = {some}",
]


class Statements:
    """Transactions of one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._last = 0

    def rows(self) -> str:
        first, self._last = self._last + 1, self._last + self._random.randint(1, 60)
        return f"INSERT INTO t {NEW.format(first=first, last=self._last)}"

    def one(self) -> str:
        kind = self._random.random()
        if kind < 0.03:
            return "TRUNCATE t"
        if kind < 0.4:
            return self.rows()
        numbers = {"some": self._random.randint(0, 5), "any": self._random.randint(0, 10**6)}
        return self._random.choice(CHANGES).format(**numbers)

    def transaction(self) -> list[str]:
        found = []
        for _ in range(self._random.randint(1, 5)):
            rolls_back = self._random.random() < 0.2
            found += ["SAVEPOINT s", self.one()]
            found.append("ROLLBACK TO s" if rolls_back else "RELEASE s")
        return found


def receive(session: StreamSession, connection: psycopg.Connection) -> Iterator[list[Any]]:
    """Steps of each batch, up to all that is committed now."""
    connection.execute("INSERT INTO marks VALUES (0)")
    while True:
        batch = session.receive(10)
        assert batch is not None
        steps = [step for found in batch.transactions for step in found.steps]
        marks = [s for s in steps if isinstance(s, RowChanges) and s.relation.name == "marks"]
        yield [
            step
            for step in steps
            if isinstance(step, Truncated)
            or (isinstance(step, RowChanges) and step.relation.name == "t")
        ]
        if marks:
            return


@contextmanager
def streamed(postgres_dsn: str, connection: psycopg.Connection) -> Iterator[StreamSession]:
    """The tables' changes from now on."""
    connection.execute("CREATE PUBLICATION p FOR TABLE t, marks")
    session = StreamSession.connect(
        make_conninfo(postgres_dsn, dbname=connection.info.dbname), timeout_s=30
    )
    try:
        session.create_slot("ngb_test_applying", temporary=True)
        session.start("ngb_test_applying", 0, ["p"])
        yield session
    finally:
        session.close()
        connection.execute(UNTIL_SLOT_IS_GONE)


@contextmanager
def followed(
    connection: psycopg.Connection, folder: Path, order_by: str | None
) -> Iterator[tuple[AppliedTable, Series, SeriesWriter]]:
    shape = read_shape(connection, "t")
    options = ReadOptions(texts="plain")
    columns = [
        source_column(one.name, one.type_oid, one.modifier, options=options)
        for one in shape.columns
    ]
    group = SeriesGroup.create(folder, "g", arena_bytes=(1 << 14, 1 << 20))
    schema = pa.schema([(column.name, column.arrow_type()) for column in columns])
    series = group.series("t", schema, ["instrument"], order_by, chunk_rows_max=50, overlap_rows=20)
    definition = plain_definition(("instrument",), order_by)
    with group.writer() as writer:
        yield AppliedTable(writer, "t", shape, definition, WireTuples(columns)), series, writer


def held(series: Series) -> list[tuple[Any, ...]]:
    found = series.arrow()
    for name in ("ts",):
        found = found.set_column(
            found.schema.get_field_index(name), name, found[name].cast("int64")
        )
    return sorted((tuple(row.values()) for row in found.to_pylist()), key=repr)


def selected(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    found = connection.execute(
        "SELECT id, instrument, (extract(epoch FROM ts) * 1000000)::int8, price, size, note, more,"
        " is_open FROM t"
    ).fetchall()
    return sorted(found, key=repr)


@pytest.mark.parametrize("order_by", ["ts", None])
@pytest.mark.parametrize("identity", list(IDENTITIES))
def test_what_is_streamed_is_what_is_selected(
    postgres_dsn: str,
    database: psycopg.Connection,
    memory_folder: Path,
    identity: str,
    order_by: str | None,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    statements = Statements(seed)
    for statement in (TABLE, OUT_OF_LINE, IDENTITIES[identity], "CREATE TABLE marks (n int)"):
        database.execute(statement)
    with (
        streamed(postgres_dsn, database) as session,
        followed(database, memory_folder, order_by) as (table, series, writer),
    ):
        for _ in range(6):
            for _ in range(4):
                with database.transaction():
                    for statement in statements.transaction():
                        database.execute(statement)
            for steps in receive(session, database):
                table.apply(steps)
            writer.publish()
            assert held(series) == selected(database)


#: Of many keys, in order but for some; with NULLs and texts of many lengths; a few and too many.
FEW = """INSERT INTO t SELECT {id} + i, 'instrument ' || i % {keys},
    timestamptz '2024-01-01' + ({id} + i) * interval '1 second' - {late} * interval '1 hour',
    nullif(i % 5, 0), nullif(i % 3, 1) / 8.0, repeat('n', i % 40), nullif(repeat('m', i % 7), 'm'),
    nullif(i % 4, 2) = 0 FROM generate_series(1, {rows}) i"""


@pytest.mark.parametrize("order_by", ["ts", None])
def test_few_rows_that_come_are_what_is_selected(
    postgres_dsn: str,
    database: psycopg.Connection,
    memory_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    order_by: str | None,
) -> None:
    """By the short way where it takes them, and by the general one where it does not."""
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    took: list[bool] = []
    short = FewChanges.insert

    def noted(self: FewChanges, changes: Any) -> int:
        rows = short(self, changes)
        took.append(rows == len(changes.kinds))
        return rows

    monkeypatch.setattr(FewChanges, "insert", noted)
    for statement in (TABLE, IDENTITIES["by another column"], "CREATE TABLE marks (n int)"):
        database.execute(statement)
    with (
        streamed(postgres_dsn, database) as session,
        followed(database, memory_folder, order_by) as (table, series, writer),
    ):
        for number in range(60):
            rows = chance.choice([1, 1, 2, 5, 20, 64, 65, 150])
            late = int(chance.random() < 0.1)
            keys = chance.choice([1, 3, 3, 10])
            database.execute(FEW.format(id=number * 200, rows=rows, keys=keys, late=late).encode())
            for steps in receive(session, database):
                table.apply(steps)
            if number > 20 and chance.random() < 0.3:  # from now on rows are found by an index
                some = CHANGES[chance.randrange(len(CHANGES))].format(some=number % 6, any=number)
                database.execute(some.encode())
                for steps in receive(session, database):
                    table.apply(steps)
            elif chance.random() < 0.1:  # what is kept of rows is taken back with them
                writer.discard()
                table.discarded()
                first = number * 200
                database.execute("DELETE FROM t WHERE id BETWEEN %s AND %s", (first, first + 199))
                for _ in receive(session, database):
                    pass
                table.apply([])
            writer.publish()
            assert held(series) == selected(database)
    assert any(took)
    assert not all(took) or order_by is None


#: Of rows that stay where they are, mostly; some twice, some that are not there.
FEW_UPDATES = [
    "UPDATE t SET price = {any}, size = NULL WHERE id = {id}",
    "UPDATE t SET price = NULL, more = repeat('x', {any} % 90), is_open = NOT is_open "
    "WHERE id BETWEEN {id} AND {id} + {any} % 20",
    "UPDATE t SET more = note || {any}, is_open = NULL WHERE id % 40 = {any} % 40",
    "UPDATE t SET more = NULL WHERE id IN ({id}, {id} + 1, {id} + 7)",
    "UPDATE t SET ts = ts + interval '1 second' WHERE id = {id}",
    "UPDATE t SET instrument = 'instrument 0' WHERE id = {id}",
    "DELETE FROM t WHERE id = {id}",
]


@pytest.mark.parametrize(
    ("identity", "order_by"),
    list(product(["by the key and the order", "by another column"], ["ts", None])),
)
def test_few_rows_that_change_are_what_is_selected(  # noqa: PLR0917  fixtures
    postgres_dsn: str,
    database: psycopg.Connection,
    memory_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: str,
    order_by: str | None,
) -> None:
    """Partitions of one extent, and of several, which the general way writes; some rows twice."""
    chance = random.Random(seed := random.randrange(1 << 32))
    print(f"seed {seed}")
    took: list[bool] = []
    short = FewChanges.update

    def noted(self: FewChanges, changes: Any) -> int:
        rows = short(self, changes)
        took.append(rows > 0)
        return rows

    monkeypatch.setattr(FewChanges, "update", noted)
    for statement in (TABLE, IDENTITIES[identity], "CREATE TABLE marks (n int)"):
        database.execute(statement)
    with (
        streamed(postgres_dsn, database) as session,
        followed(database, memory_folder, order_by) as (table, series, writer),
    ):
        for number in range(40):
            if number % 8 == 0:
                database.execute(
                    f"INSERT INTO t {NEW.format(first=number * 5 + 1, last=number * 5 + 40)}"
                )
            for _ in range(chance.choice([1, 1, 3])):
                statement = chance.choice(FEW_UPDATES[:4] if number % 5 else FEW_UPDATES)
                some = chance.randint(1, number * 5 + 1)
                database.execute(statement.format(id=some, any=chance.randint(0, 999)).encode())
            for steps in receive(session, database):
                table.apply(steps)
            writer.publish()
            assert held(series) == selected(database)
        database.execute("UPDATE t SET price = 7 WHERE id = (SELECT max(id) FROM t)")
        before = held(series)
        for steps in receive(session, database):
            table.apply(steps)
        writer.discard()
        table.discarded()
        writer.publish()
        assert held(series) == before
    assert any(took)
    assert not all(took)
