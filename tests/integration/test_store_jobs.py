"""One job, told from others whatever its table is called, and whatever rows come under its id."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from fix_stores import Playground, own_database
from neural_gpu_bus.errors import BadParameterError, BadValueError
from neural_gpu_bus.stores.postgres.connections.connection import connect
from neural_gpu_bus.stores.postgres.connections.pool import Pool
from neural_gpu_bus.stores.postgres.write_behind.write_behind import WriteBehind
from neural_gpu_bus.stores.postgres.writing.writer import PostgresWriter


@pytest.fixture
def own(postgres_dsn: str) -> Iterator[tuple[psycopg.Connection, PostgresWriter]]:
    """In a database of its own, whose tables have short names."""
    with own_database(postgres_dsn) as connection:
        dsn = psycopg.conninfo.make_conninfo(postgres_dsn, dbname=connection.info.dbname)
        pool = Pool(lambda: connect(dsn, timeout_s=5), connections_max=4, wait_timeout_s=20)
        yield connection, PostgresWriter(pool.lend, "there")
        pool.close()


@pytest.mark.parametrize("names", [("t", "public.t"), ("public.t", "t")], ids=str)
@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("transactions", [1, 2])
def test_a_job_is_one_whichever_way_its_table_is_called(
    own: tuple[psycopg.Connection, PostgresWriter],
    names: tuple[str, str],
    is_there: bool,
    transactions: int,
) -> None:
    connection, writer = own
    if is_there:
        for name in names:
            writer.store(name, {"v": [0]})

    receipts = [
        writer.store(name, {"v": [1, 2]}, job_id="j", transactions=transactions)
        for name in (*names, *names)
    ]

    assert [receipt.repeated for receipt in receipts] == [False, True, True, True]
    assert connection.execute("SELECT count(*) FROM t WHERE v > 0").fetchone() == (2,)


def test_a_job_stored_under_one_name_is_not_delivered_under_the_other(
    own: tuple[psycopg.Connection, PostgresWriter], tmp_path: Path
) -> None:
    connection, writer = own
    writer.store("public.t", {"v": [1]}, job_id="j")
    behind = WriteBehind(writer.lend, "there", tmp_path, bytes_max=1 << 26, close_timeout_s=5)

    receipt = behind.wait_stored(behind.store_later("t", {"v": [1]}, job_id="j"))
    behind.close()

    assert receipt.repeated
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_tables_of_one_name_in_two_schemas_are_two(
    own: tuple[psycopg.Connection, PostgresWriter],
) -> None:
    connection, writer = own
    connection.execute("CREATE SCHEMA other")

    receipts = [writer.store(name, {"v": [1]}, job_id="j") for name in ("t", "other.t") * 2]

    assert [receipt.repeated for receipt in receipts] == [False, False, True, True]


def unfinished(playground: Playground) -> tuple[str, str]:
    """A job of rows 1 to 4 in two ranges, of which the second failed."""
    name, job = playground.table("t"), uuid.uuid4().hex
    playground.run("CREATE TABLE t (k bigint PRIMARY KEY, v text, CONSTRAINT c CHECK (k <> 3))")
    data = {"k": [1, 2, 3, 4], "v": ["a", None, "c", "d"]}
    with pytest.raises(BadValueError, match="of 2 transactions 1 are stored"):
        playground.writer.store(name, data, job_id=job, transactions=2)
    playground.run("ALTER TABLE t DROP CONSTRAINT c")
    return name, job


def test_other_rows_under_the_id_of_an_unfinished_job_are_refused(playground: Playground) -> None:
    name, job = unfinished(playground)
    other = {"k": [91, 92, 93, 94], "v": ["a", None, "c", "d"]}

    for transactions in (1, 2, 3):
        with pytest.raises(BadParameterError, match=f"job '{job}' was begun with other rows"):
            playground.writer.store(name, other, job_id=job, transactions=transactions)

    assert playground.rows("SELECT k FROM t ORDER BY k") == [(1,), (2,)]


def test_the_same_rows_finish_it_whatever_holds_them(playground: Playground) -> None:
    name, job = unfinished(playground)
    texts = pa.array(["x", "a", None, "c", "d"], pa.string_view()).slice(1).cast(pa.large_string())
    same = pa.table(
        {"k": pa.chunked_array([[1], [2, 3], [4]]), "v": texts.dictionary_encode()},
    )

    receipt = playground.writer.store(name, same, job_id=job)

    assert receipt.rows == 2
    assert playground.rows("SELECT k FROM t ORDER BY k") == [(1,), (2,), (3,), (4,)]
    assert playground.writer.store(name, same, job_id=job).repeated


def test_what_failed_may_be_mended_in_the_rows(playground: Playground) -> None:
    name, job = unfinished(playground)
    mended = {"k": [1, 2, 33, 4], "v": ["a", None, "c", "d"]}

    playground.writer.store(name, mended, job_id=job)

    assert playground.rows("SELECT k FROM t ORDER BY k") == [(1,), (2,), (4,), (33,)]


@pytest.mark.parametrize("mode", ["upsert", "replace"])
def test_an_unfinished_job_in_another_mode_is_told(playground: Playground, mode: str) -> None:
    name, job = unfinished(playground)
    data = {"k": [1, 2, 3, 4], "v": ["a", None, "c", "d"]}

    message = f"job '{job}' was begun as an append in 2 ranges, and not all of them are stored"
    with pytest.raises(BadParameterError, match=message) as caught:
        playground.writer.store(name, data, job_id=job, mode=mode, key=["k"])

    assert caught.value.parameter == "job_id"
