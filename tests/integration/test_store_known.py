"""The second store to a table goes in one exchange; whatever happened to the table meanwhile."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from fix_stores import Playground
from neural_gpu_bus.errors import (
    BadParameterError,
    BadValueError,
    ServerUnreachableError,
)
from neural_gpu_bus.stores.postgres.writing import prepared_statements

#: Notes the statement that each insert is part of.
WATCH = """
CREATE TABLE statements (text text);
CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO {schema}.statements VALUES (current_query()); RETURN NULL; END $$;
CREATE TRIGGER watch AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION {schema}.watch()
"""


def known(playground: Playground, columns: str = "k int, v text") -> str:
    """A table that a first store has made known."""
    playground.run(f"CREATE TABLE t ({columns})")
    name = playground.table("t")
    playground.writer.store(name, {"k": [1], "v": ["a"]})
    return name


def test_the_second_store_is_one_exchange(playground: Playground) -> None:
    name = known(playground)
    playground.run(WATCH.format(schema=playground.schema))

    job = uuid.uuid4().hex
    playground.writer.store(name, {"k": [0], "v": [""]}, job_id=uuid.uuid4().hex)
    plain = playground.writer.store(name, {"k": [2, 3], "v": ["b", None]})
    with_job = playground.writer.store(name, {"v": ["d"], "k": [4]}, job_id=job)
    again = playground.writer.store(name, {"v": ["d"], "k": [4]}, job_id=job)

    statements = [text for (text,) in playground.rows("SELECT text FROM statements")]
    assert [text.split()[0] for text in statements] == ["COPY", "COPY", "EXECUTE"]
    assert all("COPY" in text and "; EXECUTE ngb_prepared_" in text for text in statements[1:])
    assert (plain.rows, with_job.rows) == (2, 1)
    assert (again.rows, again.repeated) == (0, True)
    assert playground.rows("SELECT count(*), max(k) FROM t") == [(5, 4)]
    later = f"SELECT '{with_job.lsn}'::pg_lsn > '{plain.lsn}'::pg_lsn"
    assert playground.rows(later) == [(True,)]


def test_a_session_that_lost_its_prepared_statements_stores_all_the_same(
    playground: Playground,
) -> None:
    name = known(playground)
    playground.writer.store(name, {"k": [2], "v": ["b"]})
    with playground.writer.lend() as connection:
        connection.execute("DEALLOCATE ALL")

    for number in (3, 4):
        assert playground.writer.store(name, {"k": [number], "v": [""]}).rows == 1

    assert playground.rows("SELECT count(*), max(k) FROM t") == [(4, 4)]


def test_a_session_that_lost_the_log_positions_statement_alone(playground: Playground) -> None:
    name = known(playground)
    playground.writer.store(name, {"k": [2], "v": ["b"]})
    with playground.writer.lend() as connection:
        (lost,) = connection.execute(
            "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%wal_flush%'"
        ).fetchall()[0]
        connection.execute(f"DEALLOCATE {lost}".encode())

    without, again = (playground.writer.store(name, {"k": [k], "v": [""]}) for k in (3, 4))

    assert (without.rows, without.lsn) == (1, "")
    assert again.lsn
    assert playground.rows("SELECT count(*), max(k) FROM t") == [(4, 4)]


def test_a_session_prepares_no_more_than_it_may(
    playground: Playground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_statements, "STATEMENTS_MAX", 1)
    playground.run('CREATE TABLE "%s; t" (k int)')
    for name in (known(playground), playground.table("%s; t")):
        for number in range(3):
            playground.writer.store(name, {"k": [number]})

    with playground.writer.lend() as connection:
        held = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
    assert len(held) == 1
    assert playground.rows('SELECT count(*) FROM "%s; t"') == [(3,)]


CHANGES = {
    "another type of the same width": (
        "ALTER TABLE t ALTER k TYPE real",
        {"k": np.float32([1.5])},
        1.5,
    ),
    "a wider type": ("ALTER TABLE t ALTER k TYPE bigint", {"k": [2**40]}, 2**40),
    "dropped and made again": ("DROP TABLE t; CREATE TABLE t (k text, v text)", {"k": ["x"]}, "x"),
    "a column renamed": ("ALTER TABLE t RENAME k TO z", {"z": [5]}, 5),
    "two columns that changed places": (
        "ALTER TABLE t RENAME k TO z; ALTER TABLE t RENAME v TO k; ALTER TABLE t RENAME z TO v",
        {"k": ["text"]},
        "text",
    ),
    "another table of that name": (
        "ALTER TABLE t RENAME TO old; CREATE TABLE t (v text, k float8)",
        {"k": [2.5]},
        2.5,
    ),
    "gone": ("DROP TABLE t", {"k": ["new"]}, "new"),
    "policies for rows": ("ALTER TABLE t ENABLE ROW LEVEL SECURITY", {"k": [6]}, 6),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_changed_is_looked_at_again(playground: Playground, change: str) -> None:
    name = known(playground)
    statement, columns, expected = CHANGES[change]
    playground.run(statement)

    for _ in range(2):
        receipt = playground.writer.store(name, columns)
        assert receipt.rows == 1

    column = next(iter(columns))
    found = playground.rows(f"SELECT {column} FROM t WHERE {column} IS NOT NULL ORDER BY ctid DESC")
    assert found[:2] == [(expected,), (expected,)]


def test_the_same_bytes_never_go_into_another_type(playground: Playground) -> None:
    """int8 and float8 are as wide: without the check these rows would be stored as 5e-324."""
    name = playground.table("t")
    playground.run("CREATE TABLE t (k int8)")
    playground.writer.store(name, {"k": [1]})
    playground.run("ALTER TABLE t ALTER k TYPE float8")

    playground.writer.store(name, {"k": [1, 2]})

    assert playground.rows("SELECT k FROM t") == [(1.0,), (1.0,), (2.0,)]


REFUSALS: list[tuple[Any, type[Exception], str]] = [
    ({"k": [1, 2**40]}, BadValueError, "row 2, column 'k': 1099511627776 does not fit"),
    ({"k": [2, -1]}, BadValueError, "row 2.*violates check constraint"),
    ({"k": [2, 2]}, BadValueError, r"rows 1 and 2 have the same key \(k\) = \(2\)"),
    ({"k": [2, 1]}, BadValueError, r"row 2: its key is in table .* already: Key \(k\)=\(1\)"),
    ({"k": [2], "v": ["long"]}, BadValueError, "row 1.* too long for type character"),
    ({"z": [1]}, BadParameterError, "has no column 'z'; it has k, v"),
    ({"k": [None]}, BadValueError, "row 1, column 'k': NULL cannot go"),
]


@pytest.mark.parametrize(("columns", "kind", "message"), REFUSALS)
def test_what_is_wrong_is_said_as_ever_and_the_next_store_goes_on(
    playground: Playground, columns: Any, kind: type[Exception], message: str
) -> None:
    name = known(playground, "k int PRIMARY KEY CHECK (k > 0), v varchar(2)")

    for _ in range(2):
        with pytest.raises(kind, match=message):
            playground.writer.store(name, columns)
        assert playground.rows("SELECT count(*) FROM t") == [(1,)]

    assert playground.writer.store(name, {"k": [7]}).rows == 1


def test_a_bad_value_far_behind_stores_nothing(playground: Playground) -> None:
    name = known(playground)
    values = np.arange(300_000)
    values[-1] = 2**40

    with pytest.raises(BadValueError, match="row 300000, column 'k': 1099511627776 does not fit"):
        playground.writer.store(name, {"k": values})

    assert playground.rows("SELECT count(*) FROM t") == [(1,)]
    assert playground.writer.store(name, {"k": values[:-1]}).rows == 299_999


def test_a_row_refused_early_ends_a_long_store(playground: Playground) -> None:
    """Sending goes on after the server gave up: it has to be noticed, and all of it is dropped."""
    name = known(playground, "k int CHECK (k <> 3), v text")
    texts = pa.array(["x" * 200] * 100_000)

    with pytest.raises(BadValueError, match=r"row 4.*violates check constraint"):
        playground.writer.store(name, {"k": np.arange(100_000), "v": texts})

    assert playground.rows("SELECT count(*) FROM t") == [(1,)]


def test_one_job_from_many_threads_at_once_stores_once(playground: Playground) -> None:
    name, threads = known(playground), 4
    playground.writer.store(name, {"k": [1]}, job_id=uuid.uuid4().hex)
    job, together = uuid.uuid4().hex, threading.Barrier(threads)

    def store(_: int) -> bool:
        together.wait()
        return playground.writer.store(name, {"k": [8, 9]}, job_id=job).repeated

    with ThreadPoolExecutor(threads) as pool:
        assert sorted(pool.map(store, range(threads))) == [False, True, True, True]

    assert playground.rows("SELECT count(*) FROM t WHERE k > 7") == [(2,)]


@pytest.mark.parametrize("before", [1, 2], ids=["claim not prepared", "claim prepared"])
def test_ledgers_that_are_gone_are_made_again(existing_playground: Playground, before: int) -> None:
    store, name = existing_playground.writer.store, existing_playground.table("t")
    existing_playground.run("CREATE TABLE t (k int)")
    for number in range(before):
        store(name, {"k": [number]}, job_id=uuid.uuid4().hex)
    existing_playground.run("DROP SCHEMA ngb_ledger CASCADE")

    assert store(name, {"k": [2]}, job_id=uuid.uuid4().hex).rows == 1

    assert existing_playground.rows("SELECT count(*) FROM t") == [(before + 1,)]


def test_a_table_altered_while_the_rows_wait_for_it(
    playground: Playground, postgres_dsn: str
) -> None:
    """The store waits for a lock; when it gets it, the table is another one."""
    name = known(playground)
    with psycopg.connect(postgres_dsn) as other, ThreadPoolExecutor(1) as pool:
        other.execute(f"ALTER TABLE {name} ALTER k TYPE float4".encode())
        waiting = pool.submit(playground.writer.store, name, {"k": [3], "v": ["c"]})
        while playground.rows(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = "
            f"(SELECT oid FROM pg_class WHERE relname = 't' AND relnamespace = "
            f"'{playground.schema}'::regnamespace)"
        ) == [(0,)]:
            assert not waiting.done()
        other.commit()

        assert waiting.result().rows == 1

    assert playground.rows("SELECT k FROM t ORDER BY k") == [(1.0,), (3.0,)]


def ended_sessions(playground: Playground) -> list[Any]:
    return playground.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE query LIKE 'COPY%{playground.schema}%' AND pid <> pg_backend_pid()"
    )


def test_a_session_ended_in_the_rows_leaves_nothing(playground: Playground) -> None:
    name = known(playground)
    data = {"k": np.arange(2_000_000), "v": pa.array(["x" * 20] * 2_000_000)}

    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(playground.writer.store, name, data)
        while not ended_sessions(playground):
            assert not storing.done()
        with pytest.raises(ServerUnreachableError, match="cannot talk to PostgreSQL"):
            storing.result()

    assert playground.rows("SELECT count(*) FROM t") == [(1,)]
    assert playground.writer.store(name, {"k": [2]}).rows == 1
