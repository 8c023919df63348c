"""A stream of a real server: all of it, in whole transactions, as it is in its tables."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal

import numpy as np
import psycopg
import pytest

from fix_reader import open_reader
from fix_servers import wait_until
from neural_gpu_bus.errors import BadParameterError, ClosedError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.decoding.column_types import source_column
from neural_gpu_bus.stores.postgres.replication.stream_session import StreamSession
from neural_gpu_bus.stores.postgres.replication.transactions import (
    LogicalMessage,
    RowChanges,
    merged_steps,
)
from neural_gpu_bus.stores.postgres.replication.tuple_rows import rows_of
from stream_actors import PlainTables, batches, log_end, published, streaming, transactions

SEED = int(os.environ.get("NGB_TEST_SEED", str(random.randrange(1 << 32))))
LONG = "repeat('long', 3000) || md5(random()::text)"
ACCOUNTS = "accounts (id int8 PRIMARY KEY, balance float8, note text)"
NO_KEY = '"Mixed Case" ("The key" text, v int4[], n numeric)'


def state(connection: psycopg.Connection, table: str) -> list[dict[str, object]]:
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(f'SELECT * FROM "{table}"'.encode()).fetchall()


def canonical(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """In one order; numbers as PostgreSQL writes them, not as 0E-20."""
    texts = (
        {
            name: f"{value:f}" if isinstance(value, Decimal) else str(value)
            for name, value in row.items()
        }
        for row in rows
    )
    return sorted(str(sorted(row.items())) for row in texts)


@pytest.mark.slow
@pytest.mark.parametrize("direct", [True, False], ids=["socket", "libpq"])
def test_tables_follow_random_transactions(postgres_dsn: str, direct: bool) -> None:
    print(f"NGB_TEST_SEED={SEED}")
    rng = random.Random(SEED)
    with (
        published(postgres_dsn, ACCOUNTS, NO_KEY) as connection,
        streaming(postgres_dsn, direct=direct) as session,
    ):
        connection.execute("ALTER TABLE accounts ALTER note SET STORAGE EXTERNAL")
        connection.execute('ALTER TABLE "Mixed Case" REPLICA IDENTITY FULL')
        tables = PlainTables(postgres_dsn, connection)
        for _ in range(4):
            for _ in range(8):
                write(connection, rng)
            for batch in batches(session, log_end(connection)):
                if rng.random() < 0.5:
                    tables.apply(merged_steps(batch.transactions))
                else:
                    for found in batch.transactions:
                        tables.apply(found.kept().steps)
                session.acknowledge(batch.end_lsn)
            for table in ("accounts", "Mixed Case"):
                expected = canonical(state(connection, table))
                assert canonical(tables.rows.get(table, {}).values()) == expected


def write(connection: psycopg.Connection, rng: random.Random) -> None:
    """One transaction of a few statements, some of them taken back."""
    first, last = sorted(rng.randrange(60) for _ in range(2))
    between = f"WHERE id BETWEEN {first} AND {last}"
    statements = [
        f"INSERT INTO accounts SELECT g, g * 0.5, CASE g % 3 WHEN 0 THEN {LONG} END "
        f"FROM generate_series({first}, {last}) g ON CONFLICT (id) DO UPDATE SET balance = 0",
        f"UPDATE accounts SET balance = balance + 1 {between}",
        f"UPDATE accounts SET id = id + 1000 {between} AND id + 1000 NOT IN (TABLE ids)",
        f"UPDATE accounts SET note = {LONG} {between}",
        f"DELETE FROM accounts {between}",
        f"""INSERT INTO "Mixed Case" SELECT 'k' || g || random(), ARRAY[g, NULL], g / 7.0
            FROM generate_series({first}, {last}) g""",
        """UPDATE "Mixed Case" SET v = v || 7 WHERE random() < 0.3""",
        """DELETE FROM "Mixed Case" WHERE random() < 0.2""",
        "TRUNCATE accounts" if rng.random() < 0.1 else "SELECT 1",
    ]
    with connection.transaction():
        for statement in rng.sample(statements, 4):
            text = statement.replace("(TABLE ids)", "(SELECT id FROM accounts)")
            with connection.transaction():
                connection.execute(text.encode())
                if rng.random() < 0.2:
                    raise psycopg.Rollback


def test_every_type_is_what_a_query_reads(postgres_dsn: str) -> None:
    columns = (
        "id int8 PRIMARY KEY, b bool, i2 int2, i4 int4, f4 real, f8 float8, n numeric(20, 5), "
        "nn numeric, t text, vc varchar(20), by bytea, d date, ts timestamp, tz timestamptz, "
        "iv interval, u uuid, j jsonb, ip inet, a int4[], tt text[], r int4range, m stream_mood, "
        "c stream_pair, bits varbit, g int4 GENERATED ALWAYS AS (i4 + 1) STORED"
    )
    values = (
        "1, true, -2, 3, 1.5, 'Infinity', -12.34567, 0.1, 'täxt', 'v', '\\x00ff', '2026-01-02', "
        "'2026-01-02 03:04:05.6', '2026-01-02 03:04:05+02', '1 mon 2 days', "
        "'00112233-4455-6677-8899-aabbccddeeff', '{\"a\": [1]}', '10.0.0.1/8', '{1,NULL,3}', "
        "'{a,NULL}', '[1,5)', 'sad', '(7,x)', B'1011'"
    )
    with psycopg.connect(postgres_dsn, autocommit=True) as setup:
        setup.execute("DROP TYPE IF EXISTS stream_mood, stream_pair")
        setup.execute("CREATE TYPE stream_mood AS ENUM ('glad', 'sad')")
        setup.execute("CREATE TYPE stream_pair AS (x int4, y text)")
    with (
        published(postgres_dsn, f"everything ({columns})") as connection,
        streaming(postgres_dsn) as session,
        open_reader(postgres_dsn) as reader,
    ):
        connection.execute(f"INSERT INTO everything VALUES ({values})".encode())
        connection.execute("INSERT INTO everything (id) VALUES (2)")
        found = transactions(session, log_end(connection))
        relation, *_ = (step for step in found[0].steps if hasattr(step, "identity"))
        columns_read = PlainTables(postgres_dsn, connection).columns_of(relation)
        names = ", ".join(column.name for column in columns_read)
        wanted = reader.query(f"SELECT {names} FROM stream_test.everything ORDER BY id")

        rows = []
        for changes in merged_steps(found):
            if isinstance(changes, RowChanges):
                places = range(len(columns_read))
                table, _ = rows_of(changes, "new", np.arange(1), columns_read, places)
                rows += table.to_pylist()

        assert len(columns_read) == 24
        assert rows == wanted.to_pylist()
    with psycopg.connect(postgres_dsn, autocommit=True) as setup:
        setup.execute("DROP TYPE stream_mood, stream_pair")


def test_a_wanted_column_without_a_binary_form_is_refused_by_name(postgres_dsn: str) -> None:
    with (
        published(postgres_dsn, "t (id int8 PRIMARY KEY, acl aclitem)") as connection,
        streaming(postgres_dsn) as session,
    ):
        connection.execute("INSERT INTO t SELECT 1, acl FROM unnest(acldefault('r', 10)) acl")
        (found,) = transactions(session, log_end(connection))
        changes = found.steps[-1]
        assert isinstance(changes, RowChanges)
        columns = [source_column("id", 20), source_column("acl", 25)]

        table, _ = rows_of(changes, "new", np.arange(1), columns[:1], [0])
        assert table.to_pylist() == [{"id": 1}]
        with pytest.raises(UnsupportedTypeError, match=r"column 'acl' of stream_test\.t"):
            rows_of(changes, "new", np.arange(1), columns, [0, 1])


def test_logical_messages_and_truncates_stand_in_their_place(postgres_dsn: str) -> None:
    with (
        published(
            postgres_dsn, "a (id int8 PRIMARY KEY)", "b (id int8 PRIMARY KEY REFERENCES a)"
        ) as connection,
        streaming(postgres_dsn) as session,
    ):
        connection.execute("SELECT pg_logical_emit_message(false, 'beside', '')")
        with connection.transaction():
            connection.execute("INSERT INTO a VALUES (1)")
            connection.execute("SELECT pg_logical_emit_message(true, 'ngb.test', 'bytes')")
            connection.execute("INSERT INTO a VALUES (2)")
            connection.execute("TRUNCATE a RESTART IDENTITY CASCADE")
        seen = list(batches(session, log_end(connection)))

        (found,) = (each for batch in seen for each in batch.transactions)
        kinds = [type(step).__name__ for step in found.steps]
        assert kinds[:4] == ["Relation", "RowChanges", "LogicalMessage", "RowChanges"]
        assert kinds[4:] == ["Relation"] * len(kinds[5:]) + ["Truncated"]
        message = found.steps[2]
        assert isinstance(message, LogicalMessage)
        assert (message.prefix, message.content) == ("ngb.test", b"bytes")
        truncated = found.steps[-1]
        assert len(truncated.relations) == 2  # type: ignore[union-attr]
        assert (truncated.cascade, truncated.restart) == (True, True)  # type: ignore[union-attr]
        (beside,) = (each for batch in seen for each in batch.messages)
        assert (beside.prefix, beside.transactional) == ("beside", False)


def test_a_transaction_tells_who_and_when_it_was(postgres_dsn: str) -> None:
    with (
        published(postgres_dsn, "t (id int8 PRIMARY KEY)") as connection,
        streaming(postgres_dsn) as session,
    ):
        before_ns = time.time_ns()
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            row = connection.execute("SELECT pg_current_xact_id()::text::int8").fetchone()
        end = log_end(connection)
        (found,) = transactions(session, end)

        assert row is not None
        assert found.xid == row[0] & 0xFFFFFFFF
        assert found.final_lsn < found.end_lsn <= end
        assert abs(found.committed_ns - before_ns) < 5_000_000_000
        assert session.received_lsn >= found.end_lsn


def test_a_large_transaction_comes_in_parts_of_limited_memory(postgres_dsn: str) -> None:
    rows = 60_000
    with (
        published(postgres_dsn, "t (id int8 PRIMARY KEY, x text)") as connection,
        streaming(postgres_dsn, received_bytes_max=1 << 20) as session,
    ):
        insert = f"INSERT INTO t SELECT g, 'row ' || g FROM generate_series(1, {rows}) g"
        connection.execute(insert.encode())
        ids, parts = [], []
        for batch in batches(session, log_end(connection)):
            for found in batch.transactions:
                parts.append((found.begins, found.ends, found.xid, found.end_lsn > 0))
                for step in found.steps:
                    if isinstance(step, RowChanges):
                        columns = [source_column("id", 20)]
                        table, _ = rows_of(step, "new", np.arange(len(step)), columns, [0])
                        ids.append(table.column("id").to_numpy())

        assert np.array_equal(np.concatenate(ids), np.arange(1, rows + 1))
        assert len(parts) >= 4
        assert len({xid for _, _, xid, _ in parts}) == 1
        assert [begins for begins, *_ in parts] == [True, *[False] * (len(parts) - 1)]
        assert [ends for _, ends, *_ in parts] == [*[False] * (len(parts) - 1), True]
        assert [ended for *_, ended in parts] == [*[False] * (len(parts) - 1), True]


def test_only_what_was_acknowledged_is_not_sent_again(postgres_dsn: str) -> None:
    """The slot's own position is where a later session goes on."""
    with published(postgres_dsn, "t (id int8 PRIMARY KEY)") as connection:
        with StreamSession.connect(postgres_dsn, timeout_s=10) as session:
            start = session.create_slot("stream_test_kept", temporary=False)
        try:
            for number in range(4):
                connection.execute("INSERT INTO t VALUES (%s)", (number,))
            end = log_end(connection)
            with StreamSession.connect(postgres_dsn, timeout_s=10) as session:
                session.start("stream_test_kept", start, ["stream_test"])
                first = transactions(session, end)
                with pytest.raises(BadParameterError, match="cannot be acknowledged: the stream"):
                    session.acknowledge(session.received_lsn + (1 << 30))
                session.acknowledge(first[1].end_lsn)
                session.acknowledge(first[0].end_lsn)
                assert session.acknowledged_lsn == first[1].end_lsn
                wait_until(lambda: confirmed(connection) == first[1].end_lsn, "the acknowledgement")
            wait_until(lambda: not is_active(connection), "the session's end")
            with StreamSession.connect(postgres_dsn, timeout_s=10) as session:
                session.start("stream_test_kept", 0, ["stream_test"])
                again = transactions(session, end)
            assert [found.end_lsn for found in again] == [found.end_lsn for found in first[2:]]
        finally:
            wait_until(lambda: not is_active(connection), "the session's end")
            connection.execute("SELECT pg_drop_replication_slot('stream_test_kept')")


def confirmed(connection: psycopg.Connection) -> int:
    row = connection.execute(
        "SELECT pg_wal_lsn_diff(confirmed_flush_lsn, '0/0')::int8 FROM pg_replication_slots "
        "WHERE slot_name LIKE 'stream_test%'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def is_active(connection: psycopg.Connection) -> bool:
    row = connection.execute(
        "SELECT active FROM pg_replication_slots WHERE slot_name LIKE 'stream_test%'"
    ).fetchone()
    return row is not None and bool(row[0])


def test_the_log_is_released_on_a_database_where_other_tables_are_busy(postgres_dsn: str) -> None:
    """No transaction of ours comes: keepalives alone say how far it is."""
    with (
        published(postgres_dsn, "t (id int8 PRIMARY KEY)") as connection,
        streaming(postgres_dsn) as session,
    ):
        connection.execute("CREATE TABLE public.stream_test_other AS SELECT 1 AS x")
        try:
            end = log_end(connection)
            for batch in batches(session, end):
                assert batch.transactions == []
                session.acknowledge(batch.end_lsn)
            wait_until(lambda: confirmed(connection) >= end, "the acknowledgement")
        finally:
            connection.execute("DROP TABLE public.stream_test_other")


def test_the_server_is_known_by_its_identity(postgres_dsn: str) -> None:
    with (
        StreamSession.connect(postgres_dsn, timeout_s=10) as session,
        psycopg.connect(postgres_dsn) as connection,
    ):
        identity = session.identify()
        row = connection.execute(
            "SELECT system_identifier::text, current_database(), timeline_id "
            "FROM pg_control_system(), pg_control_checkpoint()"
        ).fetchone()

        assert (identity.system_id, identity.database, identity.timeline) == row
        assert 0 < identity.flushed_lsn <= log_end(connection)


def test_nothing_is_received_before_the_start_and_after_the_end(postgres_dsn: str) -> None:
    session = StreamSession.connect(postgres_dsn, timeout_s=10)
    with pytest.raises(ClosedError, match="nothing is streamed from"):
        session.receive(0)
    session.close()
    session.close()
    with pytest.raises(ClosedError, match="nothing is streamed from"):
        session.acknowledge(1)
