"""A table that is known from an earlier store, and what must not be taken for something else."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from fix_stores import Playground, own_database
from neural_gpu_bus.errors import BadValueError, QueryError, UnsupportedTypeError
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter

ALTERED: dict[str, tuple[str, pa.Array, str, list[Any]]] = {
    "int4 became int8": ("integer", pa.array([7], pa.int32()), "bigint", [7]),
    "float4 became float8": ("real", pa.array([0.5], pa.float32()), "double precision", [0.5]),
    "text became jsonb": ("text", pa.array(['{"a": 1}']), "jsonb USING v::jsonb", [{"a": 1}]),
    "varchar became uuid": (
        "varchar",
        pa.array(["00000000-0000-0000-0000-000000000007"]),
        "uuid USING v::uuid",
        ["00000000-0000-0000-0000-000000000007"],
    ),
}


@pytest.mark.parametrize("case", ALTERED)
def test_a_type_that_was_altered_is_no_bug_of_ours(playground: Playground, case: str) -> None:
    before, values, after, expected = ALTERED[case]
    name, data = playground.table("t"), pa.table({"v": values})
    playground.run(f"CREATE TABLE t (v {before})")
    playground.writer.store(name, data)
    playground.run(f"ALTER TABLE t ALTER v TYPE {after}")

    for _ in range(2):
        assert playground.writer.store(name, data).rows == 1

    found = [value for (value,) in playground.rows("SELECT v FROM t")]
    assert [value if isinstance(value, dict | int | float) else str(value) for value in found] == [
        *expected * 3
    ]


def test_a_column_that_became_an_array_is_named(playground: Playground) -> None:
    name = playground.table("t")
    playground.run("CREATE TABLE t (v bigint)")
    playground.writer.store(name, {"v": [1]})
    playground.run("ALTER TABLE t ALTER v TYPE bigint[] USING ARRAY[v]")

    with pytest.raises(UnsupportedTypeError, match=r"int64 values cannot go into a bigint\[\]"):
        playground.writer.store(name, {"v": [1]})


def test_another_table_of_that_name_with_a_type_as_wide(playground: Playground) -> None:
    """int8 in bytes is a float8, too."""
    name = playground.table("t")
    playground.run("CREATE TABLE t (v bigint)")
    playground.writer.store(name, {"v": [1]})
    playground.run("DROP TABLE t; CREATE TABLE t (v double precision)")

    playground.writer.store(name, {"v": [1]})

    assert playground.rows("SELECT v FROM t") == [(1.0,)]


def locks_waited_for(playground: Playground) -> bool:
    return playground.rows(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = "
        f"(SELECT oid FROM pg_class WHERE relname = 't' AND relnamespace = "
        f"'{playground.schema}'::regnamespace)"
    ) != [(0,)]


def test_a_type_altered_while_the_first_store_waits_for_the_table(
    playground: Playground, postgres_dsn: str
) -> None:
    playground.run("CREATE TABLE t (v integer)")
    name, data = playground.table("t"), pa.table({"v": pa.array([7], pa.int32())})
    with psycopg.connect(postgres_dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"ALTER TABLE {name} ALTER v TYPE bigint".encode())
        waiting = pool.submit(playground.writer.store, name, data)
        while not locks_waited_for(playground):
            assert not waiting.done()
        other.commit()

        with pytest.raises(QueryError, match="was altered while rows were being prepared for it"):
            waiting.result()

    assert playground.writer.store(name, data).rows == 1


# ---- types made of others


def test_fields_of_a_composite_that_changed_names(playground: Playground) -> None:
    playground.run("CREATE TYPE pair AS (a int, b int)")
    playground.run("CREATE DOMAIN pairs AS pair[]; CREATE TABLE t (v pair, w pairs)")
    name, value = playground.table("t"), {"a": 1, "b": 2}
    fields = pa.struct([("a", pa.int32()), ("b", pa.int32())])
    data = pa.table({"v": pa.array([value], fields), "w": pa.array([[value]], pa.list_(fields))})
    playground.writer.store(name, data)
    playground.writer.store(name, data)
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        playground.run(f"ALTER TYPE pair RENAME ATTRIBUTE {old} TO {new}")
    playground.run("DELETE FROM t")

    for _ in range(2):
        playground.writer.store(name, data)

    found = playground.rows("SELECT (v).a, (v).b, (w[1]).a, (w[1]).b FROM t")
    assert found == [(1, 2, 1, 2)] * 2


# ---- what comes after the commit


@pytest.fixture
def shadowed(postgres_dsn: str) -> Iterator[tuple[psycopg.Connection, PostgresWriter]]:
    """A database whose functions for the log's position are what a test makes them."""
    with own_database(postgres_dsn) as connection:
        connection.execute("CREATE SCHEMA shadow; CREATE TABLE t (v bigint)")
        connection.execute(
            f'ALTER DATABASE "{connection.info.dbname}" '.encode()
            + b"SET search_path = shadow, pg_catalog, public"
        )
        dsn = psycopg.conninfo.make_conninfo(postgres_dsn, dbname=connection.info.dbname)
        pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=4, wait_timeout_s=20)
        yield connection, PostgresWriter(pool.lend, "there")
        pool.close()


TROUBLE = {
    "no right to ask": "RAISE EXCEPTION 'permission denied' USING ERRCODE = '42501'",
    "the session ends": "PERFORM pg_terminate_backend(pg_backend_pid()); RETURN '0/0'",
}


def make_trouble(connection: psycopg.Connection, what: str) -> None:
    for function in ("flush", "insert"):
        connection.execute(
            f"CREATE FUNCTION shadow.pg_current_wal_{function}_lsn() RETURNS pg_lsn "
            f"LANGUAGE plpgsql AS $$ BEGIN {TROUBLE[what]}; END $$".encode()
        )


@pytest.mark.parametrize("what", TROUBLE)
@pytest.mark.parametrize("is_known", [False, True])
def test_rows_are_stored_where_only_the_log_s_position_is_not_told(
    shadowed: tuple[psycopg.Connection, PostgresWriter], what: str, is_known: bool
) -> None:
    connection, writer = shadowed
    if is_known:
        writer.store("public.t", {"v": [0]})
    make_trouble(connection, what)

    receipts = [
        writer.store("public.t", {"v": [1]}),
        writer.store("public.t", {"v": [2, 3]}, job_id="job"),
        writer.store("public.t", {"v": [2, 3]}, job_id="job"),
        writer.store("public.t", {"v": [4, 5]}, transactions=2),
    ]

    assert [(one.rows, one.lsn, one.repeated) for one in receipts] == [
        (1, "", False),
        (2, "", False),
        (0, "", True),
        (2, "", False),
    ]
    connection.execute("DELETE FROM t WHERE v = 0")
    assert connection.execute("SELECT array_agg(v ORDER BY v) FROM t").fetchone() == (
        [1, 2, 3, 4, 5],
    )


# ---- a table that somebody has locked

BAD: dict[str, Any] = {
    "a few rows": pa.array([1, None], pa.int64()),
    "many rows": pa.array([*range(50_000), None], pa.int64()),
}


@pytest.mark.parametrize(
    ("case", "is_known"), [("a few rows", False), ("a few rows", True), ("many rows", True)]
)
def test_a_bad_value_is_named_though_the_table_is_locked(
    playground: Playground, postgres_dsn: str, case: str, is_known: bool
) -> None:
    """A first store looks at the first rows alone before it waits."""
    playground.run("CREATE TABLE t (v bigint NOT NULL)")
    name, good = playground.table("t"), {"v": np.arange(3)}
    if is_known:
        playground.writer.store(name, good)
    with psycopg.connect(postgres_dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"LOCK TABLE {name}".encode())
        storing = pool.submit(playground.writer.store, name, {"v": BAD[case]})
        try:
            with pytest.raises(BadValueError, match="NULL cannot go into a NOT NULL column"):
                storing.result(timeout=15)
        finally:
            other.rollback()

    assert playground.writer.store(name, good).rows == 3
